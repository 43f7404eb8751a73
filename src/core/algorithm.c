/*
 * Algorithms: the table of them and what they share. The numbers are those of docs/placement.md.
 *
 * An algorithm decides only about order. Which servers are in the list is the administrator's decision, and whether a
 * server can be used now is the agent's (core/choice.h): a server that is down keeps its place in every list.
 */
#include "core/algorithm.h"

#include <string.h>

#include "base/mem.h"
#include "core/algorithm_rule.h"

static const struct algorithm_rule *const rules[] = {
	[ALGORITHM_STATIC] = &algorithm_rule_static,
	[ALGORITHM_ROUNDROBIN] = &algorithm_rule_roundrobin,
	[ALGORITHM_SHUFFLE] = &algorithm_rule_shuffle,
	[ALGORITHM_BALANCED] = &algorithm_rule_balanced,
};

bool algorithm_from_text(const char *text, enum algorithm *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (str_equal(text, rules[i]->name)) {
			*out = (enum algorithm)i;
			return true;
		}
	}
	return false;
}

const char *algorithm_name(enum algorithm a)
{
	return rules[a]->name;
}

const char *algorithm_choices(void)
{
	return "static, roundrobin, shuffle, balanced";
}

enum err algorithm_order(struct str_list *out, enum algorithm a, const struct str_list *servers, uint64_t slot,
			 struct rng *rng)
{
	CLEAN(str_list_deinit) struct str_list list = {0};
	enum err e = rules[a]->order(&list, servers, slot, rng);

	if (e)
		return e;
	str_list_move(out, &list);
	return ERR_OK;
}

bool algorithm_is_current(enum algorithm a, const struct str_list *servers, uint64_t slot, const char *reported)
{
	struct server_list_walk w;

	server_list_walk_init(&w, reported);
	/* Current 3 and 4. */
	return algorithm_is_of(a, &w) && rules[a]->matches(servers, slot, w);
}

bool algorithm_is_of(enum algorithm a, const struct server_list_walk *w)
{
	const char *name = rules[a]->name;

	/* Current 1. An agent without a list is never current, not even when there is no server to name. */
	if (!w->next)
		return false;
	/* Current 2. The algorithm is compared too: agents behave differently under shuffle. */
	return w->algorithm_len == strlen(name) && memcmp(w->algorithm, name, w->algorithm_len) == 0;
}

enum err algorithm_rotate(struct str_list *out, const struct str_list *servers, size_t first)
{
	for (size_t i = 0; i < servers->n; i++) {
		enum err e = str_list_add(out, servers->items[(first + i) % servers->n]);

		if (e)
			return e;
	}
	return ERR_OK;
}

bool algorithm_is_rotated(const struct str_list *servers, size_t first, struct server_list_walk reported)
{
	for (size_t i = 0; i < servers->n; i++) {
		if (!server_list_walk_next(&reported) ||
		    !server_list_walk_is(&reported, servers->items[(first + i) % servers->n]))
			return false;
	}
	return !server_list_walk_next(&reported);
}
