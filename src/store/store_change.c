/*
 * The numbered table of changes: what others have to read again.
 *
 * One writer at a time holds the lock, so the order of the numbers is the order of the commits and a reader that asks
 * for everything after the last number it saw misses nothing.
 */
#include "base/mem.h"
#include "store/sql.h"

#define CHANGES_KEPT 100000
#define TRIM_STEP 1024 /* the table is trimmed once in so many rows, so it is that much longer at times */

enum err change_add(struct store_tx *tx, enum change_kind kind, int64_t id)
{
	enum err e;

	/* A call that changes a thing in several steps says so once. */
	if (tx->last_change.kind == kind && tx->last_change.id == id)
		return ERR_OK;
	e = sql_run(tx, "INSERT INTO change (kind, id, \"by\") VALUES (?, ?, ?)", SQL_N((int64_t)kind), SQL_N(id),
		    SQL_N(tx->by));
	if (e)
		return e;
	if (!tx->first_seq)
		tx->first_seq = sql_last_id(tx);
	tx->last_seq = sql_last_id(tx);
	tx->last_change.kind = kind;
	tx->last_change.id = id;
	return ERR_OK;
}

enum err change_trim(struct store_tx *tx)
{
	if (!tx->last_seq || (tx->first_seq - 1) / TRIM_STEP == tx->last_seq / TRIM_STEP)
		return ERR_OK;
	return sql_run(tx, "DELETE FROM change WHERE seq <= ?", SQL_N(tx->last_seq - CHANGES_KEPT));
}

enum err store_changes_since(struct store_tx *tx, int64_t seq, struct change *out, size_t room, size_t *n, bool *gap)
{
	struct sql q;
	size_t count = 0;
	int64_t oldest = 0;
	int64_t newest = 0;
	enum err e = sql_read(tx, &oldest, 0, "SELECT min(seq) FROM change");

	if (!e)
		e = store_change_last(tx, &newest);
	if (e)
		return e;
	*n = 0;
	/* Also when the store is behind what the caller has seen: an older copy was restored. */
	*gap = seq > newest || seq + 1 < oldest;
	if (*gap)
		return ERR_OK;
	sql_open(&q, tx, "SELECT seq, kind, id, \"by\" FROM change WHERE seq > ? ORDER BY seq LIMIT ?", SQL_N(seq),
		 SQL_N((int64_t)room));
	while (count < room && sql_next(&q)) {
		out[count++] = (struct change){
			.seq = sql_number(&q, 0),
			.kind = (enum change_kind)sql_number(&q, 1),
			.id = sql_number(&q, 2),
			.by = sql_number(&q, 3),
		};
	}
	*n = count;
	return sql_close(&q);
}

enum err store_change_last(struct store_tx *tx, int64_t *seq)
{
	return sql_read(tx, seq, 0, "SELECT max(seq) FROM change");
}
