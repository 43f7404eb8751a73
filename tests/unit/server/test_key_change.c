/* The cluster key is changed: what is sealed, the two files, and servers that run meanwhile. */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"
#include "server/key_change.h"
#include "server/keyring.h"
#include "server/rotation.h"

#define FILE_KEY "/k/cluster.key"
#define FILE_NEXT FILE_KEY CLUSTER_KEY_NEXT

static const uint8_t bench_key[CLUSTER_KEY_SIZE] = {1, 2, 3}; /* the bench's */
static const uint8_t new_key[CLUSTER_KEY_SIZE] = {7, 7, 7}, other_key[CLUSTER_KEY_SIZE] = {9};
static const uint8_t nonce[12] = {5};

/* ---- a store with something of everything ---- */

#define JOB_UUID "11111111-2222-4333-8444-555555555555"

struct store_bench {
	struct fake_world *f;
	struct world *world;
	struct store *store;
};

static char *sealed_under(const uint8_t *key, const char *context, const char *plain)
{
	CLEAN(buf_deinit) struct buf b = {0};

	assert_int_equal(seal_bytes(&b, key, nonce, plain, strlen(plain), context), ERR_OK);
	return base64url_encode(b.data, b.len);
}

static char *line_of(const uint8_t *key)
{
	CLEAN(mem_freep) char *text = base64url_encode(key, CLUSTER_KEY_SIZE);

	return mem_printf("%s\n", text);
}

static void file_has(struct fake_world *f, const uint8_t *key)
{
	CLEAN(mem_freep) char *line = line_of(key);

	assert_string_equal(fake_file_get(f, FILE_KEY), line);
	assert_null(fake_file_get(f, FILE_NEXT));
}

static enum err in_store(struct store *store, enum err (*run)(struct store_tx *tx, void *arg, struct why *why),
			 void *arg, struct why *why)
{
	struct store_call call = {.run = run, .arg = arg}, *calls[] = {&call};
	enum err e = store_run(store, calls, 1, why);

	if (!e && call.result)
		*why = call.why;
	return e ? e : call.result;
}

static enum err fill_run(struct store_tx *tx, void *arg, struct why *why)
{
	static const char *const names[] = {"ca.sealed_key", "ca.other.sealed_key", "ca.next.sealed_key"};
	CLEAN(mem_freep) char *tickets = sealed_under(bench_key, SEALED_TICKET_KEYS, "tickets");
	CLEAN(mem_freep) char *private_key = sealed_under(bench_key, "muster job " JOB_UUID, "{}");
	CLEAN(mem_freep) char *result = mem_printf("{\"sealed\":\"%s\"}", private_key);
	struct job_row job = {.uuid = JOB_UUID, .command = (char[]){"issueCertificate"}, .account = (char[]){"admin"}};
	enum err e = store_secret_set(tx, "tls.sealed_ticket_keys", tickets);

	for (size_t i = 0; !e && i < ARRAY_SIZE(names); i++) {
		CLEAN(mem_freep) char *value = sealed_under(bench_key, SEALED_CA_KEY, names[i]);

		e = store_secret_set(tx, names[i], value);
	}
	if (!e)
		e = store_secret_set(tx, "ca.certificate", "public");
	if (!e)
		e = store_job_add(tx, &job);
	if (!e)
		e = store_job_finish(tx, JOB_UUID, 1, 0, result);
	return e;
}

static void up(struct store_bench *b)
{
	CLEAN(mem_freep) char *line = line_of(bench_key);
	struct why why = WHY_NONE;

	b->f = fake_world_new(7);
	b->world = fake_world_of(b->f);
	assert_int_equal(store_open(&b->store, ":memory:key-change", &why), ERR_OK);
	assert_int_equal(in_store(b->store, fill_run, NULL, &why), ERR_OK);
	fake_file_put(b->f, FILE_KEY, line);
}

static void down(struct store_bench *b)
{
	store_close(b->store);
	fake_world_free(b->f);
}

static struct key_change change_of(struct store_bench *b, const uint8_t *from, const uint8_t *to)
{
	struct key_change k = {.store = b->store, .world = b->world, .fs = b->world->fs, .path = FILE_KEY};

	memcpy(k.from, from, CLUSTER_KEY_SIZE);
	memcpy(k.to, to, CLUSTER_KEY_SIZE);
	return k;
}

struct opening {
	const uint8_t *key;
	size_t n_opened;
	struct cluster_key_record record;
};

static bool opens(const uint8_t *key, const char *text, const char *context)
{
	CLEAN(buf_deinit) struct buf sealed = {0}, plain = {0};

	return base64url_decode(text, &sealed) && open_bytes(&plain, key, sealed.data, sealed.len, context) == ERR_OK;
}

static enum err opening_run(struct store_tx *tx, void *arg, struct why *why)
{
	static const char *const names[][2] = {{"ca.sealed_key", SEALED_CA_KEY},
					       {"ca.other.sealed_key", SEALED_CA_KEY},
					       {"ca.next.sealed_key", SEALED_CA_KEY},
					       {"tls.sealed_ticket_keys", SEALED_TICKET_KEYS}};
	struct opening *o = arg;
	struct job_row job = {0};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CLEAN(mem_freep) char *text = NULL;

		if (store_secret_get(tx, names[i][0], &text) == ERR_OK)
			o->n_opened += opens(o->key, text, names[i][1]);
	}
	if (store_job_get(tx, JOB_UUID, &job) == ERR_OK) {
		CLEAN(mem_freep) char *code = mem_strndup(job.result + 11, strlen(job.result) - 13);

		o->n_opened += opens(o->key, code, "muster job " JOB_UUID);
	}
	job_row_deinit(&job);
	return key_record_get(tx, &o->record);
}

/* How many of the five can be opened with it. */
static size_t n_opened(struct store_bench *b, const uint8_t *key, struct cluster_key_record *r)
{
	struct opening o = {.key = key};
	struct why why = WHY_NONE;

	assert_int_equal(in_store(b->store, opening_run, &o, &why), ERR_OK);
	if (r)
		*r = o.record;
	return o.n_opened;
}

/* ---- the change ---- */

static void all_is_sealed_again(void **state)
{
	struct store_bench b;
	struct key_change k;
	struct cluster_key_record r;
	struct why why = WHY_NONE;
	char id[CLUSTER_KEY_ID_TEXT];

	(void)state;
	up(&b);
	k = change_of(&b, bench_key, new_key);
	assert_int_equal(key_change(&k, &why), ERR_OK);
	assert_int_equal(k.n_again, 5);
	assert_int_equal(k.n_lost, 0);
	assert_int_equal(n_opened(&b, new_key, &r), 5);
	assert_int_equal(n_opened(&b, bench_key, NULL), 0);
	cluster_key_id(id, new_key);
	assert_string_equal(r.id, id);
	file_has(b.f, new_key);
	/* And back: it is a change like any other. */
	k = change_of(&b, new_key, bench_key);
	assert_int_equal(key_change(&k, &why), ERR_OK);
	assert_int_equal(n_opened(&b, bench_key, NULL), 5);
	down(&b);
}

struct put {
	const char *name, *value;
	const char *server; /* one that runs; NULL: none */
	const char *key_id;
	bool is_down;
};

static enum err put_run(struct store_tx *tx, void *arg, struct why *why)
{
	const struct put *p = arg;
	struct server_row row = {.msid = 3, .run_id = 1, .uuid = "11111111-2222-4333-8444-555555555556"};
	enum server_state to;
	enum err e = p->name ? store_secret_set(tx, p->name, p->value) : ERR_OK;

	if (e || !p->server)
		return e;
	row.name = (char *)(uintptr_t)p->server;
	row.address = (char[]){"10.0.0.3"};
	row.version = (char[]){"0.1.0"};
	row.key_id = (char *)(uintptr_t)p->key_id;
	store_tx_by(tx, 3, INT64_C(1900000000000));
	e = store_server_register(tx, &row);
	return e || !p->is_down ? e : store_server_event(tx, 3, SERVER_EVENT_STOP, &to);
}

static void refusals(void **state)
{
	const struct {
		const char *what;
		const uint8_t *from, *to;
		struct put put;
		enum err e;
		const char *why;
	} rows[] = {
		{"the same key", bench_key, bench_key, {0}, ERR_REFUSED, "is the one that there is"},
		{"not the cluster's key", other_key, new_key, {0}, ERR_UNTRUSTED, "does not open"},
		{"it was changed already",
		 bench_key,
		 new_key,
		 {"cluster.key", "id=0123456789abcdef since=1"},
		 ERR_UNTRUSTED,
		 "changed already"},
		{"a secret of a newer program",
		 bench_key,
		 new_key,
		 {"later.sealed_thing", "x"},
		 ERR_NEWER,
		 "later.sealed_thing"},
		{"the CA's key is damaged", bench_key, new_key, {"ca.sealed_key", "!"}, ERR_DAMAGED, "damaged"},
		{"a server of an older program runs",
		 bench_key,
		 new_key,
		 {.server = "m3"},
		 ERR_REFUSED,
		 "the server m3 runs"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct store_bench b;
		struct key_change k;
		struct why why = WHY_NONE;
		struct put put = rows[i].put;
		enum err e;

		up(&b);
		assert_int_equal(in_store(b.store, put_run, &put, &why), ERR_OK);
		k = change_of(&b, rows[i].from, rows[i].to);
		e = key_change(&k, &why);
		if (e != rows[i].e || !strstr(why.text, rows[i].why))
			fail_msg("%s: %s: %s", rows[i].what, err_name(e), why.text);
		/* Nothing has happened. */
		check_row(&rows[i], n_opened(&b, new_key, NULL) == 0);
		file_has(b.f, bench_key);
		down(&b);
	}
}

/* What speaks against nothing, and what is given up. */
static void what_goes_on(void **state)
{
	const struct {
		const char *what;
		struct put put;
		size_t n_again, n_lost;
	} rows[] = {
		{"ticket keys that nobody can open", {"tls.sealed_ticket_keys", "AAAA"}, 4, 1},
		{"an empty key: this cluster only verifies", {"ca.other.sealed_key", ""}, 4, 0},
		{"a server that runs and knows keys", {.server = "m3", .key_id = "none"}, 5, 0},
		{"a server of an older program that is off", {.server = "m3", .is_down = true}, 5, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct store_bench b;
		struct key_change k;
		struct why why = WHY_NONE;
		struct put put = rows[i].put;

		up(&b);
		assert_int_equal(in_store(b.store, put_run, &put, &why), ERR_OK);
		k = change_of(&b, bench_key, new_key);
		if (key_change(&k, &why))
			fail_msg("%s: %s", rows[i].what, why.text);
		check_row(&rows[i], k.n_again == rows[i].n_again && k.n_lost == rows[i].n_lost);
		file_has(b.f, new_key);
		down(&b);
	}
}

/* ---- it stops at any step ---- */

static void settle(struct store_bench *b, enum key_settled *settled)
{
	struct cluster_key_record r;
	struct why why = WHY_NONE;

	n_opened(b, bench_key, &r);
	if (key_change_settle(settled, b->world->fs, FILE_KEY, r.id, &why))
		fail_msg("%s", why.text);
}

static void it_stops_at_any_step(void **state)
{
	bool seen[3] = {false}, whole = false;

	(void)state;
	for (size_t n = 0; !whole && n < 40; n++) {
		struct store_bench b;
		struct key_change k;
		struct why why = WHY_NONE;
		enum key_settled settled;
		uint8_t key[CLUSTER_KEY_SIZE];

		up(&b);
		k = change_of(&b, bench_key, new_key);
		fake_fs_kill_at(b.f, n);
		whole = key_change(&k, &why) == ERR_OK;
		assert_int_equal(fake_fs_revive(b.f), !whole);
		settle(&b, &settled);
		seen[settled] = true;
		/* Whatever it was: the file has the one key that opens the store, and nothing else lies about. */
		assert_null(fake_file_get(b.f, FILE_NEXT));
		assert_int_equal(cluster_key_read(key, b.world->fs, FILE_KEY, NULL), ERR_OK);
		assert_int_equal(n_opened(&b, key, NULL), 5);
		/* Once more it is all done. */
		settle(&b, &settled);
		assert_int_equal(settled, KEY_SETTLED_NOTHING);
		down(&b);
	}
	assert_true(whole);
	assert_true(seen[KEY_SETTLED_NOTHING] && seen[KEY_SETTLED_FINISHED] && seen[KEY_SETTLED_UNDONE]);
}

/* Tidying up stops as well. */
static void settling_stops_at_any_step(void **state)
{
	(void)state;
	for (size_t n = 0; n < 12; n++) {
		struct store_bench b;
		struct cluster_key_record r;
		struct why why = WHY_NONE;
		enum key_settled settled;
		CLEAN(mem_freep) char *old_line = line_of(bench_key), *new_line = line_of(new_key);
		struct key_change k;

		up(&b);
		k = change_of(&b, bench_key, new_key);
		assert_int_equal(key_change(&k, &why), ERR_OK);
		fake_file_put(b.f, FILE_KEY, old_line); /* as it is right after the commit */
		fake_file_put(b.f, FILE_NEXT, new_line);
		n_opened(&b, new_key, &r);
		fake_fs_kill_at(b.f, n);
		if (key_change_settle(&settled, b.world->fs, FILE_KEY, r.id, &why) != ERR_OK)
			assert_non_null(strstr(why.text, "can't be finished"));
		fake_fs_revive(b.f);
		settle(&b, &settled);
		file_has(b.f, new_key);
		down(&b);
	}
}

static void what_lies_beside_the_file(void **state)
{
	CLEAN(mem_freep) char *old_line = line_of(bench_key), *new_line = line_of(new_key);
	char id[CLUSTER_KEY_ID_TEXT];
	const struct {
		const char *what, *next, *id;
		enum key_settled settled;
		const char *then; /* what the file has */
	} rows[] = {
		{"nothing", NULL, "", KEY_SETTLED_NOTHING, old_line},
		{"the key that the store names", new_line, id, KEY_SETTLED_FINISHED, new_line},
		{"a key, and none was ever changed", new_line, "", KEY_SETTLED_UNDONE, old_line},
		{"a key, and the store names another one", new_line, "0123456789abcdef", KEY_SETTLED_UNDONE, old_line},
		{"half of one", "AAAA", id, KEY_SETTLED_UNDONE, old_line},
		{"nothing in it", "", id, KEY_SETTLED_UNDONE, old_line},
	};

	(void)state;
	cluster_key_id(id, new_key);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fake_world *f = fake_world_new(3);
		enum key_settled settled;
		struct why why = WHY_NONE;

		fake_file_put(f, FILE_KEY, old_line);
		if (rows[i].next)
			fake_file_put(f, FILE_NEXT, rows[i].next);
		assert_int_equal(key_change_settle(&settled, fake_world_of(f)->fs, FILE_KEY, rows[i].id, &why), ERR_OK);
		check_row(&rows[i], settled == rows[i].settled);
		check_row(&rows[i], str_equal(fake_file_get(f, FILE_KEY), rows[i].then));
		check_row(&rows[i], !fake_file_get(f, FILE_NEXT));
		fake_world_free(f);
	}
}

/* ---- servers run ---- */

static uint8_t in_file[CLUSTER_KEY_SIZE];
static enum err file_result;

static enum err read_file(void *user, uint8_t out[32], struct why *why)
{
	if (file_result)
		why_set(why, "cluster.key: cannot be read");
	else
		memcpy(out, in_file, CLUSTER_KEY_SIZE);
	return file_result;
}

static void change_key(struct engine_bench *e, const uint8_t *from, const uint8_t *to)
{
	CLEAN(mem_freep) char *line = line_of(from);
	struct key_change k = {.world = e->world, .fs = e->world->fs, .path = FILE_KEY};
	struct why why = WHY_NONE;

	memcpy(k.from, from, CLUSTER_KEY_SIZE);
	memcpy(k.to, to, CLUSTER_KEY_SIZE);
	fake_file_put(e->f, FILE_KEY, line);
	assert_int_equal(store_open(&k.store, e->store_name, &why), ERR_OK); /* as another process */
	if (key_change(&k, &why))
		fail_msg("%s", why.text);
	store_close(k.store);
}

static void says(struct engine_bench *e, struct node *on, const char *command, int status, const char *part)
{
	struct api_param params[1] = {{(char *)(uintptr_t) "command", (char *)(uintptr_t)command}};
	int got;
	char *text = engine_ask(e, on, params, 1, &got);

	if (got != status || !strstr(text, part))
		fail_msg("%s: expected %d with %s, got %d: %s", command, status, part, got, text);
	mem_free(text);
}

static void servers_follow(void **state)
{
	struct engine_bench e = {0};
	struct server *a, *b;
	struct why why = WHY_NONE;
	size_t n_keys;

	(void)state;
	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 5000);
	a = e.a.server;
	b = e.b.server;
	says(&e, &e.a, "getMusterStatus", 200, "\"clusterkey\":\"present\"");
	n_keys = a->tickets.keys.n;
	assert_true(n_keys > 0);
	a->p.read_cluster_key = read_file;
	memcpy(in_file, bench_key, sizeof(in_file));
	file_result = ERR_OK;
	change_key(&e, bench_key, new_key);
	engine_run(&e, 3000);

	/* Both have wiped the old one, and go on with what they hold. b has no way to read its file. */
	assert_null(a->p.cluster_key);
	assert_null(b->p.cluster_key);
	assert_true(a->ca->ops->can_issue(a->ca));
	assert_int_equal(a->tickets.keys.n, n_keys);
	says(&e, &e.b, "getMusterStatus", 200, "\"clusterkey\":\"outdated\"");
	says(&e, &e.a, "advanceCaRotation", 530, "can't take this step, ask another server");
	assert_int_equal(engine_count_events(&e, "ALERT.CLUSTER.KEY", "does not have the new cluster key"), 1);
	engine_run(&e, 30000);
	assert_int_equal(engine_count_events(&e, "ALERT.CLUSTER.KEY", NULL), 1);

	/* Its file can't be read, and then it can. */
	file_result = ERR_IO;
	engine_run(&e, 5000);
	assert_null(a->p.cluster_key);
	file_result = ERR_OK;
	memcpy(in_file, new_key, sizeof(in_file));
	engine_run(&e, 5000);
	assert_non_null(a->p.cluster_key);
	assert_memory_equal(a->p.cluster_key, new_key, sizeof(new_key));
	assert_int_equal(a->tickets.keys.n, n_keys);
	says(&e, &e.b, "getMusterStatus", 200, "\"clusterkey\":\"present\"");
	says(&e, &e.a, "advanceCaRotation", 200, "\"phase\":\"trust\"");
	engine_run(&e, 3000);

	/* What is sealed is read by it, also what is made from now on. */
	engine_config(&e, "agent.ssl.ticket.key.lifetime", "60");
	engine_run(&e, 120000);
	assert_true(a->tickets.keys.n > 0);
	memcpy(in_file, new_key, sizeof(in_file));
	b->p.read_cluster_key = read_file;
	engine_run(&e, 5000);
	assert_true(b->ca->ops->can_issue(b->ca));
	assert_int_equal(b->tickets.keys.n, a->tickets.keys.n);
	assert_memory_equal(b->tickets.keys.keys[0], a->tickets.keys.keys[0], TLS_TICKET_KEY_SIZE);
	assert_int_equal(why.text[0], '\0');
	engine_down(&e);
}

/* A server that was started without the file gets it with the change. */
static void who_had_none_gets_one(void **state)
{
	struct engine_bench e = {0};

	(void)state;
	engine_up(&e);
	engine_run(&e, 5000);
	/* b has a certificate, and no key any more. */
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	node_kill(&e.b);
	e.without_cluster_key = true;
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	assert_false(e.b.server->ca->ops->can_issue(e.b.server->ca));
	says(&e, &e.a, "getMusterStatus", 200, "\"clusterkey\":\"missing\"");
	e.a.server->p.read_cluster_key = e.b.server->p.read_cluster_key = read_file;
	memcpy(in_file, new_key, sizeof(in_file));
	file_result = ERR_OK;
	change_key(&e, bench_key, new_key);
	engine_run(&e, 10000);
	assert_true(e.b.server->ca->ops->can_issue(e.b.server->ca));
	assert_true(e.a.server->ca->ops->can_issue(e.a.server->ca));
	engine_down(&e);
}

struct check {
	const uint8_t *key;
};

static enum err check_run(struct store_tx *tx, void *arg, struct why *why)
{
	char id[CLUSTER_KEY_ID_TEXT];

	cluster_key_id(id, ((struct check *)arg)->key);
	return key_record_check(tx, id, why);
}

/* What was sealed a moment before the change, and comes to the store a moment after. */
static void who_comes_too_late(void **state)
{
	struct store_bench b;
	struct key_change k;
	struct why why = WHY_NONE;
	struct check old = {bench_key}, new = {new_key};

	(void)state;
	up(&b);
	assert_int_equal(in_store(b.store, check_run, &old, &why), ERR_OK);
	k = change_of(&b, bench_key, new_key);
	assert_int_equal(key_change(&k, &why), ERR_OK);
	assert_int_equal(in_store(b.store, check_run, &new, &why), ERR_OK);
	assert_int_equal(in_store(b.store, check_run, &old, &why), ERR_CONFLICT);
	assert_non_null(strstr(why.text, "has been changed"));
	down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_sealed_again),
		cmocka_unit_test(refusals),
		cmocka_unit_test(what_goes_on),
		cmocka_unit_test(it_stops_at_any_step),
		cmocka_unit_test(settling_stops_at_any_step),
		cmocka_unit_test(what_lies_beside_the_file),
		cmocka_unit_test(servers_follow),
		cmocka_unit_test(who_had_none_gets_one),
		cmocka_unit_test(who_comes_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
