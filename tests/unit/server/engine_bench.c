#include "engine_bench.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t cluster_key[CLUSTER_KEY_SIZE] = {1, 2, 3};

/* ---- servers ---- */

void engine_world(struct engine_bench *e)
{
	static unsigned made;

	*e = (struct engine_bench){0};
	e->f = fake_world_new(7);
	e->world = fake_world_of(e->f);
	snprintf(e->store_name, sizeof(e->store_name), ":memory:engine-%u", ++made);
	list_init(&e->agents);
}

static void drop_claiming(struct later *l)
{
	struct node *n = container_of(l, struct node, drop);

	list_for (x, &n->server->sessions, struct session, in_sessions)
		if (x->claim)
			session_end(x, ERR_CLOSED, "closed by the other side", EVENT_N);
}

/* On the store lane, which in this world is before the end of the turn in which results are told. */
static enum err gate(void *user, struct why *why)
{
	struct node *n = user;

	if (n->drops_claims)
		world_later(n->bench->world, &n->drop);
	if (!n->store_fails &&
	    !(n->fails_while_making && (n->server->making_cert[OWN_CERT_EC] || n->server->making_cert[OWN_CERT_RSA])))
		return ERR_OK;
	why_set(why, "no space left on device");
	return ERR_FULL;
}

static void started(void *user, enum err result, const char *sentence)
{
	struct node *n = user;

	n->was_started = true;
	n->start_result = result;
}

static void stop_asked(void *user)
{
	((struct node *)user)->n_stop_asked++;
}

void node_make(struct engine_bench *e, struct node *n, const char *ip)
{
	struct server_params p;
	char dir[32];
	struct why why = WHY_NONE;

	*n = (struct node){.bench = e, .drop.call = drop_claiming};
	list_init(&n->drop.queued);
	assert_int_equal(store_open(&n->store, e->store_name, &why), ERR_OK);
	server_params_init(&p);
	snprintf(dir, sizeof(dir), "/%s", ip);
	p.world = e->world;
	p.store = n->store;
	p.name = e->server_name ? e->server_name : ip;
	p.dir = dir;
	p.listen_ip = ip;
	p.cluster_key = e->without_cluster_key ? NULL : cluster_key;
	p.with_rsa = e->with_rsa;
	p.store_gate = gate;
	p.stop_asked = stop_asked;
	p.user = n;
	assert_int_equal(server_new(&n->server, &p, &why), ERR_OK);
}

void node_start(struct node *n)
{
	assert_int_equal(server_start(n->server, started, n), ERR_OK);
}

void node_add(struct engine_bench *e, struct node *n, const char *ip)
{
	node_make(e, n, ip);
	node_start(n);
	engine_run(e, 100);
	assert_true(n->was_started);
	assert_int_equal(n->start_result, ERR_OK);
}

void node_kill(struct node *n)
{
	n->server = server_free(n->server);
	n->store = store_close(n->store);
}

void engine_up(struct engine_bench *e)
{
	engine_world(e);
	node_add(e, &e->a, A_IP);
}

void engine_down(struct engine_bench *e)
{
	list_for (a, &e->agents, struct script, in_agents)
		script_free(a);
	fake_works_cut(e->f);
	node_kill(&e->a);
	node_kill(&e->b);
	fake_world_free(e->f);
}

void engine_run(struct engine_bench *e, int64_t ms)
{
	fake_world_run(e->f, ms);
}

/* ---- the store, as another server or an operator changes it ---- */

struct change_call {
	const char *name, *value;
	int64_t id;
	struct host_row row;
};

void engine_store(struct engine_bench *e, enum err (*run)(struct store_tx *tx, void *arg, struct why *why), void *arg)
{
	struct store *store = NULL;
	struct store_call call = {.run = run, .arg = arg};
	struct store_call *calls[] = {&call};
	struct why why = WHY_NONE;

	assert_int_equal(store_open(&store, e->store_name, &why), ERR_OK);
	assert_int_equal(store_run(store, calls, 1, &why), ERR_OK);
	assert_int_equal(call.result, ERR_OK);
	store_close(store);
}

static enum err run_config(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;
	bool changed;

	store_tx_by(tx, 999, 1);
	return store_config_set(tx, c->name, CONFIG_GLOBAL, 0, c->value, &changed);
}

void engine_config(struct engine_bench *e, const char *name, const char *value)
{
	engine_store(e, run_config, &(struct change_call){.name = name, .value = value});
}

static enum err run_delete(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;
	size_t moved;

	store_tx_by(tx, 999, 1);
	return store_host_remove(tx, c->id, 1, &moved);
}

void engine_delete_host(struct engine_bench *e, int64_t id)
{
	engine_store(e, run_delete, &(struct change_call){.id = id});
}

static enum err run_revoke(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;

	store_tx_by(tx, 999, 1);
	return store_cert_revoke(tx, c->value, "");
}

void engine_revoke(struct engine_bench *e, const char *serial)
{
	engine_store(e, run_revoke, &(struct change_call){.value = serial});
}

static enum err run_issued(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;
	char *name = (char *)(uintptr_t)c->name, *guid = (char *)(uintptr_t)c->value;
	const struct cert_row row = {.serial = name,
				     .common_name = guid,
				     .role = (char *)(uintptr_t) "other",
				     .subject_id = guid,
				     .pem = name,
				     .not_before_s = 1,
				     .not_after_s = 4000000000};

	store_tx_by(tx, 999, 1);
	return store_cert_add(tx, &row);
}

void engine_issued(struct engine_bench *e, const char *serial, const char *guid)
{
	engine_store(e, run_issued, &(struct change_call){.name = serial, .value = guid});
}

static enum err run_is_issued(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;
	struct cert_row *rows = NULL;
	size_t n = 0;
	enum err err = store_cert_list(tx, &rows, &n);

	c->id = 0;
	for (size_t i = 0; i < n; i++) {
		c->id += str_equal(rows[i].pem, c->value);
		cert_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return err;
}

bool engine_is_issued(struct engine_bench *e, const char *pem)
{
	struct change_call c = {.value = pem};

	engine_store(e, run_is_issued, &c);
	return c.id == 1;
}

static enum err run_allow(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;

	store_tx_by(tx, 999, 1);
	return store_host_allow_weaker(tx, c->id, true);
}

void engine_allow_weaker(struct engine_bench *e, int64_t id)
{
	engine_store(e, run_allow, &(struct change_call){.id = id});
}

static enum err run_count(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;
	struct event_row *rows = NULL;
	size_t n = 0;
	enum err err = store_event_list(tx, 1000, &rows, &n);

	c->id = 0;
	for (size_t i = 0; i < n; i++) {
		c->id += str_equal(rows[i].type, c->name) &&
			 (!c->value || (rows[i].description && strstr(rows[i].description, c->value)));
		event_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return err;
}

size_t engine_count_events(struct engine_bench *e, const char *type, const char *part)
{
	struct change_call c = {.name = type, .value = part};

	engine_store(e, run_count, &c);
	return (size_t)c.id;
}

static enum err run_get(struct store_tx *tx, void *arg, struct why *why)
{
	struct change_call *c = arg;

	return store_host_get(tx, c->id, &c->row);
}

struct state_call {
	int64_t id;
	enum server_event event;
	enum resource_event resource;
	struct drain_row drain;
};

static enum err run_state(struct store_tx *tx, void *arg, struct why *why)
{
	static int64_t wall_ms; /* no two at the same time: what is asked of a drain is told apart by that */
	struct state_call *c = arg;
	enum server_state to;
	enum err e = ERR_OK;

	store_tx_by(tx, 999, ++wall_ms);
	if (c->event == SERVER_EVENT_PREPARE_MAINTENANCE)
		e = store_drain_ask(tx, &c->drain);
	return e ? e : store_server_event(tx, c->id, c->event, &to);
}

void engine_server_event(struct engine_bench *e, struct node *n, enum server_event event)
{
	engine_store(e, run_state, &(struct state_call){.id = server_msid(n->server), .event = event});
}

void engine_ask_drain(struct engine_bench *e, struct node *n, const struct drain_row *ask)
{
	struct state_call c = {.id = server_msid(n->server), .event = SERVER_EVENT_PREPARE_MAINTENANCE, .drain = *ask};

	c.drain.msid = c.id;
	engine_store(e, run_state, &c);
}

static enum err run_drain_get(struct store_tx *tx, void *arg, struct why *why)
{
	struct state_call *c = arg;

	return store_drain_get(tx, c->id, &c->drain);
}

struct drain_row engine_drain(struct engine_bench *e, int64_t msid)
{
	struct state_call c = {.id = msid};

	engine_store(e, run_drain_get, &c);
	return c.drain;
}

static enum err run_resource(struct store_tx *tx, void *arg, struct why *why)
{
	struct state_call *c = arg;
	enum resource_state to;

	store_tx_by(tx, 999, 1);
	return store_host_resource_event(tx, c->id, c->resource, &to);
}

void engine_resource_state(struct engine_bench *e, int64_t id, enum resource_event event)
{
	engine_store(e, run_resource, &(struct state_call){.id = id, .resource = event});
}

struct host_row engine_row(struct engine_bench *e, int64_t id)
{
	struct change_call c = {.id = id};

	engine_store(e, run_get, &c);
	return c.row;
}

enum host_status status_in_store(struct engine_bench *e, int64_t id)
{
	struct host_row row = engine_row(e, id);
	enum host_status status = row.status;

	host_row_deinit(&row);
	return status;
}

struct host *host_of(struct node *n, const char *guid)
{
	return roster_by_guid(n->server, guid);
}

/* ---- the query API ---- */

struct answer {
	int status;
	char *text;
};

static void on_answer(void *user, int status, json_t *body)
{
	struct answer *a = user;

	a->status = status;
	a->text = json_dumps(body, JSON_COMPACT);
}

char *engine_ask(struct engine_bench *e, struct node *on, const struct api_param *params, size_t n, int *status)
{
	const struct api_caller caller = {.is_local = true, .address = "local"};
	struct answer a = {0};

	server_api(on->server, &caller, params, n, on_answer, &a);
	engine_run(e, 300);
	assert_non_null(a.text);
	*status = a.status;
	return a.text;
}

/* ---- scripted agents ---- */

struct old_link {
	struct list in;
	struct script *agent;
	struct link *link;
};

static struct tls_creds *creds_for(struct engine_bench *e, const struct agent_script *as)
{
	struct cert_info c = {.not_before_s = 1, .not_after_s = 4000000000, .eku_client = true};
	struct tls_creds *creds;

	if (as->not_after_s) {
		c.not_before_s = as->not_before_s;
		c.not_after_s = as->not_after_s;
	}
	if (as->identity == ID_NONE)
		return fake_creds(e->f);
	snprintf(c.serial, sizeof(c.serial), "5e1a%.20s%.20s", as->guid, as->key ? as->key : "");
	snprintf(c.key_id, sizeof(c.key_id), "%.40s", as->key ? as->key : as->guid);
	if (as->identity == ID_URI || as->identity == ID_SERVER) {
		c.role = as->identity == ID_URI ? CERT_ROLE_AGENT : CERT_ROLE_SERVER;
		str_copy(c.id, sizeof(c.id), as->guid);
	}
	assert_int_equal(str_list_add(&c.ips, as->ip), ERR_OK);
	creds = fake_creds_with(e->f, &c);
	str_list_deinit(&c.ips);
	return creds;
}

struct script *script_new(struct engine_bench *e, const struct agent_script *as)
{
	struct script *a = mem_zalloc(sizeof(*a));

	assert_non_null(a);
	a->bench = e;
	a->as = *as;
	a->creds = creds_for(e, as);
	list_init(&a->old_links);
	list_append(&e->agents, &a->in_agents);
	return a;
}

void script_forget(struct script *a)
{
	for (size_t i = 0; i < a->n; i++) {
		batch_deinit(&a->messages[i].batch);
		mem_free(a->messages[i].text);
	}
	a->n = 0;
}

struct script *script_free(struct script *a)
{
	script_forget(a);
	link_close(a->link);
	list_for (o, &a->old_links, struct old_link, in) {
		link_close(o->link);
		list_remove(&o->in);
		mem_free(o);
	}
	tls_creds_unref(a->creds);
	list_remove(&a->in_agents);
	mem_free(a);
	return NULL;
}

static void send_batch(struct script *a, struct link *l, struct header *h, const struct batch *b)
{
	struct buf body = {0};

	assert_int_equal(batch_encode(b, &body), ERR_OK);
	assert_int_equal(link_send(l, h, (const char *)body.data, body.len), ERR_OK);
	buf_deinit(&body);
}

static void answer_on(struct script *a, struct link *l, const struct header *request, enum msg_type type, bool result)
{
	struct header h = header_answer(request);
	struct batch b = {0};
	void *fields = batch_add(&b, type);

	assert_non_null(fields);
	if (type == MSG_READY_ANSWER)
		msg_set_bool(&((struct msg_ready_answer *)fields)->result, result);
	else if (type == MSG_SETUP_MS_LIST_ANSWER)
		msg_set_bool(&((struct msg_setup_ms_list_answer *)fields)->result, result);
	else if (type == MSG_CHECK_HEALTH_ANSWER)
		msg_set_bool(&((struct msg_check_health_answer *)fields)->result, result);
	else
		msg_set_bool(&((struct msg_answer *)fields)->result, result);
	send_batch(a, l, &h, &b);
	batch_deinit(&b);
}

static void explain_on(struct script *a, struct link *l, const struct header *request)
{
	struct header h = header_answer(request);
	struct batch b = {0};
	struct msg_explain_answer *m = batch_add(&b, MSG_EXPLAIN_ANSWER);

	assert_non_null(m);
	msg_set_bool(&m->result, true);
	m->explained = json_loads(a->explained, 0, NULL);
	assert_non_null(m->explained);
	send_batch(a, l, &h, &b);
	batch_deinit(&b);
}

void script_answer(struct script *a, const struct fake_message *request, enum msg_type type, bool result)
{
	answer_on(a, a->link, &request->header, type, result);
}

void script_answer_with(struct script *a, const struct fake_message *request, enum msg_type type,
			void (*fill)(void *fields, const void *arg), const void *arg)
{
	struct header h = header_answer(&request->header);
	struct batch b = {0};
	void *fields = batch_add(&b, type);

	assert_non_null(fields);
	fill(fields, arg);
	send_batch(a, a->link, &h, &b);
	batch_deinit(&b);
}

void script_certificate(struct script *a, const struct cert_info *cert)
{
	tls_creds_unref(a->creds);
	a->creds = fake_creds_with(a->bench->f, cert);
}

static void on_message(struct link *l, void *user, const struct header *h, const char *body, size_t n)
{
	struct script *a = user;
	struct fake_message *m = &a->messages[a->n++];
	enum msg_type type;

	assert_true(a->n < ARRAY_SIZE(a->messages));
	*m = (struct fake_message){.header = *h, .text = mem_strndup(body, n), .at_ms = fake_world_ms(a->bench->f)};
	assert_int_equal(batch_decode(&m->batch, body, n, NULL), ERR_OK);
	type = m->batch.n ? m->batch.elements[0].type : MSG_UNKNOWN;
	if (a->silent || !(h->flags & FLAG_REQUEST))
		return;
	if (type == MSG_READY && !a->silent_ready)
		answer_on(a, l, h, MSG_READY_ANSWER, !a->refuses_lists);
	else if (type == MSG_SETUP_MS_LIST)
		answer_on(a, l, h, MSG_SETUP_MS_LIST_ANSWER, !a->refuses_lists);
	else if (type == MSG_CHECK_HEALTH)
		answer_on(a, l, h, MSG_CHECK_HEALTH_ANSWER, true);
	else if (type == MSG_EXPLAIN && a->explained)
		explain_on(a, l, h);
	else if (type == MSG_EXPLAIN && a->explains_nothing)
		answer_on(a, l, h, MSG_UNSUPPORTED_ANSWER, false);
}

static void on_up(struct link *l, void *user)
{
	struct script *a = user;

	/* As an agent does: a muster agent that says nothing for 10 s is taken for gone. */
	if (a->as.is_muster)
		link_set_heartbeat(l, 1000);
	if (!a->no_startup)
		script_startup(a);
}

static void on_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct script *a = user;

	a->n_closed++;
	if (a->link == l)
		a->link = NULL;
	list_for (o, &a->old_links, struct old_link, in) {
		if (o->link == l) {
			list_remove(&o->in);
			mem_free(o);
		}
	}
}

static const struct link_events script_events = {.up = on_up, .message = on_message, .closed = on_closed};

void script_dial(struct script *a, struct node *n)
{
	struct link_params p = {
		.world = a->bench->world,
		.tls = {.profile = a->as.is_muster ? TLS_CLIENT_MUSTER : TLS_CLIENT_COMPAT, .creds = a->creds},
		.message_limit = LINK_MESSAGE_LIMIT,
		.events = &script_events,
		.user = a,
	};
	struct why why = WHY_NONE;

	if (a->link) {
		struct old_link *o = mem_zalloc(sizeof(*o));

		assert_non_null(o);
		o->link = a->link;
		list_append(&a->old_links, &o->in);
	}
	assert_int_equal(link_dial(&a->link, &p, n->server->p.listen_ip, FAKE_PORT, a->as.ip, &why), ERR_OK);
}

void script_startup(struct script *a)
{
	struct header h = {.flags = FLAG_REQUEST, .seq = a->seq++, .mgmt_id = -1, .agent_id = -1, .via = -1};
	struct batch b = {0};
	struct msg_startup_routing *m = batch_add(&b, MSG_STARTUP_ROUTING);
	char guid[160];

	assert_non_null(m);
	snprintf(guid, sizeof(guid), "%s-Lib", a->as.guid);
	assert_int_equal(msg_set_text(&m->startup.guid, guid), ERR_OK);
	assert_int_equal(msg_set_text(&m->startup.resourceName, "Lib"), ERR_OK);
	assert_int_equal(msg_set_text(&m->startup.name, a->as.name ? a->as.name : a->as.guid), ERR_OK);
	if (a->as.list)
		assert_int_equal(msg_set_text(&m->startup.msHostList, a->as.list), ERR_OK);
	if (a->as.boot) {
		assert_int_equal(msg_set_text(&m->startup.musterBoot, a->as.boot), ERR_OK);
		msg_set_i64(&m->startup.musterLink, ++a->link_number);
		if (a->as.boot_number)
			msg_set_i64(&m->startup.musterBootNumber, a->as.boot_number);
		if (a->purpose)
			assert_int_equal(msg_set_text(&m->startup.musterPurpose, a->purpose), ERR_OK);
		msg_set_i64(&m->startup.musterPutOff, a->put_off);
	}
	if (a->as.type)
		assert_int_equal(msg_set_text(&m->startup.type, a->as.type), ERR_OK);
	if (a->as.private_ip)
		assert_int_equal(msg_set_text(&m->startup.privateIpAddress, a->as.private_ip), ERR_OK);
	if (a->as.public_ip)
		assert_int_equal(msg_set_text(&m->startup.publicIpAddress, a->as.public_ip), ERR_OK);
	if (a->as.zone)
		assert_int_equal(msg_set_text(&m->startup.dataCenter, a->as.zone), ERR_OK);
	if (a->as.was_sent)
		msg_set_bool(&m->startup.musterSent, true);
	send_batch(a, a->link, &h, &b);
	batch_deinit(&b);
}

void script_hang_up(struct script *a)
{
	a->link = link_close(a->link);
}

void script_hang_up_oldest(struct script *a)
{
	struct old_link *o = list_first(&a->old_links, struct old_link, in);

	assert_non_null(o);
	link_close(o->link);
	list_remove(&o->in);
	mem_free(o);
}

void script_back_to_oldest(struct script *a)
{
	struct old_link *o = list_first(&a->old_links, struct old_link, in);

	assert_true(o && !a->link);
	a->link = o->link;
	list_remove(&o->in);
	mem_free(o);
}

bool script_is_open(const struct script *a)
{
	return a->link && link_state(a->link) == LINK_UP;
}

int64_t script_send(struct script *a, enum msg_type type, void (*fill)(void *fields))
{
	struct header h = {
		.flags = FLAG_REQUEST | FLAG_STOP_ON_ERROR, .seq = a->seq++, .mgmt_id = -1, .agent_id = -1, .via = -1};
	struct batch b = {0};
	void *fields = batch_add(&b, type);

	assert_non_null(fields);
	if (fill)
		fill(fields);
	send_batch(a, a->link, &h, &b);
	batch_deinit(&b);
	return h.seq;
}

const struct fake_message *script_got(const struct script *a, enum msg_type type, size_t n)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->messages[i].batch.n && a->messages[i].batch.elements[0].type == type && n-- == 0)
			return &a->messages[i];
	return NULL;
}

size_t script_count(const struct script *a, enum msg_type type)
{
	size_t n = 0;

	while (script_got(a, type, n))
		n++;
	return n;
}
