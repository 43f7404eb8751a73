/*
 * What must be true in a phase: computed here from the rules of core/ and from what the demo itself has done, then
 * compared with what the servers say of the agents.
 */
#include "cli/demo.h"

#include "base/mem.h"
#include "cli/format.h"
#include "core/server_list.h"

static enum err all_entries(const struct demo *d, struct str_list *out)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < d->n_servers; i++)
		e = str_list_add(out, d->servers[i].entry);
	return e;
}

static const char *entry_at(const json_t *list, size_t i)
{
	return json_string_value(json_array_get(list, i));
}

static bool list_is(const json_t *list, const struct str_list *expected)
{
	if (json_array_size(list) != expected->n)
		return false;
	for (size_t i = 0; i < expected->n; i++) {
		const char *entry = entry_at(list, i);

		if (!entry || !server_entry_same(entry, expected->items[i], SERVER_LIST_PORT))
			return false;
	}
	return true;
}

/* Each server once, in whatever order. */
static bool list_is_permutation(const struct demo *d, const json_t *list)
{
	bool seen[DEMO_SERVERS_MAX] = {false};

	for (size_t i = 0; i < json_array_size(list); i++) {
		const struct demo_server *s = server_of_entry(d, entry_at(list, i));

		if (!s || seen[s - d->servers])
			return false;
		seen[s - d->servers] = true;
	}
	return json_array_size(list) == d->n_servers;
}

static bool has_right_list(const struct demo *d, const json_t *host, size_t slot)
{
	CLEAN(str_list_deinit) struct str_list entries = {0}, expected = {0};
	const json_t *list = json_object_get(host, "musterlist");

	if (!str_equal(json_text(host, "musteralgorithm", NULL), algorithm_name(d->in_force)))
		return false;
	if (d->in_force == ALGORITHM_SHUFFLE || d->in_force == ALGORITHM_BALANCED)
		return list_is_permutation(d, list);
	if (all_entries(d, &entries) || algorithm_order(&expected, d->in_force, &entries, slot, NULL))
		or_die(NULL);
	return list_is(list, &expected);
}

/*
 * An agent belongs on the first server of its list; while that one is down, on any other that is up. With shuffle it
 * looks for its preferred server only once after a new list, so later any server will do.
 */
static bool is_placed_right(struct demo *d, const json_t *host, bool settled)
{
	const struct demo_server *connected = server_of_entry(d, json_text(host, "musterconnected", NULL));
	const struct demo_server *preferred = server_of_entry(d, json_text(host, "musterpreferred", NULL));

	if (!connected || !preferred || !server_is_alive(d, (size_t)(connected - d->servers)))
		return false;
	if (!server_is_alive(d, (size_t)(preferred - d->servers)) || (d->in_force == ALGORITHM_SHUFFLE && settled))
		return true;
	return connected == preferred;
}

static bool host_is_right(struct demo *d, const json_t *host, size_t slot, bool settled, struct why *why)
{
	const char *name = json_text(host, "name", "?");
	const char *preferred = json_text(host, "musterpreferred", NULL);
	const char *first = entry_at(json_object_get(host, "musterlist"), 0);

	if (!str_equal(name, d->agents[slot].name))
		why_set(why, "host %zu is %s, not %s", slot + 1, name, d->agents[slot].name);
	else if (!str_equal(json_text(host, "state", ""), "Up") || json_flag(host, "musterreconnecting", false))
		why_set(why, "%s is %s", name,
			json_flag(host, "musterreconnecting", false) ? "reconnecting"
								     : json_text(host, "state", "in no state"));
	else if (!has_right_list(d, host, slot) || json_flag(host, "musteroutdated", true))
		why_set(why, "%s does not have its list yet", name);
	else if (!preferred || !first || !server_entry_same(preferred, first, SERVER_LIST_PORT))
		why_set(why, "%s prefers %s, not the first of its list", name, preferred ? preferred : "nobody");
	else if (!is_placed_right(d, host, settled))
		why_set(why, "%s is connected to %s and prefers %s", name, json_text(host, "musterconnected", "nobody"),
			preferred);
	else
		return true;
	return false;
}

/* balanced: what a list is depends on all the others; what they must be together is even (docs/placement.md, Balanced
 * 3). */
static bool preferences_are_even(const struct demo *d)
{
	size_t counts[DEMO_SERVERS_MAX] = {0}, least = SIZE_MAX, most = 0, i;
	json_t *host;

	json_array_foreach (d->hosts, i, host) {
		const struct demo_server *s = server_of_entry(d, json_text(host, "musterpreferred", NULL));

		if (s)
			counts[s - d->servers]++;
	}
	for (i = 0; i < d->n_servers; i++) {
		least = counts[i] < least ? counts[i] : least;
		most = counts[i] > most ? counts[i] : most;
	}
	return most <= least + 1;
}

bool expect_met(struct demo *d, struct why *why)
{
	size_t n = json_array_size(d->hosts), n_phases = json_array_size(d->phases);
	/* The lists are new in the first two phases. */
	bool settled = n_phases >= 2;

	if (n != d->n_agents) {
		why_set(why, "%zu of %zu hosts are known", n, d->n_agents);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if (!host_is_right(d, json_array_get(d->hosts, i), i, settled, why))
			return false;
	}
	if (d->in_force == ALGORITHM_BALANCED && !preferences_are_even(d)) {
		why_set(why, "the servers are not preferred evenly");
		return false;
	}
	return true;
}

size_t busiest_server(const struct demo *d)
{
	size_t counts[DEMO_SERVERS_MAX] = {0}, best = 0, i;
	json_t *host;

	json_array_foreach (d->hosts, i, host) {
		const struct demo_server *s = server_of_entry(d, json_text(host, "musterconnected", NULL));

		if (s)
			counts[s - d->servers]++;
	}
	for (i = 0; i < d->n_servers; i++) {
		if (counts[i] > counts[best])
			best = i;
	}
	return best;
}
