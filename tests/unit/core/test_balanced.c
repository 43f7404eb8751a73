/*
 * Balanced placements: random histories, checked by a counter that knows nothing but the lists.
 *
 * The counter lets every host walk down its list past the servers that are dead, and counts who arrives where. What it
 * must find is said in docs/placement.md, "Balanced"; nothing of the code under test is used for it.
 *
 * MUSTER_SEED=n runs the same histories again; MUSTER_LONG=n runs n times as many.
 */
#include "core/balanced.h"

#include "core_test.h"

#define N_SERVERS_MAX 17
#define N_HOSTS_MAX 5200
#define N_ZONES 4

static const char *const zones[N_ZONES] = {NULL, "za", "zb", "zc"};

/* ---- what the test knows by itself ---- */

struct model_server {
	char name[8];
	uint32_t weight;
	const char *zone;
};

struct model_host {
	uint64_t id;
	const char *zone;
	bool is_pinned;
	char pin[8];
	/* As of the last look: */
	char list[N_SERVERS_MAX][8];
	uint8_t route[N_SERVERS_MAX]; /* the same, as places among the servers */
	const char *group;            /* the zone that counts, one of zones[] */
};

struct model {
	struct balanced *b;
	struct rng rng;
	struct model_server servers[N_SERVERS_MAX];
	size_t n_servers;
	struct model_host *hosts;
	size_t n_hosts;
	uint64_t next_id;
	unsigned next_name;
	/* what this history uses */
	bool has_weights, has_zones, has_pins;
	uint64_t worst_altered, n_altered, n_host_changes;
};

static const struct model_server *server_named(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n_servers; i++) {
		if (str_equal(m->servers[i].name, name))
			return &m->servers[i];
	}
	return NULL;
}

static size_t server_index(const struct model *m, const char *name)
{
	const struct model_server *s = server_named(m, name);

	assert_non_null(s);
	return (size_t)(s - m->servers);
}

static bool are_all_last_resorts(const struct model *m)
{
	for (size_t i = 0; i < m->n_servers; i++) {
		if (m->servers[i].weight)
			return false;
	}
	return true;
}

static uint32_t weight_of(const struct model *m, size_t i)
{
	return are_all_last_resorts(m) ? 1 : m->servers[i].weight;
}

static bool zone_has_servers(const struct model *m, const char *zone)
{
	for (size_t i = 0; zone && i < m->n_servers; i++) {
		if (weight_of(m, i) && str_equal(m->servers[i].zone, zone))
			return true;
	}
	return false;
}

/* Hosts of a zone without servers count as hosts without a zone. */
static const char *zone_that_counts(const struct model *m, const struct model_host *h)
{
	return zone_has_servers(m, h->zone) ? h->zone : NULL;
}

/* 0: comes first, 1: comes after those, 2: comes last. */
static int tier_for(const struct model *m, const char *zone, size_t server)
{
	if (!weight_of(m, server))
		return 2;
	return !zone || str_equal(m->servers[server].zone, zone) ? 0 : 1;
}

/* ---- looking ---- */

/* The placement's servers alone, as those know them who look hosts up elsewhere. */
static struct balanced *servers_only(const struct balanced *b)
{
	struct balanced_server servers[SERVER_LIST_MAX];
	struct balanced *table;

	for (size_t i = 0; i < balanced_n_servers(b); i++)
		servers[i] = balanced_get_server(b, i);
	assert_int_equal(balanced_load(&table, 1, servers, balanced_n_servers(b), NULL, 0, NULL), ERR_OK);
	return table;
}

static void lists_read(const struct model *m, char (*out)[N_SERVERS_MAX][8])
{
	struct balanced *table = servers_only(m->b);

	for (size_t i = 0; i < m->n_hosts; i++) {
		uint16_t list[SERVER_LIST_MAX], same[SERVER_LIST_MAX];
		size_t n = balanced_list(m->b, m->hosts[i].id, list);
		struct balanced_host h;

		assert_int_equal(n, m->n_servers);
		assert_true(balanced_get_host(m->b, m->hosts[i].id, &h));
		assert_int_equal(balanced_list_of(table, &h, same), n);
		assert_memory_equal(list, same, n * sizeof(*list));
		for (size_t k = 0; k < n; k++)
			str_copy(out[i][k], 8, balanced_get_server(m->b, list[k]).name);
	}
	balanced_free(table);
}

static char (*lists_new(const struct model *m))[N_SERVERS_MAX][8]
{
	char(*lists)[N_SERVERS_MAX][8] = mem_zalloc_array(m->n_hosts + 1, sizeof(*lists));

	check_there(lists);
	return lists;
}

static void host_note(const struct model *m, struct model_host *h, char (*list)[8])
{
	memcpy(h->list, list, sizeof(h->list));
	for (size_t k = 0; k < m->n_servers; k++)
		h->route[k] = (uint8_t)server_index(m, list[k]);
	h->group = zone_that_counts(m, h);
}

/* Every server once, and tiers in their order: the zone's, the others', the last resorts. */
static void check_list(const struct model *m, const struct model_host *h)
{
	bool is_seen[N_SERVERS_MAX] = {false};
	int tier = 0;

	for (size_t k = 0; k < m->n_servers; k++) {
		size_t server = h->route[k];
		int its_tier = tier_for(m, h->group, server);

		assert_false(is_seen[server]);
		is_seen[server] = true;
		if (h->is_pinned && server_named(m, h->pin)) {
			assert_true(k > 0 || str_equal(h->list[0], h->pin));
			if (k == 0)
				continue;
		}
		assert_true(its_tier >= tier);
		tier = its_tier;
	}
}

/* What one failure leaves for the hosts of one zone. */
struct outcome {
	int64_t gap; /* how much further above its share the highest survivor is than the lowest, times weight_all */
	int64_t movable; /* the same for survivors that got a host by the list's entry for this very failure */
	int64_t weight_all;
	size_t n_survivors;
	int64_t n_hosts;
};

static struct outcome let_fail(const struct model *m, const char *zone, const bool *is_dead, size_t n_dead)
{
	int64_t load[N_SERVERS_MAX] = {0}, spare[N_SERVERS_MAX] = {0};
	struct outcome out = {0};
	int64_t low = INT64_MAX, high = INT64_MIN, high_movable = INT64_MIN, total = 0;
	int tier = 2;

	for (size_t i = 0; i < m->n_hosts; i++) {
		const struct model_host *h = &m->hosts[i];
		size_t k = 0;

		if (h->group != zone)
			continue;
		out.n_hosts++;
		while (k < m->n_servers && is_dead[h->route[k]])
			k++;
		if (k == m->n_servers)
			continue;
		load[h->route[k]]++;
		spare[h->route[k]] += k == n_dead && !(n_dead == 0 && h->is_pinned);
	}
	for (size_t s = 0; s < m->n_servers; s++) {
		if (!is_dead[s] && tier_for(m, zone, s) < tier)
			tier = tier_for(m, zone, s);
	}
	for (size_t s = 0; s < m->n_servers; s++) {
		if (is_dead[s] || tier_for(m, zone, s) != tier || tier == 2)
			continue;
		out.weight_all += weight_of(m, s);
		out.n_survivors++;
		total += load[s];
	}
	for (size_t s = 0; s < m->n_servers; s++) {
		int64_t key = load[s] * out.weight_all - total * weight_of(m, s);

		if (is_dead[s] || tier_for(m, zone, s) != tier || tier == 2)
			continue;
		low = key < low ? key : low;
		high = key > high ? key : high;
		if (spare[s])
			high_movable = key > high_movable ? key : high_movable;
	}
	out.gap = out.n_survivors ? high - low : 0;
	out.movable = out.n_survivors && high_movable != INT64_MIN ? high_movable - low : 0;
	return out;
}

/* How even it has to be, in hosts; by how many servers are dead. */
struct bounds {
	int64_t of[3];
	bool is_movable_only; /* pins and weights: only what lists could do better counts */
};

static void check_failure(const struct model *m, const char *zone, const bool *is_dead, size_t n_dead,
			  const struct bounds *bounds, const char *when)
{
	struct outcome o = let_fail(m, zone, is_dead, n_dead);
	int64_t gap = bounds->is_movable_only ? o.movable : o.gap;

	if (gap > bounds->of[n_dead] * o.weight_all)
		fail_msg("%s: zone %s, %zu dead of %zu, %lld hosts: %lld / %lld above the lowest, %lld allowed", when,
			 zone ? zone : "-", n_dead, m->n_servers, (long long)o.n_hosts, (long long)gap,
			 (long long)o.weight_all, (long long)bounds->of[n_dead]);
}

static void check_zone(const struct model *m, const char *zone, const struct bounds *bounds, const char *when)
{
	bool is_dead[N_SERVERS_MAX] = {false};

	check_failure(m, zone, is_dead, 0, bounds, when);
	for (size_t i = 0; i < m->n_servers; i++) {
		is_dead[i] = true;
		check_failure(m, zone, is_dead, 1, bounds, when);
		for (size_t j = i + 1; j < m->n_servers; j++) {
			is_dead[j] = true;
			check_failure(m, zone, is_dead, 2, bounds, when);
			is_dead[j] = false;
		}
		is_dead[i] = false;
	}
}

/* Balanced 6: when all servers of a zone are dead, its hosts are even over the others. */
static void check_zone_dead(const struct model *m, const char *zone, const char *when)
{
	static const struct bounds one = {.of = {1, 1, 1}};
	bool is_dead[N_SERVERS_MAX] = {false};

	if (!zone)
		return;
	for (size_t i = 0; i < m->n_servers; i++)
		is_dead[i] = tier_for(m, zone, i) == 0;
	check_failure(m, zone, is_dead, 0, &one, when);
}

static size_t n_local(const struct model *m, const char *zone)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_servers; i++)
		n += tier_for(m, zone, i) == 0;
	return n;
}

static size_t n_hosts_in(const struct model *m, const char *zone)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_hosts; i++)
		n += m->hosts[i].group == zone;
	return n;
}

/* Balanced 5: the size from which two failures leave the survivors within 1. */
static bool is_large(const struct model *m, const char *zone)
{
	size_t n = n_local(m, zone);

	return n_hosts_in(m, zone) >= n * (n - 1) * (n - 1);
}

static void check_all(const struct model *m, bool is_settled, const char *when)
{
	for (size_t z = 0; z < N_ZONES; z++) {
		struct bounds bounds = {.of = {1, 1, is_settled && is_large(m, zones[z]) ? 1 : 2}};

		if (zones[z] && !zone_has_servers(m, zones[z]))
			continue;
		/* With weights a change of one host moves everybody's share a little, but may alter few lists. */
		if (m->has_weights && !is_settled)
			bounds = (struct bounds){.of = {2, 3, 3}};
		bounds.is_movable_only = m->has_pins || m->has_weights;
		check_zone(m, zones[z], &bounds, when);
		if (!m->has_weights && !m->has_pins)
			check_zone_dead(m, zones[z], when);
	}
}

/* ---- changes, and what they may do ---- */

struct counted {
	size_t n_moved;    /* another first entry */
	size_t n_altered;  /* another list */
	size_t n_unlisted; /* another list, and balanced_changes() does not say so */
};

static bool is_in_changes(const struct model *m, uint64_t id)
{
	struct balanced_changes c = balanced_changes(m->b);

	for (size_t i = 0; i < c.n_hosts; i++) {
		if (c.hosts[i] == id)
			return true;
	}
	return c.is_all;
}

/* Reads all lists anew and compares them; the last host is left out if it has just come. */
static struct counted look(struct model *m, bool is_last_new)
{
	char(*lists)[N_SERVERS_MAX][8] = lists_new(m);
	struct counted c = {0};

	lists_read(m, lists);
	for (size_t i = 0; i < m->n_hosts; i++) {
		struct model_host *h = &m->hosts[i];
		bool is_new = is_last_new && i == m->n_hosts - 1;
		bool is_altered = memcmp(h->list, lists[i], m->n_servers * sizeof(lists[i][0])) != 0;

		if (!is_new) {
			c.n_moved += !str_equal(h->list[0], lists[i][0]);
			c.n_altered += is_altered;
			c.n_unlisted += is_altered && !is_in_changes(m, h->id);
		}
		host_note(m, h, lists[i]);
		check_list(m, h);
	}
	mem_free(lists);
	assert_int_equal(c.n_unlisted, 0);
	return c;
}

static void note_altered(struct model *m, struct counted c)
{
	m->worst_altered = c.n_altered > m->worst_altered ? c.n_altered : m->worst_altered;
	m->n_altered += c.n_altered;
	m->n_host_changes++;
}

static const char *any_zone(struct model *m)
{
	return m->has_zones ? zones[rng_below(&m->rng, N_ZONES)] : NULL;
}

static uint32_t any_weight(struct model *m)
{
	static const uint32_t weights[] = {0, 1, 1, 2, 3, 10, 1000};

	return m->has_weights ? weights[rng_below(&m->rng, ARRAY_SIZE(weights))] : 1;
}

static void do_add(struct model *m)
{
	struct model_host *h = &m->hosts[m->n_hosts];
	struct counted c;

	if (m->n_hosts == N_HOSTS_MAX)
		return;
	*h = (struct model_host){.id = m->next_id++, .zone = any_zone(m)};
	assert_int_equal(balanced_add_host(m->b, h->id, h->zone), ERR_OK);
	m->n_hosts++;
	if (!m->n_servers)
		return;
	c = look(m, true);
	assert_int_equal(c.n_moved, 0); /* Balanced 8 */
	assert_int_equal(balanced_changes(m->b).n_moves, 0);
	note_altered(m, c);
	check_all(m, false, "a host was added");
}

static void do_remove(struct model *m)
{
	size_t i = (size_t)rng_below(&m->rng, m->n_hosts);
	bool nobody_dead[N_SERVERS_MAX] = {false};
	struct model_host gone;
	const char *zone;
	struct outcome o;
	struct counted c;

	if (!m->n_hosts)
		return;
	gone = m->hosts[i];
	zone = gone.group;
	m->hosts[i] = m->hosts[--m->n_hosts];
	o = let_fail(m, zone, nobody_dead, 0);
	assert_int_equal(balanced_remove_host(m->b, gone.id), ERR_OK);
	if (!m->n_servers)
		return;
	c = look(m, false);
	/* Balanced 9: one if it has to be. */
	assert_int_equal(c.n_moved, o.movable > o.weight_all ? 1 : 0);
	assert_int_equal(c.n_moved, balanced_changes(m->b).n_moves);
	note_altered(m, c);
	check_all(m, false, "a host was removed");
}

static void do_set_zone(struct model *m)
{
	struct model_host *h = m->n_hosts ? &m->hosts[rng_below(&m->rng, m->n_hosts)] : NULL;
	struct counted c;

	if (!h || !m->has_zones)
		return;
	h->zone = any_zone(m);
	assert_int_equal(balanced_set_zone(m->b, h->id, h->zone), ERR_OK);
	if (!m->n_servers)
		return;
	/* The host of the change isn't listed, so its list is read before the others are compared. */
	{
		uint16_t list[SERVER_LIST_MAX];
		size_t n = balanced_list(m->b, h->id, list);

		for (size_t k = 0; k < n; k++)
			str_copy(h->list[k], 8, balanced_get_server(m->b, list[k]).name);
	}
	c = look(m, false);
	/* A pinned one takes a design with it. */
	if (!h->is_pinned)
		assert_in_range(c.n_moved, 0, 1);
	check_all(m, false, "a host has another zone");
}

static void do_pin(struct model *m)
{
	struct model_host *h = m->n_hosts ? &m->hosts[rng_below(&m->rng, m->n_hosts)] : NULL;

	if (!h || !m->has_pins || !m->n_servers)
		return;
	h->is_pinned = rng_below(&m->rng, 3) > 0;
	str_copy(h->pin, sizeof(h->pin), m->servers[rng_below(&m->rng, m->n_servers)].name);
	assert_int_equal(balanced_pin_host(m->b, h->id, h->is_pinned ? h->pin : NULL), ERR_OK);
	look(m, false);
	check_all(m, true, "a host was pinned");
}

static void counts_by_first(const struct model *m, size_t *count)
{
	memset(count, 0, N_SERVERS_MAX * sizeof(*count));
	for (size_t i = 0; i < m->n_hosts && m->n_servers; i++)
		count[server_index(m, m->hosts[i].list[0])]++;
}

static void do_join(struct model *m)
{
	struct model_server *s = &m->servers[m->n_servers];
	size_t count[N_SERVERS_MAX];
	struct counted c;

	if (m->n_servers == N_SERVERS_MAX - 1)
		return;
	*s = (struct model_server){.weight = any_weight(m), .zone = any_zone(m)};
	/* Anywhere in the order of names. */
	snprintf(s->name, sizeof(s->name), "%c%u", 'A' + (char)rng_below(&m->rng, 26), m->next_name++);
	assert_int_equal(balanced_add_server(m->b, s->name, s->weight, s->zone), ERR_OK);
	m->n_servers++;
	c = look(m, false);
	check_all(m, true, "a server joined");
	if (m->n_servers == 1 || m->has_weights || m->has_zones || m->has_pins)
		return;
	/* Balanced 11: the fewest, and all of them to the new one. */
	counts_by_first(m, count);
	assert_int_equal(c.n_moved, m->n_hosts / m->n_servers);
	assert_int_equal(c.n_moved, count[m->n_servers - 1]);
	assert_int_equal(c.n_moved, balanced_changes(m->b).n_moves);
}

static void do_leave(struct model *m)
{
	size_t i = (size_t)rng_below(&m->rng, m->n_servers), n_its = 0;
	bool is_plain = !m->has_weights && !m->has_zones && !m->has_pins;
	char(*before)[N_SERVERS_MAX][8];
	struct model_server gone;

	if (m->n_servers < 2)
		return;
	gone = m->servers[i];
	before = lists_new(m);
	for (size_t k = 0; k < m->n_hosts; k++) {
		memcpy(before[k], m->hosts[k].list, sizeof(before[k]));
		if (str_equal(m->hosts[k].pin, gone.name))
			m->hosts[k].is_pinned = false;
	}
	assert_int_equal(balanced_remove_server(m->b, gone.name), ERR_OK);
	m->servers[i] = m->servers[--m->n_servers];
	look(m, false);
	for (size_t k = 0; k < m->n_hosts && is_plain; k++) {
		bool is_its = str_equal(before[k][0], gone.name);

		/* Balanced 11: only its own, and they go where they are already if it has failed. */
		assert_string_equal(m->hosts[k].list[0], before[k][is_its ? 1 : 0]);
		n_its += is_its;
	}
	if (is_plain)
		assert_int_equal(n_its, balanced_changes(m->b).n_moves);
	mem_free(before);
	check_all(m, true, "a server left");
}

static void do_set_server(struct model *m)
{
	struct model_server *s = m->n_servers ? &m->servers[rng_below(&m->rng, m->n_servers)] : NULL;
	size_t before[N_SERVERS_MAX], after[N_SERVERS_MAX], fewest = 0;
	struct counted c;

	if (!s || (!m->has_weights && !m->has_zones))
		return;
	counts_by_first(m, before);
	s->weight = any_weight(m);
	s->zone = any_zone(m);
	assert_int_equal(balanced_set_server(m->b, s->name, s->weight, s->zone), ERR_OK);
	c = look(m, false);
	check_all(m, true, "a server has another weight or zone");
	if (m->has_zones || m->has_pins)
		return;
	/* Nobody moves who needn't for these numbers. */
	counts_by_first(m, after);
	for (size_t i = 0; i < m->n_servers; i++)
		fewest += before[i] > after[i] ? before[i] - after[i] : 0;
	assert_int_equal(c.n_moved, fewest);
}

static void do_settle(struct model *m)
{
	size_t n_altered = 0, n;

	while ((n = balanced_settle(m->b, 1 + (size_t)rng_below(&m->rng, 50))) > 0)
		n_altered += n;
	if (!m->n_servers)
		return;
	if (n_altered) {
		/* Only the last step's changes are listed, so lists are read without comparing. */
		char(*lists)[N_SERVERS_MAX][8] = lists_new(m);

		lists_read(m, lists);
		for (size_t i = 0; i < m->n_hosts; i++) {
			assert_string_equal(m->hosts[i].list[0], lists[i][0]);
			host_note(m, &m->hosts[i], lists[i]);
		}
		mem_free(lists);
	}
	look(m, false);
	if (!m->has_weights)
		check_all(m, true, "settled");
}

static void do_redesign(struct model *m)
{
	assert_int_equal(balanced_redesign(m->b), ERR_OK);
	if (!m->n_servers)
		return;
	look(m, false);
	check_all(m, true, "designed anew");
	if (m->has_weights || m->has_pins)
		return;
	assert_int_equal(balanced_redesign(m->b), ERR_OK);
	/* Twice is once. */
	assert_int_equal(look(m, false).n_altered, 0);
}

/* ---- histories ---- */

static size_t stored(const struct balanced *b, struct balanced_host *hosts, struct balanced_server *servers)
{
	size_t cursor = 0, n = 0;

	for (size_t i = 0; i < balanced_n_servers(b); i++)
		servers[i] = balanced_get_server(b, i);
	while (balanced_next_host(b, &cursor, &hosts[n]))
		n++;
	return n;
}

static void check_same_lists(const struct model *m, const struct balanced *other)
{
	for (size_t i = 0; i < m->n_hosts; i++) {
		uint16_t one[SERVER_LIST_MAX], two[SERVER_LIST_MAX];
		size_t n = balanced_list(m->b, m->hosts[i].id, one);

		assert_int_equal(n, balanced_list(other, m->hosts[i].id, two));
		assert_memory_equal(one, two, n * sizeof(one[0]));
	}
}

/* What is stored, loaded by another server, in another order. */
static struct balanced *load_elsewhere(struct model *m)
{
	struct balanced_host *hosts = mem_zalloc_array(m->n_hosts + 1, sizeof(*hosts));
	struct balanced_server servers[N_SERVERS_MAX];
	struct balanced *other;
	size_t n;

	check_there(hosts);
	n = stored(m->b, hosts, servers);
	assert_int_equal(n, m->n_hosts);
	for (size_t i = n; i > 1; i--) {
		size_t k = (size_t)rng_below(&m->rng, i);
		struct balanced_host swap = hosts[k];

		hosts[k] = hosts[i - 1];
		hosts[i - 1] = swap;
	}
	assert_int_equal(balanced_load(&other, balanced_version(m->b), servers, m->n_servers, hosts, n, NULL), ERR_OK);
	mem_free(hosts);
	check_same_lists(m, other);
	return other;
}

/* The other one makes of the next change exactly what this one makes of it. */
static void go_on_elsewhere(struct model *m)
{
	struct balanced *other = load_elsewhere(m), *copy;

	for (int i = 0; i < 3 && m->n_hosts; i++) {
		struct model_host gone = m->hosts[rng_below(&m->rng, m->n_hosts)];
		size_t at = 0;

		assert_int_equal(balanced_remove_host(other, gone.id), ERR_OK);
		assert_int_equal(balanced_remove_host(m->b, gone.id), ERR_OK);
		while (m->hosts[at].id != gone.id)
			at++;
		m->hosts[at] = m->hosts[--m->n_hosts];
		if (m->n_servers)
			look(m, false);
		check_same_lists(m, other);
		assert_int_equal(balanced_version(m->b), balanced_version(other));
	}
	assert_int_equal(balanced_copy(&copy, m->b), ERR_OK);
	check_same_lists(m, copy);
	/* Here or there, it is the same one. */
	balanced_free(copy);
	balanced_free(m->b);
	m->b = other;
}

static void one_step(struct model *m, uint64_t grow)
{
	uint64_t what = rng_below(&m->rng, 100);

	if (what < grow)
		do_add(m);
	else if (what < 76)
		do_remove(m);
	else if (what < 81)
		do_set_zone(m);
	else if (what < 84)
		do_pin(m);
	else if (what < 87)
		do_join(m);
	else if (what < 90)
		do_leave(m);
	else if (what < 93)
		do_set_server(m);
	else if (what < 95)
		do_settle(m);
	else if (what < 96)
		do_redesign(m);
	else
		go_on_elsewhere(m);
}

static void model_start(struct model *m, size_t n_servers, size_t n_hosts)
{
	struct balanced_server servers[N_SERVERS_MAX];
	struct balanced_host *hosts = mem_zalloc_array(n_hosts + 1, sizeof(*hosts));

	check_there(hosts);
	m->next_id = 1;
	for (m->n_servers = 0; m->n_servers < n_servers; m->n_servers++) {
		struct model_server *s = &m->servers[m->n_servers];

		*s = (struct model_server){.weight = any_weight(m), .zone = any_zone(m)};
		snprintf(s->name, sizeof(s->name), "M%u", m->next_name++);
		servers[m->n_servers] = (struct balanced_server){s->name, s->weight, s->zone};
	}
	for (m->n_hosts = 0; m->n_hosts < n_hosts; m->n_hosts++) {
		struct model_host *h = &m->hosts[m->n_hosts];

		*h = (struct model_host){.id = m->next_id, .zone = any_zone(m)};
		/* Ids with gaps, and not small ones only. */
		m->next_id += 1 + rng_below(&m->rng, 100000);
		hosts[m->n_hosts] = (struct balanced_host){
			.id = h->id,
			.zone = h->zone,
			.entries = {BALANCED_NONE, BALANCED_NONE, BALANCED_NONE, BALANCED_NONE},
			.pin = BALANCED_NONE,
		};
	}
	assert_int_equal(balanced_design(&m->b, servers, n_servers, hosts, n_hosts, NULL), ERR_OK);
	mem_free(hosts);
	if (m->n_servers) {
		look(m, false);
		check_all(m, true, "designed");
	}
}

static void model_end(struct model *m)
{
	m->b = balanced_free(m->b);
}

static unsigned how_long(void)
{
	const char *given = getenv("MUSTER_LONG");

	return given ? (unsigned)strtoul(given, NULL, 10) : 1;
}

struct kind {
	const char *what;
	bool has_weights, has_zones, has_pins;
	unsigned n_histories;
	unsigned n_steps;
	size_t n_hosts_max;
};

static void histories(const struct kind *k)
{
	struct model m = {.hosts = mem_zalloc_array(N_HOSTS_MAX, sizeof(*m.hosts))};
	struct rng seeds = test_rng(k->what);
	unsigned n = k->n_histories * how_long();

	check_there(m.hosts);
	for (unsigned i = 0; i < n; i++) {
		size_t n_servers, n_hosts;
		uint64_t grow;

		rng_init(&m.rng, rng_u64(&seeds));
		m.has_weights = k->has_weights;
		m.has_zones = k->has_zones;
		m.has_pins = k->has_pins;
		m.next_name = 1;
		n_servers = 1 + (size_t)rng_below(&m.rng, 16);
		n_hosts = (size_t)rng_below(&m.rng, rng_below(&m.rng, 2) ? k->n_hosts_max + 1 : 40);
		grow = 30 + rng_below(&m.rng, 16);
		model_start(&m, n_servers, n_hosts);
		for (unsigned step = 0; step < k->n_steps; step++)
			one_step(&m, grow);
		model_end(&m);
	}
	print_message("%s: a host's change altered %llu lists in the mean, %llu at most\n", k->what,
		      (unsigned long long)(m.n_altered / (m.n_host_changes + 1)), (unsigned long long)m.worst_altered);
	mem_free(m.hosts);
}

static void plain_histories_stay_even(void **state)
{
	histories(&(struct kind){.what = "plain", .n_histories = 35, .n_steps = 40, .n_hosts_max = 400});
}

static void histories_of_large_fleets_stay_even(void **state)
{
	histories(&(struct kind){.what = "large", .n_histories = 2, .n_steps = 8, .n_hosts_max = 5000});
}

static void histories_with_zones_stay_even(void **state)
{
	histories(&(struct kind){
		.what = "zones", .has_zones = true, .n_histories = 20, .n_steps = 40, .n_hosts_max = 300});
}

static void histories_with_weights_stay_near_their_shares(void **state)
{
	histories(&(struct kind){
		.what = "weights", .has_weights = true, .n_histories = 20, .n_steps = 40, .n_hosts_max = 300});
}

static void histories_with_everything_stay_as_even_as_pins_let_them(void **state)
{
	histories(&(struct kind){.what = "everything",
				 .has_weights = true,
				 .has_zones = true,
				 .has_pins = true,
				 .n_histories = 20,
				 .n_steps = 40,
				 .n_hosts_max = 200});
}

/* ---- rows ---- */

#define NO_ENTRIES                                                                                                     \
	{                                                                                                              \
		BALANCED_NONE, BALANCED_NONE, BALANCED_NONE, BALANCED_NONE                                             \
	}

static const struct balanced_server three[] = {{"M1", 1, NULL}, {"M2", 1, NULL}, {"M3", 1, NULL}};

static void the_example_is_even_after_any_failure(void **state)
{
	static const struct {
		const char *what;
		bool failed[SERVER_LIST_MAX];
		uint64_t load[3];
	} rows[] = {
		{"nobody fails", {0}, {2, 1, 1}},
		{"M1 fails", {true}, {0, 2, 2}},
		{"M2 fails", {false, true}, {2, 0, 2}},
		{"M3 fails", {false, false, true}, {2, 2, 0}},
		{"only M3 is left", {true, true}, {0, 0, 4}},
		{"nobody is left", {true, true, true}, {0, 0, 0}},
	};
	struct balanced_host hosts[4] = {{0}};
	struct balanced *b;
	uint64_t load[SERVER_LIST_MAX];

	for (size_t i = 0; i < 4; i++)
		hosts[i] = (struct balanced_host){.id = i + 1, .entries = NO_ENTRIES, .pin = BALANCED_NONE};
	assert_int_equal(balanced_design(&b, three, 3, hosts, 4, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		balanced_count(b, rows[i].failed, load);
		for (size_t k = 0; k < 3; k++)
			check_row(&rows[i], load[k] == rows[i].load[k]);
	}
	balanced_free(b);
}

static void what_makes_no_sense_is_refused(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct balanced_server servers[3];
		size_t n_servers;
		struct balanced_host hosts[2];
		size_t n_hosts;
		enum err designed, loaded;
	} rows[] = {
		{ "nothing at all", {{ 0 }}, 0, {{ 0 }}, 0, ERR_OK, ERR_OK },
		{ "hosts and no server", {{ 0 }}, 0, {{ 1, NULL, NO_ENTRIES, BALANCED_NONE }}, 1, ERR_OK, ERR_OK },
		{ "a server without a name", {{ "", 1, NULL }}, 1, {{ 0 }}, 0, ERR_INVALID, ERR_INVALID },
		{ "a server named twice", {{ "M1", 1, NULL }, { "M2", 1, NULL }, { "M1", 1, NULL }}, 3, {{ 0 }}, 0, ERR_DUPLICATE, ERR_DUPLICATE },
		{ "the heaviest weight", {{ "M1", 1000, NULL }}, 1, {{ 0 }}, 0, ERR_OK, ERR_OK },
		{ "a weight too heavy", {{ "M1", 1001, NULL }}, 1, {{ 0 }}, 0, ERR_INVALID, ERR_INVALID },
		{ "a host twice", {{ "M1", 1, NULL }}, 1, {{ 7, NULL, { 0, BALANCED_NONE, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }, { 7, NULL, { 0, BALANCED_NONE, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 2, ERR_DUPLICATE, ERR_DUPLICATE },
		{ "a complete row", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 0, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_OK },
		{ "an entry missing", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, BALANCED_NONE, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
		{ "an entry twice", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 1, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
		{ "an entry that is no server", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 2, 0, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
		{ "an entry too many", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 0, BALANCED_NONE, 0 }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
		{ "a pin that holds", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 0, BALANCED_NONE, BALANCED_NONE }, 1 }}, 1, ERR_OK, ERR_OK },
		{ "a pin that doesn't", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 0, BALANCED_NONE, BALANCED_NONE }, 0 }}, 1, ERR_OK, ERR_DAMAGED },
		{ "a pin to no server", {{ "M1", 1, NULL }, { "M2", 1, NULL }}, 2, {{ 1, NULL, { 1, 0, BALANCED_NONE, BALANCED_NONE }, 9 }}, 1, ERR_OK, ERR_DAMAGED },
		{ "a last resort as second", {{ "M1", 1, NULL }, { "M2", 0, NULL }}, 2, {{ 1, NULL, { 0, 1, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
		{ "a stranger before the zone's own", {{ "M1", 1, "za" }, { "M2", 1, "zb" }}, 2, {{ 1, "za", { 1, 0, BALANCED_NONE, BALANCED_NONE }, BALANCED_NONE }}, 1, ERR_OK, ERR_DAMAGED },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct balanced *b = NULL;
		struct why why = WHY_NONE;
		enum err e =
			balanced_design(&b, rows[i].servers, rows[i].n_servers, rows[i].hosts, rows[i].n_hosts, &why);

		check_row(&rows[i], e == rows[i].designed);
		check_row(&rows[i], (b != NULL) == !e && (why.text[0] != 0) == (e != ERR_OK));
		b = balanced_free(b);
		e = balanced_load(&b, 7, rows[i].servers, rows[i].n_servers, rows[i].hosts, rows[i].n_hosts, &why);
		check_row(&rows[i], e == rows[i].loaded);
		check_row(&rows[i], !b || balanced_version(b) == 7);
		balanced_free(b);
	}
}

static void changes_of_what_is_not_there_are_refused(void **state)
{
	struct balanced *b;
	uint64_t version;
	uint16_t list[SERVER_LIST_MAX];
	static struct balanced_server many[SERVER_LIST_MAX];
	static char names[SERVER_LIST_MAX][16];

	assert_int_equal(balanced_design(&b, three, 3, NULL, 0, NULL), ERR_OK);
	assert_int_equal(balanced_add_host(b, 1, NULL), ERR_OK);
	version = balanced_version(b);
	assert_int_equal(balanced_add_host(b, 1, NULL), ERR_EXISTS);
	assert_int_equal(balanced_remove_host(b, 2), ERR_NOT_FOUND);
	assert_int_equal(balanced_set_zone(b, 2, "za"), ERR_NOT_FOUND);
	assert_int_equal(balanced_pin_host(b, 2, "M1"), ERR_NOT_FOUND);
	assert_int_equal(balanced_pin_host(b, 1, "M4"), ERR_NOT_FOUND);
	assert_int_equal(balanced_add_server(b, "M1", 1, NULL), ERR_EXISTS);
	assert_int_equal(balanced_add_server(b, " ", 1, NULL), ERR_INVALID);
	assert_int_equal(balanced_add_server(b, "M4", 1001, NULL), ERR_INVALID);
	assert_int_equal(balanced_set_server(b, "M1", 1001, NULL), ERR_INVALID);
	assert_int_equal(balanced_set_server(b, "M4", 1, NULL), ERR_NOT_FOUND);
	assert_int_equal(balanced_remove_server(b, "M4"), ERR_NOT_FOUND);
	assert_int_equal(balanced_version(b), version);
	assert_int_equal(balanced_list(b, 2, list), 0);
	assert_int_equal(balanced_list(b, 1, list), 3);
	balanced_free(b);

	for (unsigned i = 0; i + 1 < SERVER_LIST_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "N%u", i);
		many[i] = (struct balanced_server){names[i], 1, NULL};
	}
	assert_int_equal(balanced_design(&b, many, SERVER_LIST_MAX - 1, NULL, 0, NULL), ERR_OK);
	assert_int_equal(balanced_add_host(b, 1, NULL), ERR_OK);
	assert_int_equal(balanced_add_server(b, "M1", 1, NULL), ERR_OK);
	assert_int_equal(balanced_add_server(b, "M4", 1, NULL), ERR_FULL);
	assert_int_equal(balanced_list(b, 1, list), SERVER_LIST_MAX);
	balanced_free(b);
}

/* What can't be an entry of a list is passed over, in whatever way it came about. */
static void lists_are_made_of_any_entries(void **state)
{
	static const struct {
		const char *what;
		uint16_t entries[BALANCED_N_ENTRIES];
		uint16_t begin[2];
	} rows[] = {
		{"as stored", {2, 0, 1, BALANCED_NONE}, {2, 0}},
		{"a server that isn't there", {7, 1, 0, BALANCED_NONE}, {1, 0}},
		{"a server twice", {1, 1, 2, BALANCED_NONE}, {1, 2}},
		{"the first again as third", {1, 2, 1, 9}, {1, 2}},
		{"a hole", {BALANCED_NONE, 0, 2, 0}, {0, 2}},
	};
	struct balanced *table;

	assert_int_equal(balanced_load(&table, 1, three, 3, NULL, 0, NULL), ERR_OK);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct balanced_host h = {.id = 9, .zone = "nowhere", .pin = BALANCED_NONE};
		uint16_t list[SERVER_LIST_MAX];

		memcpy(h.entries, rows[i].entries, sizeof(h.entries));
		check_row(&rows[i], balanced_list_of(table, &h, list) == 3);
		check_row(&rows[i], list[0] == rows[i].begin[0] && list[1] == rows[i].begin[1]);
		check_row(&rows[i], list[0] + list[1] + list[2] == 3);
	}
	balanced_free(table);
}

static void all_servers_are_set_at_once(void **state)
{
	/* clang-format off */
	static const struct {
		const char *what;
		struct balanced_server servers[4];
		size_t n;
		enum err expected;
		bool changed;
		size_t n_moves;
	} rows[] = {
		{"the same in another order", {{"M3", 1, NULL}, {"M1", 1, ""}, {"M2", 1, NULL}}, 3, ERR_OK, false, 0},
		{"one joins", {{"M1", 1, NULL}, {"M2", 1, NULL}, {"M3", 1, NULL}, {"M4", 1, NULL}}, 4, ERR_OK, true, 3},
		{"one leaves", {{"M1", 1, NULL}, {"M2", 1, NULL}}, 2, ERR_OK, true, 4},
		{"one replaces another: its hosts move, nobody else", {{"M1", 1, NULL}, {"M4", 1, NULL}, {"M3", 1, NULL}}, 3, ERR_OK, true, 4},
		{"two change roles", {{"M1", 0, NULL}, {"M2", 1, NULL}, {"M3", 1, NULL}}, 3, ERR_OK, true, 4},
		{"a zone only", {{"M1", 1, "z"}, {"M2", 1, NULL}, {"M3", 1, NULL}}, 3, ERR_OK, true, 0},
		{"named twice", {{"M1", 1, NULL}, {"M1", 1, NULL}}, 2, ERR_DUPLICATE, false, 0},
		{"too heavy", {{"M1", BALANCED_WEIGHT_MAX + 1, NULL}}, 1, ERR_INVALID, false, 0},
		{"without a name", {{" ", 1, NULL}}, 1, ERR_INVALID, false, 0},
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct balanced *b;
		uint64_t version;
		bool changed = true;

		assert_int_equal(balanced_design(&b, three, 3, NULL, 0, NULL), ERR_OK);
		for (uint64_t id = 1; id <= 12; id++)
			assert_int_equal(balanced_add_host(b, id, NULL), ERR_OK);
		version = balanced_version(b);
		check_row(&rows[i],
			  balanced_set_servers(b, rows[i].servers, rows[i].n, &changed, NULL) == rows[i].expected);
		check_row(&rows[i], changed == rows[i].changed);
		check_row(&rows[i], (balanced_version(b) > version) == rows[i].changed);
		if (rows[i].changed)
			check_row(&rows[i], balanced_changes(b).n_moves == rows[i].n_moves);
		balanced_free(b);
	}
}

static uint16_t first_of(const struct balanced *b, uint64_t id)
{
	struct balanced_host h;

	assert_true(balanced_get_host(b, id, &h));
	return h.entries[BALANCED_FIRST];
}

static void weights_are_shares(void **state)
{
	static const struct {
		const char *what;
		uint32_t weights[3];
		uint64_t n_hosts;
		uint64_t load[3];
	} rows[] = {
		{"equal", {1, 1, 1}, 9, {3, 3, 3}},
		{"equal and heavy", {1000, 1000, 1000}, 9, {3, 3, 3}},
		{"half for one", {2, 1, 1}, 8, {4, 2, 2}},
		{"the larger remainder gets the odd one", {5, 3, 1}, 10, {6, 3, 1}}, /* 5.6, 3.3, 1.1 */
		{"a last resort gets none", {1, 0, 1}, 8, {4, 0, 4}},
		{"all last resorts: none is", {0, 0, 0}, 9, {3, 3, 3}},
		{"one for all", {0, 7, 0}, 9, {0, 9, 0}},
	};
	static const bool nobody[SERVER_LIST_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t load[SERVER_LIST_MAX];
		struct balanced *b;

		assert_int_equal(balanced_design(&b, three, 3, NULL, 0, NULL), ERR_OK);
		for (uint64_t id = 1; id <= rows[i].n_hosts; id++)
			assert_int_equal(balanced_add_host(b, id, NULL), ERR_OK);
		for (size_t k = 0; k < 3; k++)
			assert_int_equal(balanced_set_server(b, three[k].name, rows[i].weights[k], NULL), ERR_OK);
		balanced_count(b, nobody, load);
		for (size_t k = 0; k < 3; k++)
			check_row(&rows[i], load[k] == rows[i].load[k]);
		balanced_free(b);
	}
}

static void a_pinned_host_stays_through_everything(void **state)
{
	struct balanced *b;

	assert_int_equal(balanced_design(&b, three, 3, NULL, 0, NULL), ERR_OK);
	for (uint64_t id = 1; id <= 30; id++)
		assert_int_equal(balanced_add_host(b, id, NULL), ERR_OK);
	assert_int_equal(balanced_pin_host(b, 5, "M3"), ERR_OK);
	assert_int_equal(balanced_set_server(b, "M3", 0, NULL), ERR_OK);
	assert_int_equal(first_of(b, 5), balanced_find_server(b, "M3"));
	assert_int_equal(balanced_add_server(b, "A", 1, NULL), ERR_OK);
	assert_int_equal(first_of(b, 5), balanced_find_server(b, "M3"));
	for (uint64_t id = 6; id <= 30; id++)
		assert_int_equal(balanced_remove_host(b, id), ERR_OK);
	assert_int_equal(first_of(b, 5), balanced_find_server(b, "M3"));
	assert_int_equal(balanced_set_zone(b, 5, "za"), ERR_OK);
	assert_int_equal(first_of(b, 5), balanced_find_server(b, "M3"));
	/* A pin goes with its server. */
	assert_int_equal(balanced_remove_server(b, "M3"), ERR_OK);
	assert_int_equal(balanced_add_server(b, "M3", 0, NULL), ERR_OK);
	assert_true(first_of(b, 5) != balanced_find_server(b, "M3"));
	balanced_free(b);
}

static void the_order_of_the_input_does_not_matter(void **state)
{
	struct rng rng = test_rng(__func__);
	struct balanced_host hosts[300];
	struct balanced_server servers[7];
	char names[7][8];
	struct balanced *first = NULL;

	for (size_t i = 0; i < 7; i++) {
		snprintf(names[i], sizeof(names[i]), "M%zu", i);
		servers[i] = (struct balanced_server){names[i], 1 + (uint32_t)i % 2, i < 4 ? "za" : "zb"};
	}
	for (size_t i = 0; i < 300; i++)
		hosts[i] = (struct balanced_host){rng_u64(&rng), i % 3 ? "za" : NULL, NO_ENTRIES, BALANCED_NONE};
	for (int round = 0; round < 5; round++) {
		struct balanced *b;

		assert_int_equal(balanced_design(&b, servers, 7, hosts, 300, NULL), ERR_OK);
		for (size_t i = 0; i < 300 && first; i++) {
			uint16_t one[SERVER_LIST_MAX], two[SERVER_LIST_MAX];

			assert_int_equal(balanced_list(first, hosts[i].id, one), 7);
			assert_int_equal(balanced_list(b, hosts[i].id, two), 7);
			assert_memory_equal(one, two, 7 * sizeof(one[0]));
		}
		if (!first) {
			first = b;
			b = NULL;
		}
		balanced_free(b);
		for (size_t i = 300; i > 1; i--) {
			size_t k = (size_t)rng_below(&rng, i);
			struct balanced_host swap = hosts[k];

			hosts[k] = hosts[i - 1];
			hosts[i - 1] = swap;
		}
		for (size_t i = 7; i > 1; i--) {
			size_t k = (size_t)rng_below(&rng, i);
			struct balanced_server swap = servers[k];

			servers[k] = servers[i - 1];
			servers[i - 1] = swap;
		}
	}
	balanced_free(first);
}

/* Every small fleet, from nothing: the bounds have no exceptions. */
static void every_small_fleet_is_even(void **state)
{
	struct model m = {.hosts = mem_zalloc_array(N_HOSTS_MAX, sizeof(*m.hosts))};

	check_there(m.hosts);
	rng_init(&m.rng, 1);
	for (size_t n_servers = 1; n_servers <= 8; n_servers++) {
		for (size_t n_hosts = 0; n_hosts <= 70; n_hosts++) {
			m.next_name = 1;
			model_start(&m, n_servers, n_hosts);
			model_end(&m);
		}
	}
	mem_free(m.hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_is_even_after_any_failure),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(changes_of_what_is_not_there_are_refused),
		cmocka_unit_test(lists_are_made_of_any_entries),
		cmocka_unit_test(all_servers_are_set_at_once),
		cmocka_unit_test(weights_are_shares),
		cmocka_unit_test(a_pinned_host_stays_through_everything),
		cmocka_unit_test(the_order_of_the_input_does_not_matter),
		cmocka_unit_test(every_small_fleet_is_even),
		cmocka_unit_test(plain_histories_stay_even),
		cmocka_unit_test(histories_of_large_fleets_stay_even),
		cmocka_unit_test(histories_with_zones_stay_even),
		cmocka_unit_test(histories_with_weights_stay_near_their_shares),
		cmocka_unit_test(histories_with_everything_stay_as_even_as_pins_let_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
