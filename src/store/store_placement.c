/*
 * What operators say about the entries of lists and about single hosts, and what of the placement can be read.
 */
#include <inttypes.h>

#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define SERVER_FIELDS(A, F) \
	A(ID, id) F(TEXT, entry) F(NUMBER, weight) F(TEXT, zone) F(BOOL, resting) F(BOOL, in_use)
#define PLACE_FIELDS(A, F) \
	A(NUMBER, host_id) F(NUMBER, placed_first) F(NUMBER, placed_second) F(NUMBER, placed_third) \
	F(NUMBER, placed_away)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(list_server_row, kind, member),
static const struct sql_field server_fields[] = {SERVER_FIELDS(FIELD, FIELD)};
#undef FIELD
#define FIELD(kind, member) SQL_FIELD(host_place, kind, member),
static const struct sql_field place_fields[] = {PLACE_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape server_shape = SQL_SHAPE(list_server_row, server_fields);
static const struct sql_shape place_shape = SQL_SHAPE(host_place, place_fields);

void list_server_row_deinit(struct list_server_row *r)
{
	sql_row_deinit(&server_shape, r);
}

/* ---- reading ---- */

enum err store_placement_version(struct store_tx *tx, int64_t *version)
{
	return sql_read(tx, version, 0, "SELECT value FROM counter WHERE name = 'placement.version'");
}

enum err store_list_server_list(struct store_tx *tx, struct list_server_row **rows, size_t *n, int64_t *version)
{
	enum err e = store_placement_version(tx, version);

	return e ? e
		 : sql_all(tx, &server_shape, rows, n,
			   "SELECT " SQL_COLUMNS(SERVER_FIELDS) " FROM list_server ORDER BY id");
}

enum err store_placement_get(struct store_tx *tx, int64_t host_id, struct host_place *out)
{
	enum err e =
		sql_one(tx, &place_shape, out,
			"SELECT " SQL_COLUMNS(PLACE_FIELDS) " FROM placement_host WHERE host_id = ?", SQL_N(host_id));

	if (e != ERR_NOT_FOUND)
		return e;
	*out = (struct host_place){.host_id = host_id};
	return ERR_OK;
}

enum err store_placement_list(struct store_tx *tx, struct host_place **rows, size_t *n)
{
	return sql_all(tx, &place_shape, rows, n,
		       "SELECT " SQL_COLUMNS(PLACE_FIELDS) " FROM placement_host ORDER BY host_id");
}

/* ---- what operators say ---- */

static enum err check_zone(struct store_tx *tx, const char *zone)
{
	int64_t there;
	enum err e;

	if (str_is_blank(zone))
		return ERR_OK;
	e = sql_read(tx, &there, 0, "SELECT id FROM data_center WHERE name = ?", SQL_T(zone));
	return e || there ? e : tx_say(tx, ERR_NOT_FOUND, "there is no zone %s", zone);
}

enum err store_list_server_set(struct store_tx *tx, const char *entry, int64_t weight, const char *zone, size_t *moves)
{
	const char *word = str_is_blank(zone) ? NULL : zone;
	enum err e;

	*moves = 0;
	if (weight < -1 || weight > BALANCED_WEIGHT_MAX)
		return tx_say(tx, ERR_INVALID, "a weight is a number from 0 to %d", BALANCED_WEIGHT_MAX);
	e = check_zone(tx, zone);
	/* First as it is, so that what is stored fits what the copy is made from. */
	if (!e)
		e = placement_refresh(tx, moves);
	if (!e)
		e = sql_run(tx,
			    "INSERT INTO list_server (entry, weight, zone, resting, in_use) VALUES (?, 1, NULL, 0, 0)"
			    " ON CONFLICT DO NOTHING",
			    SQL_T(entry));
	if (!e && weight >= 0)
		e = sql_run(tx, "UPDATE list_server SET weight = ?1 WHERE entry = ?2 AND weight <> ?1", SQL_N(weight),
			    SQL_T(entry));
	if (!e && zone)
		e = sql_run(tx, "UPDATE list_server SET zone = ?1 WHERE entry = ?2 AND zone IS NOT ?1", SQL_T(word),
			    SQL_T(entry));
	if (!e)
		e = change_add(tx, CHANGE_PLACEMENT, 0);
	return e ? e : placement_refresh(tx, moves);
}

static enum err entry_in_use(struct store_tx *tx, const char *entry, int64_t *id)
{
	enum err e = sql_read(tx, id, 0, "SELECT id FROM list_server WHERE entry = ? AND in_use = 1", SQL_T(entry));

	return e || *id ? e : tx_say(tx, ERR_NOT_FOUND, "%s is in no list", entry);
}

enum err store_list_server_rest(struct store_tx *tx, const char *rests, size_t *moves)
{
	int64_t id = 0;
	enum err e = placement_refresh(tx, moves);

	if (!e && rests)
		e = entry_in_use(tx, rests, &id);
	if (!e)
		e = sql_run(tx, "UPDATE list_server SET resting = (id = ?1) WHERE resting <> (id = ?1)", SQL_N(id));
	if (!e)
		e = change_add(tx, CHANGE_PLACEMENT, 0);
	return e ? e : placement_refresh(tx, moves);
}

enum err store_host_pin(struct store_tx *tx, int64_t host_id, const char *entry, size_t *moves)
{
	struct balanced *b = NULL;
	int64_t id = 0, there = 0;
	enum err e = sql_read(tx, &there, 0, "SELECT id FROM host WHERE id = ? AND removed_ms = 0", SQL_N(host_id));

	*moves = 0;
	if (!e && !there)
		return tx_say(tx, ERR_NOT_FOUND, "host %" PRId64 " does not exist", host_id);
	if (!e)
		e = placement_refresh(tx, moves);
	if (!e && entry)
		e = entry_in_use(tx, entry, &id);
	if (!e)
		e = placement_open(tx, &b);
	if (!e)
		e = sql_run(tx, "UPDATE host SET pin = ?1 WHERE id = ?2 AND pin <> ?1", SQL_N(id), SQL_N(host_id));
	if (e || !sql_changes(tx))
		return e;
	e = change_add(tx, CHANGE_HOST, host_id);
	if (e || !b)
		return e;
	tx->has_placed = true;
	e = balanced_pin_host(b, (uint64_t)host_id, entry);
	if (e)
		return tx_say(tx, e, "host %" PRId64 " can't be pinned: %s", host_id, err_text(e));
	*moves = balanced_changes(b).n_moves;
	return placement_write(tx);
}

enum err store_placement_settle(struct store_tx *tx, size_t max_lists, size_t *n)
{
	struct balanced *b;
	enum err e = placement_open(tx, &b);

	*n = 0;
	if (e || !b)
		return e;
	*n = balanced_settle(b, max_lists);
	return *n ? placement_write(tx) : ERR_OK;
}

enum err store_placement_redesign(struct store_tx *tx, size_t *moves)
{
	struct balanced *b;
	enum err e = placement_open(tx, &b);

	*moves = 0;
	if (e || !b)
		return e;
	tx->has_placed = true;
	e = balanced_redesign(b);
	if (e)
		return e;
	*moves = balanced_changes(b).n_moves;
	return placement_write(tx);
}
