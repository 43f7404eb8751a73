/*
 * Renewal by itself (docs/certificates.md, "Renewal"): every now and then all hosts that this server has are looked at,
 * and a host when its agent becomes ready. Who is due waits in one list, and leaves it at the pace of
 * ca.framework.cert.renewal.rate, the expired first.
 *
 * An attempt counts as failed until the agent has come back with the certificate that it was sent, so that one that
 * takes certificates and doesn't use them isn't sent a new one every time we look. What fails is tried again, later
 * each time; a host whose certificate nears its end in spite of all this is told to the operator once a day.
 *
 * The server that has the agent does this; where that one has no key of the CA, the first that is up and has one asks
 * the agent through it, as provisionCertificate would. Nobody remembers anything that a restart may not lose.
 */
#include "server/provision.h"

#include <string.h>

#include "core/backoff.h"

#define FIRST_LOOK_MS 5000 /* as in the reference */
#define UNDER_WAY_MOST 128 /* an agent that doesn't answer is waited for, for a minute */
#define UNDER_WAY_SLOW 2   /* who joins waits in the same line for the command that signs */
#define ALERT_AGAIN_MS (24 * 3600 * 1000LL)
#define ALERT_AFTER 3 /* attempts that failed */
#define LOOKS_A_TURN 500
#define ALERTS_AT_ONCE 200 /* of one look at all; the others come with the next */
static const struct backoff_rule again = {.floor_ms = 30000, .base_ms = 60000, .cap_ms = 6 * 3600 * 1000LL};
/* It has said yes: a CloudStack agent uses its new certificate when no command is in progress. */
static const struct backoff_rule taken = {.floor_ms = 600000, .base_ms = 1200000, .cap_ms = 6 * 3600 * 1000LL};

/* What is remembered of a host that is or was due. */
struct renewal {
	struct list in_due;
	struct host *host;
	enum renewal_reason reason; /* while in the list */
	struct backoff backoff;
	uint64_t want, tried_for; /* s->renewal.want: that backoff is for, that the last attempt was for */
	struct mono alerted;      /* {0}: not yet */
	/* What its agent was sent and has not been seen with; "": nothing. */
	char serial[SERIAL_TEXT];
	char trusted[FINGERPRINT_TEXT];
};

static struct renewal *renewal_of(struct host *h)
{
	struct renewal *r = h->renewal;

	if (r)
		return r;
	r = mem_zalloc(sizeof(*r));
	if (!r)
		return NULL; /* it is looked at again */
	list_init(&r->in_due);
	r->host = h;
	h->renewal = r;
	return r;
}

void renewal_forget(struct host *h)
{
	if (h->renewal)
		list_remove(&h->renewal->in_due);
	h->renewal = mem_free(h->renewal);
}

void renewal_stop(struct server *s)
{
	world_later_cancel(&s->renewal.look_later);
}

static void forget_wishes(struct server *s)
{
	s->renewal.issuer = mem_free(s->renewal.issuer);
	s->renewal.trusted = mem_free(s->renewal.trusted);
}

void renewal_deinit(struct server *s)
{
	renewal_stop(s);
	forget_wishes(s);
}

/* ---- who is due ---- */

static bool is_automatic(const struct server *s, const struct host *h)
{
	return str_equal(config_text(s, "ca.framework.cert.automatic.renewal", h->row.cluster_id), "true");
}

struct renewal_question renewal_question_of(const struct server *s, const struct host *h)
{
	return (struct renewal_question){
		.is_muster = h->row.is_muster,
		.automatic = is_automatic(s, h),
		.guid = h->row.guid,
		.not_before_s = h->row.cert_not_before_s,
		.not_after_s = h->row.secured ? h->row.cert_not_after_s : 0,
		.cert_issuer = h->row.cert_issuer,
		.ca_known = h->row.ca_known,
		.issuer = s->renewal.issuer,
		.trusted = s->renewal.trusted,
		.ca_not_after_s = s->renewal.ca_not_after_s,
		.alert_period_s =
			config_number(s, "ca.framework.cert.expiry.alert.period", h->row.cluster_id) * 24 * 3600,
		.wall_s = world_wall_ms(s->world) / 1000,
	};
}

enum issuer_state renewal_issuing_of(const struct server *s, const struct member_server *m)
{
	if (m->row.msid != s->msid)
		return m->status.is_known ? m->status.issuing : ISSUING_UNKNOWN;
	return s->ca->ops->can_issue(s->ca) ? ISSUING_CAN : ISSUING_CANNOT;
}

/* Who renews it: its owner, and for one that can't the first that can. 0: it has none. */
static int64_t renewer_of(const struct server *s, const struct host *h)
{
	const struct member_server *owner = h->row.owner ? roster_server(s, h->row.owner) : NULL;

	if (!owner || renewal_issuing_of(s, owner) != ISSUING_CANNOT)
		return h->row.owner;
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (m->row.state == SERVER_UP && renewal_issuing_of(s, m) == ISSUING_CAN)
			return m->row.msid;
	return h->row.owner;
}

/* Ours to renew, and its agent is ready to be asked: here, by its claim, or over the link with its owner. */
static bool is_here(const struct server *s, const struct host *h)
{
	const struct member_server *owner;

	if (renewer_of(s, h) != s->msid)
		return false;
	if (h->row.owner == s->msid)
		return h->session && h->session->state == SESSION_READY && !h->session->provisional;
	owner = roster_server(s, h->row.owner);
	return h->row.status == HOST_UP && owner && owner->peer && peer_is_up(owner->peer);
}

static enum renewal_reason reason_for(const struct server *s, const struct host *h)
{
	struct renewal_question q;

	if (!is_here(s, h) || provision_is_under_way(h))
		return RENEWAL_NONE;
	q = renewal_question_of(s, h);
	return renewal_is_due(&q);
}

/* Puts it into the list, or takes it out. */
static enum renewal_reason look_at(struct server *s, struct host *h)
{
	enum renewal_reason reason = reason_for(s, h);
	struct renewal *r = reason ? renewal_of(h) : h->renewal;

	if (!r)
		return reason;
	/* Something else is wanted now: what failed before says nothing about that. */
	if (r->want != s->renewal.want)
		backoff_worked(&r->backoff);
	r->want = s->renewal.want;
	r->reason = reason;
	list_remove(&r->in_due);
	if (reason)
		list_append(&s->renewal.due, &r->in_due);
	else if (is_here(s, h) && !r->serial[0] && !provision_is_under_way(h))
		backoff_worked(&r->backoff);
	return reason;
}

bool renewal_is_waiting(const struct host *h)
{
	return h->renewal && !list_is_empty(&h->renewal->in_due);
}

/* When the CA that issues now ends: read again when it is another one. */
static void look_at_ca(struct server *s)
{
	const char *fingerprint = s->ca->ops->fingerprint(s->ca);
	struct cert_info ca = {0};

	if (str_equal(fingerprint, s->renewal.ca_fingerprint))
		return;
	s->renewal.ca_not_after_s = cert_info_parse(&ca, s->ca->ops->chain(s->ca), NULL) ? 0 : ca.not_after_s;
	str_copy(s->renewal.ca_fingerprint, sizeof(s->renewal.ca_fingerprint), fingerprint ? fingerprint : "");
	cert_info_deinit(&ca);
}

/* ---- an operator is told ---- */

struct alert {
	struct entry entry;
	int64_t host_id, wall_ms;
	struct event_row row;
};

static void alert_free(struct alert *a)
{
	event_row_deinit(&a->row);
	mem_free(a);
}

/* Once a day, whichever server it is, restarted or not: the store knows. */
static enum err alert_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct alert *a = container_of(entry, struct alert, entry);
	bool is_due = false;
	enum err e = store_host_cert_alert(tx, a->host_id, a->wall_ms - ALERT_AGAIN_MS, a->wall_ms, &is_due);

	return e || !is_due ? e : store_event_add(tx, &a->row);
}

static void alert_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	if (result)
		log_debug(s->log, "an alert could not be stored", KV_S("error", sentence));
	alert_free(container_of(entry, struct alert, entry));
}

static void alert(struct server *s, struct host *h, const struct renewal_question *q)
{
	struct alert *a = mem_zalloc(sizeof(*a));
	int64_t left_s = q->not_after_s - q->wall_s;
	int64_t days = (left_s < 0 ? -left_s : left_s) / 86400;
	bool is_away = !h->session && (!h->row.owner || h->row.owner == s->msid);
	const char *why = is_away                               ? "its agent is not connected"
			  : h->renewal && h->renewal->serial[0] ? "its agent does not use the one that it was given"
			  : !s->ca->ops->can_issue(s->ca)       ? s->ca->ops->cannot
			  : !q->automatic                       ? "ca.framework.cert.automatic.renewal is false"
			  : q->ca_not_after_s && q->not_after_s >= q->ca_not_after_s
				  ? "the CA itself ends then, and has to be replaced"
				  : "it could not be renewed, see the events before this one";

	if (!a)
		return;
	a->entry = (struct entry){.run = alert_run, .done = alert_done};
	a->host_id = h->row.id;
	a->wall_ms = world_wall_ms(s->world);
	world_uuid(s->world, a->row.uuid);
	a->row.type = mem_strdup("ALERT.CA.CERT");
	a->row.level = mem_strdup("ERROR");
	a->row.account = mem_strdup("system");
	a->row.description = mem_printf("the certificate of host %s %s %lld day%s%s: %s", h->row.name,
					left_s < 0 ? "expired" : "expires in", (long long)days, days == 1 ? "" : "s",
					left_s < 0 ? " ago" : "", why);
	a->row.host_id = h->row.id;
	a->row.msid = s->msid;
	a->row.created_ms = a->wall_ms;
	if (!a->row.type || !a->row.level || !a->row.account || !a->row.description) {
		alert_free(a);
		return;
	}
	str_make_printable(a->row.description);
	ledger_add(s, &a->entry);
}

static bool is_up(const struct server *s, int64_t msid)
{
	const struct member_server *m = msid ? roster_server(s, msid) : NULL;

	return m && m->row.state == SERVER_UP;
}

/* Whoever has the host; or had it last; or, when that server is gone, the first that is there. */
static bool is_ours_to_tell(const struct server *s, const struct host *h)
{
	if (h->row.owner)
		return renewer_of(s, h) == s->msid;
	if (is_up(s, h->row.last_owner))
		return h->row.last_owner == s->msid;
	list_for (m, (struct list *)(uintptr_t)&s->servers, struct member_server, in_servers)
		if (m->row.state == SERVER_UP)
			return m->row.msid == s->msid;
	return false;
}

/* Near its end, and nobody is about to renew it? `reason`: for which it is due here. */
static bool needs_alert(struct server *s, struct host *h, enum renewal_reason reason, struct renewal_question *q)
{
	struct renewal *r = h->renewal;

	if (!is_ours_to_tell(s, h) || provision_is_under_way(h))
		return false;
	*q = renewal_question_of(s, h);
	if (!q->not_after_s || q->wall_s < renewal_near_end_s(q->not_before_s, q->not_after_s, q->alert_period_s) ||
	    q->wall_s > q->not_after_s + ADMIT_EXPIRED_LIMIT_S)
		return false;
	if (reason && (!r || r->backoff.failures < ALERT_AFTER))
		return false; /* its turn will come, or come again */
	return !r || !r->alerted.us || mono_ms_between(r->alerted, world_now(s->world)) >= ALERT_AGAIN_MS;
}

static void alert_if_needed(struct server *s, struct host *h, enum renewal_reason reason)
{
	struct renewal_question q;
	struct renewal *r;

	if (s->renewal.n_alerts >= ALERTS_AT_ONCE || !needs_alert(s, h, reason, &q))
		return;
	r = renewal_of(h);
	if (!r)
		return;
	r->alerted = world_now(s->world);
	s->renewal.n_alerts++;
	alert(s, h, &q);
}

static void look_slice(struct later *l)
{
	struct server *s = container_of(l, struct server, renewal.look_later);

	/* Rebuilt meanwhile: hosts stand elsewhere. Looking twice does no harm. */
	if (s->renewal.table != s->hosts_by_id.slots) {
		s->renewal.table = s->hosts_by_id.slots;
		s->renewal.cursor = 0;
	}
	for (size_t i = 0; i < LOOKS_A_TURN; i++) {
		struct host *h = roster_next(s, &s->renewal.cursor);

		if (!h)
			return;
		alert_if_needed(s, h, look_at(s, h));
	}
	world_later(s->world, l);
}

void renewal_look_at_all(struct server *s)
{
	s->renewal.looked = world_now(s->world);
	s->renewal.cursor = 0;
	s->renewal.n_alerts = 0;
	look_at_ca(s);
	own_cert_look(s);
	world_later_cancel(&s->renewal.look_later);
	s->renewal.look_later.call = look_slice;
	world_later(s->world, &s->renewal.look_later);
}

void renewal_want(struct server *s, const char *issuer, const char *trusted)
{
	if (str_equal(issuer, s->renewal.issuer) && str_equal(trusted, s->renewal.trusted))
		return;
	forget_wishes(s);
	s->renewal.issuer = issuer ? mem_strdup(issuer) : NULL;
	s->renewal.trusted = trusted ? mem_strdup(trusted) : NULL;
	s->renewal.want++;
	if (s->running)
		renewal_look_at_all(s);
}

/* ---- what its agent has ---- */

struct known {
	struct entry entry;
	int64_t host_id;
	char trusted[FINGERPRINT_TEXT];
};

static enum err known_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct known *k = container_of(entry, struct known, entry);

	return store_host_ca_known(tx, k->host_id, k->trusted);
}

/*
 * A step of a rotation may have been taken meanwhile: this host was looked at by what it knew before, and would wait
 * until all are looked at again.
 */
void renewal_host_trusts(struct server *s, int64_t host_id, const char *trusted)
{
	struct host *h = s->freed || s->stopping ? NULL : roster_host(s, host_id);
	char *copy = h ? mem_strdup(trusted) : NULL;

	if (copy) {
		mem_free(h->row.ca_known);
		h->row.ca_known = copy;
		look_at(s, h);
	}
	follow_now(s);
}

static void known_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct known *k = container_of(entry, struct known, entry);

	if (!result)
		renewal_host_trusts(s, k->host_id, k->trusted);
	mem_free(k);
}

static void remember_trusted(struct server *s, const struct host *h, const char *trusted)
{
	struct known *k = str_equal(h->row.ca_known, trusted) ? NULL : mem_zalloc(sizeof(*k));

	if (!k)
		return;
	k->entry = (struct entry){.run = known_run, .done = known_done};
	k->host_id = h->row.id;
	str_copy(k->trusted, sizeof(k->trusted), trusted);
	ledger_add(s, &k->entry);
}

void renewal_host_sent(struct host *h, const char *serial, const char *trusted)
{
	struct renewal *r = renewal_of(h);

	if (!r)
		return;
	str_copy(r->serial, sizeof(r->serial), serial);
	str_copy(r->trusted, sizeof(r->trusted), trusted);
}

/* What it was given for an earlier step of a rotation is no failure of the present one. */
static void wait_longer(struct server *s, struct renewal *r, const struct backoff_rule *rule)
{
	if (r->tried_for == s->renewal.want)
		backoff_failed(&r->backoff, rule, world_now(s->world), &s->world->rng);
}

/*
 * It has come with the certificate that it was sent: so it has taken it, whatever became of its answer. If it is due
 * all the same (an external CA that doesn't say who it is, say), that is as good as a failure, and is tried less often.
 */
static void confirmed(struct server *s, struct host *h)
{
	struct renewal *r = h->renewal;

	log_info(s->log, "a host uses its new certificate", KV_I("host", h->row.id), KV_S("serial", r->serial));
	remember_trusted(s, h, r->trusted);
	r->serial[0] = '\0';
	wait_longer(s, r, &again);
}

void renewal_host_seen(struct server *s, struct host *h)
{
	if (h->renewal && h->renewal->serial[0] && str_equal(h->row.cert_serial, h->renewal->serial))
		confirmed(s, h);
	/* Ready at a server that has no key: nobody else tells us. */
	if (s->running && h->row.owner != s->msid && is_here(s, h))
		look_at(s, h);
}

void renewal_host_ready(struct server *s, struct host *h)
{
	look_at(s, h);
}

/* ---- their turn ---- */

static void attempt_ends(void *user, int64_t host_id, enum err result, const char *sentence)
{
	struct server *s = user;
	struct host *h = roster_host(s, host_id);
	struct renewal *r = h ? h->renewal : NULL;

	s->renewal.n_under_way--;
	if (!r)
		return;
	/* Has it been seen with it already? A muster agent may be faster than its answer. */
	if (!result && !r->serial[0]) {
		look_at(s, h);
		return;
	}
	/* It has made another link, maybe to us: whoever has it now begins again, with that one. */
	if (result == ERR_CONFLICT) {
		look_at(s, h);
		return;
	}
	wait_longer(s, r, result ? &again : &taken);
	look_at(s, h);
}

static void attempt(struct server *s, struct renewal *r)
{
	struct why why = WHY_NONE;
	struct host *h = r->host;

	list_remove(&r->in_due);
	r->tried_for = s->renewal.want;
	if (provision_host(s, h, r->reason, attempt_ends, s, &why)) {
		log_debug(s->log, "a host can't be given a new certificate now", KV_I("host", h->row.id),
			  KV_S("error", why.text));
		wait_longer(s, r, &again);
		look_at(s, h);
		return;
	}
	s->renewal.n_under_way++;
}

static bool may_go(const struct server *s, const struct renewal *r, bool urgent)
{
	if ((r->reason == RENEWAL_EXPIRED) != urgent || !mono_reached(world_now(s->world), r->backoff.retry_at))
		return false;
	/* An incident is no time for it, nor are restarts; and who expires is an incident. */
	return urgent || (!freeze_is_on(s) && !s->rolling);
}

static void serve(struct server *s, bool urgent)
{
	struct mono now = world_now(s->world);
	size_t most = s->ca->ops->is_slow ? UNDER_WAY_SLOW : UNDER_WAY_MOST;

	list_for (r, &s->renewal.due, struct renewal, in_due) {
		if (!may_go(s, r, urgent))
			continue;
		if (s->renewal.n_under_way >= most || !token_bucket_there(&s->renewal.pace, now))
			return;
		/* Looked at a while ago: it may have moved, or have been renewed by somebody. */
		r->reason = reason_for(s, r->host);
		if (!r->reason) {
			list_remove(&r->in_due);
			continue;
		}
		if (token_bucket_try(&s->renewal.pace, 1, now))
			attempt(s, r);
	}
}

static void set_pace(struct server *s)
{
	int64_t per_s = config_number(s, "ca.framework.cert.renewal.rate", 0);
	int64_t burst = per_s > 0 ? per_s : 1;

	if (!s->renewal.pace.burst)
		token_bucket_init(&s->renewal.pace, per_s, burst, world_now(s->world));
	else if (s->renewal.pace.per_s != per_s)
		token_bucket_set(&s->renewal.pace, per_s, burst, world_now(s->world));
}

void renewal_tick(struct server *s)
{
	struct mono now = world_now(s->world);
	int64_t delay_ms = config_number(s, "ca.framework.background.task.delay", 0) * 1000;

	if (!s->running || s->stopping)
		return;
	set_pace(s);
	if (s->renewal.looked.us ? mono_ms_between(s->renewal.looked, now) >= delay_ms
				 : mono_ms_between(s->running_since, now) >= FIRST_LOOK_MS)
		renewal_look_at_all(s);
	/* Nothing is signed that can't be recorded; who leaves has no new business with its agents. */
	if (list_is_empty(&s->renewal.due) || !s->renewal.pace.per_s || s->draining || ledger_is_failing(s, NULL) ||
	    ledger_is_slow(s))
		return;
	serve(s, true);
	serve(s, false);
}
