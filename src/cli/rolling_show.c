#include "cli/rolling_show.h"

#include <inttypes.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/format.h"
#include "cli/table.h"

/* More servers than that, and the table has only the fewest and the most. */
#define SERVERS_SHOWN 6
#define TELL_S 2 /* until all agents know whom to avoid: docs/failover.md, "Drain" 11 */

int64_t rolling_drain_s(uint64_t agents, int64_t rate)
{
	return agents ? TELL_S + ((int64_t)agents + rate - 1) / rate : 0;
}

struct range {
	uint64_t min, max;
};

/* Over all servers that have a share and are up. */
static struct range range_of(const struct plan *p, const uint64_t *on, size_t without)
{
	struct range r = {UINT64_MAX, 0};

	for (size_t i = 0; i < p->n_servers; i++) {
		if (i == without)
			continue;
		r.min = on[i] < r.min ? on[i] : r.min;
		r.max = on[i] > r.max ? on[i] : r.max;
	}
	return r;
}

static uint64_t worst(const struct rolling_view *v)
{
	uint64_t most = 0;

	for (size_t i = 0; i < v->r->n_steps; i++) {
		struct range r = range_of(v->p, v->r->steps[i].on, v->r->steps[i].server);

		most = r.max - r.min > most ? r.max - r.min : most;
	}
	return most;
}

static void print_counts(struct table *t, const struct rolling_view *v, const uint64_t *on, size_t without)
{
	struct range r = range_of(v->p, on, without);

	if (v->p->n_servers > SERVERS_SHOWN) {
		table_cell(t, TINT_NONE, "%" PRIu64, r.min);
		table_cell(t, TINT_NONE, "%" PRIu64, r.max);
		return;
	}
	for (size_t i = 0; i < v->p->n_servers; i++) {
		if (i == without)
			table_cell(t, TINT_FAINT, "-");
		else
			table_cell(t, TINT_NONE, "%" PRIu64, on[i]);
	}
}

static void print_table(const struct cli *c, const struct rolling_view *v)
{
	struct table_column columns[4 + SERVERS_SHOWN] = {
		{"STEP", 0}, {"RESTARTED", TABLE_SHORTEN}, {"MOVES", TABLE_RIGHT}};
	bool returns = !v->r->hands_over;
	size_t n = 3;
	struct table *t;

	if (returns)
		columns[n++] = (struct table_column){"RETURN", TABLE_RIGHT};
	if (v->p->n_servers > SERVERS_SHOWN) {
		columns[n++] = (struct table_column){"FEWEST", TABLE_RIGHT};
		columns[n++] = (struct table_column){"MOST", TABLE_RIGHT};
	}
	for (size_t i = 0; v->p->n_servers <= SERVERS_SHOWN && i < v->p->n_servers; i++)
		columns[n++] = (struct table_column){v->names[i], TABLE_RIGHT};
	t = table_new(c, columns, n);
	for (size_t i = 0; i < v->r->n_steps; i++) {
		const struct rolling_step *s = &v->r->steps[i];

		table_row(t);
		table_cell(t, TINT_NONE, "%zu", i + 1);
		table_cell(t, TINT_STRONG, "%s", v->names[s->server]);
		table_cell(t, TINT_NONE, "%" PRIu64, s->moves);
		if (returns)
			table_cell(t, TINT_NONE, "%" PRIu64, s->back);
		print_counts(t, v, s->on, s->server);
	}
	table_row(t);
	table_cell(t, TINT_NONE, "end");
	table_cell(t, TINT_NONE, "%s", "");
	table_cell(t, TINT_NONE, "%" PRIu64, v->r->home);
	if (returns)
		table_cell(t, TINT_NONE, "%s", "");
	print_counts(t, v, v->r->on, ROLLING_NOBODY);
	table_print(t);
	table_free(t);
}

static int64_t drains_s(const struct rolling_view *v)
{
	int64_t sum = 0;

	for (size_t i = 0; i < v->r->n_steps; i++)
		sum += rolling_drain_s(v->r->steps[i].moves, v->rate);
	return sum;
}

/* All who go home, wherever: never less than if one server got them all at its pace. */
static struct plan_time homes(const struct rolling_view *v)
{
	struct plan_time sum = {.is_known = v->pace != NULL};

	for (size_t i = 0; v->pace && i <= v->r->n_steps; i++) {
		uint64_t n = i < v->r->n_steps ? v->r->steps[i].back : v->r->home;
		struct plan_time t = plan_time(v->pace, n, true);

		sum.is_known = sum.is_known && t.is_known;
		sum.seconds += t.seconds;
	}
	return sum;
}

static void print_time(const struct rolling_view *v)
{
	struct plan_time home = homes(v);
	char drains[FORMAT_MAX], back[FORMAT_MAX];

	printf("Emptying the servers takes about %s, at %" PRId64 " agents per second",
	       format_seconds(drains, drains_s(v)), v->rate);
	if (home.is_known && home.seconds)
		printf("; going home about %s", format_seconds(back, home.seconds));
	printf(". The restarts come in addition.\n");
}

void rolling_show(const struct cli *c, const struct rolling_view *v)
{
	uint64_t n = v->r->plain / 2, apart = worst(v), m = v->p->n_servers;
	char agents[FORMAT_MAX], moves[FORMAT_MAX], distance[FORMAT_MAX];

	printf("%s on %" PRIu64 " servers with %s\n\n", format_count(agents, (int64_t)n, "agent"), m,
	       algorithm_name(v->p->algorithm));
	print_table(c, v);
	if (v->p->n_hosts > n)
		printf("\n%s without a link, which nothing moves.\n",
		       format_count(agents, (int64_t)(v->p->n_hosts - n), "host"));
	format_count(moves, (int64_t)v->r->moves, "move");
	format_count(distance, (int64_t)apart, "agent");
	if (v->r->hands_over)
		printf("\n%s instead of %" PRIu64
		       ": each server's agents go to the one that was restarted before it.\n",
		       moves, v->r->plain);
	else
		printf("\n%s: with %s all agents of a server return to it before the next one has its turn.\n"
		       "With balanced about %" PRIu64 " would do.\n",
		       moves, algorithm_name(v->p->algorithm), n + 2 * n / m);
	if (apart)
		printf("While one is restarted the others are at most %s apart.\n", distance);
	else
		printf("While one is restarted the others have equally many agents.\n");
	print_time(v);
}

static json_t *counts_json(const struct rolling_view *v, const uint64_t *on)
{
	json_t *o = or_die(json_object());

	for (size_t i = 0; i < v->p->n_servers; i++)
		json_object_set_new(o, v->names[i], json_integer((json_int_t)on[i]));
	return o;
}

json_t *rolling_to_json(const struct rolling_view *v)
{
	json_t *steps = or_die(json_array());

	for (size_t i = 0; i < v->r->n_steps; i++) {
		const struct rolling_step *s = &v->r->steps[i];

		json_array_append_new(steps, or_die(json_pack("{s:s,s:I,s:I,s:o}", "server", v->names[s->server],
							      "moves", (json_int_t)s->moves, "return",
							      (json_int_t)s->back, "agents", counts_json(v, s->on))));
	}
	return or_die(json_pack("{s:s,s:b,s:o,s:I,s:o,s:I,s:I,s:I,s:I}", "algorithm", algorithm_name(v->p->algorithm),
				"handsover", (int)v->r->hands_over, "steps", steps, "home", (json_int_t)v->r->home,
				"agents", counts_json(v, v->r->on), "moves", (json_int_t)v->r->moves, "plainmoves",
				(json_int_t)v->r->plain, "apart", (json_int_t)worst(v), "drainseconds",
				(json_int_t)drains_s(v)));
}
