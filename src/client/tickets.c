/*
 * The session ticket: what makes coming back cheap for the servers when all agents of one of them come at once.
 *
 * The servers of a cluster share their ticket keys, so one ticket, the newest, is kept and offered to whichever server
 * known as muster is dialled. It lives in memory only and ends with the certificate it was given for. It is used again
 * until there is a newer one: several servers may be dialled beside each other, and who we are is no secret to any of
 * them.
 *
 * A ticket is worth nothing once the servers have replaced its key twice (agent.ssl.ticket.key.lifetime), and an
 * agent's link may stay for months. So every few hours an agent visits the server that it is on: a second connection,
 * a full handshake, a ticket, and goodbye, without a startup.
 *
 * A ticket never makes a server unreachable: when a handshake with one fails, that server is dialled again at once
 * without it.
 */
#include "base/mem.h"
#include "client/engine.h"

#define REFRESH_MS INT64_C(21600000) /* half of the shortest life of a ticket under the default key lifetime */
#define REFRESH_JITTER 20            /* percent, shorter only */
#define SOON_LEAST_MS 60000          /* where none came with a link: the last was of an older key, or there is none */
#define SOON_MOST_MS 600000
#define AGAIN_MS 1800000 /* after a visit that failed */
#define VISIT_MS 10000   /* from the dial to the ticket */

static void refresh_in(struct agent *a, int64_t ms)
{
	timer_set_in(a->world, &a->tickets.refresh, ms - rng_between(&a->world->rng, 0, ms * REFRESH_JITTER / 100));
}

static void wipe(struct agent *a)
{
	if (a->tickets.data.data)
		mem_wipe(a->tickets.data.data, a->tickets.data.cap);
	buf_deinit(&a->tickets.data);
}

void tickets_drop(struct agent *a, const char *reason)
{
	if (a->tickets.data.len > 0)
		log_debug(a->log, "the session ticket is dropped", KV_S("reason", reason));
	wipe(a);
}

void tickets_got(struct agent *a, unsigned creds_generation, const void *data, size_t n)
{
	/* For a certificate that we don't use any more. */
	if (creds_generation != a->creds_generation)
		return;
	wipe(a);
	if (n > TLS_TICKET_MAX || buf_put(&a->tickets.data, data, n) != ERR_OK) {
		wipe(a);
		return;
	}
	a->tickets.got_at = world_now(a->world);
	refresh_in(a, REFRESH_MS);
	log_debug(a->log, "a session ticket has come", KV_U("bytes", n));
}

struct bytes tickets_offer(const struct agent *a, enum tls_profile profile)
{
	if (profile != TLS_CLIENT_MUSTER)
		return (struct bytes){0};
	return (struct bytes){.data = a->tickets.data.data, .len = a->tickets.data.len};
}

/* ---- visits ---- */

static void visit_ticket(struct link *l, void *user, const void *data, size_t n)
{
	struct agent *a = user;

	a->tickets.visit = link_close(l);
	tickets_got(a, a->tickets.visit_generation, data, n);
}

static void visit_closed(struct link *l, void *user, enum err why, const char *sentence)
{
	struct agent *a = user;

	log_debug(a->log, "no new session ticket", KV_S("error", err_name(why)), KV_S("reason", sentence));
	a->tickets.visit = NULL;
	refresh_in(a, AGAIN_MS);
}

static void visit_up(struct link *l, void *user)
{
	struct agent *a = user;

	a->tickets.visit_is_up = true;
}

static const struct link_events visit_events = {.up = visit_up, .ticket = visit_ticket, .closed = visit_closed};

static void visit_begin(struct agent *a)
{
	size_t i = a->current && a->current->is_muster ? candidates_find(a, a->current->entry) : CHOICE_NONE;
	struct link_params params = {
		.world = a->world,
		.log = a->log,
		.tls = {.profile = TLS_CLIENT_MUSTER,
			.creds = a->creds,
			.trust_all = a->trust_all,
			.wall_s = world_wall_ms(a->world) / 1000},
		.connect_ms = VISIT_MS,
		.handshake_ms = VISIT_MS,
		.offload = true,
		.events = &visit_events,
		.user = a,
	};
	struct why why = WHY_NONE;

	if (i != CHOICE_NONE) {
		const struct place *p = &a->places[i];

		a->tickets.visit_generation = a->creds_generation;
		a->tickets.visit_is_up = false;
		if (link_dial(&a->tickets.visit, &params, p->address.host,
			      p->address.port ? p->address.port : a->p.port, a->p.source_ip, &why))
			log_debug(a->log, "no new session ticket", KV_S("reason", why.text));
	}
	if (a->tickets.visit)
		timer_set_in(a->world, &a->tickets.refresh, VISIT_MS);
	else
		refresh_in(a, AGAIN_MS);
}

static void refresh_fired(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, tickets.refresh);

	if (!a->tickets.visit) {
		visit_begin(a);
		return;
	}
	a->tickets.visit = link_close(a->tickets.visit);
	if (!a->tickets.visit_is_up) {
		refresh_in(a, AGAIN_MS);
		return;
	}
	/* These servers give none. */
	a->tickets.barren_until = mono_add_ms(world_now(a->world), REFRESH_MS);
	refresh_in(a, REFRESH_MS);
}

void tickets_ready(struct agent *a, const struct session *s)
{
	bool came;

	if (!s->is_muster || a->tickets.visit)
		return;
	came = a->tickets.data.len > 0 && !mono_before(a->tickets.got_at, link_since(s->link));
	if (!came && mono_reached(world_now(a->world), a->tickets.barren_until))
		timer_set_in(a->world, &a->tickets.refresh, rng_between(&a->world->rng, SOON_LEAST_MS, SOON_MOST_MS));
	else if (!timer_is_set(&a->tickets.refresh))
		refresh_in(a, REFRESH_MS);
}

void tickets_init(struct agent *a)
{
	timer_init(&a->tickets.refresh, refresh_fired);
}

void tickets_stop(struct agent *a)
{
	timer_stop(a->world, &a->tickets.refresh);
	a->tickets.visit = link_close(a->tickets.visit);
	wipe(a);
}
