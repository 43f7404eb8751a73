/*
 * How far a drain is: for the store, where every server finds it, and for events.
 */
#include "server/api.h"
#include "server/draining.h"

#include <stdio.h>

#define REPORT_MS 1000
#define LISTED_MOST 100 /* of those that have not moved */

/* ---- the text ---- */

static json_t *remaining_object(struct server *s, const struct drain_remaining *r)
{
	const struct host *h = roster_host(s, (int64_t)r->host);
	json_t *o = json_object();

	api_put_text(o, "id", h ? h->row.uuid : NULL);
	api_put_text(o, "name", h ? h->row.name : NULL);
	api_put_text(o, "fate", drain_fate_name(r->fate));
	api_put_number(o, "asked", r->n_asked);
	api_put_text(o, "reason", r->sentence);
	return o;
}

/* First those about whom there is something to say, then those who only wait for their turn. */
static json_t *remaining_list(const struct draining *d)
{
	json_t *list = json_array();

	for (int only_waiting = 0; only_waiting < 2; only_waiting++) {
		struct drain_remaining r;
		size_t cursor = 0;

		while (json_array_size(list) < LISTED_MOST && drain_next_remaining(d->drain, &cursor, &r))
			if ((r.fate == DRAIN_WAITING) == only_waiting)
				json_array_append_new(list, remaining_object(d->server, &r));
	}
	return list;
}

static const char *state_word(const struct draining *d, const struct drain_report *r)
{
	if (r->state == DRAIN_DONE && api_jobs_running(d->server))
		return "waiting for jobs";
	if (r->state == DRAIN_RUNNING && !d->asking)
		return "telling";
	return drain_state_name(r->state);
}

char *draining_report_text(const struct draining *d, const char *ended)
{
	struct drain_report r;
	json_t *o = json_object();
	char *text;

	drain_report(d->drain, world_now(d->server->world), &r);
	api_put_text(o, "state", ended ? ended : state_word(d, &r));
	api_put_number(o, "total", (int64_t)r.n_total);
	for (int i = 0; i < DRAIN_N_FATES; i++)
		api_put_number(o, drain_fate_name((enum drain_fate)i), (int64_t)r.n_by_fate[i]);
	if (r.remaining_ms >= 0 && !ended)
		api_put_number(o, "remainingms", r.remaining_ms);
	api_put_number(o, "jobs", (int64_t)api_jobs_running(d->server));
	json_object_set_new(o, "remaining", remaining_list(d));
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

void draining_remaining_text(const struct draining *d, char *out, size_t size)
{
	struct drain_remaining r;
	size_t cursor = 0, used = 0, n_more = 0;

	if (size)
		out[0] = '\0';
	while (drain_next_remaining(d->drain, &cursor, &r)) {
		const struct host *h = roster_host(d->server, (int64_t)r.host);
		char item[160];
		int n = snprintf(item, sizeof(item), "%s%.60s (%.80s)", used ? ", " : "", h ? h->row.name : "?",
				 r.sentence);

		/* Room is left for the count of those that don't fit. */
		if (n_more || used + (size_t)n + 24 >= size) {
			n_more++;
			continue;
		}
		str_copy(out + used, size - used, item);
		used += (size_t)n;
	}
	if (n_more)
		snprintf(out + used, size - used, " and %zu more", n_more);
}

/* ---- writing it ---- */

struct report_write {
	struct entry entry;
	int64_t asked_ms;
	char *text; /* NULL: as it is there */
	bool is_last;
	bool is_same; /* out: this drain is the one that was asked for last */
};

static enum err report_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	struct report_write *w = container_of(entry, struct report_write, entry);
	enum err e = draining_is_same(tx, entry->server->msid, w->asked_ms, &w->is_same);

	if (e || !w->is_same || !w->text)
		return e;
	e = store_drain_report(tx, entry->server->msid, w->text);
	return e == ERR_NOT_FOUND ? ERR_OK : e; /* set to this state by other means than the API: nobody reads it */
}

static void report_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct report_write *w = container_of(entry, struct report_write, entry);
	struct draining *d = s->draining;

	if (result)
		log_debug(s->log, "the progress of the drain could not be stored", KV_S("error", sentence));
	if (d && !w->is_last && d->why == DRAINING_FOR_MAINTENANCE && d->asked.asked_ms == w->asked_ms) {
		d->writing = false;
		if (result)
			d->report = mem_free(d->report); /* it differs from what is there, and is written again */
		else if (!w->is_same && !s->freed)
			draining_again(s);
	}
	mem_free(w->text);
	mem_free(w);
}

static void report_put(struct draining *d, char *take_text, bool is_last)
{
	struct report_write *w = mem_zalloc(sizeof(*w));

	if (!w) {
		mem_free(take_text);
		return;
	}
	w->entry.run = report_run;
	w->entry.done = report_done;
	w->entry.read_only = !take_text;
	w->asked_ms = d->asked.asked_ms;
	w->text = take_text;
	w->is_last = is_last;
	d->writing |= !is_last;
	ledger_add(d->server, &w->entry);
}

void draining_report_write(struct draining *d)
{
	struct mono now = world_now(d->server->world);
	char *text, *copy = NULL;

	if (d->why != DRAINING_FOR_MAINTENANCE || d->writing || d->ending || d->ended ||
	    (d->reported.us && mono_ms_between(d->reported, now) < REPORT_MS))
		return;
	d->reported = now;
	text = draining_report_text(d, NULL);
	if (!str_equal(text, d->report))
		copy = mem_strdup(text);
	if (!copy) {
		text = mem_free(text);
	} else {
		mem_free(d->report);
		d->report = copy;
	}
	report_put(d, text, false);
}

void draining_report_last(struct draining *d, const char *ended)
{
	char *text = draining_report_text(d, ended);

	if (text)
		report_put(d, text, true);
}
