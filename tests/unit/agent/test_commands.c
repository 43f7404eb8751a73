/*
 * The commands as a server sees them: JSON in, JSON out. The engine's side is played here, so nothing is connected.
 */
#include "agent/daemon.h"
#include "agent/explain.h"

#include "agent_help.h"

#include <time.h>

#include "client/agent_file.h"
#include "net/world_uv.h"
#include "pki/pkcs12.h"

#define ROW_DIR GOLDEN "/kvm"
#define COMMON "\"contextMap\":{},\"wait\":0,\"bypassHostMaintenance\":false"

/* ---- the engine ---- */

struct played {
	struct daemon d;
	struct buf answer; /* the last one, as JSON */
	unsigned n_answers;
	bool is_muster;
	size_t n_candidates;
	unsigned n_creds;
	bool lazily;
	size_t n_tried;
};

static struct played *played_of(struct agent_command *c)
{
	return (struct played *)(void *)c->agent;
}

void agent_answer(struct agent_command *c, struct batch *take_b)
{
	struct played *p = played_of(c);

	buf_clear(&p->answer);
	assert_int_equal(batch_encode(take_b, &p->answer), ERR_OK);
	batch_deinit(take_b);
	p->n_answers++;
	world_uv_stop(p->d.world);
}

static void answer_with(struct agent_command *c, enum msg_type type, bool result, const char *details)
{
	struct batch b = {0};
	struct msg_answer *a = batch_add(&b, type);

	/* Both have the fields of Answer only. */
	check_there(a);
	msg_set_bool(&a->result, result);
	assert_int_equal(details ? msg_set_text(&a->details, details) : ERR_OK, ERR_OK);
	agent_answer(c, &b);
}

void agent_answer_plain(struct agent_command *c, bool result, const char *details)
{
	answer_with(c, MSG_ANSWER, result, details);
}

void agent_answer_unsupported(struct agent_command *c)
{
	answer_with(c, MSG_UNSUPPORTED_ANSWER, false, NULL);
}

void agent_look(const struct agent *a, struct agent_view *out)
{
	const struct played *p = (const void *)a;

	*out = (struct agent_view){.is_muster = p->is_muster,
				   .state = AGENT_UP,
				   .next_check = MONO_NEVER,
				   .failback_again = MONO_NEVER,
				   .commands = 3};
}

size_t agent_explain(struct agent *a, const struct candidate **candidates)
{
	static struct candidate all[2000];
	const struct played *p = (const void *)a;

	for (size_t i = 0; i < p->n_candidates; i++)
		all[i] = (struct candidate){.entry = "m1.example.org",
					    .verdict = CHOICE_BACKING_OFF,
					    .last_error = ERR_UNREACHABLE,
					    .sentence = "connection refused"};
	*candidates = all;
	return p->n_candidates;
}

const char *agent_state_name(enum agent_state s)
{
	return s == AGENT_UP ? "up" : "?";
}

enum err agent_set_creds(struct agent *a, struct tls_creds *creds, bool lazily)
{
	struct played *p = (void *)a;

	p->n_creds++;
	p->lazily = lazily;
	return ERR_OK;
}

enum err agent_try_creds(struct agent *a, struct tls_creds *creds)
{
	struct played *p = (void *)a;

	p->n_creds++;
	p->n_tried++;
	return ERR_OK;
}

/* ---- an agent in a folder ---- */

static void played_make(struct played *p, const char *extra)
{
	CLEAN(mem_freep) char *text = mem_printf("guid=g\nhost=a\nmuster.name=h1\n%s", extra ? extra : "");
	CLEAN(mem_freep) char *path = NULL;
	const struct settings_voice silent = {0};
	struct daemon *d = &p->d;

	*p = (struct played){.is_muster = true};
	d->dir = folder_new();
	d->fs = &fs_posix;
	d->roots = (struct facts_roots){
		.fs = &fs_posix, .proc = ROW_DIR "/proc", .sys = ROW_DIR "/sys", .os_release = ROW_DIR "/os-release"};
	list_init(&d->pings);
	folder_put(d->dir, "agent.properties", text, 0600);
	path = path_join(d->dir, "agent.properties");
	assert_int_equal(agent_file_open(&d->file, &fs_posix, path, NULL), ERR_OK);
	assert_int_equal(agent_settings_load(&d->settings, agent_file_props(d->file), path, &silent), ERR_OK);
	assert_int_equal(world_uv_new(&d->world, NULL), ERR_OK);
	assert_int_equal(facts_read(&d->facts, &d->roots), ERR_OK);
	d->agent = (struct agent *)(void *)p;
}

static void played_deinit(struct played *p)
{
	struct daemon *d = &p->d;
	char *dir = (char *)(uintptr_t)d->dir;

	pings_stop(d);
	d->health = health_free(d->health);
	credentials_deinit(d);
	world_uv_free(d->world);
	facts_deinit(&d->facts);
	str_list_deinit(&d->params);
	agent_settings_deinit(&d->settings);
	agent_file_free(d->file);
	buf_deinit(&p->answer);
	folder_freep(&dir);
}

/* Sends one command and waits for its answer. */
static const char *ask(struct played *p, const char *class_name, const char *fields)
{
	CLEAN(mem_freep) char *body = mem_printf("[{\"%s\":{%s%s" COMMON "}}]", class_name, fields, *fields ? "," : "");
	CLEAN(batch_deinit) struct batch b = {0};
	struct agent_command c = {0};
	unsigned n = p->n_answers;

	assert_int_equal(batch_decode(&b, body, strlen(body), NULL), ERR_OK);
	assert_int_equal(b.n, 1);
	c.element = &b.elements[0];
	c.agent = p->d.agent;
	commands_run(&p->d, &c);
	while (p->n_answers == n)
		world_uv_run(p->d.world);
	assert_int_equal(p->n_answers, n + 1);
	return buf_str(&p->answer);
}

#define API "com.cloud.agent.api."
#define CA "org.apache.cloudstack.ca."
#define ANSWER(name, fields) "[{\"" API name "\":{" fields COMMON "}}]"

static void commands_are_answered(void **state)
{
	static const struct {
		const char *what, *class_name, *fields, *answer;
	} rows[] = {
		{"health, without a script", API "CheckHealthCommand", "",
		 ANSWER("CheckHealthAnswer", "\"result\":true,\"details\":\"resource is alive\",")},
		{"figures", API "GetHostStatsCommand", "\"hostGuid\":\"g\",\"hostName\":\"h1\",\"hostId\":7",
		 ANSWER("GetHostStatsAnswer",
			"\"hostStats\":{\"hostId\":7,\"entityType\":\"host\",\"cpuUtilization\":18.0,\"averageLoad\":1.25,"
			"\"networkReadKBs\":2000.0,\"networkWriteKBs\":1000.0,\"totalMemoryKBs\":1.5335424E7,"
			"\"freeMemoryKBs\":6151424.0},\"result\":true,")},
		{"no time has passed since", API "GetHostStatsCommand", "\"hostId\":8",
		 ANSWER("GetHostStatsAnswer",
			"\"hostStats\":{\"hostId\":8,\"entityType\":\"host\",\"cpuUtilization\":0.0,\"averageLoad\":1.25,"
			"\"networkReadKBs\":2000.0,\"networkWriteKBs\":1000.0,\"totalMemoryKBs\":1.5335424E7,"
			"\"freeMemoryKBs\":6151424.0},\"result\":true,")},
		{"parameters", API "SetHostParamsCommand", "\"params\":{\"migratewait\":\"5\",\"a\":\"b\"}",
		 ANSWER("Answer", "\"result\":true,")},
		{"one of them again", API "SetHostParamsCommand", "\"params\":{\"migratewait\":\"6\"}",
		 ANSWER("Answer", "\"result\":true,")},
		{"no networks", API "CheckNetworkCommand", "\"networkInfoList\":[]",
		 ANSWER("CheckNetworkAnswer", "\"_reconnect\":false,\"result\":true,")},
		{"networks that are there", API "CheckNetworkCommand",
		 "\"networkInfoList\":[{\"physicalNetworkId\":200,\"privateNetworkName\":\"cloudbr0\"}]",
		 ANSWER("CheckNetworkAnswer", "\"_reconnect\":false,\"result\":true,")},
		{"and others", API "CheckNetworkCommand",
		 "\"networkInfoList\":[{\"privateNetworkName\":\"cloudbr7\",\"publicNetworkName\":\"../net/cloudbr0\","
		 "\"guestNetworkName\":\"cloudbr7\"},7]",
		 ANSWER("CheckNetworkAnswer",
			"\"_reconnect\":false,\"result\":true,\"details\":\"not on this host: cloudbr7, ../net/cloudbr0\",")},
		{"rules", API "CleanupNetworkRulesCmd", "\"interval\":1800", ANSWER("Answer", "\"result\":true,")},
		{"a ping to a name", API "PingTestCommand", "\"_computingHostIp\":\"host\"",
		 ANSWER("Answer", "\"result\":false,\"details\":\"\\\"host\\\" is no address\",")},
		{"a ping from a router", API "PingTestCommand",
		 "\"_routerIp\":\"10.0.0.1\",\"_privateIp\":\"10.0.0.2\"",
		 ANSWER("Answer",
			"\"result\":false,\"details\":\"there are no virtual routers on this host that could ping\",")},
		{"a key for a system VM", CA "SetupKeyStoreCommand", "\"validityDays\":1,\"handleByAgent\":false",
		 "[{\"" CA
		 "SetupKeystoreAnswer\":{\"result\":false,\"details\":\"there are no system VMs on this host\"," COMMON
		 "}}]"},
		{"a certificate for a system VM", CA "SetupCertificateCommand", "\"handleByAgent\":false",
		 "[{\"" CA "SetupCertificateAnswer\":{\"result\":false,\"details\":\"there are no system VMs on this "
		 "host\"," COMMON "}}]"},
		{"a certificate that is none", CA "SetupCertificateCommand",
		 "\"handleByAgent\":true,\"certificate\":\"\"",
		 "[{\"" CA
		 "SetupCertificateAnswer\":{\"result\":false,\"details\":\"certificate or CA is missing\"," COMMON
		 "}}]"},
		{"what nobody does here", API "ConsoleProxyLoadReportCommand", "\"_proxyVmId\":1",
		 ANSWER("UnsupportedAnswer", "\"result\":false,")},
	};
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *params = NULL;

	played_make(&p, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *answer = ask(&p, rows[i].class_name, rows[i].fields);

		if (!str_equal(answer, rows[i].answer))
			fail_msg("%s: %s", rows[i].what, answer);
	}
	params = str_list_join(&p.d.params, " ");
	assert_string_equal(params, "migratewait=6 a=b");
}

static void health_is_the_scripts(void **state)
{
	static const struct {
		const char *what, *script, *answer;
	} rows[] = {
		{"healthy", "#!/bin/sh\nexit 0\n", "\"result\":true,\"details\":\"resource is alive\","},
		{"not healthy", "#!/bin/sh\nexit 1\n", "\"result\":false,\"details\":\"the health script says no\","},
		{"not known, but alive", "#!/bin/sh\nexit 7\n",
		 "\"result\":true,\"details\":\"the health script ended with"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(played_deinit) struct played p;
		CLEAN(mem_freep) char *path = NULL;

		played_make(&p, NULL);
		folder_put(p.d.dir, "script", rows[i].script, 0700);
		path = path_join(p.d.dir, "script");
		assert_int_equal(health_new(&p.d.health, p.d.world, NULL, path, 60), ERR_OK);
		check_row(&rows[i], strstr(ask(&p, API "CheckHealthCommand", ""), rows[i].answer));
	}
}

static void pings_come_back(void **state)
{
	static const char *const addresses[] = {"127.0.0.1", "::1"};

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		CLEAN(played_deinit) struct played p;
		CLEAN(mem_freep) char *fields = mem_printf("\"_computingHostIp\":\"%s\"", addresses[i]);
		const char *answer;

		played_make(&p, NULL);
		answer = ask(&p, API "PingTestCommand", fields);
		if (strstr(answer, "may not send pings") || strstr(answer, "no way to ::1"))
			print_message("%s: not on this machine\n", addresses[i]);
		else
			assert_string_equal(answer, ANSWER("Answer", "\"result\":true,"));
	}
}

static void ssh_keys_are_kept(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *private = NULL;
	CLEAN(mem_freep) char *public = NULL;

	played_make(&p, NULL);
	assert_non_null(
		strstr(ask(&p, API "ModifySshKeysCommand", "\"_pubKey\":\"\",\"_prvKey\":\"x\""), "\"result\":false"));
	assert_string_equal(
		ask(&p, API "ModifySshKeysCommand", "\"_pubKey\":\"ssh-rsa A\",\"_prvKey\":\"KEY\\nEND\\n\""),
		ANSWER("Answer", "\"result\":true,"));
	private = folder_get(p.d.dir, "id_rsa.cloud");
	public = folder_get(p.d.dir, "id_rsa.cloud.pub");
	assert_string_equal(private, "KEY\nEND\n");
	assert_string_equal(public, "ssh-rsa A\n");
	assert_int_equal(folder_mode(p.d.dir, "id_rsa.cloud"), 0600);
	assert_int_equal(folder_mode(p.d.dir, "id_rsa.cloud.pub"), 0600);
}

/* ---- certificates ---- */

static char *csr_of(const char *answer)
{
	CLEAN(batch_deinit) struct batch b = {0};
	const struct msg_setup_keystore_answer *a;

	assert_int_equal(batch_decode(&b, answer, strlen(answer), NULL), ERR_OK);
	a = batch_find(&b, MSG_SETUP_KEYSTORE_ANSWER);
	check_there(a);
	check_there(a->csr);
	return mem_strdup(a->csr);
}

/* As the fields of a SetupCertificateCommand. */
static char *certificate_fields(const char *cert, const char *key, const char *ca)
{
	json_t *j = json_pack("{s:s,s:s,s:s,s:b}", "certificate", cert, "privateKey", key, "caCertificates", ca,
			      "handleByAgent", 1);
	char *text = json_dumps(j, JSON_COMPACT), *fields;

	json_decref(j);
	check_there(text);
	fields = mem_strndup(text + 1, strlen(text) - 2);
	free(text);
	return fields;
}

static char *sign(const char *csr, const char *ca_key, const char *ca, const char *guid)
{
	struct cert_params c = {
		.ca_cert_pem = ca,
		.ca_key_pem = ca_key,
		.csr_pem = csr,
		.common_name = "h1",
		.role = CERT_ROLE_AGENT,
		.id = guid,
		.not_before_s = time(NULL) - 10,
		.not_after_s = time(NULL) + 1000,
		.serial = {9},
	};
	char *pem;

	assert_int_equal(cert_new(&pem, &c, NULL), ERR_OK);
	return pem;
}

static void a_renewal_goes_through(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *csr = NULL;
	CLEAN(mem_freep) char *cert = NULL;
	CLEAN(mem_freep) char *fields = NULL;
	CLEAN(mem_freep) char *ca = NULL;
	CLEAN(identity_deinit) struct identity old = {0};
	CLEAN(identity_deinit) struct identity found = {0};
	struct csr_info info = {0};
	char *ca_key;

	played_make(&p, NULL);
	ca_make(&ca_key, &ca, time(NULL));
	old = identity_make(ca_key, ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
	assert_int_equal(identity_install(&fs_posix, p.d.dir, &old, NULL), ERR_OK);
	assert_int_equal(credentials_load(&p.d, NULL), ERR_OK);

	/* 1. A key, beside the one in use. */
	csr = csr_of(ask(&p, CA "SetupKeyStoreCommand",
			 "\"validityDays\":365,\"keystorePassword\":\"abcdefghijklmnop\",\"handleByAgent\":true"));
	assert_int_equal(csr_info_parse(&info, csr, NULL), ERR_OK);
	assert_false(info.is_rsa);
	assert_string_equal(info.id, "g");
	assert_string_equal(info.common_name, "h1");
	csr_info_deinit(&info);
	assert_int_equal(folder_mode(p.d.dir, "cloud.key.new"), 0600);
	assert_int_equal(folder_mode(p.d.dir, "cloud.csr"), 0600);
	assert_string_equal(agent_file_get(p.d.file, "keystore.passphrase"), "abcdefghijklmnop");
	assert_int_equal(identity_load(&found, &fs_posix, p.d.dir, NULL), ERR_OK);
	assert_string_equal(found.cert, old.cert);
	identity_deinit(&found);

	/* 2. Its certificate. */
	cert = sign(csr, ca_key, ca, "g");
	fields = certificate_fields(cert, "", ca);
	assert_string_equal(ask(&p, CA "SetupCertificateCommand", fields),
			    "[{\"" CA "SetupCertificateAnswer\":{\"result\":true," COMMON "}}]");
	assert_int_equal(p.n_creds, 1);
	assert_int_equal(p.n_tried, 1);
	assert_int_equal(identity_load(&found, &fs_posix, p.d.dir, NULL), ERR_OK);
	assert_string_equal(found.cert, cert);
	assert_string_not_equal(found.key, old.key);
	assert_int_equal(folder_mode(p.d.dir, "cloud.key.new"), 0);

	/* 3. Another passphrase doesn't replace the stored one. */
	mem_free(csr_of(ask(&p, CA "SetupKeyStoreCommand",
			    "\"validityDays\":365,\"keystorePassword\":\"other\",\"handleByAgent\":true")));
	assert_string_equal(agent_file_get(p.d.file, "keystore.passphrase"), "abcdefghijklmnop");
	key_free(ca_key);
}

/* In place and started, as by a join; the CA of the next ones. */
struct renewing {
	struct played p;
	char *ca_key, *ca;
	struct identity old;
};

static void renewing_make(struct renewing *r)
{
	played_make(&r->p, NULL);
	ca_make(&r->ca_key, &r->ca, time(NULL));
	r->old = identity_make(r->ca_key, r->ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
	assert_int_equal(identity_install(&fs_posix, r->p.d.dir, &r->old, NULL), ERR_OK);
	assert_int_equal(credentials_load(&r->p.d, NULL), ERR_OK);
	assert_non_null(r->p.d.creds);
	assert_null(r->p.d.old_creds);
}

static void renewing_deinit(struct renewing *r)
{
	key_free(r->ca_key);
	mem_free(r->ca);
	identity_deinit(&r->old);
	played_deinit(&r->p);
}

static bool is_in_place(const struct renewing *r, const struct identity *i)
{
	CLEAN(identity_deinit) struct identity found = {0};

	assert_int_equal(identity_load(&found, &fs_posix, r->p.d.dir, NULL), ERR_OK);
	return str_equal(found.cert, i->cert) && str_equal(found.key, i->key) && str_equal(found.ca, i->ca);
}

static void renew_with(struct renewing *r, const struct identity *fresh, const char *key)
{
	CLEAN(mem_freep) char *fields = certificate_fields(fresh->cert, key, fresh->ca);

	assert_non_null(strstr(ask(&r->p, CA "SetupCertificateCommand", fields), "\"result\":true"));
}

static bool explain_says(struct renewing *r, const char *part)
{
	CLEAN(buf_deinit) struct buf line = {0};
	CLEAN(buf_deinit) struct buf text = {0};

	assert_int_equal(daemon_explain(&r->p.d, &line), ERR_OK);
	assert_int_equal(explain_text(&text, buf_str(&line), NULL), ERR_OK);
	return strstr(buf_str(&text), part);
}

/* The old one stays until the engine says which of the two does; a restart in between knows of both. */
static void the_old_one_stays_until_the_new_one_was_used(void **state)
{
	static const struct {
		const char *what;
		bool is_restarted, new_stays;
	} rows[] = {
		{"used", false, true},
		{"not taken", false, false},
		{"used after a restart", true, true},
		{"not taken after a restart", true, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(renewing_deinit) struct renewing r;
		CLEAN(identity_deinit) struct identity fresh = {0};
		struct daemon *d = &r.p.d;

		renewing_make(&r);
		fresh = identity_make(r.ca_key, r.ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
		renew_with(&r, &fresh, fresh.key);
		check_row(&rows[i], is_in_place(&r, &fresh) && folder_mode(d->dir, "cloud.crt.old") == 0600);
		check_row(&rows[i], d->old_creds && d->creds != d->old_creds && r.p.n_tried == 1);
		if (rows[i].is_restarted) {
			credentials_deinit(d);
			memset(d->identity, 0, sizeof(d->identity));
			assert_int_equal(credentials_load(d, NULL), ERR_OK);
			check_row(&rows[i], d->creds && d->old_creds);
		}
		credentials_judged(d, rows[i].new_stays, rows[i].new_stays ? "" : "refused: \"no\"");
		check_row(&rows[i], is_in_place(&r, rows[i].new_stays ? &fresh : &r.old));
		check_row(&rows[i], d->creds && !d->old_creds);
		check_row(&rows[i], !folder_mode(d->dir, "cloud.crt.old") && !folder_mode(d->dir, "cloud.key.old"));
		check_row(&rows[i],
			  explain_says(&r, "the last renewal was given up, the old one stays: refused: \"no\"") ==
				  !rows[i].new_stays);
		check_row(&rows[i],
			  explain_says(&r,
				       "certificate    for host g, expires in 16 min\n"
				       "               serial 42000000000000000000000000000000, issued by CN=ca\n"));
	}
}

static void put_by_hand(const struct renewing *r, const struct identity *i)
{
	folder_put(r->p.d.dir, "cloud.key", i->key, 0600);
	folder_put(r->p.d.dir, "cloud.crt", i->cert, 0600);
	folder_put(r->p.d.dir, "cloud.ca.crt", i->ca, 0600);
}

/* An operator puts other files there while a new certificate is on trial, and doesn't say so. */
static void what_an_operator_puts_there_during_a_trial_stays(void **state)
{
	enum { GIVEN_UP, PROVEN, RENEWED, RESTARTED, RELOADED };
	static const struct {
		const char *what;
		int then;
	} rows[] = {
		{"the new one is given up", GIVEN_UP},   {"the new one is proven", PROVEN},
		{"another renewal comes", RENEWED},      {"the agent is started again", RESTARTED},
		{"the agent is told to look", RELOADED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(renewing_deinit) struct renewing r;
		CLEAN(identity_deinit) struct identity fresh = {0};
		CLEAN(identity_deinit) struct identity by_hand = {0};
		CLEAN(mem_freep) char *fields = NULL;
		struct daemon *d = &r.p.d;
		size_t n_creds;

		renewing_make(&r);
		fresh = identity_make(r.ca_key, r.ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
		by_hand = identity_make(r.ca_key, r.ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
		fields = certificate_fields(r.old.cert, r.old.key, r.ca);
		renew_with(&r, &fresh, fresh.key);
		put_by_hand(&r, &by_hand);
		n_creds = r.p.n_creds;
		switch (rows[i].then) {
		case GIVEN_UP:
		case PROVEN:
			credentials_judged(d, rows[i].then == PROVEN, "no");
			break;
		case RENEWED:
			check_row(&rows[i], strstr(ask(&r.p, CA "SetupCertificateCommand", fields),
						   "was replaced by somebody else and is not in use yet"));
			check_row(&rows[i], is_in_place(&r, &by_hand) && r.p.n_creds == n_creds);
			continue;
		case RESTARTED:
			credentials_deinit(d);
			memset(d->identity, 0, sizeof(d->identity));
			assert_int_equal(credentials_load(d, NULL), ERR_OK);
			break;
		default:
			assert_int_equal(credentials_reload(d, NULL), ERR_OK);
			break;
		}
		check_row(&rows[i], is_in_place(&r, &by_hand) && d->creds && !d->old_creds);
		check_row(&rows[i], !folder_mode(d->dir, "cloud.crt.old") && !folder_mode(d->dir, "cloud.ours"));
		/* Told to look, it takes it, for good. */
		assert_int_equal(credentials_reload(d, NULL), ERR_OK);
		check_row(&rows[i], explain_says(&r, "certificate    for host g, expires in 16 min"));
		check_row(&rows[i], is_in_place(&r, &by_hand) && !d->old_creds);
	}
}

/* A rotation of the CA: old and new, then new alone; the certificate may be the same. */
static void the_cas_alone_may_be_renewed(void **state)
{
	CLEAN(renewing_deinit) struct renewing r;
	CLEAN(mem_freep) char *other_ca = NULL;
	CLEAN(mem_freep) char *both = NULL;
	CLEAN(mem_freep) char *fields = NULL;
	struct identity i;
	char *other_key;

	renewing_make(&r);
	ca_make(&other_key, &other_ca, time(NULL));
	both = mem_printf("%s%s", r.ca, other_ca);
	i = (struct identity){.key = r.old.key, .cert = r.old.cert, .ca = both};
	renew_with(&r, &i, "");
	assert_true(is_in_place(&r, &i));
	assert_non_null(r.p.d.old_creds);
	credentials_judged(&r.p.d, true, "");
	assert_true(is_in_place(&r, &i));
	/* Without the CA of its own certificate: such a set is never sent by a server that knows what it does. */
	fields = certificate_fields(r.old.cert, "", other_ca);
	assert_non_null(strstr(ask(&r.p, CA "SetupCertificateCommand", fields), "\"result\":false"));
	assert_true(is_in_place(&r, &i));
	assert_null(r.p.d.old_creds);
	key_free(other_key);
}

/* Runs a program on the store; what it prints has to have each of those. */
static void check_with(const char *program, const char *command, const char *const *parts)
{
	CLEAN(buf_deinit) struct buf text = {0};
	char find[128], piece[512];
	FILE *out;
	size_t n;

	snprintf(find, sizeof(find), "command -v %s >/dev/null 2>&1", program);
	if (system(find) != 0) {
		print_message("  SKIPPED: %s is not installed, the key store was not looked at with it\n", program);
		return;
	}
	out = popen(command, "r");
	check_there(out);
	while ((n = fread(piece, 1, sizeof(piece), out)) > 0)
		assert_int_equal(buf_put(&text, piece, n), ERR_OK);
	if (pclose(out) != 0)
		fail_msg("%s: %s", command, buf_str(&text));
	for (; *parts; parts++)
		if (!strstr(buf_str(&text), *parts))
			fail_msg("%s: no \"%s\" in %s", command, *parts, buf_str(&text));
}

#define STORE_PASSPHRASE "Ab3dEf6hJk9mNp2Q"

/* CloudStack's agent can be started again after a renewal: its key store has the new key. */
static void a_key_store_is_kept_in_step(void **state)
{
	static const struct {
		const char *what, *passphrase;
		bool is_written;
	} rows[] = {
		{"one that the passphrase opens", STORE_PASSPHRASE, true},
		{"one that it doesn't open is somebody else's", "another", false},
		{"without a passphrase nobody could open it", NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(renewing_deinit) struct renewing r;
		CLEAN(identity_deinit) struct identity fresh = {0};
		CLEAN(mem_freep) char *store = NULL;
		CLEAN(mem_freep) char *command = NULL;
		CLEAN(mem_freep) char *keytool = NULL;
		CLEAN(buf_deinit) struct buf before = {0};
		CLEAN(buf_deinit) struct buf after = {0};
		struct pkcs12 p = {0};
		struct daemon *d = &r.p.d;

		renewing_make(&r);
		store = path_join(d->dir, "cloud.jks");
		assert_int_equal(file_read(&fs_posix, PKI "/store_modern.p12", 1u << 20, &before, NULL), ERR_OK);
		assert_int_equal(file_replace(&fs_posix, store, 0600, before.data, before.len, NULL), ERR_OK);
		if (rows[i].passphrase) {
			const struct agent_change change = {.key = "keystore.passphrase", .value = rows[i].passphrase};

			assert_int_equal(agent_file_change(d->file, &change, 1, NULL), ERR_OK);
		}
		fresh = identity_make(r.ca_key, r.ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
		renew_with(&r, &fresh, fresh.key);
		credentials_judged(d, true, "");
		for (bool is_done = false; !is_done;) {
			world_uv_turn(d->world);
			buf_clear(&after);
			assert_int_equal(file_read(&fs_posix, store, 1u << 20, &after, NULL), ERR_OK);
			is_done = !rows[i].is_written || after.len != before.len ||
				  memcmp(after.data, before.data, after.len) != 0;
		}
		if (!rows[i].is_written)
			continue;
		assert_int_equal(pkcs12_open(&p, after.data, after.len, STORE_PASSPHRASE, "cloud", NULL), ERR_OK);
		assert_string_equal(p.cert, fresh.cert);
		assert_string_equal(p.ca, fresh.ca);
		assert_int_equal(key_matches_cert(p.key, fresh.cert, NULL), ERR_OK);
		pkcs12_deinit(&p);
		assert_int_equal(folder_mode(d->dir, "cloud.jks"), 0600);
		command = mem_printf("openssl pkcs12 -in %s -passin pass:" STORE_PASSPHRASE " -nodes 2>&1", store);
		check_with("openssl", command,
			   (const char *const[]){"friendlyName: cloud\n", "friendlyName: cloudca.1\n", "PRIVATE KEY",
						 "2.16.840.1.113894.746875.1.1", NULL});
		keytool = mem_printf(
			"keytool -J-Duser.language=en -list -keystore %s -storepass " STORE_PASSPHRASE " 2>&1", store);
		check_with(
			"keytool", keytool,
			(const char *const[]){"PrivateKeyEntry", "cloudca.1", "trustedCertEntry", "2 entries", NULL});
	}
}

/* It starts with what has expired, because only so can it be renewed. */
static void an_expired_certificate_starts(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *ca = NULL;
	CLEAN(identity_deinit) struct identity old = {0};
	int64_t then = time(NULL) - 90000;
	char *ca_key;

	played_make(&p, NULL);
	ca_make(&ca_key, &ca, then);
	old = identity_make(ca_key, ca, CERT_ROLE_AGENT, "g", NULL, then);
	assert_int_equal(identity_install(&fs_posix, p.d.dir, &old, NULL), ERR_OK);
	assert_int_equal(credentials_load(&p.d, NULL), ERR_OK);
	assert_non_null(p.d.creds);
	key_free(ca_key);
}

static void cloudstack_gets_an_rsa_key(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *csr = NULL;
	struct csr_info info = {0};

	played_make(&p, NULL);
	p.is_muster = false;
	csr = csr_of(ask(&p, CA "SetupKeyStoreCommand",
			 "\"validityDays\":365,\"keystorePassword\":\"p\",\"handleByAgent\":true"));
	assert_int_equal(csr_info_parse(&info, csr, NULL), ERR_OK);
	assert_true(info.is_rsa);
	assert_int_equal(info.role, CERT_ROLE_NONE);
	assert_true(str_starts(csr, "-----BEGIN NEW CERTIFICATE REQUEST-----"));
	csr_info_deinit(&info);
}

/* Whatever is wrong with it: said, and nothing has changed. */
static void bad_certificates_are_refused(void **state)
{
	enum { OTHER_GUID, OTHER_CA, SERVER, NO_KEY, OTHER_KEY, NONSENSE };
	static const struct {
		const char *what;
		int which;
		const char *why;
	} rows[] = {
		{"another host's", OTHER_GUID, "guid other"},
		{"of another CA", OTHER_CA, "the certificate can't be used"},
		{"a server's", SERVER, "management server"},
		{"whose key nobody has", NO_KEY, "the certificate can't be used"},
		{"with another key", OTHER_KEY, "can't be used"},
		{"that is none", NONSENSE, "can't be used"},
	};
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *ca = NULL;
	CLEAN(mem_freep) char *other_ca = NULL;
	CLEAN(identity_deinit) struct identity old = {0};
	char *ca_key, *other_key;

	played_make(&p, NULL);
	ca_make(&ca_key, &ca, time(NULL));
	ca_make(&other_key, &other_ca, time(NULL));
	old = identity_make(ca_key, ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
	assert_int_equal(identity_install(&fs_posix, p.d.dir, &old, NULL), ERR_OK);
	assert_int_equal(credentials_load(&p.d, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEAN(identity_deinit)
		struct identity bad = identity_make(rows[i].which == OTHER_CA ? other_key : ca_key,
						    rows[i].which == OTHER_CA ? other_ca : ca,
						    rows[i].which == SERVER ? CERT_ROLE_SERVER : CERT_ROLE_AGENT,
						    rows[i].which == OTHER_GUID ? "other" : "g", NULL, time(NULL));
		CLEAN(identity_deinit) struct identity found = {0};
		CLEAN(mem_freep)
		char *fields = certificate_fields(rows[i].which == NONSENSE ? "nonsense" : bad.cert,
						  rows[i].which == NO_KEY      ? ""
						  : rows[i].which == OTHER_KEY ? old.key
									       : bad.key,
						  ca);
		const char *answer = ask(&p, CA "SetupCertificateCommand", fields);

		if (!strstr(answer, "\"result\":false"))
			fail_msg("%s was taken", rows[i].what);
		/* The answer's quotes are Gson's: look at the words only. */
		check_row(&rows[i], strstr(answer, rows[i].why) || strstr(answer, "can\\u0027t be used"));
		check_row(&rows[i], identity_load(&found, &fs_posix, p.d.dir, NULL) == ERR_OK);
		check_row(&rows[i], str_equal(found.cert, old.cert) && str_equal(found.key, old.key));
		check_row(&rows[i], p.n_creds == 0);
	}
	key_free(ca_key);
	key_free(other_key);
}

static void a_key_may_come_with_its_certificate(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(mem_freep) char *ca = NULL;
	CLEAN(mem_freep) char *fields = NULL;
	CLEAN(identity_deinit) struct identity fresh = {0};
	CLEAN(identity_deinit) struct identity found = {0};
	char *ca_key;

	played_make(&p, NULL);
	ca_make(&ca_key, &ca, time(NULL));
	fresh = identity_make(ca_key, ca, CERT_ROLE_AGENT, "g", NULL, time(NULL));
	fields = certificate_fields(fresh.cert, fresh.key, ca);
	assert_non_null(strstr(ask(&p, CA "SetupCertificateCommand", fields), "\"result\":true"));
	assert_int_equal(identity_load(&found, &fs_posix, p.d.dir, NULL), ERR_OK);
	assert_string_equal(found.key, fresh.key);
	assert_int_equal(p.n_creds, 1);
	key_free(ca_key);
}

/* What a server may make an agent hold and look for is limited. */
static void huge_questions_get_small_answers(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(buf_deinit) struct buf networks = {0};
	CLEAN(mem_freep) char *value = mem_zalloc(100001);
	CLEAN(mem_freep) char *fields = NULL;

	played_make(&p, NULL);
	memset(value, 'v', 100000);
	fields = mem_printf("\"params\":{\"a\":\"%s\"}", value);
	assert_non_null(strstr(ask(&p, API "SetHostParamsCommand", fields), "\"result\":false"));
	assert_int_equal(p.d.params.n, 0);

	assert_int_equal(buf_put_str(&networks, "\"networkInfoList\":["), ERR_OK);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&networks, "%s{\"privateNetworkName\":\"none%zu\"}", i ? "," : "", i),
				 ERR_OK);
	assert_int_equal(buf_put_str(&networks, "]"), ERR_OK);
	assert_true(strlen(ask(&p, API "CheckNetworkCommand", buf_str(&networks))) < 2000);
}

/* The same as on the spot, but for what the server knows best and for the question itself. */
static void a_server_is_told_why_it_is_where_it_is(void **state)
{
	CLEAN(played_deinit) struct played p;
	CLEAN(buf_deinit) struct buf line = {0};
	const char *answer;

	played_make(&p, NULL);
	p.n_candidates = 2;
	ask(&p, API "SetHostParamsCommand", "\"params\":{\"migratewait\":\"5\"}");
	answer = ask(&p, "muster.ExplainCommand", "");
	assert_non_null(strstr(answer, "[{\"muster.ExplainAnswer\":{\"explained\":{\"name\":\"h1\",\"guid\":\"g\","));
	assert_non_null(strstr(answer, "\"candidates\":[{\"server\":\"m1.example.org\",\"verdict\":\"backing off\","));
	assert_non_null(strstr(answer, "\"commands\":2,"));
	assert_non_null(strstr(answer, "\"host_params\":[],\"identity\":null,\"better\":null},\"result\":true,"));
	assert_int_equal(daemon_explain(&p.d, &line), ERR_OK);
	assert_non_null(strstr(buf_str(&line), "\"commands\":3,"));
	assert_non_null(
		strstr(buf_str(&line), "\"host_params\":[\"migratewait=5\"],\"identity\":null,\"better\":null}"));

	/* Bounded, whatever the list is. */
	p.n_candidates = 2000;
	answer = ask(&p, "muster.ExplainCommand", "");
	assert_non_null(strstr(answer, "\"result\":false,\"details\":\"what there is to tell is too long\""));

	/* A server of CloudStack can't have meant it. */
	p.is_muster = false;
	assert_non_null(strstr(ask(&p, "muster.ExplainCommand", ""), "UnsupportedAnswer"));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_answered),
		cmocka_unit_test(health_is_the_scripts),
		cmocka_unit_test(pings_come_back),
		cmocka_unit_test(ssh_keys_are_kept),
		cmocka_unit_test(a_renewal_goes_through),
		cmocka_unit_test(the_old_one_stays_until_the_new_one_was_used),
		cmocka_unit_test(what_an_operator_puts_there_during_a_trial_stays),
		cmocka_unit_test(the_cas_alone_may_be_renewed),
		cmocka_unit_test(a_key_store_is_kept_in_step),
		cmocka_unit_test(an_expired_certificate_starts),
		cmocka_unit_test(cloudstack_gets_an_rsa_key),
		cmocka_unit_test(bad_certificates_are_refused),
		cmocka_unit_test(a_key_may_come_with_its_certificate),
		cmocka_unit_test(huge_questions_get_small_answers),
		cmocka_unit_test(a_server_is_told_why_it_is_where_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
