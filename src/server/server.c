/*
 * A management server's life. Starting, in this order, each step when the one before has worked:
 *
 *   identity    server.id in the folder: who we are, made once
 *   load        everything the store has: configuration, hosts, servers
 *   authority   CA and own certificate, so that links can be made
 *   register    our row becomes Up; what our last run left behind (hosts, jobs) is cleared away
 *   listen      last: nobody is let in before we know what to say
 *
 * Stopping is the reverse: no new links, goodbye to the ones there are, our row Down. Our hosts stay
 * ours until another server has them, or all others see that they have not come back.
 */
#include "server/keyring.h"
#include "server/provision.h"

#include <string.h>

#define FILE_ID "server.id"
#define BACKLOG 4096 /* where a storm waits: the kernel caps it at its own limit */
#define MAX_LINKS 18000
#define MAX_ANONYMOUS_PER_IP 256
#define MAX_ANONYMOUS 4096

void server_params_init(struct server_params *p)
{
	*p = (struct server_params){.port = 8250, .listen_ip = "", .version = MUSTER_VERSION};
}

/* ---- new and free ---- */

static enum err copy_params(struct server *s, const struct server_params *p)
{
	uint8_t *key = NULL;

	s->p = *p;
	if (p->cluster_key) {
		key = mem_zalloc(CLUSTER_KEY_SIZE);
		if (!key)
			return ERR_NOMEM;
		memcpy(key, p->cluster_key, CLUSTER_KEY_SIZE);
	}
	s->p.cluster_key = key;
	s->p.name = mem_strdup(p->name);
	s->p.dir = mem_strdup(p->dir);
	s->p.listen_ip = mem_strdup(p->listen_ip ? p->listen_ip : "");
	s->p.address = mem_strdup(p->address ? p->address : p->listen_ip);
	s->p.exec_command = mem_strdup(p->exec_command);
	s->p.exec_trusted = mem_strdup(p->exec_trusted);
	s->p.version = mem_strdup(p->version ? p->version : MUSTER_VERSION);
	if (!s->p.max_links)
		s->p.max_links = MAX_LINKS;
	if (!s->p.max_anonymous_per_ip)
		s->p.max_anonymous_per_ip = MAX_ANONYMOUS_PER_IP;
	if (!s->p.max_anonymous)
		s->p.max_anonymous = MAX_ANONYMOUS;
	if ((p->exec_command && !s->p.exec_command) || (p->exec_trusted && !s->p.exec_trusted))
		return ERR_NOMEM;
	return s->p.name && s->p.dir && s->p.listen_ip && s->p.address && s->p.version ? ERR_OK : ERR_NOMEM;
}

static void free_params(struct server *s)
{
	mem_free((char *)(uintptr_t)s->p.name);
	mem_free((char *)(uintptr_t)s->p.dir);
	mem_free((char *)(uintptr_t)s->p.listen_ip);
	mem_free((char *)(uintptr_t)s->p.address);
	mem_free((char *)(uintptr_t)s->p.version);
	mem_free((char *)(uintptr_t)s->p.exec_command);
	mem_free((char *)(uintptr_t)s->p.exec_trusted);
	if (s->p.cluster_key)
		mem_wipe((void *)(uintptr_t)s->p.cluster_key, CLUSTER_KEY_SIZE);
	mem_free((void *)(uintptr_t)s->p.cluster_key);
}

static enum err check_params(const struct server_params *p, struct why *why)
{
	struct server_address a;
	enum err e;

	if (str_is_blank(p->name) || str_is_blank(p->dir)) {
		why_set(why, "a server needs a name and a folder");
		return ERR_INVALID;
	}
	if (str_is_blank(p->address) && str_is_blank(p->listen_ip)) {
		why_set(why,
			"a server that listens on all addresses has to be told which one to advertise (`address`)");
		return ERR_INVALID;
	}
	e = server_address_parse(&a, str_is_blank(p->address) ? p->listen_ip : p->address, why);
	if (e)
		why_add(why, "address");
	return e;
}

enum err server_new(struct server **out, const struct server_params *p, struct why *why)
{
	const struct spread_rule rule = {.window = 64, .answer_ms = 60000, .retry_min_ms = 1000, .retry_max_ms = 60000};
	struct server *s;
	enum err e = check_params(p, why);

	if (e)
		return e;
	s = mem_zalloc(sizeof(*s));
	if (!s)
		return ERR_NOMEM;
	s->world = p->world;
	s->log = p->log;
	list_init(&s->sessions);
	list_init(&s->servers);
	ledger_init(s);
	list_init(&s->provisions);
	list_init(&s->renewal.due);
	list_init(&s->renewal.look_later.queued);
	list_init(&s->names);
	list_init(&s->follow_waits);
	list_init(&s->events_again);
	list_init(&s->compare_later.queued);
	list_init(&s->news_later.queued);
	list_init(&s->promises);
	list_init(&s->asking);
	list_init(&s->questions);
	map_init_text(&s->promise_by_guid, rng_u64(&s->world->rng));
	list_init(&s->served_later.queued);
	gate_init(s);
	map_init_number(&s->hosts_by_id, rng_u64(&s->world->rng));
	map_init_text(&s->hosts_by_guid, rng_u64(&s->world->rng));
	map_init_text(&s->addresses, rng_u64(&s->world->rng));
	map_init_text(&s->revoked, rng_u64(&s->world->rng));
	map_init_number(&s->requests, rng_u64(&s->world->rng));
	event_init(s);
	join_init(s);
	map_init_number(&s->pings, rng_u64(&s->world->rng));
	timer_init(&s->spread_timer, NULL);
	timer_init(&s->tails_timer, NULL);
	timer_init(&s->watch_timer, NULL);
	timer_init(&s->follow_timer, NULL);
	timer_init(&s->told_to_stop, NULL);
	/* As the reference numbers: a random high part keeps runs apart; 15 bits, so that it stays positive. */
	s->next_seq = (int64_t)rng_below(&s->world->rng, 32767) << 48;
	s->spread = spread_new(&rule);
	e = copy_params(s, p);
	if (e || !s->spread) {
		server_free(s);
		return ERR_NOMEM;
	}
	*out = s;
	return ERR_OK;
}

struct server *server_free(struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	if (!s)
		return NULL;
	s->stopping = true;
	s->freed = true;
	s->running = false;
	s->started = NULL;
	s->gone = NULL;
	s->listener = listener_free(s->listener);
	timer_stop(s->world, &s->spread_timer);
	timer_stop(s->world, &s->tails_timer);
	timer_stop(s->world, &s->watch_timer);
	follow_stop(s);
	world_later_cancel(&s->compare_later);
	renewal_stop(s);
	news_stop(s);
	metrics_deinit(s);
	draining_deinit(s);
	names_deinit(s);
	peer_stop(s);
	session_free_all(s);
	gate_deinit(s);
	/* Who hears of these may still add to the ledger. */
	while ((h = roster_next(s, &cursor)))
		requests_fail(h, ERR_STOPPED, err_text(ERR_STOPPED));
	ledger_deinit(s);
	world_later_cancel(&s->served_later);
	host_events_deinit(s);
	join_deinit(s);
	provision_deinit(s);
	arrivals_deinit(s);
	freeze_deinit(&s->freeze);
	rolling_deinit(s);
	renewal_deinit(s);
	clones_deinit(s);
	roster_deinit(s);
	placement_deinit(s);
	api_deinit(s);
	map_deinit(&s->requests);
	crowd_deinit(s);
	event_deinit(s);
	map_deinit(&s->pings);
	authority_deinit(s);
	config_deinit(s);
	str_list_deinit(&s->list_servers);
	str_list_deinit(&s->avoid);
	s->spread = spread_free(s->spread);
	free_params(s);
	mem_free(s);
	return NULL;
}

uint16_t server_port(const struct server *s)
{
	return s->listener ? listener_port(s->listener) : s->p.port;
}

int64_t server_msid(const struct server *s)
{
	return s->msid;
}

/* ---- identity ---- */

static enum err id_parse(struct server *s, const struct buf *text, struct why *why)
{
	struct props *p = NULL;
	enum err e = props_parse(&p, text->data, text->len, why);
	const char *msid = e ? NULL : props_get(p, "msid");
	const char *uuid = e ? NULL : props_get(p, "uuid");

	if (!e && (!msid || !str_to_i64(msid, &s->msid) || s->msid <= 0 || !uuid || !uuid_is_valid(uuid))) {
		why_set(why,
			"%s/%s: damaged: msid or uuid is missing; remove the file and this server gets a new identity",
			s->p.dir, FILE_ID);
		e = ERR_DAMAGED;
	}
	if (!e)
		str_copy(s->uuid, sizeof(s->uuid), uuid);
	props_free(p);
	return e;
}

static enum err id_make(struct server *s, const char *path, struct why *why)
{
	struct buf text = {0};
	uint64_t random;
	enum err e;

	world_entropy(s->world, &random, sizeof(random));
	s->msid = (int64_t)(random & 0x7fffffffffffULL) | 1; /* positive, 47 bits, as a MAC address would be */
	world_uuid(s->world, s->uuid);
	e = buf_printf(&text, "# who this management server is; made once\nmsid=%lld\nuuid=%s\n", (long long)s->msid,
		       s->uuid);
	if (!e)
		e = file_replace(s->world->fs, path, 0644, text.data, text.len, why);
	buf_deinit(&text);
	return e;
}

static enum err identity(struct server *s, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(s->p.dir, FILE_ID);
	struct buf text = {0};
	enum err e;

	if (!path)
		return ERR_NOMEM;
	e = file_read(s->world->fs, path, 4096, &text, why);
	if (e == ERR_NOT_FOUND)
		e = id_make(s, path, why);
	else if (!e)
		e = id_parse(s, &text, why);
	buf_deinit(&text);
	return e;
}

/* ---- starting ---- */

static void start_ends(struct server *s, enum err result, const char *sentence)
{
	void (*started)(void *, enum err, const char *) = s->started;

	s->started = NULL;
	if (started)
		started(s->started_user, result, sentence);
}

/* server_stop() while we were starting: each step looks, so that nothing is begun that nobody would end. */
static void stopped_meanwhile(const struct server *s, enum err *result, const char **sentence)
{
	if (!*result && s->stopping) {
		*result = ERR_STOPPED;
		*sentence = err_text(ERR_STOPPED);
	}
}

static void accepted(void *user, struct stream *take_stream)
{
	session_accept(user, take_stream);
}

static enum err listen_now(struct server *s, struct why *why)
{
	struct listen_params p = {
		.ip = s->p.listen_ip,
		.port = s->p.port,
		.backlog = BACKLOG,
		.accepted = accepted,
		.user = s,
	};

	return world_listen(s->world, &s->listener, &p, why);
}

struct registering {
	struct entry entry;
	struct server_row row;
	size_t jobs;
};

static enum err register_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct registering *r = container_of(entry, struct registering, entry);
	int64_t msid = entry->server->msid;
	enum err e = store_server_register(tx, &r->row);

	/* What a run of ours that was killed has left behind; its hosts get a grace period once we run. */
	if (!e)
		e = store_jobs_fail_of(
			tx, msid,
			"{\"errorcode\":530,\"errortext\":\"The management server that ran this job was restarted\"}",
			&r->jobs);
	return e;
}

static void loaded_again(struct server *s, enum err result, const char *sentence)
{
	stopped_meanwhile(s, &result, &sentence);
	if (result) {
		s->running = false;
		s->listener = listener_free(s->listener);
		start_ends(s, result, sentence);
		return;
	}
	s->running = true;
	s->running_since = world_now(s->world);
	news_tick(s); /* how often heartbeats are: before the first agent is told */
	listener_pause(s->listener, false);
	authority_reload(s);
	lists_changed(s);
	peer_update(s);
	follow_start(s);
	watch_start(s);
	watch_inherited(s);
	draining_look(s);
	event_add(s, "MS.UP", "INFO", 0, "management server %s (%s) is up", s->p.name, s->p.address);
	start_ends(s, ERR_OK, "");
}

static void register_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct registering *r = container_of(entry, struct registering, entry);

	if (!result)
		str_copy(s->keyring.told, sizeof(s->keyring.told), r->row.key_id);
	server_row_deinit(&r->row);
	mem_free(r);
	stopped_meanwhile(s, &result, &sentence);
	if (result) {
		s->listener = listener_free(s->listener);
		start_ends(s, result, sentence);
		return;
	}
	follow_load_all(s, loaded_again);
}

static void register_self(struct server *s)
{
	struct registering *r = mem_zalloc(sizeof(*r));
	struct why why = WHY_NONE;
	enum err e = r ? listen_now(s, &why) : ERR_NOMEM;

	/* The port is taken before the row says Up; connections wait in the backlog until we run. */
	if (!e) {
		listener_pause(s->listener, true);
		s->run_id = world_wall_ms(s->world);
		r->entry.run = register_run;
		r->entry.done = register_done;
		r->row.msid = s->msid;
		r->row.run_id = s->run_id;
		str_copy(r->row.uuid, sizeof(r->row.uuid), s->uuid);
		r->row.name = mem_strdup(s->p.name);
		r->row.address = mem_strdup(s->p.address);
		r->row.version = mem_strdup(s->p.version);
		r->row.key_id = mem_strdup(keyring_id(s));
		r->row.port = server_port(s);
		r->row.started_ms = s->run_id;
		if (!r->row.name || !r->row.address || !r->row.version || !r->row.key_id)
			e = ERR_NOMEM;
	}
	if (e) {
		if (r)
			server_row_deinit(&r->row);
		mem_free(r);
		start_ends(s, e, why_text(&why, e));
		return;
	}
	ledger_add(s, &r->entry);
}

static void have_authority(struct server *s, enum err result, const char *sentence)
{
	stopped_meanwhile(s, &result, &sentence);
	if (result)
		start_ends(s, result, sentence);
	else
		register_self(s);
}

static void loaded(struct server *s, enum err result, const char *sentence)
{
	stopped_meanwhile(s, &result, &sentence);
	if (result) {
		start_ends(s, result, sentence);
		return;
	}
	revocation_reload(s); /* read before the CA is: our own certificate may be on it */
	authority_start(s, have_authority);
}

enum err server_start(struct server *s, void (*started)(void *user, enum err result, const char *sentence), void *user)
{
	struct why why = WHY_NONE;
	enum err e = identity(s, &why);

	if (e) {
		log_error(s->log, "this server has no usable identity", KV_S("error", why_text(&why, e)));
		return e;
	}
	s->started = started;
	s->started_user = user;
	follow_load_all(s, loaded);
	return ERR_OK;
}

/* ---- stopping ---- */

struct goodbye {
	struct entry entry;
};

static enum err goodbye_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	enum server_state to;
	enum err e = store_server_event(tx, entry->server->msid, SERVER_EVENT_STOP, &to);

	/*
	 * Maintenance outlives a clean stop: then there is no step to Down. Our hosts stay ours until another server
	 * has them: their agents are on the way there, and a status in between would only flicker.
	 */
	return e == ERR_STATE ? ERR_OK : e;
}

static void goodbye_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct goodbye *g = container_of(entry, struct goodbye, entry);

	if (result)
		log_warn(s->log, "could not say goodbye in the store, the others will notice", KV_S("error", sentence));
	else
		log_info(s->log, "server stopped");
	mem_free(g);
	peer_hint(s);
	peer_stop(s);
	s->said_goodbye = true; /* the ledger tells `gone` when nothing is on its way any more */
}

void server_gone_if_idle(struct server *s)
{
	void (*gone)(void *) = s->gone;

	if (!s->said_goodbye || s->ledger_running || !list_is_empty(&s->ledger_tell) || s->starting ||
	    s->making_cert[OWN_CERT_EC] || s->making_cert[OWN_CERT_RSA] || !list_is_empty(&s->joinings) ||
	    provision_is_at_work(s) || crl_is_busy(s) || keyring_is_busy(s) || s->n_api_works || !gone)
		return;
	s->gone = NULL;
	gone(s->gone_user);
}

void server_stop(struct server *s, void (*gone)(void *user), void *user)
{
	struct goodbye *g;

	if (s->stopping)
		return;
	s->stopping = true;
	s->running = false;
	s->started = NULL; /* gone() is what is waited for now */
	s->gone = gone;
	s->gone_user = user;
	s->listener = listener_free(s->listener);
	follow_stop(s);
	watch_stop(s);
	timer_stop(s->world, &s->spread_timer);
	timer_stop(s->world, &s->tails_timer);
	world_later_cancel(&s->compare_later);
	renewal_stop(s);
	news_stop(s);
	peer_status_changed(s);
	draining_deinit(s);
	names_deinit(s);
	session_stop_all(s);
	g = mem_zalloc(sizeof(*g));
	if (!g) {
		if (gone)
			gone(user);
		return;
	}
	g->entry.run = goodbye_run;
	g->entry.done = goodbye_done;
	ledger_add(s, &g->entry);
}

/* ---- how we are ---- */

/* Up and running, as all others know it from the store, and not overrun. */
bool server_is_accepting(const struct server *s)
{
	const struct member_server *own = roster_server(s, s->msid);

	return s->running && !s->stopping && !s->leaving && own && own->row.state == SERVER_UP &&
	       !admission_is_overrun(s);
}

size_t server_backlog(const struct server *s)
{
	return admission_backlog_now(s);
}

size_t server_n_agents(const struct server *s)
{
	return s->n_in_state[SESSION_ATTACHED] + s->n_in_state[SESSION_READY];
}

/* ---- looking at it ---- */

void server_look(const struct server *s, struct server_view *out)
{
	*out = (struct server_view){
		.links = s->n_sessions,
		.anonymous = s->n_anonymous,
		.outdated = spreading_outdated(s),
		.config_version = s->config_version,
		.refused = s->n_refused,
		.accepting = server_is_accepting(s),
		.heartbeat_ms = s->heartbeat_ms,
		.strangers = s->n_strangers,
		.handshakes = s->gate.n_counted,
		.handshakes_allowed = s->gate.bound.allowed,
		.handshakes_waiting = s->gate.n_waiting,
		.starting = s->n_starting,
		.startup_wait_ms = admission_expected_ms(s),
		.put_off = s->n_put_off,
		.made_room = s->n_made_room,
		.no_room = s->n_no_room,
		.cuts = s->gate.n_cuts,
		.delay_us = s->gate.worst_us,
		.full_handshakes = s->n_full,
		.resumed = s->n_resumed,
		.gives_tickets = s->tickets.keys.n > 0,
	};
	list_for (x, (struct list *)(uintptr_t)&s->sessions, struct session, in_sessions) {
		out->sessions += x->state == SESSION_ATTACHED || x->state == SESSION_READY;
		out->up += x->state == SESSION_READY;
		out->suspect += x->state == SESSION_READY && x->is_suspect;
	}
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		out->peers_up += m->peer && peer_is_up(m->peer);
}
