/*
 * Refusals: what was turned away since the start, counted by reason. The log has each one with its sentence, events
 * have a few a second; this is what remains countable when somebody sends thousands.
 */
#include "server/api.h"

#include <stdlib.h>
#include <string.h>

#define REASONS_MAX (ADMIT_N + ERR_COUNT + REFUSAL_N)

static const char *const kinds[REFUSAL_N] = {
	[REFUSAL_JOIN] = "join refused",
	[REFUSAL_AS_SERVER] = "agent speaks as a server",
	[REFUSAL_FOREIGN_ANSWER] = "answer in the name of another host",
	[REFUSAL_UNASKED_ANSWER] = "answer that nobody waits for",
	[REFUSAL_SERVERS_COMMAND] = "command that only servers give",
};

void refusal_count(struct server *s, enum refusal kind)
{
	s->refused_by.by_kind[kind]++;
}

void refusal_of_session(struct server *s, const struct session *x, enum err why)
{
	s->n_refused++;
	if (x->refused_as != ADMIT_YES)
		s->refused_by.by_admit[x->refused_as]++;
	else if (x->state == SESSION_JOINING && why == ERR_REFUSED)
		refusal_count(s, REFUSAL_JOIN);
	else if ((unsigned)why < ERR_COUNT)
		s->refused_by.by_err[why]++;
}

bool refusal_at(const struct server *s, size_t i, struct refusal_count *out)
{
	const struct refusals *r = &s->refused_by;

	if (i < ADMIT_N) {
		*out = (struct refusal_count){"identity", admit_name((enum admit)i), r->by_admit[i]};
		return true;
	}
	i -= ADMIT_N;
	if (i < ERR_COUNT) {
		*out = (struct refusal_count){"link", err_text((enum err)i), r->by_err[i]};
		return true;
	}
	i -= ERR_COUNT;
	if (i < REFUSAL_N) {
		*out = (struct refusal_count){"command", kinds[i], r->by_kind[i]};
		return true;
	}
	return false;
}

static int more_first(const void *a, const void *b)
{
	const struct refusal_count *x = a, *y = b;

	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return strcmp(x->reason, y->reason);
}

json_t *refusal_reasons(const struct server *s)
{
	struct refusal_count reasons[REASONS_MAX];
	json_t *all = json_array();
	size_t n = 0;

	while (n < REASONS_MAX && refusal_at(s, n, &reasons[n]))
		n++;
	qsort(reasons, n, sizeof(*reasons), more_first);
	for (size_t i = 0; i < n && reasons[i].n; i++) {
		json_t *o = json_object();

		api_put_text(o, "reason", reasons[i].reason);
		api_put_number(o, "count", (int64_t)reasons[i].n);
		json_array_append_new(all, o);
	}
	return all;
}
