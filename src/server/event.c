/*
 * Events: what an operator may ask for later (listEvents). Written in groups with everything else; nothing waits.
 */
#include "server/internal.h"

#include <stdio.h>
#include <string.h>

#define EVENT_TEXT 512
#define PACE_MS 10000
#define ADDRESSES_MAX 4096     /* remembered */
#define REFUSALS_AT_ONCE 5     /* of one address */
#define REFUSALS_EACH_MS 10000 /* then one */
#define REFUSALS_A_SECOND 50   /* of all together: thousands of addresses may be one person's */

struct event_write {
	struct entry entry;
	struct event_row row;
};

static enum err event_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return store_event_add(tx, &container_of(entry, struct event_write, entry)->row);
}

static void event_free(struct event_write *w)
{
	event_row_deinit(&w->row);
	mem_free(w);
}

static void event_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct event_write *w = container_of(entry, struct event_write, entry);

	/* It stands in the log in any case. */
	if (result)
		log_debug(s->log, "an event could not be stored", KV_S("type", w->row.type), KV_S("error", sentence));
	event_free(w);
}

static void add(struct server *s, const char *type, const char *level, int64_t host_id, char *text)
{
	struct event_write *w = mem_zalloc(sizeof(*w));

	str_make_printable(text);
	log_at(s->log,
	       str_equal(level, "ERROR")  ? LOG_ERROR
	       : str_equal(level, "WARN") ? LOG_WARN
					  : LOG_INFO,
	       text, KV_S("event", type));
	if (!w)
		return;
	w->entry.run = event_run;
	w->entry.done = event_done;
	world_uuid(s->world, w->row.uuid);
	w->row.type = mem_strdup(type);
	w->row.level = mem_strdup(level);
	w->row.description = mem_strdup(text);
	w->row.account = mem_strdup("system");
	w->row.host_id = host_id;
	w->row.msid = s->msid;
	w->row.created_ms = world_wall_ms(s->world);
	if (!w->row.type || !w->row.level || !w->row.description || !w->row.account)
		event_free(w);
	else
		ledger_add(s, &w->entry);
}

void event_add(struct server *s, const char *type, const char *level, int64_t host_id, const char *format, ...)
{
	char text[EVENT_TEXT];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	add(s, type, level, host_id, text);
}

bool pace_passes(const struct server *s, struct mono *said)
{
	struct mono now = world_now(s->world);

	if (said->us && mono_ms_between(*said, now) < PACE_MS)
		return false;
	*said = now;
	return true;
}

void event_init(struct server *s)
{
	/* Its key is as good as one of its own. */
	strays_init(&s->refusals, s->addresses.key, ADDRESSES_MAX, REFUSALS_AT_ONCE, REFUSALS_EACH_MS);
}

void event_deinit(struct server *s)
{
	strays_deinit(&s->refusals);
}

/* Each refusal is told, but for those of whom there are too many: of one address, or of all together. */
static bool refusal_is_told(struct server *s, const char *address, uint64_t *held)
{
	struct mono now = world_now(s->world);

	if (mono_ms_between(s->refusals_since, now) >= 1000) {
		s->refusals_since = now;
		s->n_refusals = 0;
	}
	if (s->n_refusals >= REFUSALS_A_SECOND || !strays_may_tell(&s->refusals, address, now, held))
		return false;
	s->n_refusals++;
	return true;
}

static void __attribute__((format(printf, 5, 0)))
add_paced(struct server *s, const char *type, const char *level, const char *address, const char *format, va_list ap)
{
	char text[EVENT_TEXT];
	uint64_t held = 0;
	size_t n;

	vsnprintf(text, sizeof(text), format, ap);
	if (!refusal_is_told(s, address, &held)) {
		str_make_printable(text);
		log_debug(s->log, text, KV_S("event", type), KV_S("peer", address));
		return;
	}
	n = strlen(text);
	if (held)
		snprintf(text + n, sizeof(text) - n, " (and %llu more refusals from %s before)",
			 (unsigned long long)held, address);
	add(s, type, level, 0, text);
}

void event_refused(struct server *s, const char *type, const char *address, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_paced(s, type, "WARN", address, format, ap);
	va_end(ap);
}

void event_alarm(struct server *s, const char *type, const char *address, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	add_paced(s, type, "ERROR", address, format, ap);
	va_end(ap);
}
