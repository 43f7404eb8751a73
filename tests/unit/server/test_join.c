/*
 * Joining, at the server: who gets a certificate and who doesn't, and why not; what it changes in the cluster; two
 * servers with one token; an address that keeps failing.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "engine_bench.h"

/* ---- what is asked, by somebody with a key ---- */

#define FIELD_MAX 600

struct ask {
	const char *token; /* text; NULL: id and secret below */
	const char *id, *secret, *role, *guid, *name, *zone, *csr;
	const char *csr_guid; /* NULL: guid */
	bool fixed, rejoins;
	const char *ip; /* from where; NULL: 10.9.0.1 */
};

struct joiner {
	struct engine_bench *bench;
	struct tls_creds *creds;
	struct link *link;
	struct buf request;
	bool was_answered;
	bool result;
	char error[32], sentence[400], guid[GUID_MAX], zone[64], list[200], cluster_key[64];
	char serial[SERIAL_TEXT];
	int64_t host_id;
	size_t n_certificates;
};

static const char *key_pem(void)
{
	static char *key; /* slow to make, and any will do */

	if (!key)
		assert_int_equal(key_new(&key, KEY_EC_P256, NULL), ERR_OK);
	return key;
}

static char *csr_for(const struct ask *a)
{
	struct csr_params p = {.key_pem = key_pem(),
			       .common_name = "h",
			       .role = str_equal(a->role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT,
			       .id = a->csr_guid ? a->csr_guid : a->guid};
	char *csr = NULL;

	if (!p.id || !cert_id_is_valid(p.id)) {
		p.role = CERT_ROLE_NONE;
		p.id = NULL;
	}
	assert_int_equal(csr_new(&csr, &p, NULL), ERR_OK);
	return csr;
}

static void on_up(struct link *l, void *user)
{
	struct joiner *j = user;
	struct header h = {.flags = FLAG_REQUEST, .mgmt_id = -1, .agent_id = -1, .via = -1};

	assert_int_equal(link_send(l, &h, (const char *)j->request.data, j->request.len), ERR_OK);
}

static void copy(char *out, size_t size, const char *text)
{
	str_copy(out, size, text ? text : "");
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct joiner *j = user;
	struct batch b = {0};
	const struct msg_join_answer *m;
	struct cert_info c = {0};

	assert_int_equal(batch_decode(&b, body, n, NULL), ERR_OK);
	m = batch_find(&b, MSG_JOIN_ANSWER);
	assert_non_null(m);
	j->was_answered = true;
	j->result = m->result.value;
	j->host_id = m->hostId.value;
	copy(j->error, sizeof(j->error), m->error);
	copy(j->sentence, sizeof(j->sentence), m->details);
	copy(j->guid, sizeof(j->guid), m->guid);
	copy(j->zone, sizeof(j->zone), m->zone);
	copy(j->list, sizeof(j->list), m->msHostList.list.n ? m->msHostList.list.items[0] : NULL);
	copy(j->cluster_key, sizeof(j->cluster_key), m->clusterKey);
	if (m->certificate) {
		assert_int_equal(cert_info_parse(&c, m->certificate, NULL), ERR_OK);
		assert_string_equal(c.id, m->guid);
		copy(j->serial, sizeof(j->serial), c.serial);
		cert_info_deinit(&c);
	}
	batch_deinit(&b);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	((struct joiner *)user)->link = NULL;
}

static const struct link_events joiner_events = {.up = on_up, .message = on_message, .closed = on_closed};

static void put(msg_text *to, const char *value)
{
	assert_int_equal(msg_set_text(to, value), ERR_OK);
}

static void fill(struct joiner *j, const struct ask *a)
{
	struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	struct token t = {0};
	char *csr = a->csr ? NULL : csr_for(a);

	if (a->token)
		assert_int_equal(token_parse(&t, a->token, NULL), ERR_OK);
	put(&m->tokenId, a->id ? a->id : t.id);
	put(&m->tokenSecret, a->secret ? a->secret : t.secret);
	put(&m->role, a->role);
	put(&m->csr, a->csr ? a->csr : csr);
	put(&m->guid, a->guid);
	put(&m->name, a->name);
	put(&m->zone, a->zone);
	msg_set_bool(&m->guidIsFixed, a->fixed);
	msg_set_bool(&m->rejoins, a->rejoins);
	assert_int_equal(batch_encode(&b, &j->request), ERR_OK);
	batch_deinit(&b);
	token_deinit(&t);
	mem_free(csr);
}

static void dial(struct joiner *j, struct engine_bench *e, struct node *n, const struct ask *a)
{
	const struct link_params p = {
		.world = e->world,
		.tls = {.profile = TLS_CLIENT_JOIN, .creds = j->creds, .pin = "right"},
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &joiner_events,
		.user = j,
	};
	struct why why = WHY_NONE;

	assert_int_equal(link_dial(&j->link, &p, n->server->p.listen_ip, FAKE_PORT, a->ip ? a->ip : "10.9.0.1", &why),
			 ERR_OK);
}

static void begin(struct joiner *j, struct engine_bench *e, struct node *n, const struct ask *a)
{
	*j = (struct joiner){.bench = e, .creds = fake_creds(e->f)};
	fill(j, a);
	dial(j, e, n, a);
}

static void end(struct joiner *j)
{
	j->link = link_close(j->link);
	tls_creds_unref(j->creds);
	buf_deinit(&j->request);
	engine_run(j->bench, 10);
}

/* All of it, until it is over. */
static struct joiner join(struct engine_bench *e, struct node *n, const struct ask *a)
{
	struct joiner j, result;

	begin(&j, e, n, a);
	engine_run(e, 300);
	result = j;
	end(&j);
	return result;
}

/* ---- tokens, by the API ---- */

static json_t *api(struct engine_bench *e, struct node *n, const char *query)
{
	struct api_param params[12];
	char text[FIELD_MAX], *rest = text, *part;
	size_t n_params = 0;
	json_t *body;
	char *answer;
	int status;

	assert_true(str_copy(text, sizeof(text), query));
	while ((part = strsep(&rest, "&"))) {
		char *value = strchr(part, '=');

		assert_true(value && n_params < ARRAY_SIZE(params));
		*value++ = '\0';
		params[n_params++] = (struct api_param){.name = part, .value = value};
	}
	answer = engine_ask(e, n, params, n_params, &status);
	if (status != 200)
		fail_msg("%s: %d: %s", query, status, answer);
	body = json_loads(answer, 0, NULL);
	mem_free(answer);
	assert_non_null(body);
	return body;
}

/* Text of a new token; mem_free() it. */
static char *token(struct engine_bench *e, struct node *n, const char *query)
{
	json_t *body = api(e, n, query);
	json_t *inner = json_object_iter_value(json_object_iter(body));
	json_t *t = json_object_get(inner, "jointoken");
	char *text;

	if (!t)
		t = json_array_get(json_object_get(inner, "host"), 0);
	text = mem_strdup(
		json_string_value(json_object_get(t, json_object_get(t, "token") ? "token" : "musterjointoken")));
	assert_non_null(text);
	json_decref(body);
	return text;
}

/* How often does that stand in the events? */
static size_t events_with(struct engine_bench *e, struct node *n, const char *words)
{
	json_t *body = api(e, n, "command=listEvents&page=1&pagesize=500");
	json_t *list = json_object_get(json_object_get(body, "listeventsresponse"), "event");
	size_t count = 0, i;
	json_t *one;

	json_array_foreach (list, i, one)
		count += strstr(json_string_value(json_object_get(one, "description")), words) != NULL;
	json_decref(body);
	return count;
}

static int64_t uses_left(struct engine_bench *e, struct node *n, const char *text)
{
	char query[100];
	struct token t = {0};
	json_t *body, *list;
	int64_t left;

	assert_int_equal(token_parse(&t, text, NULL), ERR_OK);
	snprintf(query, sizeof(query), "command=listJoinTokens&id=%s", t.id);
	body = api(e, n, query);
	list = json_object_get(json_object_get(body, "listjointokensresponse"), "jointoken");
	left = json_integer_value(json_object_get(json_array_get(list, 0), "usesleft"));
	json_decref(body);
	token_deinit(&t);
	return left;
}

/* ---- the tests ---- */

static void a_host_joins(void **state)
{
	struct engine_bench e;
	char *t;
	struct joiner j;
	struct host *h;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken");
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "kvm1", .role = "agent"});
	if (!j.result)
		fail_msg("%s: %s", j.error, j.sentence);
	assert_string_equal(j.guid, "g1");
	assert_string_equal(j.list, A_IP);
	assert_string_equal(j.cluster_key, "");
	h = host_of(&e.a, "g1");
	assert_non_null(h);
	assert_int_equal(h->row.id, j.host_id);
	assert_int_equal(h->row.status, HOST_CREATING);
	assert_int_equal(h->row.bound_zone, 0);
	/* What a rotation waits for, also before it has come. */
	assert_string_equal(h->row.cert_issuer, e.a.server->rotation.issuing_id);
	assert_string_equal(h->row.ca_known, e.a.server->rotation.trusted_hash);
	assert_int_equal(uses_left(&e, &e.a, t), 0);
	assert_int_equal(e.a.server->n_joined, 1);
	assert_int_equal(events_with(&e, &e.a, "kvm1 joined from 10.9.0.1 with token"), 1);
	mem_free(t);
	engine_down(&e);
}

enum made { PLAIN, USED, REVOKED, EXPIRED, NAMED, ZONED, SERVERS, REJOIN };

static void revoke(struct engine_bench *e, const char *text)
{
	struct token t = {0};
	char query[100];

	assert_int_equal(token_parse(&t, text, NULL), ERR_OK);
	snprintf(query, sizeof(query), "command=revokeJoinToken&id=%s", t.id);
	json_decref(api(e, &e->a, query));
	token_deinit(&t);
}

static char *made(struct engine_bench *e, enum made how)
{
	static const char *const queries[] = {
		[PLAIN] = "command=createJoinToken",
		[USED] = "command=createJoinToken",
		[REVOKED] = "command=createJoinToken",
		[EXPIRED] = "command=createJoinToken&lifetime=5",
		[NAMED] = "command=createJoinToken&name=kvm7",
		[ZONED] = "command=createJoinToken&zone=east",
		[SERVERS] = "command=createJoinToken&role=server",
		[REJOIN] = "command=createRejoinToken&hostid=1",
	};
	char *t = token(e, &e->a, queries[how]);

	if (how == REVOKED)
		revoke(e, t);
	if (how == EXPIRED)
		engine_run(e, 6000);
	if (how == USED)
		assert_true(
			join(e, &e->a, &(struct ask){.token = t, .guid = "first", .name = "first", .ip = "10.9.9.9"})
				.result);
	return t;
}

#define SECRET "00112233445566778899aabbccddeeff0011223344556677"
#define OK_NAME .guid = "new", .name = "new"

static const struct refusal_row {
	const char *what;
	enum made made;
	struct ask ask; /* token: the one that was made */
	enum join_refusal refusal;
	const char *error, *sentence;
} refusal_rows[] = {
	{"a wrong secret", PLAIN, {.secret = SECRET, OK_NAME}, JOIN_WRONG_SECRET, "refused", "no such token"},
	{"an unknown token", PLAIN, {.id = "aabb", OK_NAME}, JOIN_UNKNOWN_TOKEN, "refused", "no such token"},
	{"an id that can't be one", PLAIN, {.id = "../x", OK_NAME}, JOIN_UNKNOWN_TOKEN, "refused", "no such token"},
	{"a secret that can't be one",
	 PLAIN,
	 {.secret = "abc", OK_NAME},
	 JOIN_UNKNOWN_TOKEN,
	 "refused",
	 "no such token"},
	{"a used token", USED, {OK_NAME}, JOIN_USED_TOKEN, "refused", "used as often"},
	{"a revoked token", REVOKED, {OK_NAME}, JOIN_REVOKED_TOKEN, "revoked", "revoked"},
	{"an old token", EXPIRED, {OK_NAME}, JOIN_EXPIRED_TOKEN, "expired", "expired"},
	{"a token for a server", SERVERS, {OK_NAME}, JOIN_OTHER_ROLE, "refused", "for servers"},
	{"a server with a host's token", PLAIN, {OK_NAME, .role = "server"}, JOIN_OTHER_ROLE, "refused", "for hosts"},
	{"a token that was made for another machine", NAMED, {OK_NAME}, JOIN_OTHER_NAME, "refused", "for kvm7 only"},
	{"a token of another zone", ZONED, {OK_NAME, .zone = "west"}, JOIN_OTHER_ZONE, "refused", "for zone east only"},
	{"the number of a zone is no name", ZONED, {OK_NAME, .zone = "1"}, JOIN_OTHER_ZONE, "refused", "for zone east"},
	{"another host's token, in the hands of a host",
	 REJOIN,
	 {.guid = "new", .name = "new", .fixed = true},
	 JOIN_OTHER_GUID,
	 "refused",
	 "guid old only, and this machine is new"},
	{"a host with anybody's token",
	 PLAIN,
	 {.guid = "new", .name = "new", .rejoins = true},
	 JOIN_NO_REJOIN,
	 "exists already",
	 "muster host rejoin"},
	{"a guid that exists",
	 PLAIN,
	 {.guid = "old", .name = "new"},
	 JOIN_GUID_EXISTS,
	 "exists already",
	 "muster host rejoin kvm-old"},
	{"a guid that can't be one",
	 PLAIN,
	 {.guid = "a/b", .name = "new"},
	 JOIN_BAD_NAME,
	 "value is not allowed",
	 "guid"},
	{"no guid", PLAIN, {.name = "new"}, JOIN_BAD_NAME, "value is not allowed", "guid"},
	{"a name with a path in it",
	 PLAIN,
	 {.guid = "new", .name = "../new"},
	 JOIN_BAD_NAME,
	 "value is not allowed",
	 "name"},
	{"a name with a line break",
	 PLAIN,
	 {.guid = "new", .name = "a\nb"},
	 JOIN_BAD_NAME,
	 "value is not allowed",
	 "name"},
	{"a name for all machines",
	 PLAIN,
	 {.guid = "new", .name = "*.net"},
	 JOIN_BAD_NAME,
	 "value is not allowed",
	 "name"},
	{"a zone that paints the terminal",
	 PLAIN,
	 {OK_NAME, .zone = "a\x1b[2J"},
	 JOIN_BAD_NAME,
	 "value is not allowed",
	 "zone"},
	{"another role than there is",
	 PLAIN,
	 {OK_NAME, .role = "king"},
	 JOIN_MALFORMED,
	 "not well formed",
	 "agent or a server"},
	{"no request for a certificate", PLAIN, {OK_NAME, .csr = ""}, JOIN_MALFORMED, "not well formed", "without"},
	{"a request that is none",
	 PLAIN,
	 {OK_NAME, .csr = "-----BEGIN"},
	 JOIN_BAD_CSR,
	 "refused",
	 "certificate request"},
	{"a request for somebody else",
	 PLAIN,
	 {OK_NAME, .csr_guid = "old"},
	 JOIN_BAD_CSR,
	 "refused",
	 "is for old, and new wants to join"},
};

static struct joiner old_host(struct engine_bench *e)
{
	char *t = token(e, &e->a, "command=createJoinToken");
	struct joiner j = join(e, &e->a, &(struct ask){.token = t, .guid = "old", .name = "kvm-old", .ip = "10.9.9.8"});

	assert_true(j.result);
	mem_free(t);
	return j;
}

/* Each with its own name, counted, in the events, and clear to who reads the answer; nothing is used up by it. */
static void refusals_have_names(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusal_rows); i++) {
		const struct refusal_row *row = &refusal_rows[i];
		struct engine_bench e;
		struct ask a = row->ask;
		struct joiner j;
		char words[200];
		int64_t left;
		char *t;

		engine_up(&e);
		old_host(&e);
		t = made(&e, row->made);
		left = uses_left(&e, &e.a, t);
		a.token = t;
		j = join(&e, &e.a, &a);
		check_row(row, j.was_answered && !j.result && !j.serial[0] && !j.cluster_key[0]);
		if (!str_equal(j.error, row->error) && !str_equal(j.error, err_name(join_refusal_err(row->refusal))))
			fail_msg("%s: %s", row->what, j.error);
		if (!strstr(j.sentence, row->sentence))
			fail_msg("%s: %s", row->what, j.sentence);
		check_row(row, e.a.server->n_joins_refused[row->refusal] == 1);
		snprintf(words, sizeof(words), "from 10.9.0.1 refused, %s: ", join_refusal_name(row->refusal));
		check_row(row, events_with(&e, &e.a, words) == 1);
		check_row(row, uses_left(&e, &e.a, t) == left);
		check_row(row, !host_of(&e.a, "new"));
		mem_free(t);
		engine_down(&e);
	}
}

static void a_zone_holds_its_hosts(void **state)
{
	struct engine_bench e;
	struct joiner j, other;
	struct script *agent;
	struct host *h;
	int64_t zone;
	char *t;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken&zone=east&uses=2");
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "h1", .name = "kvm1"});
	assert_true(j.result);
	assert_string_equal(j.zone, "east");
	other = join(&e, &e.a, &(struct ask){.token = t, .guid = "h2", .name = "kvm2", .zone = "east"});
	assert_true(other.result);
	h = host_of(&e.a, "h1");
	zone = h->row.zone_id;
	assert_true(zone > 1);
	assert_int_equal(h->row.bound_zone, zone);
	assert_int_equal(host_of(&e.a, "h2")->row.zone_id, zone);
	/* Its agent says something else, and it stays where it is. */
	agent = script_new(&e, &(struct agent_script){.guid = "h1",
						      .ip = "10.1.0.1",
						      .identity = ID_URI,
						      .is_muster = true,
						      .boot = "b",
						      .zone = "west"});
	script_dial(agent, &e.a);
	engine_run(&e, 500);
	assert_int_equal(host_of(&e.a, "h1")->row.status, HOST_UP);
	assert_int_equal(host_of(&e.a, "h1")->row.zone_id, zone);
	mem_free(t);
	engine_down(&e);
}

/* ---- joining again ---- */

static const struct agent_script lost = {
	.guid = "old", .ip = "10.1.0.1", .identity = ID_URI, .is_muster = true, .boot = "b1"};

static void a_lost_machine_is_cut_off(void **state)
{
	struct engine_bench e;
	struct script *agent;
	struct joiner first, again;
	char *t;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	first = old_host(&e);
	/* It lives on the other server, with a certificate that isn't in our records. */
	agent = script_new(&e, &lost);
	script_dial(agent, &e.b);
	engine_run(&e, 500);
	assert_true(script_is_open(agent));
	assert_int_equal(host_of(&e.a, "old")->row.status, HOST_UP);

	t = token(&e, &e.a, "command=createRejoinToken&hostid=1");
	assert_true(script_is_open(agent));
	again = join(&e, &e.a, &(struct ask){.token = t, .guid = "random", .name = "kvm-old"});
	if (!again.result)
		fail_msg("%s", again.sentence);
	assert_string_equal(again.guid, "old");
	assert_int_equal(again.host_id, first.host_id);
	engine_run(&e, 1000);
	assert_true(authority_is_revoked(e.a.server, first.serial));
	assert_true(authority_is_revoked(e.b.server, "5e1aold"));
	assert_false(authority_is_revoked(e.b.server, again.serial));
	assert_false(script_is_open(agent));
	assert_int_equal(events_with(&e, &e.a, "certificates revoked: 1"), 1);
	/* Once is enough. */
	again = join(&e, &e.a, &(struct ask){.token = t, .guid = "random", .name = "kvm-old"});
	assert_string_equal(again.sentence, "the token was used as often as it may be");
	mem_free(t);
	engine_down(&e);
}

static void a_host_may_keep_what_it_has(void **state)
{
	struct engine_bench e;
	struct script *agent;
	struct joiner first, again;
	char *t;

	engine_up(&e);
	first = old_host(&e);
	agent = script_new(&e, &lost);
	script_dial(agent, &e.a);
	engine_run(&e, 500);
	t = token(&e, &e.a, "command=createRejoinToken&hostid=1&keepcertificate=true");
	again = join(&e, &e.a,
		     &(struct ask){.token = t, .guid = "old", .name = "kvm-old", .fixed = true, .rejoins = true});
	assert_true(again.result);
	engine_run(&e, 1000);
	assert_false(authority_is_revoked(e.a.server, first.serial));
	assert_true(script_is_open(agent));
	mem_free(t);
	engine_down(&e);
}

/* An old token must not bring back who was removed. */
static void a_removed_host_stays_away(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t;

	engine_up(&e);
	old_host(&e);
	t = token(&e, &e.a, "command=createRejoinToken&hostid=1");
	json_decref(api(&e, &e.a, "command=deleteHost&id=1&forced=true"));
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "random", .name = "kvm-old"});
	assert_false(j.result);
	assert_string_equal(j.sentence, "the host that the token is for was removed");
	assert_int_equal(e.a.server->n_joins_refused[JOIN_HOST_GONE], 1);
	assert_null(host_of(&e.a, "old"));
	mem_free(t);
	engine_down(&e);
}

/* Of a token that is over its name is known for a while, then nothing. */
static void old_tokens_are_forgotten(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken&lifetime=60");
	engine_run(&e, 120000);
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "g", .name = "n"});
	assert_string_equal(j.sentence, "the token is expired");
	fake_world_sleep(e.f, 30LL * 24 * 3600 * 1000);
	engine_run(&e, 120000);
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "g", .name = "n"});
	assert_string_equal(j.sentence, "no such token");
	mem_free(t);
	engine_down(&e);
}

/* What was reserved is for the token that came with it. */
static void a_reserved_host_waits_for_its_token(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t, *reserved;
	struct host *h;
	size_t cursor = 0;
	char guid[GUID_MAX];

	engine_up(&e);
	reserved = token(&e, &e.a,
			 "command=addHost&url=http://kvm9&hypervisor=KVM&zoneid=1&podid=1&username=u&password=p");
	h = roster_next(e.a.server, &cursor);
	assert_non_null(h);
	str_copy(guid, sizeof(guid), h->row.guid);
	t = token(&e, &e.a, "command=createJoinToken");
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = guid, .name = "thief"});
	assert_false(j.result);
	assert_int_equal(e.a.server->n_joins_refused[JOIN_GUID_EXISTS], 1);
	j = join(&e, &e.a, &(struct ask){.token = reserved, .guid = "whatever", .name = "kvm9"});
	assert_true(j.result);
	assert_string_equal(j.guid, guid);
	mem_free(t);
	mem_free(reserved);
	engine_down(&e);
}

static void servers_join_as_nobody_else(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken&role=server&uses=2");
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = e.a.server->uuid, .name = "ms9", .role = "server"});
	assert_false(j.result);
	assert_string_equal(j.cluster_key, "");
	assert_int_equal(e.a.server->n_joins_refused[JOIN_GUID_EXISTS], 1);
	j = join(&e, &e.a, &(struct ask){.token = t, .guid = "ms9", .name = "ms9", .role = "server"});
	assert_true(j.result);
	assert_true(j.cluster_key[0]);
	assert_int_equal(uses_left(&e, &e.a, t), 1);
	mem_free(t);
	engine_down(&e);
}

/* ---- races ---- */

/* Two servers, one store, one use: one of the two gets it, whichever it is; the other learns why not. */
static void one_use_is_one_host(void **state)
{
	for (int64_t lead_ms = 0; lead_ms < 4; lead_ms++) {
		struct engine_bench e;
		struct joiner first, second;
		struct joiner *loser;
		char *t;

		engine_up(&e);
		node_add(&e, &e.b, B_IP);
		engine_run(&e, 2000);
		t = token(&e, &e.a, "command=createJoinToken");
		begin(&first, &e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "one"});
		engine_run(&e, lead_ms);
		begin(&second, &e, &e.b, &(struct ask){.token = t, .guid = "g2", .name = "two", .ip = "10.9.0.2"});
		engine_run(&e, 1000);
		assert_true(first.was_answered && second.was_answered);
		assert_int_equal(first.result + second.result, 1);
		loser = first.result ? &second : &first;
		assert_string_equal(loser->sentence, "the token was used as often as it may be");
		assert_string_equal(loser->serial, "");
		assert_int_equal(uses_left(&e, &e.a, t), 0);
		assert_int_equal(!!host_of(&e.a, "g1") + !!host_of(&e.a, "g2"), 1);
		assert_int_equal(!!host_of(&e.b, "g1") + !!host_of(&e.b, "g2"), 1);
		mem_free(t);
		end(&first);
		end(&second);
		engine_down(&e);
	}
}

/* The same guid twice at once, with two tokens: one host. */
static void one_guid_is_one_host(void **state)
{
	struct engine_bench e;
	struct joiner first, second;
	char *t;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 2000);
	t = token(&e, &e.a, "command=createJoinToken&uses=2");
	begin(&first, &e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "one"});
	begin(&second, &e, &e.b, &(struct ask){.token = t, .guid = "g1", .name = "two", .ip = "10.9.0.2"});
	engine_run(&e, 1000);
	assert_int_equal(first.result + second.result, 1);
	assert_int_equal(uses_left(&e, &e.a, t), 1);
	assert_int_equal(e.a.server->n_joins_refused[JOIN_GUID_EXISTS] + e.b.server->n_joins_refused[JOIN_GUID_EXISTS],
			 1);
	mem_free(t);
	end(&first);
	end(&second);
	engine_down(&e);
}

/* Who hangs up before the certificate is signed has used nothing up; at whatever moment, nothing is left over. */
static void who_goes_leaves_nothing(void **state)
{
	bool was_unused = false, was_used = false;

	for (int64_t ms = 0; ms < 14; ms++) {
		struct engine_bench e;
		struct joiner j;
		char *t;

		engine_up(&e);
		t = token(&e, &e.a, "command=createJoinToken");
		begin(&j, &e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "one"});
		engine_run(&e, ms);
		end(&j);
		engine_run(&e, 500);
		assert_true(list_is_empty(&e.a.server->joinings));
		assert_int_equal(!host_of(&e.a, "g1"), uses_left(&e, &e.a, t));
		was_unused |= uses_left(&e, &e.a, t) == 1;
		was_used |= uses_left(&e, &e.a, t) == 0;
		mem_free(t);
		engine_down(&e);
	}
	assert_true(was_unused && was_used);
}

/* ---- an address that keeps failing ---- */

static void guessing_is_slow(void **state)
{
	const struct ask wrong = {.id = "aabb", .secret = SECRET, .guid = "g", .name = "n", .ip = "10.66.0.1"};
	struct engine_bench e;
	struct joiner j;
	char *t;
	size_t n = 0;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken&uses=5");
	for (int i = 0; i < 10; i++) {
		j = join(&e, &e.a, &wrong);
		n += str_equal(j.sentence, "no such token");
	}
	assert_int_equal(n, 10);
	j = join(&e, &e.a, &wrong);
	assert_string_equal(j.sentence, "too many failed joins from this address: wait a minute");
	assert_string_equal(j.error, err_name(ERR_BUSY));
	/* The store isn't asked any more: not even when it hangs does this take longer. */
	fake_works_hold(e.f, true);
	j = join(&e, &e.a, &wrong);
	assert_string_equal(j.sentence, "too many failed joins from this address: wait a minute");
	fake_works_hold(e.f, false);
	engine_run(&e, 200);
	/* A good token doesn't help there, and does elsewhere. */
	assert_false(join(&e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "n", .ip = "10.66.0.1"}).result);
	assert_true(join(&e, &e.a, &(struct ask){.token = t, .guid = "g2", .name = "n", .ip = "10.66.0.2"}).result);
	assert_int_equal(uses_left(&e, &e.a, t), 4);
	assert_int_equal(e.a.server->n_joins_refused[JOIN_TOO_MANY], 3);
	/* A minute later it is forgotten. */
	engine_run(&e, 61000);
	assert_true(join(&e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "n", .ip = "10.66.0.1"}).result);
	mem_free(t);
	engine_down(&e);
}

static void one_noisy_address_hides_nobody(void **state)
{
	const struct ask noise = {.id = "aabb", .secret = SECRET, .guid = "g", .name = "noise", .ip = "10.66.0.1"};
	struct engine_bench e;
	size_t n;

	engine_up(&e);
	for (int i = 0; i < 100; i++) {
		struct joiner j;

		begin(&j, &e, &e.a, &noise);
		engine_run(&e, 8);
		end(&j);
	}
	join(&e, &e.a, &(struct ask){.id = "ccdd", .secret = SECRET, .guid = "g", .name = "quiet", .ip = "10.66.0.2"});
	n = events_with(&e, &e.a, "join of noise");
	assert_true(n >= 5 && n <= 6);
	assert_int_equal(events_with(&e, &e.a, "join of quiet from 10.66.0.2 refused, unknown token"), 1);
	/* What was held back is told with the next one. */
	engine_run(&e, 20000);
	join(&e, &e.a, &noise);
	assert_int_equal(events_with(&e, &e.a, "more refusals from 10.66.0.1 before)"), 1);
	engine_down(&e);
}

/* A minute of trouble in the store is nobody's failure. */
static void our_own_failures_dont_count(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t;

	engine_up(&e);
	t = token(&e, &e.a, "command=createJoinToken");
	e.a.store_fails = true;
	for (int i = 0; i < 12; i++) {
		j = join(&e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "n"});
		assert_false(j.result);
		assert_string_equal(j.error, err_name(ERR_FULL));
	}
	assert_int_equal(e.a.server->n_joins_refused[JOIN_FAILED], 12);
	e.a.store_fails = false;
	engine_run(&e, 3000);
	assert_true(join(&e, &e.a, &(struct ask){.token = t, .guid = "g1", .name = "n"}).result);
	mem_free(t);
	engine_down(&e);
}

static void who_cannot_sign_says_so(void **state)
{
	struct engine_bench e;
	struct joiner j;
	char *t;

	engine_up(&e);
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 1500);
	/* It has a certificate of its own, and loses the key of the cluster. */
	fake_works_cut(e.f);
	node_kill(&e.b);
	e.without_cluster_key = true;
	node_add(&e, &e.b, B_IP);
	engine_run(&e, 1500);
	t = token(&e, &e.a, "command=createJoinToken");
	j = join(&e, &e.b, &(struct ask){.token = t, .guid = "g1", .name = "n"});
	assert_false(j.result);
	assert_non_null(strstr(j.sentence, "this server cannot issue certificates, ask another one"));
	assert_int_equal(uses_left(&e, &e.b, t), 1);
	mem_free(t);
	engine_down(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_joins),
		cmocka_unit_test(refusals_have_names),
		cmocka_unit_test(a_zone_holds_its_hosts),
		cmocka_unit_test(a_lost_machine_is_cut_off),
		cmocka_unit_test(a_host_may_keep_what_it_has),
		cmocka_unit_test(a_removed_host_stays_away),
		cmocka_unit_test(old_tokens_are_forgotten),
		cmocka_unit_test(a_reserved_host_waits_for_its_token),
		cmocka_unit_test(servers_join_as_nobody_else),
		cmocka_unit_test(one_use_is_one_host),
		cmocka_unit_test(one_guid_is_one_host),
		cmocka_unit_test(who_goes_leaves_nothing),
		cmocka_unit_test(guessing_is_slow),
		cmocka_unit_test(one_noisy_address_hides_nobody),
		cmocka_unit_test(our_own_failures_dont_count),
		cmocka_unit_test(who_cannot_sign_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
