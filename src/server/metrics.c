/*
 * Metrics: the text of /metrics (docs/running.md, "Metrics").
 *
 * Most of it is counted anyway. What is a property of hosts is found by one walk over all of them, a slice a turn, so
 * that a hundred thousand hold nobody up; whoever asks while it is under way waits for it, and for a second afterwards
 * gets what it has found. So it costs the same however many ask, which anybody may who reaches the API port.
 */
#include "server/metrics.h"

#include <string.h>

#include "server/api.h"
#include "server/provision.h"
#include "server/rotation.h"

#define FRESH_MS 1000
/*
 * A turn: of hosts that are elsewhere only a few fields are read, of those connected here lists are compared, which
 * takes some 10 us each. A turn is a millisecond at most, usually less.
 */
#define WORK_A_TURN 2000
#define WORK_HERE 25

const struct metric metrics_all[M_N] = {
#define METRIC(what, name, type, labels, help) [M_##what] = {name, METRIC_##type, labels, help},
#include "server/metrics.def"
#undef METRIC
};

struct asker {
	struct list in_askers;
	void (*done)(void *user, const struct server_metrics *m);
	void *user;
};

struct metrics {
	struct server *server;
	struct list askers;
	struct later walk_later;
	bool walking;
	size_t cursor;
	const void *table; /* the roster's, as the cursor knows it */
	struct fleet fleet;
	struct buf text;
	uint64_t version;
	struct mono written; /* {0}: never */
	/* Certificates are taken apart when they change, not at each look. */
	uint64_t own_seen;
	int64_t own_end_s[OWN_CERT_KINDS];
	char *cas_text; /* that the following are about */
	char cas_signer[FINGERPRINT_TEXT];
	struct trusted_ca cas[CAS_MOST];
	size_t n_cas;
};

static void walk_slice(struct later *l);

/* NULL: out of memory. */
static struct metrics *metrics_of(struct server *s)
{
	struct metrics *m = s->metrics;

	if (m)
		return m;
	m = mem_zalloc(sizeof(*m));
	if (!m)
		return NULL;
	m->server = s;
	list_init(&m->askers);
	list_init(&m->walk_later.queued);
	m->walk_later.call = walk_slice;
	m->own_seen = UINT64_MAX;
	s->metrics = m;
	return m;
}

/* ---- certificates of this server and its CAs ---- */

static int64_t end_of(const char *pem)
{
	struct cert_info c = {0};
	int64_t end_s = 0;

	if (pem && cert_info_parse(&c, pem, NULL) == ERR_OK)
		end_s = c.not_after_s;
	cert_info_deinit(&c);
	return end_s;
}

int64_t metrics_own_end_s(struct server *s, enum own_cert_kind kind)
{
	struct metrics *m = metrics_of(s);

	if (!m)
		return end_of(s->own[kind].cert);
	if (m->own_seen != s->own_changes)
		for (int i = 0; i < OWN_CERT_KINDS; i++)
			m->own_end_s[i] = end_of(s->own[i].cert);
	m->own_seen = s->own_changes;
	return m->own_end_s[kind];
}

static bool has_ca(const struct metrics *m, const char *fingerprint)
{
	for (size_t i = 0; i < m->n_cas; i++)
		if (str_equal(m->cas[i].fingerprint, fingerprint))
			return true;
	return false;
}

static void add_ca(struct metrics *m, const char *pem)
{
	struct trusted_ca *ca = &m->cas[m->n_cas];
	struct cert_info c = {0};

	if (m->n_cas < CAS_MOST && cert_info_parse(&c, pem, NULL) == ERR_OK) {
		ca->issues = str_equal(c.fingerprint, m->cas_signer);
		ca->not_after_s = c.not_after_s;
		c.fingerprint[sizeof(ca->fingerprint) - 1] = '\0';
		/* An operator's file may have one twice, a scraper takes no sample twice. */
		if (!has_ca(m, c.fingerprint)) {
			str_copy(ca->fingerprint, sizeof(ca->fingerprint), c.fingerprint);
			m->n_cas++;
		}
	}
	cert_info_deinit(&c);
}

const struct trusted_ca *metrics_trusted_cas(struct server *s, size_t *n)
{
	struct metrics *m = metrics_of(s);
	const char *signer = s->ca ? s->ca->ops->fingerprint(s->ca) : NULL;
	struct str_list all = {0};

	*n = 0;
	if (!m || !s->ca_chain)
		return NULL;
	if (!str_equal(m->cas_text, s->ca_chain) || !str_equal(m->cas_signer, signer ? signer : "")) {
		mem_free(m->cas_text);
		m->cas_text = mem_strdup(s->ca_chain);
		str_copy(m->cas_signer, sizeof(m->cas_signer), signer ? signer : "");
		m->n_cas = 0;
		if (cert_split(&all, s->ca_chain, NULL))
			m->cas_text = mem_free(m->cas_text); /* the next time */
		for (size_t i = 0; m->cas_text && i < all.n; i++)
			add_ca(m, all.items[i]);
		str_list_deinit(&all);
	}
	*n = m->n_cas;
	return m->cas;
}

/* ---- the walk ---- */

const char *agent_cert_name(enum agent_cert c)
{
	static const char *const names[] = {
		[AGENT_CERT_UNSECURED] = "unsecured",
		[AGENT_CERT_UNKNOWN] = "unknown",
		[AGENT_CERT_EXPIRED] = "expired",
		[AGENT_CERT_NEAR_END] = "near_end",
		[AGENT_CERT_DUE] = "due",
		[AGENT_CERT_GOOD] = "good",
	};

	return names[c];
}

static enum agent_cert agent_cert_of(const struct host *h, const struct renewal_question *q)
{
	if (h->session->is_unsecured)
		return AGENT_CERT_UNSECURED;
	if (!q->not_after_s)
		return AGENT_CERT_UNKNOWN;
	if (q->wall_s >= q->not_after_s)
		return AGENT_CERT_EXPIRED;
	if (q->wall_s >= renewal_near_end_s(q->not_before_s, q->not_after_s, q->alert_period_s))
		return AGENT_CERT_NEAR_END;
	return renewal_is_due(q) ? AGENT_CERT_DUE : AGENT_CERT_GOOD;
}

static void count_here(struct fleet *f, struct server *s, struct host *h)
{
	const struct renewal_question q = renewal_question_of(s, h);
	enum agent_cert c = agent_cert_of(h, &q);
	struct host_view v;

	host_view_make(&v, s, &h->row);
	if (h->row.is_muster)
		f->n_muster++;
	else
		f->n_cloudstack++;
	f->n_away += v.is_off_preferred;
	f->n_suspect += v.is_up && v.suspect;
	f->n_outdated += v.is_outdated;
	f->n_provisional += h->session->provisional;
	f->by_cert[c]++;
	if (c != AGENT_CERT_UNSECURED && q.not_after_s && (!f->first_end_s || q.not_after_s < f->first_end_s))
		f->first_end_s = q.not_after_s;
}

static void count_owner(struct fleet *f, int64_t msid)
{
	for (size_t i = 0; msid && i < f->n_owners; i++) {
		if (f->owners[i].msid == msid) {
			f->owners[i].n++;
			return;
		}
	}
}

/* How much of a turn it takes. */
static unsigned count_host(struct fleet *f, struct server *s, struct host *h)
{
	bool is_here = h->session && (h->session->state == SESSION_ATTACHED || h->session->state == SESSION_READY);

	f->by_status[h->row.status]++;
	f->n_reconnecting += h->lost_at.us != 0;
	f->n_renewals_waiting += renewal_is_waiting(h);
	f->n_rotation_behind += rotation_is_behind(s, h);
	count_owner(f, h->row.owner);
	if (is_here)
		count_here(f, s, h);
	return is_here ? WORK_HERE : 1;
}

static void walk_begins(struct metrics *m, struct server *s)
{
	m->walking = true;
	m->cursor = 0;
	m->table = s->hosts_by_id.slots;
	m->fleet = (struct fleet){0};
	list_for (server, &s->servers, struct member_server, in_servers)
		if (m->fleet.n_owners < FLEET_SERVERS_MOST)
			m->fleet.owners[m->fleet.n_owners++].msid = server->row.msid;
}

/* ---- who asks ---- */

/* Those that are there now, in the order in which they came; one may ask again, or have others forgotten. */
static void answer_all(struct metrics *m, const struct server_metrics *text)
{
	size_t n = 0;

	list_for (a, &m->askers, struct asker, in_askers)
		n++;
	while (n-- && !list_is_empty(&m->askers)) {
		struct asker *a = list_first(&m->askers, struct asker, in_askers);
		struct asker ask = *a;

		list_remove(&a->in_askers);
		mem_free(a);
		ask.done(ask.user, text);
	}
}

static struct server_metrics text_of(const struct metrics *m)
{
	return (struct server_metrics){.text = (const char *)m->text.data, .n = m->text.len, .version = m->version};
}

static void walk_ends(struct metrics *m, struct server *s)
{
	struct metric_writer w = {0};
	struct server_metrics text = {0};

	m->walking = false;
	metrics_write(&w, s, &m->fleet);
	if (!w.error) {
		buf_move(&m->text, &w.out);
		m->version++;
		m->written = world_now(s->world);
		text = text_of(m);
	}
	buf_deinit(&w.out);
	answer_all(m, &text);
}

/* true: that was all. */
static bool walk_on(struct metrics *m, struct server *s)
{
	/* Rebuilt meanwhile: hosts stand elsewhere. */
	if (m->table != s->hosts_by_id.slots)
		walk_begins(m, s);
	for (unsigned work = 0; work < WORK_A_TURN;) {
		struct host *h = roster_next(s, &m->cursor);

		if (!h)
			return true;
		work += count_host(&m->fleet, s, h);
	}
	return false;
}

static void walk(struct server *s)
{
	if (walk_on(s->metrics, s))
		walk_ends(s->metrics, s);
	else
		world_later(s->world, &s->metrics->walk_later);
}

static void walk_slice(struct later *l)
{
	const struct metrics *m = container_of(l, struct metrics, walk_later);

	walk(m->server);
}

void server_metrics(struct server *s, void (*done)(void *user, const struct server_metrics *m), void *user)
{
	struct metrics *m = metrics_of(s);
	struct server_metrics text = {0};
	struct asker *a;

	if (m && m->written.us && mono_ms_between(m->written, world_now(s->world)) < FRESH_MS) {
		text = text_of(m);
		done(user, &text);
		return;
	}
	a = m && !s->freed ? mem_zalloc(sizeof(*a)) : NULL;
	if (!a) {
		done(user, &text);
		return;
	}
	a->done = done;
	a->user = user;
	list_append(&m->askers, &a->in_askers);
	if (m->walking)
		return;
	walk_begins(m, s);
	walk(s);
}

void server_metrics_forget(struct server *s, void *user)
{
	if (!s->metrics)
		return;
	list_for (a, &s->metrics->askers, struct asker, in_askers) {
		if (a->user == user) {
			list_remove(&a->in_askers);
			mem_free(a);
		}
	}
}

void metrics_deinit(struct server *s)
{
	struct metrics *m = s->metrics;

	if (!m)
		return;
	world_later_cancel(&m->walk_later);
	list_for (a, &m->askers, struct asker, in_askers)
		mem_free(a);
	mem_free(m->cas_text);
	buf_deinit(&m->text);
	s->metrics = mem_free(m);
}
