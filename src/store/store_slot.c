/*
 * Slots of hosts in the store.
 *
 * The rules are core/slots.h. So that a new host's slot is found without reading the zone, every hole has a row in
 * `slot_hole`: each number below the end of a zone is either taken or a hole, the lowest hole is the first of the
 * index, and without holes the end follows the highest slot taken.
 */
#include "core/slots.h"

#include "base/mem.h"
#include "store/sql.h"

static enum err slots_taken(struct store_tx *tx, int64_t zone_id, uint64_t **out, size_t *n);

/* With holes the zone is read: the slot that keeps the servers even may be another hole, or lie behind the end. */
static enum err slot_take_even(struct store_tx *tx, int64_t zone_id, uint64_t *slot)
{
	CLEAN(mem_freep) uint64_t *taken = NULL;
	size_t n = 0;
	enum err e = slots_taken(tx, zone_id, &taken, &n);

	if (e)
		return e;
	*slot = slots_next_even(taken, n, tx->n_servers);
	/* Numbers that are left out on the way become holes. */
	for (uint64_t i = n ? taken[n - 1] + 1 : 0; !e && i < *slot; i++)
		e = sql_run(tx, "INSERT OR IGNORE INTO slot_hole (zone_id, slot) VALUES (?, ?)", SQL_N(zone_id),
			    SQL_N((int64_t)i));
	if (!e)
		e = sql_run(tx, "DELETE FROM slot_hole WHERE zone_id = ? AND slot = ?", SQL_N(zone_id),
			    SQL_N((int64_t)*slot));
	return e;
}

enum err slot_take(struct store_tx *tx, int64_t zone_id, uint64_t *slot)
{
	int64_t hole;
	int64_t last;
	enum err e = sql_read(tx, &hole, -1, "SELECT min(slot) FROM slot_hole WHERE zone_id = ?", SQL_N(zone_id));

	if (e)
		return e;
	if (hole >= 0 && tx->n_servers > 1)
		return slot_take_even(tx, zone_id, slot);
	if (hole >= 0) {
		*slot = (uint64_t)hole;
		return sql_run(tx, "DELETE FROM slot_hole WHERE zone_id = ? AND slot = ?", SQL_N(zone_id), SQL_N(hole));
	}
	e = sql_read(tx, &last, -1, "SELECT max(slot) FROM host WHERE zone_id = ? AND removed_ms = 0", SQL_N(zone_id));
	if (!e)
		*slot = (uint64_t)(last + 1);
	return e;
}

enum err slot_give_back(struct store_tx *tx, int64_t zone_id, uint64_t slot)
{
	return sql_run(tx, "INSERT INTO slot_hole (zone_id, slot) VALUES (?, ?)", SQL_N(zone_id), SQL_N((int64_t)slot));
}

/* All slots taken in a zone, ascending, in a new array. */
static enum err slots_taken(struct store_tx *tx, int64_t zone_id, uint64_t **out, size_t *n)
{
	struct sql q;
	CLEAN(mem_freep) uint64_t *slots = NULL;
	int64_t count;
	size_t i = 0;
	enum err e = sql_read(tx, &count, 0, "SELECT count(*) FROM host WHERE zone_id = ? AND removed_ms = 0",
			      SQL_N(zone_id));

	if (e)
		return e;
	slots = mem_zalloc_array((size_t)count, sizeof(*slots));
	if (!slots)
		return ERR_NOMEM;
	sql_open(&q, tx, "SELECT slot FROM host WHERE zone_id = ? AND removed_ms = 0 ORDER BY slot", SQL_N(zone_id));
	while (i < (size_t)count && sql_next(&q))
		slots[i++] = (uint64_t)sql_number(&q, 0);
	e = sql_close(&q);
	if (e)
		return e;
	*out = STEAL(slots);
	*n = i;
	return ERR_OK;
}

static enum err slot_move(struct store_tx *tx, int64_t zone_id, const struct slot_move *m)
{
	int64_t host_id;
	enum err e = sql_read(tx, &host_id, 0, "SELECT id FROM host WHERE zone_id = ? AND slot = ? AND removed_ms = 0",
			      SQL_N(zone_id), SQL_N((int64_t)m->from));

	if (!e)
		e = sql_run(tx, "UPDATE host SET slot = ? WHERE id = ?", SQL_N((int64_t)m->to), SQL_N(host_id));
	if (!e)
		e = sql_run(tx, "DELETE FROM slot_hole WHERE zone_id = ? AND slot = ?", SQL_N(zone_id),
			    SQL_N((int64_t)m->to));
	if (!e)
		e = slot_give_back(tx, zone_id, m->from);
	return e ? e : change_add(tx, CHANGE_HOST, host_id);
}

enum err slot_repair_zone(struct store_tx *tx, int64_t zone_id, size_t n_servers, size_t *moved)
{
	CLEAN(mem_freep) uint64_t *taken = NULL;
	CLEAN(mem_freep) struct slot_move *moves = NULL;
	int64_t has_hole;
	size_t n = 0;
	enum err e = sql_read(tx, &has_hole, 0, "SELECT 1 FROM slot_hole WHERE zone_id = ? LIMIT 1", SQL_N(zone_id));

	*moved = 0;
	/* Without holes the spread is at most 1 for any number of servers. */
	if (e || !has_hole)
		return e;
	e = slots_taken(tx, zone_id, &taken, &n);
	if (e)
		return e;
	moves = mem_zalloc_array(n, sizeof(*moves));
	if (!moves)
		return ERR_NOMEM;
	*moved = slots_repair(taken, n, n_servers, moves);
	for (size_t i = 0; i < *moved && !e; i++)
		e = slot_move(tx, zone_id, &moves[i]);
	return e;
}

enum err store_slots_repair(struct store_tx *tx, size_t n_servers, size_t *moved)
{
	CLEAN(mem_freep) int64_t *zones = NULL;
	static const struct sql_field id_only[] = {{SQL_NUMBER, 0}};
	const struct sql_shape shape = {.fields = id_only, .n = 1, .size = sizeof(int64_t)};
	size_t n = 0;
	size_t moved_here;
	enum err e = sql_all(tx, &shape, &zones, &n, "SELECT DISTINCT zone_id FROM slot_hole ORDER BY zone_id");

	*moved = 0;
	for (size_t i = 0; i < n && !e; i++) {
		e = slot_repair_zone(tx, zones[i], n_servers, &moved_here);
		*moved += e ? 0 : moved_here;
	}
	return e;
}

/* One zone: in order of id. Two rounds, since no two hosts may have a slot at one time: aside first, then in place. */
static enum err rerank_zone(struct store_tx *tx, int64_t zone_id, size_t *moved)
{
	static const struct sql_field id_and_slot[] = {{SQL_NUMBER, 0}, {SQL_NUMBER, sizeof(int64_t)}};
	const struct sql_shape shape = {.fields = id_and_slot, .n = 2, .size = 2 * sizeof(int64_t)};
	CLEAN(mem_freep) int64_t *hosts = NULL; /* pairs: id, slot */
	size_t n = 0;
	enum err e =
		sql_all(tx, &shape, &hosts, &n,
			"SELECT id, slot FROM host WHERE zone_id = ? AND removed_ms = 0 ORDER BY id", SQL_N(zone_id));

	if (!e)
		e = sql_run(tx, "DELETE FROM slot_hole WHERE zone_id = ?", SQL_N(zone_id));
	if (!e)
		e = sql_run(tx, "UPDATE host SET slot = -1 - slot WHERE zone_id = ? AND removed_ms = 0",
			    SQL_N(zone_id));
	for (size_t i = 0; i < n && !e; i++) {
		e = sql_run(tx, "UPDATE host SET slot = ? WHERE id = ?", SQL_N((int64_t)i), SQL_N(hosts[2 * i]));
		if (e || hosts[2 * i + 1] == (int64_t)i)
			continue;
		e = change_add(tx, CHANGE_HOST, hosts[2 * i]);
		*moved += !e;
	}
	return e;
}

enum err store_slots_rerank(struct store_tx *tx, size_t *moved)
{
	static const struct sql_field id_only[] = {{SQL_NUMBER, 0}};
	const struct sql_shape shape = {.fields = id_only, .n = 1, .size = sizeof(int64_t)};
	CLEAN(mem_freep) int64_t *zones = NULL;
	size_t n = 0;
	enum err e = sql_all(tx, &shape, &zones, &n,
			     "SELECT DISTINCT zone_id FROM host WHERE removed_ms = 0 ORDER BY zone_id");

	*moved = 0;
	for (size_t i = 0; i < n && !e; i++)
		e = rerank_zone(tx, zones[i], moved);
	return e;
}
