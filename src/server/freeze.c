/*
 * Freeze: an operator has said that nobody is to move who need not (docs/failover.md, "Freeze").
 *
 * It is a row among the settings in the store, so that it is versioned, survives everything that they survive and is
 * read by every server as soon as they are; no name that can be set by hand leads to it. What it stops asks
 * freeze_is_on(): arrivals (who comes home), spreading (who is told to look), news (muster agents hear it).
 *
 * CloudStack agents hear no news. What makes them look is the interval that they were told, so they are told 0. After
 * the thaw each gets its own back at a moment of its own: it looks one interval after that, and all of them in the same
 * moment would be a storm.
 */
#include "server/internal.h"

#define THAW_MOST_MS 300000 /* in which CloudStack agents get their interval back, however long it is */

/* ---- the row ---- */

const struct config_row *freeze_row(const struct config_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_equal(rows[i].name, FREEZE_ROW) && str_equal(rows[i].scope, CONFIG_GLOBAL))
			return &rows[i];
	return NULL;
}

char *freeze_value(int64_t since_ms, const char *by, const char *reason)
{
	json_t *o = json_pack("{s:I, s:s?, s:s?}", "since", (json_int_t)since_ms, "by", by, "reason", reason);
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;

	json_decref(o);
	return text;
}

static char *text_in(const json_t *o, const char *name)
{
	char *text = mem_strdup(json_string_value(json_object_get(o, name)));

	if (text)
		str_make_printable(text);
	return text;
}

void freeze_read(struct freeze *out, const char *value)
{
	json_t *o = value ? json_loads(value, 0, NULL) : NULL;

	*out = (struct freeze){
		.is_on = true,
		.since_ms = json_integer_value(json_object_get(o, "since")),
		.by = text_in(o, "by"),
		.reason = text_in(o, "reason"),
	};
	json_decref(o);
}

void freeze_deinit(struct freeze *f)
{
	mem_free(f->by);
	mem_free(f->reason);
	*f = (struct freeze){0};
}

/* ---- what follows from it ---- */

bool freeze_is_on(const struct server *s)
{
	return s->freeze.is_on;
}

/* Whoever was told to look and has not heard it yet. */
static void drop_triggers(struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	while ((h = roster_next(s, &cursor)))
		if (h->session)
			h->session->trigger = false;
	s->trigger_next = false;
	s->trigger_when_read = false;
}

void freeze_load(struct server *s, const struct config_row *rows, size_t n)
{
	const struct config_row *row = freeze_row(rows, n);
	struct freeze now = {0};
	bool was_on = s->freeze.is_on;

	if (row)
		freeze_read(&now, row->value);
	else
		now.thawed_at = was_on ? world_now(s->world) : s->freeze.thawed_at;
	freeze_deinit(&s->freeze);
	s->freeze = now;
	if (now.is_on == was_on)
		return;
	if (now.is_on) {
		log_warn(s->log, "moves are frozen", KV_S("by", now.by ? now.by : "?"),
			 KV_S("reason", now.reason ? now.reason : "-"));
		drop_triggers(s);
	} else {
		log_info(s->log, "moves are thawed");
	}
	news_at_once(s);
	spreading_compare_all(s);
}

/* ---- CloudStack agents ---- */

/* The same on every server: a part of the window that belongs to the host. */
static int64_t turn_ms(int64_t host_id, int64_t window_ms)
{
	uint64_t mixed = ((uint64_t)host_id * UINT64_C(0x9e3779b97f4a7c15)) >> 44;

	return (int64_t)(mixed % 1024) * window_ms / 1024;
}

bool freeze_stops_looks(const struct server *s, const struct host_row *h, int64_t interval_s)
{
	int64_t window_ms = interval_s < THAW_MOST_MS / 1000 ? interval_s * 1000 : THAW_MOST_MS;

	if (h->is_muster)
		return false;
	if (s->freeze.is_on)
		return true;
	return s->freeze.thawed_at.us &&
	       !mono_reached(world_now(s->world), mono_add_ms(s->freeze.thawed_at, turn_ms(h->id, window_ms)));
}

void freeze_tick(struct server *s)
{
	struct host *h;
	size_t cursor = 0;

	if (!s->freeze.thawed_at.us)
		return;
	if (mono_ms_between(s->freeze.thawed_at, world_now(s->world)) > THAW_MOST_MS)
		s->freeze.thawed_at = (struct mono){0};
	while ((h = roster_next(s, &cursor)))
		if (h->session && !h->row.is_muster)
			spreading_compare(s, h);
}
