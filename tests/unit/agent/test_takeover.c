#include "agent/takeover.h"

#include "agent_help.h"

#define PASSPHRASE "Ab3dEf6hJk9mNp2Q"
#define GUID "00000000-0000-3000-8000-00000000000a"
#define PROPERTIES                                                                                                     \
	"# an operator's comment\nguid=" GUID "\nhost=10.0.0.1,10.0.0.2@roundrobin\nport=8250\nzone=1\npod=2\n"        \
	"cluster=3\nworkers=5\nresource=com.cloud.hypervisor.kvm.resource.LibvirtComputingResource\n"                  \
	"some.key=kept\n"
#define WITH_PASSPHRASE PROPERTIES "keystore.passphrase=" PASSPHRASE "\n"

/* A CA and what it has signed; made once. */
static struct {
	char *ca_key, *ca, *foreign_key, *foreign_ca;
	struct identity good, later, foreign, other_guid, server;

} w;

static int world_make(void **state)
{
	(void)state;
	ca_make(&w.ca_key, &w.ca, WALL_S);
	ca_make(&w.foreign_key, &w.foreign_ca, WALL_S);
	w.good = identity_make(w.ca_key, w.ca, CERT_ROLE_NONE, NULL, NULL, WALL_S);
	w.later = identity_make(w.ca_key, w.ca, CERT_ROLE_AGENT, GUID, NULL, WALL_S + 500);
	w.foreign = identity_make(w.foreign_key, w.foreign_ca, CERT_ROLE_NONE, NULL, NULL, WALL_S);
	w.other_guid = identity_make(w.ca_key, w.ca, CERT_ROLE_AGENT, "another", NULL, WALL_S);
	w.server = identity_make(w.ca_key, w.ca, CERT_ROLE_SERVER, "m1", NULL, WALL_S);
	return 0;
}

static int world_free(void **state)
{
	struct identity *const all[] = {&w.good, &w.later, &w.foreign, &w.other_guid, &w.server};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		identity_deinit(all[i]);
	key_free(w.ca_key);
	key_free(w.foreign_key);
	mem_free(w.ca);
	mem_free(w.foreign_ca);
	return 0;
}

/* ---- a folder as CloudStack's agent leaves it ---- */

static void put_store(const char *dir, const char *name, const char *from)
{
	CLEAN(mem_freep) char *source = path_join(PKI, from);
	CLEAN(mem_freep) char *target = path_join(dir, name);
	CLEAN(buf_deinit) struct buf b = {0};

	assert_int_equal(file_read(&fs_posix, source, 1u << 20, &b, NULL), ERR_OK);
	assert_int_equal(file_replace(&fs_posix, target, 0600, b.data, b.len, NULL), ERR_OK);
}

static void put_if(const char *dir, const char *name, const char *text)
{
	if (text)
		folder_put(dir, name, text, 0750);
}

static void put_pem(const char *dir, const struct identity *i)
{
	put_if(dir, "cloud.key", i->key);
	put_if(dir, "cloud.crt", i->cert);
	put_if(dir, "cloud.ca.crt", i->ca);
}

/* Everything that is in a folder, names, modes and contents, in one text. */
static char *folder_digest(const char *dir)
{
	CLEAN(mem_freep)
	char *command = mem_printf(
		"cd '%s' && ls -lA --time-style=+ | grep -v agent.lock && sha256sum /dev/null $(ls -A | grep -v lock)",
		dir);
	CLEAN(buf_deinit) struct buf out = {0};
	char part[512];
	FILE *f = popen(command, "r");

	check_there(f);
	while (fgets(part, sizeof(part), f))
		assert_int_equal(buf_put_str(&out, part), ERR_OK);
	pclose(f);
	return buf_take_str(&out);
}

static enum err run(const struct takeover_options *o, int64_t wall_s, struct why *why)
{
	struct takeover t = {0};
	enum err e = takeover_read(&t, &fs_posix, o, wall_s, why);

	if (!e)
		e = takeover_write(&t, &fs_posix, o, wall_s, why);
	takeover_deinit(&t);
	return e;
}

/* ---- refusals ---- */

/* clang-format off */
static const struct {
	const char *what;
	const char *properties; /* NULL: no file */
	const struct identity *pem;
	const char *key;        /* instead of its key */
	const char *missing;    /* of the three */
	const char *jks, *p12;
	bool store;
	int64_t after_s;
	enum err err;
	const char *sentence;
} refusals[] = {
	{"another folder", NULL, &w.good, .err = ERR_NOT_FOUND, .sentence = "not the folder of an agent"},
	{"no guid", "host=10.0.0.1\n", &w.good, .err = ERR_INVALID, .sentence = "there is no guid"},
	{"a guid that was never filled in", "guid=@GUID@\nhost=10.0.0.1\n", &w.good, .err = ERR_INVALID, .sentence = "there is no guid"},
	{"no servers", "guid=g\n", &w.good, .err = ERR_INVALID, .sentence = "no management server is named"},
	{"servers that were never filled in", "guid=g\nhost=@HOST@\n", &w.good, .err = ERR_INVALID, .sentence = "a placeholder"},
	{"a file that can't be read", "guid=\\u12\n", &w.good, .err = ERR_MALFORMED, .sentence = "agent.properties"},
	{"a mistake in it", PROPERTIES "muster.nothing=1\n", &w.good, .err = ERR_INVALID, .sentence = "muster.nothing"},
	{"no certificate at all", PROPERTIES, .err = ERR_NOT_FOUND, .sentence = "there is no certificate in "},
	{"no key", PROPERTIES, &w.good, .missing = "cloud.key", .err = ERR_NOT_FOUND, .sentence = "cloud.key is missing"},
	{"no certificate", PROPERTIES, &w.good, .missing = "cloud.crt", .err = ERR_NOT_FOUND, .sentence = "cloud.crt is missing"},
	{"no CA", PROPERTIES, &w.good, .missing = "cloud.ca.crt", .err = ERR_NOT_FOUND, .sentence = "cloud.ca.crt is missing"},
	{"--store without a store", PROPERTIES, &w.good, .store = true, .err = ERR_NOT_FOUND, .sentence = "there is no cloud.jks"},
	{"another key", PROPERTIES, &w.good, .key = "foreign", .err = ERR_INVALID, .sentence = "does not belong to the certificate"},
	{"another key beside a store", WITH_PASSPHRASE, &w.good, .key = "foreign", .jks = "store_modern.p12", .err = ERR_INVALID,
	 .sentence = "--store takes cloud.jks instead"},
	{"no key, but something else", PROPERTIES, &w.good, .key = "nonsense", .err = ERR_MALFORMED, .sentence = "private key"},
	{"expired", PROPERTIES, &w.good, .after_s = 2000, .err = ERR_EXPIRED, .sentence = "get a new one first"},
	{"not valid yet", PROPERTIES, &w.good, .after_s = -5000, .err = ERR_UNTRUSTED, .sentence = "not valid yet"},
	{"another host's", PROPERTIES, &w.other_guid, .err = ERR_INVALID, .sentence = "it is for the host with guid another"},
	{"a server's", PROPERTIES, &w.server, .err = ERR_INVALID, .sentence = "it is a management server's"},
	{"the store's passphrase is wrong", PROPERTIES "keystore.passphrase=no\n", .jks = "store_modern.p12", .err = ERR_UNTRUSTED,
	 .sentence = "the passphrase is not this store's"},
	{"the store's passphrase is not there", PROPERTIES, .jks = "store_modern.p12", .err = ERR_UNTRUSTED,
	 .sentence = "keystore.passphrase is not set, so CloudStack's default was tried"},
	{"a store under another passphrase", WITH_PASSPHRASE, .jks = "store_other_passphrase.p12", .err = ERR_UNTRUSTED,
	 .sentence = "cloud.jks: the passphrase is not this store's"},
	{"real JKS", WITH_PASSPHRASE, .jks = "store.jks", .err = ERR_UNSUPPORTED,
	 .sentence = "/cloud.jks -srcstoretype JKS -destkeystore "},
	{"JCEKS", WITH_PASSPHRASE, .jks = "store.jceks", .err = ERR_UNSUPPORTED, .sentence = "-srcstoretype JCEKS "},
	{"JKS under the name of the converted", WITH_PASSPHRASE, .p12 = "store.jks", .err = ERR_UNSUPPORTED,
	 .sentence = "cloud.p12: it is a JKS store"},
	{"a store that asks for too much", WITH_PASSPHRASE, .jks = "store_many_key.p12", .err = ERR_TOO_BIG, .sentence = "rounds"},
	{"a store without key", WITH_PASSPHRASE, .jks = "store_no_key.p12", .err = ERR_NOT_FOUND, .sentence = "no private key"},
	{"a store without CA", WITH_PASSPHRASE, .jks = "store_no_ca.p12", .err = ERR_NOT_FOUND, .sentence = "no CA certificate"},
	{"a store with two keys", WITH_PASSPHRASE, .jks = "store_no_cloud.p12", .err = ERR_CONFLICT, .sentence = "2 private keys"},
	{"no store", WITH_PASSPHRASE, .jks = "README.md", .err = ERR_MALFORMED, .sentence = "no PKCS#12"},
	{"a store that is expired", WITH_PASSPHRASE, .jks = "store_modern.p12", .after_s = INT64_C(200) * 365 * 86400, .err = ERR_EXPIRED,
	 .sentence = "get a new one first"},
	/* In place, nothing is replaced. */
	{"files beside the store that are not its own", WITH_PASSPHRASE, &w.good, .jks = "store_modern.p12", .store = true,
	 .err = ERR_CONFLICT, .sentence = "the files beside cloud.jks don't go with it"},
	{"half of another set beside the store", WITH_PASSPHRASE, &w.good, .missing = "cloud.crt", .jks = "store_modern.p12",
	 .err = ERR_INVALID, .sentence = "the files beside cloud.jks don't go with it"},
	{"another CA beside the store", WITH_PASSPHRASE, &(struct identity){.ca = NULL}, .key = "ca", .jks = "store_modern.p12",
	 .err = ERR_UNTRUSTED, .sentence = "the files beside cloud.jks don't go with it"},
};
/* clang-format on */

static void refusal_put(const char *dir, size_t i)
{
	if (refusals[i].properties)
		folder_put(dir, "agent.properties", refusals[i].properties, 0640);
	if (refusals[i].pem)
		put_pem(dir, refusals[i].pem);
	if (str_equal(refusals[i].key, "foreign"))
		put_if(dir, "cloud.key", w.foreign.key);
	else if (str_equal(refusals[i].key, "nonsense"))
		put_if(dir, "cloud.key", "nonsense\n");
	else if (str_equal(refusals[i].key, "ca"))
		put_if(dir, "cloud.ca.crt", w.ca);
	if (refusals[i].missing) {
		CLEAN(mem_freep) char *path = path_join(dir, refusals[i].missing);

		assert_int_equal(unlink(path), 0);
	}
	if (refusals[i].jks)
		put_store(dir, "cloud.jks", refusals[i].jks);
	if (refusals[i].p12)
		put_store(dir, "cloud.p12", refusals[i].p12);
}

static void what_is_refused_leaves_no_trace(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		CLEAN(folder_freep) char *dir = folder_new();
		CLEAN(mem_freep) char *before = NULL;
		CLEAN(mem_freep) char *after = NULL;
		const struct takeover_options o = {
			.from = dir, .dir = dir, .in_place = true, .store = refusals[i].store};
		struct why why = WHY_NONE;
		enum err e;

		refusal_put(dir, i);
		before = folder_digest(dir);
		e = run(&o, WALL_S + refusals[i].after_s, &why);
		after = folder_digest(dir);
		if (e != refusals[i].err || !strstr(why.text, refusals[i].sentence))
			fail_msg("%s: %s, \"%s\"", refusals[i].what, err_name(e), why.text);
		if (strstr(why.text, PASSPHRASE) || strstr(why.text, "PRIVATE KEY"))
			fail_msg("%s: a secret is in the sentence", refusals[i].what);
		check_row(&refusals[i], str_equal(before, after));
	}
}

/* ---- in place ---- */

static void key_and_certificate_are_used_where_they_are(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *key = NULL;
	CLEAN(mem_freep) char *props = NULL;
	CLEAN(mem_freep) char *copy = NULL;
	const struct takeover_options o = {.from = dir, .dir = dir, .in_place = true};

	(void)state;
	folder_put(dir, "agent.properties", WITH_PASSPHRASE, 0640);
	put_pem(dir, &w.good);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	key = folder_get(dir, "cloud.key");
	props = folder_get(dir, "agent.properties");
	copy = folder_get(dir, TAKEOVER_COPY);
	assert_string_equal(key, w.good.key);
	assert_string_equal(props, WITH_PASSPHRASE);
	assert_string_equal(copy, WITH_PASSPHRASE);
	assert_int_equal(folder_mode(dir, "cloud.key"), 0750);
	assert_int_equal(folder_mode(dir, TAKEOVER_COPY), 0600);
}

static void stores_become_files(void **state)
{
	static const struct {
		const char *what, *jks, *p12, *source;
	} rows[] = {
		{"Java 17's", "store_modern.p12", NULL, "cloud.jks"},
		{"an old one", "store_legacy.p12", NULL, "cloud.jks"},
		{"converted from JKS", "store.jks", "store_modern.p12", "cloud.p12"},
		{"with two keys", "store_two_keys.p12", NULL, "cloud.jks"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(folder_freep) char *dir = folder_new();
		CLEAN(mem_freep) char *first = NULL;
		CLEAN(mem_freep) char *second = NULL;
		const struct takeover_options o = {.from = dir, .dir = dir, .in_place = true};
		struct takeover t = {0};
		struct identity made = {0};
		struct why why = WHY_NONE;

		folder_put(dir, "agent.properties", WITH_PASSPHRASE, 0640);
		put_store(dir, "cloud.jks", rows[i].jks);
		if (rows[i].p12)
			put_store(dir, "cloud.p12", rows[i].p12);
		check_row(&rows[i], takeover_is_due(&fs_posix, dir, &why) == ERR_STATE);
		if (takeover_read(&t, &fs_posix, &o, WALL_S, &why) || takeover_write(&t, &fs_posix, &o, WALL_S, &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		check_row(&rows[i], str_equal(t.source, rows[i].source));
		takeover_deinit(&t);
		check_row(&rows[i], takeover_is_due(&fs_posix, dir, &why) == ERR_OK);
		check_row(&rows[i], folder_mode(dir, "cloud.key") == 0600 && folder_mode(dir, "cloud.crt") == 0600 &&
					    folder_mode(dir, "cloud.ca.crt") == 0600);
		/* It is what muster-agent wants to start with. */
		check_row(&rows[i], identity_load(&made, &fs_posix, dir, NULL) == ERR_OK && made.key);
		check_row(&rows[i], identity_check(&made, GUID, WALL_S, NULL) == ERR_OK);
		identity_deinit(&made);
		/* Twice is as good as once. */
		first = folder_digest(dir);
		check_row(&rows[i], run(&o, WALL_S, NULL) == ERR_OK);
		second = folder_digest(dir);
		check_row(&rows[i], str_equal(first, second));
	}
}

/* Killed between two files: the next run finishes what is missing. */
static void half_a_set_is_completed(void **state)
{
	static const char *const missing[] = {"cloud.key", "cloud.crt", "cloud.ca.crt"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		CLEAN(folder_freep) char *dir = folder_new();
		CLEAN(mem_freep) char *path = path_join(dir, missing[i]);
		CLEAN(mem_freep) char *before = NULL;
		CLEAN(mem_freep) char *after = NULL;
		const struct takeover_options o = {.from = dir, .dir = dir, .in_place = true};

		folder_put(dir, "agent.properties", WITH_PASSPHRASE, 0640);
		put_store(dir, "cloud.jks", "store_modern.p12");
		assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
		before = folder_digest(dir);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
		after = folder_digest(dir);
		assert_string_equal(before, after);
	}
}

static void the_copy_is_of_the_first_time(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *copy = NULL;
	const struct takeover_options o = {.from = dir, .dir = dir, .in_place = true};

	(void)state;
	folder_put(dir, "agent.properties", PROPERTIES, 0640);
	put_pem(dir, &w.good);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	folder_put(dir, "agent.properties", PROPERTIES "muster.boot=7\n", 0640);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	copy = folder_get(dir, TAKEOVER_COPY);
	assert_string_equal(copy, PROPERTIES);
}

/* ---- a folder of its own ---- */

static void a_folder_of_its_own_gets_all(void **state)
{
	CLEAN(folder_freep) char *from = folder_new();
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *before = NULL;
	CLEAN(mem_freep) char *after = NULL;
	CLEAN(mem_freep) char *props = NULL;
	CLEAN(mem_freep) char *key = NULL;
	const struct takeover_options o = {.from = from, .dir = dir};

	(void)state;
	folder_put(from, "agent.properties", WITH_PASSPHRASE, 0640);
	put_pem(from, &w.good);
	put_store(from, "cloud.jks", "store_modern.p12");
	before = folder_digest(from);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	after = folder_digest(from);
	assert_string_equal(before, after);
	props = folder_get(dir, "agent.properties");
	key = folder_get(dir, "cloud.key");
	/* All lines but the passphrase: the store stays where it is. */
	assert_string_equal(props, PROPERTIES);
	assert_string_equal(key, w.good.key);
	assert_int_equal(folder_mode(dir, "agent.properties"), 0600);
	assert_int_equal(folder_mode(dir, "cloud.key"), 0600);
}

static void what_the_agent_has_got_since_is_kept(void **state)
{
	CLEAN(folder_freep) char *from = folder_new();
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *props = NULL;
	CLEAN(mem_freep) char *key = NULL;
	const struct takeover_options o = {.from = from, .dir = dir};

	(void)state;
	folder_put(from, "agent.properties", PROPERTIES, 0640);
	put_pem(from, &w.good);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	folder_put(dir, "agent.properties", PROPERTIES "muster.boot=7\n", 0600);
	assert_int_equal(identity_install(&fs_posix, dir, &w.later, NULL), ERR_OK);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	props = folder_get(dir, "agent.properties");
	key = folder_get(dir, "cloud.key");
	assert_string_equal(props, PROPERTIES "muster.boot=7\n");
	assert_string_equal(key, w.later.key);
}

static void a_broken_certificate_of_its_own_is_replaced(void **state)
{
	CLEAN(folder_freep) char *from = folder_new();
	CLEAN(folder_freep) char *dir = folder_new();
	CLEAN(mem_freep) char *key = NULL;
	const struct takeover_options o = {.from = from, .dir = dir};

	(void)state;
	folder_put(from, "agent.properties", PROPERTIES, 0640);
	put_pem(from, &w.good);
	folder_put(dir, "agent.properties", PROPERTIES, 0600);
	assert_int_equal(identity_install(&fs_posix, dir, &w.other_guid, NULL), ERR_OK);
	assert_int_equal(run(&o, WALL_S, NULL), ERR_OK);
	key = folder_get(dir, "cloud.key");
	assert_string_equal(key, w.good.key);
}

static void another_agents_folder_is_left_alone(void **state)
{
	static const struct {
		const char *what, *properties;
		bool has_identity;
		const char *sentence;
	} rows[] = {
		{"another guid", "guid=b\nhost=h\n", false, "is another agent's already (guid b), this one has guid "},
		{"no guid", "host=h\n", false, "is another agent's already (guid not set)"},
		{"only a certificate", NULL, true, "is another agent's already"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(folder_freep) char *from = folder_new();
		CLEAN(folder_freep) char *dir = folder_new();
		CLEAN(mem_freep) char *before = NULL;
		CLEAN(mem_freep) char *after = NULL;
		const struct takeover_options o = {.from = from, .dir = dir};
		struct why why = WHY_NONE;

		folder_put(from, "agent.properties", PROPERTIES, 0640);
		put_pem(from, &w.good);
		put_if(dir, "agent.properties", rows[i].properties);
		if (rows[i].has_identity)
			put_pem(dir, &w.foreign);
		before = folder_digest(dir);
		check_row(&rows[i], run(&o, WALL_S, &why) == ERR_EXISTS);
		if (!strstr(why.text, rows[i].sentence))
			fail_msg("%s: %s", rows[i].what, why.text);
		after = folder_digest(dir);
		check_row(&rows[i], str_equal(before, after));
	}
}

static void a_store_alone_keeps_the_agent_from_starting(void **state)
{
	CLEAN(folder_freep) char *dir = folder_new();
	struct why why = WHY_NONE;

	(void)state;
	assert_int_equal(takeover_is_due(&fs_posix, dir, &why), ERR_OK);
	put_store(dir, "cloud.jks", "store.jks");
	assert_int_equal(takeover_is_due(&fs_posix, dir, &why), ERR_STATE);
	assert_non_null(strstr(why.text, "muster-agent takeover "));
	put_pem(dir, &w.good);
	assert_int_equal(takeover_is_due(&fs_posix, dir, &why), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_refused_leaves_no_trace),
		cmocka_unit_test(key_and_certificate_are_used_where_they_are),
		cmocka_unit_test(stores_become_files),
		cmocka_unit_test(half_a_set_is_completed),
		cmocka_unit_test(the_copy_is_of_the_first_time),
		cmocka_unit_test(a_folder_of_its_own_gets_all),
		cmocka_unit_test(what_the_agent_has_got_since_is_kept),
		cmocka_unit_test(a_broken_certificate_of_its_own_is_replaced),
		cmocka_unit_test(another_agents_folder_is_left_alone),
		cmocka_unit_test(a_store_alone_keeps_the_agent_from_starting),
	};

	return cmocka_run_group_tests(tests, world_make, world_free);
}
