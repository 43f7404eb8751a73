#include "cli/plan_show.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/format.h"
#include "cli/table.h"

#define HOSTS_SHOWN 20
#define MOVING_SHOWN 10
#define TARGETS_SHOWN 8
#define COLUMNS_MAX 8
/* As in server/config.def: what a cluster has that was never told otherwise. */
#define DEFAULT_PER_S 50
#define DEFAULT_BURST 20

/* What there is to say at all. */
struct facts {
	const struct plan *p;
	const struct plan_view *v;
	bool has_before, has_weights, has_zones;
	uint64_t load[SERVER_LIST_MAX]; /* after the failure */
	uint64_t n_stranded;
};

static void facts_make(struct facts *f, const struct plan *p, const struct plan_view *v)
{
	*f = (struct facts){.p = p, .v = v};
	for (size_t i = 0; i < p->n_hosts; i++)
		f->has_before = f->has_before || p->hosts[i].before.n;
	for (size_t i = 0; i < p->n_servers; i++) {
		f->has_weights = f->has_weights || p->servers[i].weight != 1;
		f->has_zones = f->has_zones || p->servers[i].zone;
	}
	if (v->failed && plan_fail(p, v->failed, f->load, &f->n_stranded))
		or_die(NULL);
}

/* ---- hosts ---- */

static const char *first_of(const struct str_list *l)
{
	return l->n ? l->items[0] : "";
}

static bool moves(const struct plan_host *h)
{
	return h->before.n && !str_equal(first_of(&h->before), first_of(&h->after));
}

/* Its list stays, but it is connected to another server than the first. */
static bool returns(const struct plan *p, const struct plan_host *h)
{
	return p->knows_on && h->on && h->before.n && !moves(h) && !str_equal(h->on, first_of(&h->after));
}

static void print_host(struct table *t, const struct facts *f, const struct plan_host *h)
{
	char *list = or_die(str_list_join(&h->after, ","));

	table_row(t);
	if (h->name)
		table_cell(t, TINT_STRONG, "%s", h->name);
	else
		table_cell(t, TINT_STRONG, "%" PRIu64, h->id);
	table_cell(t, TINT_NONE, "%s", list);
	if (f->has_before)
		table_cell(t, TINT_NONE, "%s", first_of(&h->before));
	if (f->p->knows_on)
		table_cell(t, TINT_NONE, "%s", h->on ? h->on : "-");
	if (f->has_before)
		table_cell(t, moves(h) || returns(f->p, h) ? TINT_CAREFUL : TINT_FAINT, "%s",
			   moves(h)           ? "moves"
			   : returns(f->p, h) ? "returns"
			   : h->before.n      ? "stays"
					      : "new");
	mem_free(list);
}

static bool is_shown(const struct facts *f, const struct plan_host *h)
{
	return !h->is_gone && (f->v->hosts != PLAN_HOSTS_MOVING || moves(h));
}

/* What there is to see of a host, where there is no room for all of them. */
enum interest { MOVES, RETURNS, IS_NEW, STAYS, N_INTERESTS };

static enum interest interest_of(const struct facts *f, const struct plan_host *h)
{
	if (moves(h))
		return MOVES;
	if (returns(f->p, h))
		return RETURNS;
	return f->has_before && !h->before.n ? IS_NEW : STAYS;
}

/* In their own order where all have room, else those that move first. */
static void print_most(struct table *t, const struct facts *f, size_t n, size_t most)
{
	bool is_cut = n > most;

	n = 0;
	for (int wanted = 0; wanted < (is_cut ? N_INTERESTS : 1); wanted++) {
		for (size_t i = 0; i < f->p->n_hosts && n < most; i++) {
			const struct plan_host *h = &f->p->hosts[i];

			if (!is_shown(f, h) || (is_cut && (int)interest_of(f, h) != wanted))
				continue;
			print_host(t, f, h);
			n++;
		}
	}
}

/* How many of the others move: those were the first to be shown. */
static void print_left_out(const struct facts *f, size_t n, size_t most)
{
	uint64_t n_moving = 0;

	for (size_t i = 0; i < f->p->n_hosts; i++)
		n_moving += is_shown(f, &f->p->hosts[i]) && moves(&f->p->hosts[i]);
	if (f->v->hosts == PLAN_HOSTS_MOVING)
		printf("... and %zu more that move; `muster plan --all` shows every host\n", n - most);
	else if (!f->has_before)
		printf("... and %zu more; --all shows them\n", n - most);
	else if (n_moving > most)
		printf("... and %zu more, of which %" PRIu64 " move; --all shows them\n", n - most, n_moving - most);
	else
		printf("... and %zu more, of which none moves; --all shows them\n", n - most);
}

static void print_hosts(const struct cli *c, const struct facts *f)
{
	struct table_column columns[COLUMNS_MAX] = {{"HOST", 0}, {"LIST", TABLE_LIST}};
	size_t n_columns = 2, n = 0,
	       most = f->v->hosts == PLAN_HOSTS_ALL    ? SIZE_MAX
		      : f->v->hosts == PLAN_HOSTS_SOME ? HOSTS_SHOWN
						       : MOVING_SHOWN;
	struct table *t;

	if (f->has_before)
		columns[n_columns++] = (struct table_column){"BEFORE", 0};
	if (f->p->knows_on)
		columns[n_columns++] = (struct table_column){"NOW ON", 0};
	if (f->has_before)
		columns[n_columns++] = (struct table_column){"", 0};
	t = table_new(c, columns, n_columns);
	for (size_t i = 0; i < f->p->n_hosts; i++)
		n += is_shown(f, &f->p->hosts[i]);
	print_most(t, f, n, most);
	if (n)
		table_print(t);
	if (n > most)
		print_left_out(f, n, most);
	if (n)
		printf("\n");
	table_free(t);
}

/* ---- servers ---- */

static void failed_names(struct buf *b, const struct facts *f, const char *separator)
{
	bool is_first = true;

	for (size_t i = 0; i < f->p->n_servers; i++) {
		if (!f->v->failed[i])
			continue;
		if (buf_printf(b, "%s%s", is_first ? "" : separator, f->p->servers[i].name))
			or_die(NULL);
		is_first = false;
	}
}

static void print_server(struct table *t, const struct facts *f, const struct plan_server *s, size_t i)
{
	table_row(t);
	table_cell(t, TINT_STRONG, "%s", s->name);
	if (f->has_weights)
		table_cell(t, TINT_NONE, "%" PRId64, s->weight);
	if (f->has_zones)
		table_cell(t, TINT_NONE, "%s", s->zone ? s->zone : "");
	if (f->p->knows_on)
		table_cell(t, TINT_NONE, "%" PRIu64, s->on);
	if (f->has_before)
		table_cell(t, TINT_NONE, "%" PRIu64, s->before);
	table_cell(t, TINT_NONE, "%" PRIu64, s->after);
	if (f->v->failed && f->v->failed[i])
		table_cell(t, TINT_BAD, "fails");
	else if (f->v->failed)
		table_cell(t, TINT_NONE, "%" PRIu64, f->load[i]);
}

/* One that is there now and would not be. */
static void print_removed(struct table *t, const struct facts *f, const struct plan_server *s)
{
	uint64_t before = 0, on = 0;

	for (size_t i = 0; i < f->p->n_hosts; i++) {
		before += str_equal(first_of(&f->p->hosts[i].before), s->name);
		on += str_equal(f->p->hosts[i].on, s->name);
	}
	table_row(t);
	table_cell(t, TINT_FAINT, "%s", s->name);
	if (f->has_weights)
		table_cell(t, TINT_FAINT, "%" PRId64, s->weight);
	if (f->has_zones)
		table_cell(t, TINT_FAINT, "%s", s->zone ? s->zone : "");
	if (f->p->knows_on)
		table_cell(t, TINT_FAINT, "%" PRIu64, on);
	if (f->has_before)
		table_cell(t, TINT_FAINT, "%" PRIu64, before);
	table_cell(t, TINT_CAREFUL, "removed");
	if (f->v->failed)
		table_cell(t, TINT_FAINT, "%s", "");
}

static void print_servers(const struct cli *c, const struct facts *f)
{
	struct table_column columns[COLUMNS_MAX] = {{"SERVER", 0}};
	CLEAN(buf_deinit) struct buf without = {0};
	const struct plan *p = f->p;
	size_t n = 1;
	struct table *t;

	if (f->has_weights)
		columns[n++] = (struct table_column){"WEIGHT", TABLE_RIGHT};
	if (f->has_zones)
		columns[n++] = (struct table_column){"ZONE", 0};
	if (p->knows_on)
		columns[n++] = (struct table_column){"NOW ON", TABLE_RIGHT};
	if (f->has_before)
		columns[n++] = (struct table_column){"BEFORE", TABLE_RIGHT};
	columns[n++] = (struct table_column){f->has_before ? "AFTER" : "HOSTS", TABLE_RIGHT};
	if (f->v->failed) {
		if (buf_put_str(&without, "WITHOUT "))
			or_die(NULL);
		failed_names(&without, f, ",");
		columns[n++] = (struct table_column){buf_str(&without), TABLE_RIGHT};
	}
	t = table_new(c, columns, n);
	for (size_t i = 0; i < p->n_servers; i++)
		print_server(t, f, &p->servers[i], i);
	for (size_t i = 0; i < p->n_was; i++) {
		if (!plan_find_server(p, p->was[i].name))
			print_removed(t, f, &p->was[i]);
	}
	table_print(t);
	table_free(t);
	printf("\n");
}

/* ---- sentences ---- */

static void print_size(const struct facts *f)
{
	size_t n = plan_n_hosts(f->p), now = f->v->n_hosts_now;
	char hosts[FORMAT_MAX];

	if (n > now)
		printf("That is %s more than there are now.\n", format_count(hosts, (int64_t)(n - now), "host"));
	else if (n < now)
		printf("That is %s less than there are now.\n", format_count(hosts, (int64_t)(now - n), "host"));
}

static void print_heeded(const struct facts *f)
{
	if ((f->has_weights || f->has_zones) && f->p->algorithm != ALGORITHM_BALANCED)
		printf("Weights and zones have no effect with %s: only balanced heeds them.\n",
		       algorithm_name(f->p->algorithm));
}

static void print_moves(const struct facts *f)
{
	const struct plan *p = f->p;
	char text[FORMAT_MAX];

	if (!f->has_before)
		printf("Nothing moves: no host has a list yet.\n");
	else if (!p->moves)
		printf("Nothing moves.\n");
	else if (p->moves == p->minimum_moves)
		printf("%s, as few as possible.\n", format_count(text, (int64_t)p->moves, "move"));
	else
		printf("%s; %" PRIu64 " would be enough to spread the hosts as evenly.\n",
		       format_count(text, (int64_t)p->moves, "move"), p->minimum_moves);
}

static void print_returns(const struct facts *f)
{
	int64_t n = 0;
	char agents[FORMAT_MAX];

	for (size_t i = 0; i < f->p->n_hosts; i++)
		n += !f->p->hosts[i].is_gone && returns(f->p, &f->p->hosts[i]);
	if (n)
		printf("%s %s not on the preferred server now, and %s to it.\n", format_count(agents, n, "agent"),
		       n == 1 ? "is" : "are", n == 1 ? "returns" : "return");
}

static void print_told(const struct plan_pace *pace, uint64_t most)
{
	struct plan_time t = plan_time(pace, most, true);
	char time[FORMAT_MAX];

	printf(".\nNobody moves without being told, since the check interval is 0: `muster rebalance` does that, %s%s.\n",
	       t.seconds ? "in about " : "at once", t.seconds ? format_seconds(time, t.seconds) : "");
}

static void print_paced(const struct plan_pace *pace, const struct plan_server *most)
{
	struct plan_time t = plan_time(pace, most->arrivals, false);
	char time[FORMAT_MAX], interval[FORMAT_MAX];

	printf(", about %" PRId64 " per second; all are made within about %s.\n"
	       "(Agents look once in %s, and a server lets %" PRId64 " come per second, %" PRId64 " at once.)\n",
	       t.per_s, format_seconds(time, t.seconds), format_seconds(interval, pace->interval_s), pace->per_s,
	       pace->burst);
}

/* Without knowing the interval. */
static void print_default_pace(uint64_t most)
{
	const struct plan_pace pace = {.per_s = DEFAULT_PER_S, .burst = DEFAULT_BURST};
	struct plan_time t = plan_time(&pace, most, true);
	char time[FORMAT_MAX];

	printf(". At the default pace (%d per second, %d at once)\nthey are made within %s%s.\n", DEFAULT_PER_S,
	       DEFAULT_BURST, t.seconds ? format_seconds(time, t.seconds) : "one check interval",
	       t.seconds ? ", or one check interval if that is longer" : "");
}

static void print_pace(const struct facts *f)
{
	const struct plan *p = f->p;
	const struct plan_server *most = &p->servers[0];
	const struct plan_pace *pace = f->v->pace;
	uint64_t n = 0;
	char links[FORMAT_MAX];

	for (size_t i = 0; i < p->n_servers; i++) {
		n += p->servers[i].arrivals;
		if (p->servers[i].arrivals > most->arrivals)
			most = &p->servers[i];
	}
	if (!n)
		return;
	printf("%s", format_count(links, (int64_t)n, "new link"));
	if (n == most->arrivals)
		printf(" to %s", most->name);
	else
		printf(", at most %" PRIu64 " to one server (%s)", most->arrivals, most->name);
	if (f->v->is_frozen)
		printf(".\nMoves are frozen: nobody goes there before `muster thaw`.\n");
	else if (!pace)
		print_default_pace(most->arrivals);
	else if (pace->per_s <= 0)
		printf(".\nNobody moves, since agent.failback.rate is 0: no server lets agents come.\n");
	else if (pace->interval_s <= 0)
		print_told(pace, most->arrivals);
	else
		print_paced(pace, most);
}

static void print_failure(const char *kind, const struct plan *p, const struct plan_failure *f)
{
	char *names;

	if (!f->servers.n)
		return;
	names = or_die(str_list_join(&f->servers, " and "));
	printf("Worst %s failure: %s; ", kind, names);
	if (p->n_servers == f->servers.n + 1)
		printf("the other one then has %" PRIu64 ".\n", f->max);
	else if (f->min == f->max)
		printf("the others then have %" PRIu64 " each.\n", f->max);
	else
		printf("the others then have %" PRIu64 " to %" PRIu64 ".\n", f->min, f->max);
	mem_free(names);
}

/* Where those go that lose their server. */
static void print_failed(const struct facts *f)
{
	CLEAN(buf_deinit) struct buf names = {0}, to = {0};
	const struct plan *p = f->p;
	uint64_t n = 0;
	size_t n_targets = 0;
	char hosts[FORMAT_MAX];
	enum err e = ERR_OK;

	failed_names(&names, f, " and ");
	for (size_t i = 0; i < p->n_servers; i++) {
		const struct plan_server *s = &p->servers[i];

		n += f->v->failed[i] ? s->after : 0;
		if (e || f->v->failed[i] || f->load[i] == s->after || n_targets++ >= TARGETS_SHOWN)
			continue;
		e = buf_printf(&to, "%s%" PRIu64 " to %s", to.len ? ", " : "", f->load[i] - s->after, s->name);
	}
	if (!e && n_targets > TARGETS_SHOWN)
		e = buf_printf(&to, " and others");
	if (e)
		or_die(NULL);
	printf("Without %s %s must go elsewhere%s%s.\n", buf_str(&names), format_count(hosts, (int64_t)n, "host"),
	       to.len ? ": " : "", to.len ? buf_str(&to) : "");
	if (f->n_stranded)
		printf("%s then %s no server left.\n", format_count(hosts, (int64_t)f->n_stranded, "host"),
		       f->n_stranded == 1 ? "has" : "have");
}

void plan_show(const struct cli *c, const struct plan *p, const struct plan_view *v)
{
	char hosts[FORMAT_MAX], servers[FORMAT_MAX];
	struct facts f;

	facts_make(&f, p, v);
	printf("%s on %s with %s\n\n", format_count(hosts, (int64_t)plan_n_hosts(p), "host"),
	       format_count(servers, (int64_t)p->n_servers, "server"), algorithm_name(p->algorithm));
	print_hosts(c, &f);
	print_servers(c, &f);
	print_heeded(&f);
	print_size(&f);
	print_moves(&f);
	print_returns(&f);
	print_pace(&f);
	print_failure("single", p, &p->worst_single);
	print_failure("double", p, &p->worst_double);
	if (v->failed)
		print_failed(&f);
	if (p->algorithm == ALGORITHM_SHUFFLE)
		printf("shuffle draws at random: this is one possible outcome%s.\n",
		       v->hosts == PLAN_HOSTS_MOVING ? "" : ", --seed repeats it");
}
