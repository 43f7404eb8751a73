/*
 * Zones, pods and clusters: names that agents bring are made when they are missing.
 */
#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define PLACE_FIELDS(A, F) \
	A(ID, id) F(PLACE_KIND, kind) F(NUMBER, parent) F(UUID, uuid) F(TEXT, name)
/* clang-format on */
#define FIELD(kind_, member) SQL_FIELD(place_row, kind_, member),
static const struct sql_field place_fields[] = {PLACE_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape place_shape = SQL_SHAPE(place_row, place_fields);

/* The parent of a zone is 0; the odd comparison of a zone's parent keeps the parameters of all three alike. */
static const struct {
	const char *word;
	const char *by_name;
	const char *by_id;
	const char *parent;
	const char *insert;
} kinds[] = {
	[PLACE_ZONE] = {"zone", "SELECT id FROM data_center WHERE name = ? AND ? = 0",
			"SELECT id FROM data_center WHERE id = ? AND ? = 0", "SELECT ? = 0",
			"INSERT INTO data_center (name, uuid) SELECT ?, ? WHERE ? = 0"},
	[PLACE_POD] = {"pod", "SELECT id FROM host_pod_ref WHERE name = ? AND data_center_id = ?",
		       "SELECT id FROM host_pod_ref WHERE id = ? AND data_center_id = ?",
		       "SELECT 1 FROM data_center WHERE id = ?",
		       "INSERT INTO host_pod_ref (name, uuid, data_center_id) VALUES (?, ?, ?)"},
	[PLACE_CLUSTER] = {"cluster", "SELECT id FROM cluster WHERE name = ? AND pod_id = ?",
			   "SELECT id FROM cluster WHERE id = ? AND pod_id = ?",
			   "SELECT 1 FROM host_pod_ref WHERE id = ?",
			   "INSERT INTO cluster (name, uuid, pod_id) VALUES (?, ?, ?)"},
};

void place_row_deinit(struct place_row *r)
{
	sql_row_deinit(&place_shape, r);
}

enum err store_place_list(struct store_tx *tx, struct place_row **rows, size_t *n)
{
	return sql_all(tx, &place_shape, rows, n,
		       "SELECT id, 0 AS kind, 0 AS parent, uuid, name FROM data_center UNION ALL"
		       " SELECT id, 1, data_center_id, uuid, name FROM host_pod_ref UNION ALL"
		       " SELECT id, 2, pod_id, uuid, name FROM cluster ORDER BY 2, 1");
}

static enum err place_make(struct store_tx *tx, enum place_kind kind, int64_t parent, const char *name,
			   const char *uuid, int64_t *id)
{
	int64_t there = 0;
	enum err e = sql_read(tx, &there, 0, kinds[kind].parent, SQL_N(parent));

	if (!e && !there)
		return tx_say(tx, ERR_NOT_FOUND, "a %s can't be made in %lld, which does not exist", kinds[kind].word,
			      (long long)parent);
	if (!e)
		e = sql_run(tx, kinds[kind].insert, SQL_T(name), SQL_T(uuid), SQL_N(parent));
	if (e)
		return e == ERR_EXISTS ? tx_say(tx, e, "the uuid %s is taken", uuid) : e;
	*id = sql_last_id(tx);
	/* There is no kind of its own: who reads the configuration again reads the places too. */
	return change_add(tx, CHANGE_CONFIG, 0);
}

/* A name goes before an id: an agent that says "2" and was given a place of that name finds it again. */
enum err store_place_find_or_make(struct store_tx *tx, enum place_kind kind, int64_t parent, const char *name_or_id,
				  const char *uuid, int64_t *id)
{
	const char *name = str_is_blank(name_or_id) ? "default" : name_or_id;
	int64_t found = 0;
	int64_t number;
	enum err e = sql_read(tx, &found, 0, kinds[kind].by_name, SQL_T(name), SQL_N(parent));

	if (!e && !found && str_to_i64(name, &number))
		e = sql_read(tx, &found, 0, kinds[kind].by_id, SQL_N(number), SQL_N(parent));
	if (!e && !found)
		e = place_make(tx, kind, parent, name, uuid, &found);
	if (!e)
		*id = found;
	return e;
}
