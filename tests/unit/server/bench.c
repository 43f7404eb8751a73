#include "bench.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/crypto.h>

#include "check.h"
#include "server/api_params.h"

#define WAIT_S 20

/* ---- life ---- */

static unsigned n_benches;

static void be_quiet(void *user, enum log_level level, const char *line)
{
	if (getenv("MUSTER_TEST_LOG"))
		fprintf(stderr, "%s\n", line);
}

struct started {
	bool done;
	enum err result;
	char sentence[256];
};

static void on_started(void *user, enum err result, const char *sentence)
{
	struct started *st = user;

	st->done = true;
	st->result = result;
	str_copy(st->sentence, sizeof(st->sentence), sentence);
}

static bool is_started(struct bench *b, void *arg)
{
	return ((struct started *)arg)->done;
}

static void on_gone(void *user)
{
	*(bool *)user = true;
}

static bool is_true(struct bench *b, void *arg)
{
	return *(bool *)arg;
}

static bool knows_itself(struct bench *b, void *arg)
{
	const struct member_server *own = roster_server(b->server, b->server->msid);

	return own && own->row.state == SERVER_UP;
}

int bench_up(void **state)
{
	static const uint8_t key[32] = {1, 2, 3};
	struct bench *b = mem_zalloc(sizeof(*b));
	struct server_params p;
	struct started started = {0};
	struct why why = WHY_NONE;

	check_there(b);
	b->log = (struct log){.level = LOG_DEBUG, .write = be_quiet};
	strcpy(b->dir, "/tmp/muster-api-XXXXXX");
	check_there(mkdtemp(b->dir));
	snprintf(b->store_name, sizeof(b->store_name), ":memory:api %d-%u", (int)getpid(), n_benches++);
	assert_int_equal(world_uv_new(&b->world, &why), ERR_OK);
	assert_int_equal(store_open(&b->store, b->store_name, &why), ERR_OK);
	server_params_init(&p);
	p.world = b->world;
	p.log = &b->log;
	p.store = b->store;
	p.name = "ms1";
	p.dir = b->dir;
	p.listen_ip = "127.0.0.1";
	p.port = 0;
	p.cluster_key = key;
	assert_int_equal(server_new(&b->server, &p, &why), ERR_OK);
	assert_int_equal(server_start(b->server, on_started, &started), ERR_OK);
	bench_until(b, is_started, &started);
	if (started.result)
		fail_msg("server: %s", started.sentence);
	bench_until(b, knows_itself, NULL);
	*state = b;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

int bench_down(void **state)
{
	struct bench *b = *state;
	bool gone = false;

	server_stop(b->server, on_gone, &gone);
	bench_until(b, is_true, &gone);
	server_free(b->server);
	world_uv_free(b->world);
	store_close(b->store);
	json_decref(b->body);
	free(b->text);
	nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	mem_free(b);
	return 0;
}

void bench_until(struct bench *b, bool (*holds)(struct bench *b, void *arg), void *arg)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!holds(b, arg)) {
		world_uv_turn(b->world);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec - start.tv_sec > WAIT_S)
			fail_msg("waited for %d s", WAIT_S);
	}
}

/* ---- asking ---- */

#define PARAMS_MAX 64

struct query {
	struct api_param params[PARAMS_MAX];
	size_t n;
	char text[8192];
};

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static void decode(char *s)
{
	char *out = s;

	for (; *s; s++) {
		if (*s == '%' && s[1] && s[2]) {
			*out++ = (char)(hex_value(s[1]) * 16 + hex_value(s[2]));
			s += 2;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

static void take_apart(struct query *q, const char *text)
{
	char *p = q->text, *next;

	q->n = 0;
	if (!str_copy(q->text, sizeof(q->text), text))
		fail_msg("query too long");
	for (; p && *p; p = next) {
		char *equals;

		next = strchr(p, '&');
		if (next)
			*next++ = '\0';
		equals = strchr(p, '=');
		if (equals)
			*equals++ = '\0';
		decode(p);
		if (equals)
			decode(equals);
		assert_true(q->n < PARAMS_MAX);
		q->params[q->n++] = (struct api_param){.name = p, .value = equals ? equals : ""};
	}
}

static void on_answer(void *user, int status, json_t *body)
{
	struct bench *b = user;

	assert_int_equal(b->status, 0); /* once */
	b->status = status;
	b->body = json_incref(body);
}

static bool is_answered(struct bench *b, void *arg)
{
	return b->status != 0;
}

static int ask(struct bench *b, const struct api_caller *caller, const struct query *q)
{
	json_decref(b->body);
	free(b->text);
	b->body = NULL;
	b->text = NULL;
	b->status = 0;
	server_api(b->server, caller, q->params, q->n, on_answer, b);
	bench_until(b, is_answered, NULL);
	/* What every answer is: one key whose value is an object. */
	assert_int_equal(json_object_size(b->body), 1);
	assert_true(json_is_object(json_object_iter_value(json_object_iter(b->body))));
	b->text = json_dumps(b->body, JSON_COMPACT);
	check_there(b->text);
	return b->status;
}

int bench_ask(struct bench *b, const char *query)
{
	struct api_caller caller = {.is_local = true, .address = "local"};
	struct query q;

	take_apart(&q, query);
	return ask(b, &caller, &q);
}

int bench_ask_from(struct bench *b, const char *address, const char *query)
{
	struct api_caller caller = {.address = address};
	struct query q;

	take_apart(&q, query);
	return ask(b, &caller, &q);
}

int bench_ask_signed(struct bench *b, const char *address, const char *key, const char *secret, const char *query)
{
	struct api_caller caller = {.address = address};
	struct buf text = {0};
	uint8_t mac[20];
	gnutls_datum_t raw = {.data = mac, .size = sizeof(mac)}, encoded = {0};
	struct query q;
	int status;

	take_apart(&q, query);
	q.params[q.n++] = (struct api_param){.name = "apiKey", .value = key};
	assert_int_equal(api_signing_text(&text, q.params, q.n, true), ERR_OK);
	assert_int_equal(gnutls_hmac_fast(GNUTLS_MAC_SHA1, secret, strlen(secret), text.data, text.len, mac), 0);
	assert_int_equal(gnutls_base64_encode2(&raw, &encoded), 0);
	q.params[q.n++] = (struct api_param){.name = "signature", .value = (const char *)encoded.data};
	status = ask(b, &caller, &q);
	gnutls_free(encoded.data);
	buf_deinit(&text);
	return status;
}

const char *bench_at(struct bench *b, const char *path)
{
	static char number[4][32];
	static unsigned n;
	char copy[256], *rest = copy, *part;
	json_t *j = b->body;

	str_copy(copy, sizeof(copy), path);
	while (j && (part = strsep(&rest, "/")))
		j = json_is_array(j) ? json_array_get(j, (size_t)atoi(part)) : json_object_get(j, part);
	if (json_is_string(j))
		return json_string_value(j);
	if (json_is_integer(j)) {
		n = (n + 1) % 4;
		snprintf(number[n], sizeof(number[n]), "%lld", (long long)json_integer_value(j));
		return number[n];
	}
	return json_is_true(j) ? "true" : json_is_false(j) ? "false" : NULL;
}

/* ---- the store ---- */

struct store_ask {
	struct entry entry;
	enum err (*run)(struct store_tx *tx, void *arg);
	void *arg;
	bool done;
	enum err result;
};

static enum err store_ask_run(struct store_tx *tx, struct entry *e, struct why *why)
{
	struct store_ask *a = container_of(e, struct store_ask, entry);

	return a->run ? a->run(tx, a->arg) : ERR_OK;
}

static void store_ask_done(struct server *s, struct entry *e, enum err result, const char *sentence)
{
	struct store_ask *a = container_of(e, struct store_ask, entry);

	a->done = true;
	a->result = result;
	if (result)
		print_error("store: %s\n", sentence);
}

static void in_store(struct bench *b, enum err (*run)(struct store_tx *tx, void *arg), void *arg)
{
	struct store_ask a = {.entry = {.run = store_ask_run, .done = store_ask_done}, .run = run, .arg = arg};

	ledger_add(b->server, &a.entry);
	bench_until(b, is_true, &a.done);
	assert_int_equal(a.result, ERR_OK);
}

void bench_store(struct bench *b, enum err (*run)(struct store_tx *tx, void *arg), void *arg)
{
	in_store(b, run, arg);
	follow_now(b->server);
	in_store(b, NULL, NULL);
}

struct new_host {
	struct host_row row;
	enum host_status status;
	int64_t owner;
};

static const char details[] =
	"{\"cpuSockets\":1,\"cpus\":8,\"speed\":2400,\"memory\":16777216000,\"hypervisorVersion\":\"7.2.0\","
	"\"details\":{\"Host.OS\":\"Debian\",\"password\":\"hunter2\"}}";

static enum err host_run(struct store_tx *tx, void *arg)
{
	struct new_host *h = arg;
	struct host_claim claim = {.msid = h->owner};
	enum host_status to;
	enum err e = store_host_create(tx, &h->row);

	if (e || h->status == HOST_CREATING)
		return e;
	claim.host_id = h->row.id;
	e = store_host_claim(tx, &claim);
	if (!e && h->status != HOST_CONNECTING)
		e = store_host_event(tx, h->row.id, claim.epoch, EVENT_READY, &to);
	if (!e && h->status == HOST_DISCONNECTED)
		e = store_host_event(tx, h->row.id, claim.epoch, EVENT_SHUTDOWN_REQUESTED, &to);
	if (!e && h->status == HOST_ALERT)
		e = store_host_event(tx, h->row.id, claim.epoch, EVENT_AGENT_DISCONNECTED, &to);
	if (!e)
		e = store_host_list_confirmed(tx, h->row.id, h->row.ms_list, 0);
	return e;
}

int64_t bench_host(struct bench *b, const char *name, int64_t owner, enum host_status status, const char *list)
{
	struct new_host h = {.status = status, .owner = owner ? owner : 77};
	char guid[UUID_TEXT];
	int64_t id;

	world_uuid(b->world, guid);
	world_uuid(b->world, h.row.uuid);
	h.row.guid = mem_strdup(guid);
	h.row.name = mem_strdup(name);
	h.row.type = mem_strdup("Routing");
	h.row.resource_name = mem_strdup("LibvirtComputingResource");
	h.row.hypervisor = mem_strdup("KVM");
	h.row.version = mem_strdup("4.23.0.0");
	h.row.arch = mem_strdup("x86_64");
	h.row.private_ip = mem_strdup("192.0.2.21");
	h.row.capabilities = mem_strdup("hvm");
	h.row.details = mem_strdup(details);
	h.row.ms_list = mem_strdup(list);
	h.row.zone_id = h.row.pod_id = h.row.cluster_id = 1;
	h.row.is_muster = true;
	h.row.resource_state = RESOURCE_ENABLED;
	bench_store(b, host_run, &h);
	id = h.row.id;
	host_row_deinit(&h.row);
	return id;
}
