/*
 * Startup: an anonymous link says which host it is.
 *
 *   1. judged by ca/policy: certificate, guid, what the host was bound to before; a muster agent that would have to
 * wait long is asked to come back later (admission.c);
 *   2. answered at once, before any work in the store (the reference's agent has a timer running);
 *   3. claimed in the store: the host row is found or made, described, and owned by us with a new epoch;
 *   4. attached: ReadyCommand with the list if the reported one is outdated, the avoid list and the interval always;
 *   5. Up when the agent has answered that.
 *
 * Without the store (decision 14) a host that we know is attached provisionally and claimed when the store is back;
 * anybody else is refused by name and comes again.
 */
#include "server/provision.h"

#include <stdio.h>
#include <string.h>

#define CLAIM_AGAIN_MS 1000
#define HOLD_MS 2500 /* two heartbeats and a bit: in that time an older link that is alive is heard (decision 7) */
#define HOLD_REMOTE_MS 3000 /* the same at another server, and the way there and back */
#define HELD_MOST 256       /* a held startup is a message of a stranger to us, kept */

/* On its way through the store; outlives its session. */
struct claim {
	struct entry entry;
	struct session *session; /* NULL: it has ended meanwhile */
	bool void_claim;         /* read on the store lane: set when the link has closed (atomic) */
	bool is_retry;           /* of a provisional session */
	bool taken;              /* the session was taken without waiting any longer; known on the loop only */
	bool is_queued;          /* it counts in the queue of startups (admission.c) */
	struct host_row row;     /* what the startup says; completed by the store */
	char *zone, *pod, *cluster;
	char uuid[UUID_TEXT], place_uuids[3][UUID_TEXT];
	char *reported;
	char *boot;
	char *peer_ip;
	struct host_claim result;
	bool created;
	bool shows_cert; /* one that was verified: */
	struct shown_cert shown;
	enum cert_origin origin;
	bool seen_before;      /* its host has come with it before */
	enum admit refused_as; /* for where it comes from; ADMIT_YES: it was not */
};

static void claim_free(struct claim *c)
{
	host_row_deinit(&c->row);
	mem_free(c->zone);
	mem_free(c->pod);
	mem_free(c->cluster);
	mem_free(c->reported);
	mem_free(c->boot);
	mem_free(c->peer_ip);
	mem_free(c);
}
CLEAN_DEFINE(struct claim, claim_free)

void startup_abandon(struct session *x)
{
	if (!x->claim)
		return;
	x->claim->session = NULL;
	/*
	 * Void for muster agents too: the store compares link numbers within one boot only, so that a claim from before
	 * the agent's restart, waiting here behind a store that hung, would win over all newer ones.
	 */
	__atomic_store_n(&x->claim->void_claim, true, __ATOMIC_RELAXED);
	x->claim = NULL;
}

/* ---- 1. who is it ---- */

static int64_t boot_number_of(const struct msg_startup_common *m)
{
	return m->musterBootNumber.has && m->musterBootNumber.value > 0 ? m->musterBootNumber.value : 0;
}

/*
 * The agent has been started again since, and that process is here: this startup was on its way for a long time. (It
 * may also be a machine that was restored from a backup, with an older count. Then it comes again, and gets in when the
 * link of the other one is over.)
 */
static bool is_late(const struct msg_startup_common *m, const struct host *known)
{
	const struct link_stamp late = {m->musterBoot, boot_number_of(m), m->musterLink.has ? m->musterLink.value : 0};
	struct link_stamp attached;

	if (!known || !known->session || !known->session->boot || str_equal(m->musterBoot, known->session->boot))
		return false;
	attached = session_stamp(known->session);
	return link_is_older(&late, &attached);
}

/*
 * Surely late, and not a copy's with a lower count: its link is older, too. (A copy that lives comes again, on a link
 * that is newer, and is found then. Where the later start is connected to another server this can't be told from here:
 * such a startup is asked about like a copy's.)
 */
static bool is_late_link(const struct session *x, const struct msg_startup_common *m, const struct host *known)
{
	return link_is_muster(x->link) && is_late(m, known) && mono_before(x->opened, known->session->opened);
}

static enum admit judge(struct session *x, const struct msg_startup_common *m, const struct host *known, bool *hold,
			struct why *why)
{
	struct server *s = x->server;
	const struct tls_peer *peer = link_peer(x->link);
	int64_t wall_s = world_wall_ms(s->world) / 1000;
	struct admit_question q = {
		.has_cert = peer->has_cert,
		.chain_ok = peer->chain_ok,
		.cert = peer->has_cert ? &peer->cert : NULL,
		.revoked = peer->has_cert && authority_is_revoked(s, peer->cert.serial),
		.peer_ip = link_peer_ip(x->link),
		.is_muster = link_is_muster(x->link),
		.startup_guid = m->guid,
		.resource_name = m->resourceName,
		.host_known = known != NULL,
		.host_bound = known && known->row.bound_key,
		.host_bound_to_uri = known && str_equal(known->row.bound_key, "uri"),
		.allow_weaker = known && known->row.allow_weaker,
		.strict = config_bool(s, "ca.plugin.root.auth.strictness"),
		.allow_expired = config_bool(s, "ca.plugin.root.allow.expired.cert"),
		.wall_s = wall_s,
		.expired_limit_s = ADMIT_EXPIRED_LIMIT_S,
	};
	enum admit a = admit_agent(&q, why);
	struct session *older = known ? known->session : NULL;

	/*
	 * Two machines with one guid, both alive: a cloned image. The one that was first stays. But an agent that was
	 * restarted a moment ago looks the same: so the newcomer waits for two heartbeats, and is a copy only if the
	 * older link was heard meanwhile.
	 */
	if (admit_is_yes(a) && is_late_link(x, m, known))
		return a;
	if (admit_is_yes(a) && older && older->link && older->boot && m->musterBoot &&
	    !str_equal(older->boot, m->musterBoot) &&
	    (!x->held || mono_before(x->held_since, link_heard(older->link)))) {
		if (!x->held) {
			clone_probe(older);
			*hold = true;
			return a;
		}
		why_set(why, "another machine with guid %s is connected from %s and answers: is it a copy?",
			known->row.guid, link_peer_ip(older->link));
		event_add(s, "HOST.DUPLICATE.GUID", "ERROR", known->row.id, "%s", why->text);
		return ADMIT_DUPLICATE_GUID;
	}
	/* The same where the older link is another server's. */
	if (admit_is_yes(a) && known && !older && !x->held && link_is_muster(x->link))
		*hold = clone_ask(x, known, m->musterBoot);
	if (admit_is_yes(a) && known && x->clone_lives) {
		const struct member_server *at = roster_server(s, x->clone_msid);

		why_set(why,
			"another machine with guid %s is connected to management server %s and answers: is it a copy?",
			known->row.guid, at ? at->row.name : "?");
		event_add(s, "HOST.DUPLICATE.GUID", "ERROR", known->row.id, "%s", why->text);
		return ADMIT_DUPLICATE_GUID;
	}
	return a;
}

/* ---- 2. the answer ---- */

/* `put_off` NULL: the answer is meant for good. */
struct put_off {
	int64_t retry_ms;
	const char *server; /* NULL: none */
};

static enum err answer_startup(struct session *x, const struct header *h, bool result, const char *details,
			       const struct put_off *put_off)
{
	struct batch b = {0};
	struct msg_startup_answer *a = batch_add(&b, MSG_STARTUP_ANSWER);

	/* hostId 0 and empty names are what the reference sends here; the real ones come with ReadyCommand. */
	if (!a || msg_set_text(&a->hostName, "") || msg_set_text(&a->hostUuid, "") ||
	    (details && msg_set_text(&a->details, details)) ||
	    (put_off && put_off->server && msg_set_text(&a->musterServer, put_off->server))) {
		batch_deinit(&b);
		return ERR_NOMEM;
	}
	msg_set_i64(&a->hostId, 0);
	x->ping_interval_s = config_number(x->server, "ping.interval", 0);
	msg_set_i64(&a->pingInterval, x->ping_interval_s);
	msg_set_bool(&a->result, result);
	if (put_off)
		msg_set_i64(&a->musterRetryMs, put_off->retry_ms);
	return session_answer(x, h, &b);
}

void startup_put_off(struct session *x, const struct header *h, int64_t retry_ms, const char *server,
		     const char *sentence)
{
	const struct put_off put_off = {.retry_ms = retry_ms, .server = server};

	if (link_is_muster(x->link) && answer_startup(x, h, false, sentence, &put_off))
		log_debug(x->server->log, "an agent could not be told to come back later");
	session_end(x, ERR_BUSY, sentence, EVENT_N);
}

static void refuse(struct session *x, const struct header *h, enum admit a, const struct why *why)
{
	const char *sentence = why->text[0] ? why->text : admit_name(a);

	/* A CloudStack agent exits on a refusing answer: its link is only closed, and it comes again (decision 28). */
	if (link_is_muster(x->link) && answer_startup(x, h, false, sentence, NULL))
		log_debug(x->server->log, "a refusal could not be sent");
	x->refused_as = a;
	event_refused(x->server, "HOST.REFUSED", link_peer_ip(x->link), "%s from %s: %s", x->guid ? x->guid : "?",
		      link_peer_ip(x->link), sentence);
	session_end(x, ERR_REFUSED, sentence, EVENT_N);
}

/* ---- 3. the claim ---- */

/* The numbers and texts that the API shows, kept as one JSON object. */
static char *details_text(const struct batch *b, const struct msg_startup_common *m, const char *peer_ip)
{
	const struct msg_startup_routing *r = batch_find(b, MSG_STARTUP_ROUTING);
	json_t *all = json_object();
	json_t *details = json_object();
	char *text;

	if (r) {
		const struct {
			const char *name;
			const msg_i64 *value;
		} numbers[] = {
			{"cpuSockets", &r->cpuSockets},
			{"cpus", &r->cpus},
			{"speed", &r->speed},
			{"memory", &r->memory},
			{"dom0MinMemory", &r->dom0MinMemory},
		};

		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			if (numbers[i].value->has)
				json_object_set_new(all, numbers[i].name, json_integer(numbers[i].value->value));
		if (r->hypervisorVersion)
			json_object_set_new(all, "hypervisorVersion", json_string(r->hypervisorVersion));
		for (size_t i = 0; i < r->hostDetails.n; i++)
			json_object_set_new(
				details, r->hostDetails.pairs[i].key,
				json_string(r->hostDetails.pairs[i].value ? r->hostDetails.pairs[i].value : ""));
	}
	/* For its certificate (provision.c), also where it isn't connected. */
	json_object_set_new(all, "peerIpAddress", json_string(peer_ip));
	if (!str_is_blank(m->publicIpAddress))
		json_object_set_new(all, "publicIpAddress", json_string(m->publicIpAddress));
	if (!str_is_blank(m->storageIpAddress))
		json_object_set_new(all, "storageIpAddress", json_string(m->storageIpAddress));
	json_object_set_new(all, "details", details);
	text = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	return text;
}

static enum err set(char **field, const char *value)
{
	*field = mem_strdup(value ? value : "");
	if (!*field)
		return ERR_NOMEM;
	/* What a peer sent is shown on terminals. */
	str_make_printable(*field);
	return ERR_OK;
}

/*
 * May what connects now have the host that is known? What admit_agent() has let in is looked at beside the store's row,
 * as another server may have seen more since; and only here it is known what was issued for the host.
 */
static enum admit judge_binding(struct store_tx *tx, const struct host_row *known, const struct host_row *now,
				const char *peer_ip, struct why *why)
{
	struct admit_binding b = {
		.guid = now->guid,
		.bound_to = known->bound_to,
		.key_id = now->bound_to,
		.host_address = known->private_ip,
		.peer_ip = peer_ip,
		.allow_weaker = known->allow_weaker,
	};

	if (!str_equal(known->bound_key, "san") || !str_equal(now->bound_key, "san"))
		return ADMIT_YES;
	/* Asked only where it decides. */
	if (tx && admit_binding(&b, NULL) != ADMIT_YES && now->cert_serial &&
	    store_cert_is_for(tx, now->cert_serial, now->guid, &b.is_issued_for_host))
		b.is_issued_for_host = false;
	return admit_binding(&b, why);
}

static enum err describe(struct claim *c, struct session *x, const struct batch *b, const struct msg_startup_common *m,
			 enum admit a)
{
	const struct msg_startup_routing *r = batch_find(b, MSG_STARTUP_ROUTING);
	const struct tls_peer *peer = link_peer(x->link);
	struct host_row *row = &c->row;
	char normal[ADDRESS_TEXT]; /* addresses are compared as texts */
	const char *own = address_normal(normal, m->privateIpAddress) ? normal
			  : str_is_blank(m->privateIpAddress)         ? link_peer_ip(x->link)
								      : m->privateIpAddress;
	enum err e = ERR_OK;

	if (set(&row->guid, x->guid) || set(&row->name, str_is_blank(m->name) ? x->guid : m->name) ||
	    set(&row->type, str_is_blank(m->type) ? "Routing" : m->type) || set(&row->resource_name, m->resourceName) ||
	    set(&row->hypervisor, r && r->hypervisorType ? r->hypervisorType : "") || set(&row->version, m->version) ||
	    set(&row->arch, str_is_blank(m->arch) ? "x86_64" : m->arch) || set(&row->private_ip, own) ||
	    set(&row->capabilities, r && r->caps ? r->caps : ""))
		return ERR_NOMEM;
	c->peer_ip = mem_strdup(link_peer_ip(x->link));
	if (!c->peer_ip)
		return ERR_NOMEM;
	row->details = details_text(b, m, link_peer_ip(x->link));
	row->is_muster = link_is_muster(x->link);
	row->secured = a == ADMIT_YES && peer->has_cert && peer->chain_ok;
	if (row->secured) {
		e = set(&row->bound_key, peer->cert.role == CERT_ROLE_AGENT ? "uri" : "san");
		if (!e)
			e = set(&row->cert_serial, peer->cert.serial);
		if (!e && peer->cert.authority_key_id[0])
			e = set(&row->cert_issuer, peer->cert.authority_key_id);
		if (!e && peer->cert.role != CERT_ROLE_AGENT)
			e = set(&row->bound_to, peer->cert.key_id);
		row->cert_not_before_s = peer->cert.not_before_s;
		row->cert_not_after_s = peer->cert.not_after_s;
	}
	if (!e && (set(&c->zone, str_is_blank(m->dataCenter) ? "default" : m->dataCenter) ||
		   set(&c->pod, str_is_blank(m->pod) ? "default" : m->pod) ||
		   set(&c->cluster, str_is_blank(m->cluster) ? "default" : m->cluster)))
		e = ERR_NOMEM;
	if (!e && m->msHostList) {
		c->reported = mem_strdup(m->msHostList);
		e = c->reported ? ERR_OK : ERR_NOMEM;
	}
	if (!e && m->musterBoot) {
		c->boot = mem_strdup(m->musterBoot);
		e = c->boot ? ERR_OK : ERR_NOMEM;
	}
	return e;
}

static enum err find_places(struct store_tx *tx, struct claim *c)
{
	int64_t bound = 0;
	enum err e = store_host_bound_zone(tx, c->row.guid, &bound);

	/* Joined with a token for one zone: there it stays, whatever its agent says by now. */
	if (!e && bound)
		c->row.zone_id = bound;
	else if (!e)
		e = store_place_find_or_make(tx, PLACE_ZONE, 0, c->zone, c->place_uuids[0], &c->row.zone_id);
	if (!e)
		e = store_place_find_or_make(tx, PLACE_POD, c->row.zone_id, c->pod, c->place_uuids[1], &c->row.pod_id);
	if (!e)
		e = store_place_find_or_make(tx, PLACE_CLUSTER, c->row.pod_id, c->cluster, c->place_uuids[2],
					     &c->row.cluster_id);
	return e;
}

static enum err not_revoked(struct store_tx *tx, const char *serial, struct why *why)
{
	bool is = false;
	enum err e = serial ? store_is_revoked(tx, serial, &is) : ERR_OK;

	if (e || !is)
		return e;
	why_set(why, "certificate %s is revoked", serial);
	return ERR_REVOKED;
}

/* Was what it shows issued here, or made by who has our CA's key? */
static enum err judge_origin(struct store_tx *tx, struct claim *c, struct why *why)
{
	enum err e = c->shows_cert ? origin_of(tx, &c->shown, &c->origin) : ERR_OK;

	c->refused_as = ADMIT_YES;
	if (!e && c->shows_cert)
		c->refused_as = admit_origin(c->origin, c->shown.serial, c->shown.is_suspect, why);
	return e ? e : c->refused_as == ADMIT_YES ? ERR_OK : ERR_REFUSED;
}

static bool is_weaker(const struct host_row *known, const struct host_row *now)
{
	if (!known->bound_key || known->allow_weaker)
		return false;
	return !now->bound_key || (str_equal(known->bound_key, "uri") && !str_equal(now->bound_key, "uri"));
}

static enum err find_or_create(struct store_tx *tx, struct claim *c, struct why *why)
{
	struct host_row known = {0};
	enum err e = store_host_by_guid(tx, c->row.guid, &known);

	c->created = e == ERR_NOT_FOUND;
	c->seen_before = !e && str_equal(known.cert_serial, c->shown.serial);
	/* What is claimed again is a host that was known: deleted meanwhile, it is not made anew. */
	if (c->is_retry && (e == ERR_NOT_FOUND || (!e && known.id != c->row.id))) {
		host_row_deinit(&known);
		return ERR_NOT_FOUND;
	}
	/* Judged in memory before; another server may have seen a stronger identity since. */
	if (!e && !c->is_retry && is_weaker(&known, &c->row)) {
		why_set(why, "host %s once showed a stronger identity", c->row.guid);
		host_row_deinit(&known);
		return ERR_REFUSED;
	}
	if (!e && !c->is_retry && judge_binding(tx, &known, &c->row, c->peer_ip, why) != ADMIT_YES) {
		host_row_deinit(&known);
		return ERR_REFUSED;
	}
	/* Revoked a moment ago, on another server: here it is known before our own list has it. */
	if (!e && !c->is_retry && (e = not_revoked(tx, c->row.cert_serial, why))) {
		host_row_deinit(&known);
		return e;
	}
	if (!e) {
		c->row.id = known.id;
		/* A stronger binding is never replaced by a weaker one, unless an operator allowed it for this once. */
		if (known.bound_key && !c->row.bound_key && !known.allow_weaker) {
			c->row.bound_key = mem_strdup(known.bound_key);
			if (!c->row.bound_key)
				e = ERR_NOMEM;
		}
		if (!e && !c->is_retry)
			e = store_host_describe(tx, &c->row);
		if (!e && known.allow_weaker)
			e = store_host_allow_weaker(tx, known.id, false);
	} else if (e == ERR_NOT_FOUND) {
		struct host_row fresh = {0};

		/* Deleted on another server a moment ago: it must not come to life again before we have heard of that.
		 */
		e = not_revoked(tx, c->row.cert_serial, why);
		if (e)
			return e;
		memcpy(c->row.uuid, c->uuid, sizeof(c->uuid));
		c->row.resource_state = RESOURCE_ENABLED;
		c->row.status = HOST_CREATING;
		c->row.ms_interval = -1;
		/* The function may run again after an undone group, with the row as it was. */
		e = host_row_copy(&fresh, &c->row);
		if (!e)
			e = store_host_create(tx, &fresh);
		c->row.id = fresh.id;
		host_row_deinit(&fresh);
	}
	host_row_deinit(&known);
	return e;
}

static enum err claim_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct claim *c = container_of(entry, struct claim, entry);
	enum err e;

	if (__atomic_load_n(&c->void_claim, __ATOMIC_RELAXED)) {
		why_set(why, "the link closed before it could be claimed");
		return ERR_CLOSED;
	}
	e = judge_origin(tx, c, why);
	if (!e)
		e = find_places(tx, c);
	if (!e)
		e = find_or_create(tx, c, why);
	if (e)
		return e;

	c->result = (struct host_claim){
		.host_id = c->row.id,
		.msid = entry->server->msid,
		.boot = c->boot,
		.link_number = c->row.link_number,
		.boot_number = c->row.boot_number,
	};
	e = store_host_claim(tx, &c->result);
	if (!e && !c->result.superseded && c->is_retry && c->row.cert_serial)
		e = store_host_shown(tx, &c->row);
	if (!e && !c->result.superseded && c->reported)
		e = store_host_list_confirmed(tx, c->row.id, c->reported, -1);
	if (e)
		return e;
	/* What memory takes over is what the store has now. */
	host_row_deinit(&c->row);
	c->row = (struct host_row){0};
	return store_host_get(tx, c->result.host_id, &c->row);
}

static void attach(struct session *x, struct host *h);
static void claim_again_later(struct session *x);
static void on_claim_again(struct timer *t);

/* The store can't be written: a host that we know is served, its claim comes later; others are refused (decision 14).
 */
static void attach_without_store(struct session *x, const char *sentence)
{
	struct server *s = x->server;
	struct host *h = roster_by_guid(s, x->guid);

	if (!h) {
		session_end(x, ERR_STORE, "the store does not work and this host is not known yet: try again", EVENT_N);
		return;
	}
	/* For whom its certificate was issued, only the store could say. */
	if (x->is_key_new) {
		session_end(x, ERR_STORE, "the store does not work and this host showed another certificate: try again",
			    EVENT_N);
		return;
	}
	log_warn(s->log, "agent taken without the store, its claim comes later", KV_I("host", h->row.id),
		 KV_S("error", sentence));
	x->provisional = true;
	x->host_id = h->row.id;
	x->epoch = h->row.epoch;
	attach(x, h);
	claim_again_later(x);
}

/* Ends the session. */
static void refuse_origin(struct session *x, enum admit a, const char *sentence)
{
	x->refused_as = a;
	origin_say(x->server, a, link_peer_ip(x->link), x->guid, sentence);
	session_end(x, ERR_REFUSED, sentence, EVENT_SHUTDOWN_REQUESTED);
}

/* The rotation has taken a step since it was judged. */
static bool is_refused_by_now(struct session *x, const struct claim *c)
{
	struct shown_cert now;
	struct why why = WHY_NONE;
	enum admit a;

	if (!c->shows_cert || !x->link)
		return false;
	origin_shown(x->server, &link_peer(x->link)->cert, &now);
	a = admit_origin(c->origin, now.serial, now.is_suspect, &why);
	if (a != ADMIT_YES)
		refuse_origin(x, a, why.text);
	return a != ADMIT_YES;
}

/* Once for each certificate: it may be legitimate, and only an operator knows. */
static void tell_stranger(struct server *s, const struct host *h, const struct claim *c)
{
	if (c->shows_cert && c->origin == CERT_STRANGER && c->shown.is_old && !c->seen_before)
		event_add(s, "ALERT.CA.STRANGER", "WARN", h->row.id,
			  "host %s shows certificate %s of the old CA, which was not issued here: do you know it?",
			  h->row.name, c->shown.serial);
}

static void claim_worked(struct session *x, struct claim *c)
{
	struct server *s = x->server;
	bool was_provisional = c->is_retry || c->taken;
	struct host *h = NULL;

	if (is_refused_by_now(x, c)) {
		host_store_event(s, c->result.host_id, c->result.epoch, EVENT_SHUTDOWN_REQUESTED);
		return;
	}
	x->provisional = false;
	x->host_id = c->result.host_id;
	x->epoch = c->result.epoch;
	if (roster_put_host(s, &c->row, &h) || !h) {
		session_end(x, ERR_NOMEM, "out of memory", EVENT_AGENT_DISCONNECTED);
		return;
	}
	tell_stranger(s, h, c);
	if (c->created)
		event_add(s, "HOST.ADD", "INFO", h->row.id, "%s connected for the first time", h->row.name);
	if (was_provisional) {
		if (x->state == SESSION_READY)
			host_store_event(s, x->host_id, x->epoch, EVENT_READY);
		return;
	}
	attach(x, h);
}

/*
 * The link has ended while it was claimed. The agent may come back, as after any lost link: a grace period runs. If it
 * has another link here, older and alive, the host is claimed for that one.
 */
static void claim_was_left(struct server *s, struct claim *c)
{
	struct host *h = NULL;

	if (!c->boot) {
		host_store_event(s, c->result.host_id, c->result.epoch, EVENT_SHUTDOWN_REQUESTED);
		return;
	}
	if (roster_put_host(s, &c->row, &h) || !h) {
		host_store_event(s, c->result.host_id, c->result.epoch, EVENT_AGENT_DISCONNECTED);
		return;
	}
	if (h->session)
		startup_claim_again(h->session);
	else if (!s->stopping)
		watch_lost(s, h);
}

/* Nobody waits for it any more. */
static void claim_leaves_queue(struct server *s, struct claim *c)
{
	if (c->is_queued)
		admission_claim_ends(s);
	c->is_queued = false;
}

static void claim_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct claim *c = container_of(entry, struct claim, entry);
	struct session *x = c->session;

	claim_leaves_queue(s, c);
	if (!result)
		follow_now(s);
	if (!x) {
		if (!result && !c->result.superseded)
			claim_was_left(s, c);
		claim_free(c);
		return;
	}
	x->claim = NULL;
	if (!result && c->result.superseded && x->host && x->link_number > c->result.link_number) {
		/* The agent has come back to this link while an older number of it was on its way. */
		on_claim_again(&x->claim_again);
	} else if (!result && c->result.superseded) {
		session_end(x, ERR_CONFLICT, "a newer link of this agent was first", EVENT_N);
	} else if (!result) {
		claim_worked(x, c);
	} else if (result == ERR_REFUSED && c->refused_as != ADMIT_YES) {
		refuse_origin(x, c->refused_as, sentence);
	} else if (c->is_retry || c->taken) {
		claim_again_later(x);
	} else if (result == ERR_STORE || result == ERR_BUSY || result == ERR_IO || result == ERR_FULL) {
		attach_without_store(x, sentence);
	} else {
		/* It has been answered already; this is for the operator. */
		if (result == ERR_REFUSED)
			event_refused(s, "HOST.REFUSED", link_peer_ip(x->link), "%s from %s: %s", x->guid,
				      link_peer_ip(x->link), sentence);
		session_end(x, result, sentence, EVENT_N);
	}
	claim_free(c);
}

static void claim_begin(struct session *x, struct claim *take_c)
{
	struct server *s = x->server;

	world_uuid(s->world, take_c->uuid);
	for (size_t i = 0; i < ARRAY_SIZE(take_c->place_uuids); i++)
		world_uuid(s->world, take_c->place_uuids[i]);
	take_c->session = x;
	take_c->shows_cert =
		x->link && link_peer(x->link)->has_cert && link_peer(x->link)->chain_ok && !x->is_unsecured;
	if (take_c->shows_cert)
		origin_shown(s, &link_peer(x->link)->cert, &take_c->shown);
	take_c->entry.run = claim_run;
	take_c->entry.done = claim_done;
	take_c->row.link_number = x->link_number;
	take_c->row.boot_number = x->boot_number;
	x->claim = take_c;
	take_c->is_queued = !take_c->is_retry;
	if (take_c->is_queued)
		admission_claim_begins(s);
	ledger_add(s, &take_c->entry);
}

/* ---- a provisional session asks again until the store answers ---- */

/* The host's row is as it was before this link: the certificate that was shown on it is another one, maybe. */
static enum err put_shown(struct host_row *row, const struct session *x)
{
	const struct tls_peer *peer = x->link ? link_peer(x->link) : NULL;

	if (!peer || !peer->has_cert || !peer->chain_ok)
		return ERR_OK;
	row->cert_not_before_s = peer->cert.not_before_s;
	row->cert_not_after_s = peer->cert.not_after_s;
	row->cert_serial = mem_free(row->cert_serial);
	row->cert_issuer = mem_free(row->cert_issuer);
	return set(&row->cert_serial, peer->cert.serial) || set(&row->cert_issuer, peer->cert.authority_key_id)
		       ? ERR_NOMEM
		       : ERR_OK;
}

static void on_claim_again(struct timer *t)
{
	struct session *x = container_of(t, struct session, claim_again);
	struct server *s = x->server;
	CLEAN(claim_freep) struct claim *c = NULL;

	timer_stop(s->world, t);
	timer_init(t, on_claim_again);
	if (!x->host || x->claim || !x->provisional)
		return;
	c = mem_zalloc(sizeof(*c));
	if (!c || host_row_copy(&c->row, &x->host->row) || set(&c->zone, "default") || set(&c->pod, "default") ||
	    set(&c->cluster, "default") || (x->boot && set(&c->boot, x->boot))) {
		timer_set_in(s->world, t, CLAIM_AGAIN_MS);
		return;
	}
	/* Where it belongs is known already: by id. */
	mem_free(c->zone);
	mem_free(c->pod);
	mem_free(c->cluster);
	c->zone = mem_printf("%lld", (long long)c->row.zone_id);
	c->pod = mem_printf("%lld", (long long)c->row.pod_id);
	c->cluster = mem_printf("%lld", (long long)c->row.cluster_id);
	if (!c->zone || !c->pod || !c->cluster) {
		timer_set_in(s->world, t, CLAIM_AGAIN_MS);
		return;
	}
	if (put_shown(&c->row, x)) {
		timer_set_in(s->world, t, CLAIM_AGAIN_MS);
		return;
	}
	c->is_retry = true;
	claim_begin(x, STEAL(c));
}

static void claim_again_later(struct session *x)
{
	timer_stop(x->server->world, &x->claim_again);
	timer_init(&x->claim_again, on_claim_again);
	timer_set_in(x->server->world, &x->claim_again, CLAIM_AGAIN_MS);
}

void startup_claim_again(struct session *x)
{
	if (x->claim || x->provisional)
		return;
	x->provisional = true;
	claim_again_later(x);
}

/* ---- 4. and 5. ready ---- */

struct ready {
	struct server *server;
	int64_t host_id;
	int64_t attachment;
	char *list; /* what was sent, as the agent will report it; NULL: none */
	int64_t interval;
	uint64_t avoid_version;
};

static void ready_done(void *user, enum err result, const char *sentence, const struct batch *answers)
{
	struct ready *r = user;
	struct server *s = r->server;
	struct host *h = roster_host(s, r->host_id);
	struct session *x = h ? h->session : NULL;
	bool took_it;

	if (!x || x->attachment != r->attachment || (x->state != SESSION_ATTACHED && x->state != SESSION_READY))
		goto out;
	took_it = !result && answers->n && element_result(&answers->elements[0]);
	/*
	 * A CloudStack agent that answers with a failure is not ready. A muster agent is: it says that it could not
	 * keep the list (a full disk, say), which must not cost it its link; it counts as outdated and is told again.
	 */
	if (result || !answers->n || (!took_it && !h->row.is_muster)) {
		const char *details = result ? sentence : answers->n ? element_details(&answers->elements[0]) : NULL;

		session_end(x, result ? result : ERR_REFUSED, details ? details : "the agent did not become ready",
			    EVENT_AGENT_DISCONNECTED);
		goto out;
	}
	timer_stop(s->world, &x->deadline);
	if (x->state == SESSION_ATTACHED)
		session_move(x, SESSION_READY, "agent is ready");
	x->avoid_told = r->avoid_version;
	if (took_it)
		spreading_confirmed(x, r->list, r->interval);
	else
		log_warn(s->log, "an agent is ready but did not keep its list", KV_I("host", x->host_id),
			 KV_S("error", element_details(&answers->elements[0]) ? element_details(&answers->elements[0])
									      : "no reason given"));
	if (!x->provisional)
		host_store_event(s, x->host_id, x->epoch, EVENT_READY);
	watch_found(s, h);
	draining_host(s, h);
	requests_resend(h);
	renewal_host_ready(s, h);
	news_compare(s, h);
	/* The configuration may have changed while it got ready, and somebody may have asked everybody to look. */
	if (x->trigger)
		spreading_trigger(s, h);
	else
		spreading_compare(s, h);
out:
	mem_free(r->list);
	mem_free(r);
}

static enum err put_ready(struct session *x, struct host *h, struct msg_ready *m, struct ready *r)
{
	struct server *s = x->server;
	struct str_list list = {0}, avoid = {0};
	enum err e;

	msg_set_i64(&m->dcId, h->row.zone_id);
	msg_set_i64(&m->hostId, h->row.id);
	msg_set_bool(&m->enableHumanReadableSizes, true);
	r->interval = lists_interval_for(s, &h->row);
	r->avoid_version = s->avoid_version;
	msg_set_i64(&m->lbCheckInterval, r->interval);
	if (h->row.is_muster)
		msg_set_i64(&m->musterHeartbeatMs, x->heartbeat_ms);
	x->frozen_told = h->row.is_muster && freeze_is_on(s);
	if (x->frozen_told)
		msg_set_bool(&m->musterFrozen, true);
	e = msg_set_text(&m->hostUuid, h->row.uuid);
	if (!e)
		e = msg_set_text(&m->hostName, h->row.name);
	if (!e)
		e = msg_set_text(&m->arch, h->row.arch);
	if (!e)
		e = lists_avoid(s, &h->row, &avoid);
	if (!e)
		e = msg_set_texts(&m->avoidMsHostList, &avoid);
	if (!e && !lists_is_current(s, &h->row, x->reported)) {
		e = lists_for_host(s, &h->row, &list);
		/* No list at all (nothing registered with a usable address) is no list to send: the agent keeps its
		 * own. */
		if (!e && list.n) {
			e = msg_set_texts(&m->msHostList, &list);
			if (!e)
				e = msg_set_text(&m->lbAlgorithm, algorithm_name(lists_algorithm(s)));
			r->list = server_list_format(&list, algorithm_name(lists_algorithm(s)));
			if (!r->list)
				e = ERR_NOMEM;
		}
	}
	str_list_deinit(&list);
	str_list_deinit(&avoid);
	return e;
}

static enum err send_ready(struct session *x, struct host *h)
{
	struct server *s = x->server;
	int64_t wait_ms = config_number(s, "ready.command.wait", 0) * 1000;
	struct ready *r = mem_zalloc(sizeof(*r));
	struct batch b = {0};
	struct msg_ready *m = batch_add(&b, MSG_READY);
	struct request_params p = {.wait_ms = wait_ms, .this_link_only = true, .done = ready_done, .user = r};
	enum err e = r && m ? put_ready(x, h, m, r) : ERR_NOMEM;

	if (!e) {
		r->server = s;
		r->host_id = h->row.id;
		r->attachment = x->attachment;
		timer_set_in(s->world, &x->deadline, wait_ms + 1000);
		e = request_to_host(s, h, &b, &p);
	}
	if (e && r) {
		mem_free(r->list);
		mem_free(r);
	}
	batch_deinit(&b);
	return e;
}

static bool is_older_than(const struct session *x, const struct session *other)
{
	const struct link_stamp a = session_stamp(x), b = session_stamp(other);

	return link_is_older(&a, &b);
}

static void attach(struct session *x, struct host *h)
{
	struct session *older = h->session;
	enum err e;

	if (older && older != x) {
		if (is_older_than(x, older)) {
			session_end(x, ERR_CONFLICT, "a newer link of this agent was first", EVENT_N);
			return;
		}
		session_supersede(older, "a newer link of this agent has taken over");
	}
	h->session = x;
	x->host = h;
	x->attachment = ++x->server->n_attachments;
	x->telling = NULL;
	session_move(x, SESSION_ATTACHED, x->provisional ? "known host, store not working" : "claimed");
	link_set_message_limit(x->link, LINK_MESSAGE_LIMIT);
	x->heartbeat_ms = x->server->heartbeat_ms;
	x->silence_from = (struct mono){0};
	x->is_suspect = false;
	news_new_list(x);
	if (h->row.is_muster)
		link_set_heartbeat(x->link, x->heartbeat_ms);
	x->last_ping = world_now(x->server->world);
	e = send_ready(x, h);
	if (e)
		session_end(x, e, "ReadyCommand could not be sent", EVENT_AGENT_DISCONNECTED);
}

void startup_store_hangs(struct session *x)
{
	if (x->state != SESSION_STARTED || !x->claim)
		return;
	if (roster_by_guid(x->server, x->guid)) {
		/* When the claim comes back, it makes good what is provisional until then. */
		x->claim->taken = true;
		claim_leaves_queue(x->server, x->claim);
	}
	attach_without_store(x, "the store does not answer");
}

/* ---- back on this link ---- */

bool startup_again(struct session *x, const struct header *h, struct batch *b)
{
	const struct msg_startup_common *m = element_startup(&b->elements[0]);

	if (!x->boot || !m->musterLink.has || !str_equal(m->musterBoot, x->boot) ||
	    m->musterLink.value <= x->link_number)
		return false;
	if (x->state == SESSION_SUPERSEDED) {
		x->guid = mem_free(x->guid);
		x->boot = mem_free(x->boot);
		x->reported = mem_free(x->reported);
		startup_begin(x, h, b);
		return true;
	}
	x->link_number = m->musterLink.value;
	if (x->host && !x->claim) {
		x->provisional = true;
		on_claim_again(&x->claim_again);
	}
	return false;
}

/* ---- held back: is the older link of this guid alive? ---- */

struct held {
	struct timer timer;
	struct session *session;
	struct header header;
	struct batch batch;
};

void startup_drop_held(struct session *x)
{
	struct held *d = x->held;

	list_remove(&x->in_asking);
	x->held = NULL;
	if (!d)
		return;
	x->server->n_held--;
	timer_stop(x->server->world, &d->timer);
	batch_deinit(&d->batch);
	mem_free(d);
}

void startup_held_over(struct session *x)
{
	struct held *d = x->held;
	struct header h = d->header;
	struct batch b = d->batch;

	timer_stop(x->server->world, &d->timer);
	d->batch = (struct batch){0};
	startup_begin(x, &h, &b); /* which may end the session, and drops us */
	batch_deinit(&b);
}

static void on_held(struct timer *t)
{
	startup_held_over(container_of(t, struct held, timer)->session);
}

static void hold_back(struct session *x, const struct header *h, struct batch *take_b)
{
	struct server *s = x->server;
	struct held *d;

	if (s->n_held >= HELD_MOST) {
		startup_put_off(x, h, HOLD_REMOTE_MS, NULL,
				"too many machines whose guid is in use wait here to see whether they are copies");
		return;
	}
	d = mem_zalloc(sizeof(*d));
	if (!d) {
		session_end(x, ERR_NOMEM, "out of memory", EVENT_N);
		return;
	}
	d->session = x;
	d->header = *h;
	d->batch = *take_b;
	*take_b = (struct batch){0};
	x->held = d;
	x->held_since = world_now(s->world);
	s->n_held++;
	timer_init(&d->timer, on_held);
	timer_set_in(s->world, &d->timer, x->clone_seq ? HOLD_REMOTE_MS : HOLD_MS);
	/* It has sent its startup: the time that it had for that must not end before the hold. */
	timer_set_in(s->world, &x->deadline, HOLD_REMOTE_MS + 1000);
}

/* ---- the door ---- */

/* Who has a link elsewhere and comes home waits for its turn. (Not who has come back to a link that it has here.) */
static bool may_come_home(struct session *x, const struct header *h, const struct msg_startup_common *m,
			  const char *guid)
{
	int64_t wait_ms;

	if (x->state != SESSION_ANONYMOUS || !link_is_muster(x->link) || !str_equal(m->musterPurpose, "preferred"))
		return true;
	wait_ms = arrivals_wait_ms(x->server, guid);
	if (!wait_ms)
		return true;
	startup_put_off(x, h, wait_ms, NULL,
			freeze_is_on(x->server) ? "moves are frozen: no agent comes home now"
			: config_number(x->server, "agent.failback.rate", 0)
				? "agents come home at the pace of agent.failback.rate: wait for your turn"
				: "no agent comes home now: agent.failback.rate is 0");
	return false;
}

void startup_begin(struct session *x, const struct header *h, struct batch *b)
{
	struct server *s = x->server;
	const struct msg_startup_common *m = element_startup(&b->elements[0]);
	CLEAN(claim_freep) struct claim *c = NULL;
	struct host *known;
	char guid[GUID_MAX];
	struct why why = WHY_NONE;
	bool hold = false;
	enum admit a;
	enum err e;

	if (!m->guid || !guid_strip(guid, m->guid, m->resourceName)) {
		session_end(x, ERR_MALFORMED, "a startup without a usable guid", EVENT_N);
		return;
	}
	x->guid = mem_strdup(guid);
	known = roster_by_guid(s, guid);
	a = judge(x, m, known, &hold, &why);
	if (hold) {
		x->guid = mem_free(x->guid);
		hold_back(x, h, b);
		return;
	}
	startup_drop_held(x);
	if (!admit_is_yes(a)) {
		refuse(x, h, a, &why);
		return;
	}
	if (link_is_muster(x->link) && is_late(m, known)) {
		session_end(x, ERR_CONFLICT, "a later start of this agent is connected", EVENT_N);
		return;
	}
	if (draining_puts_off(x, h, m, known))
		return;
	/* Who comes back to a link that it has here is not put off: it has nothing else. */
	if (x->state == SESSION_ANONYMOUS && !admission_lets_in(x, h, m))
		return;
	if (!may_come_home(x, h, m, guid))
		return;
	strictness_unsecured(x, a == ADMIT_UNSECURED);
	if (a == ADMIT_UNSECURED)
		log_warn(s->log, "an agent is let in unsecured, because ca.plugin.root.auth.strictness is false",
			 KV_S("guid", guid), KV_S("peer", link_peer_ip(x->link)), KV_S("reason", why.text));

	if (link_is_muster(x->link) && m->musterBoot && m->musterLink.has) {
		x->boot = mem_strdup(m->musterBoot);
		x->link_number = m->musterLink.value;
		x->boot_number = boot_number_of(m);
	}
	x->reported = mem_strdup(m->msHostList ? m->msHostList : "");
	c = mem_zalloc(sizeof(*c));
	e = c && x->guid && x->reported ? describe(c, x, b, m, a) : ERR_NOMEM;
	x->is_key_new = !e && known && judge_binding(NULL, &known->row, &c->row, c->peer_ip, NULL) != ADMIT_YES;
	if (!e)
		e = answer_startup(x, h, true, NULL, NULL);
	if (e) {
		session_end(x, e, "the startup could not be taken", EVENT_N);
		return;
	}
	session_move(x, SESSION_STARTED, "startup received");
	timer_stop(s->world, &x->deadline);
	claim_begin(x, STEAL(c));
}
