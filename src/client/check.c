/*
 * Am I on my preferred server? Looked at every check interval, with jitter, so that agents that were told at the same
 * time don't all go home at the same time. `shuffle` looks once after each new list, as in CloudStack. A preferred
 * server that is to be avoided is left alone: it is being emptied.
 */
#include "client/engine.h"

#define INTERVAL_MOST_S (366 * 86400)
#define ALGORITHM_ONCE "shuffle"

bool check_is_on_preferred(const struct agent *a)
{
	return a->current && a->list.n && server_entry_same(a->current->entry, a->list.items[0], a->p.port);
}

static void check_set(struct agent *a)
{
	int64_t s = a->check_interval < INTERVAL_MOST_S ? a->check_interval : INTERVAL_MOST_S;

	timer_set_in(a->world, &a->check_timer, rng_jitter(&a->world->rng, s * 1000, a->p.check_jitter_percent));
}

void check_plan(struct agent *a, bool has_new_list)
{
	int64_t interval = agent_file_interval(a->file, a->received_interval, NULL);
	bool once = str_equal_nocase(a->algorithm, ALGORITHM_ONCE);
	bool is_same = timer_is_set(&a->check_timer) && a->check_interval == interval && a->check_is_once == once;

	/* Lists that come more often than the interval must not put the check off for ever. */
	if (is_same && !(once && has_new_list))
		return;
	timer_stop(a->world, &a->check_timer);
	a->check_interval = interval;
	a->check_is_once = once;
	if (interval && !a->no_reconnect && (!once || has_new_list))
		check_set(a);
	agent_changed(a);
}

void check_now(struct agent *a)
{
	size_t i;

	if (a->state != AGENT_UP || !a->list.n || check_is_on_preferred(a))
		return;
	candidates_refresh(a);
	i = candidates_find(a, a->list.items[0]);
	if (i == CHOICE_NONE || a->candidates[i].avoided || a->candidates[i].unusable)
		return;
	move_begin(a, HUNT_PREFERRED);
}

void check_fired(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, check_timer);

	/* The one look that shuffle has isn't spent while there is no link to look from. */
	if (!a->check_is_once || a->state != AGENT_UP)
		check_set(a);
	check_now(a);
}
