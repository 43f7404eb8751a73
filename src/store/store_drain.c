/*
 * Drains: what was asked of a server, and its own report of how far it is.
 */
#include <inttypes.h>

#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define DRAIN_FIELDS(A, F)                                                                           \
	A(NUMBER, msid) F(NUMBER, per_s) F(NUMBER, timeout_ms) F(BOOL, forced) F(TEXT, algorithm)    \
	F(TEXT, asked_by) F(NUMBER, asked_ms) F(TEXT, report) F(NUMBER, reported_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(drain_row, kind, member),
static const struct sql_field drain_fields[] = {DRAIN_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape drain_shape = SQL_SHAPE(drain_row, drain_fields);

void drain_row_deinit(struct drain_row *r)
{
	sql_row_deinit(&drain_shape, r);
}

enum err store_drain_ask(struct store_tx *tx, const struct drain_row *row)
{
	struct drain_row next = *row; /* texts borrowed */
	enum err e = sql_run(tx, "DELETE FROM mshost_drain WHERE msid = ?", SQL_N(row->msid));

	next.asked_ms = tx->wall_ms;
	next.report = NULL;
	next.reported_ms = 0;
	if (!e)
		e = sql_insert(tx, SQL_INSERT("mshost_drain", DRAIN_FIELDS), &drain_shape, &next);
	return e == ERR_NOT_FOUND ? tx_say(tx, e, "server %" PRId64 " is not registered", row->msid) : e;
}

enum err store_drain_get(struct store_tx *tx, int64_t msid, struct drain_row *out)
{
	return sql_one(tx, &drain_shape, out, "SELECT " SQL_COLUMNS(DRAIN_FIELDS) " FROM mshost_drain WHERE msid = ?",
		       SQL_N(msid));
}

enum err store_drain_list(struct store_tx *tx, struct drain_row **rows, size_t *n)
{
	return sql_all(tx, &drain_shape, rows, n,
		       "SELECT " SQL_COLUMNS(DRAIN_FIELDS) " FROM mshost_drain ORDER BY msid");
}

enum err store_drain_report(struct store_tx *tx, int64_t msid, const char *report)
{
	enum err e = sql_run(tx, "UPDATE mshost_drain SET report = ?, reported_ms = ? WHERE msid = ?", SQL_T(report),
			     SQL_N(tx->wall_ms), SQL_N(msid));

	if (!e && !sql_changes(tx))
		e = tx_say(tx, ERR_NOT_FOUND, "no drain of server %" PRId64 " was asked for", msid);
	return e;
}
