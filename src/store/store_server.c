/*
 * Management servers: who is registered, in which run, in which state, and how they see each other.
 */
#include <inttypes.h>

#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define SERVER_FIELDS(A, F)                                                                          \
	A(ID, id) F(NUMBER, msid) F(NUMBER, run_id) F(UUID, uuid) F(TEXT, name) F(TEXT, address)     \
	F(NUMBER, port) F(SERVER_STATE, state) F(TEXT, version) F(NUMBER, last_update_ms)            \
	F(NUMBER, started_ms) F(NUMBER, stopped_ms) F(NUMBER, removed_ms)                              \
	F(TEXT, ca_known) F(TEXT, cert_issuer) F(TEXT, key_id)
#define VIEW_FIELDS(A, F) \
	A(NUMBER, owner) F(NUMBER, peer) F(TEXT, view) F(NUMBER, at_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(server_row, kind, member),
static const struct sql_field server_fields[] = {SERVER_FIELDS(FIELD, FIELD)};
#undef FIELD
#define FIELD(kind, member) SQL_FIELD(peer_view, kind, member),
static const struct sql_field view_fields[] = {VIEW_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape server_shape = SQL_SHAPE(server_row, server_fields);
static const struct sql_shape view_shape = SQL_SHAPE(peer_view, view_fields);

void server_row_deinit(struct server_row *r)
{
	sql_row_deinit(&server_shape, r);
}

void peer_view_deinit(struct peer_view *v)
{
	sql_row_deinit(&view_shape, v);
}

enum err store_server_list(struct store_tx *tx, struct server_row **rows, size_t *n)
{
	return sql_all(tx, &server_shape, rows, n,
		       "SELECT " SQL_COLUMNS(SERVER_FIELDS) " FROM mshost WHERE removed_ms = 0 ORDER BY id");
}

/* Also a removed one. */
static enum err server_get(struct store_tx *tx, int64_t msid, struct server_row *out)
{
	return sql_one(tx, &server_shape, out, "SELECT " SQL_COLUMNS(SERVER_FIELDS) " FROM mshost WHERE msid = ?",
		       SQL_N(msid));
}

static enum err not_found(struct store_tx *tx, int64_t msid)
{
	return tx_say(tx, ERR_NOT_FOUND, "server %" PRId64 " is not registered", msid);
}

static enum err views_forget(struct store_tx *tx, int64_t msid)
{
	return sql_run(tx, "DELETE FROM mshost_peer WHERE owner = ?1 OR peer = ?1", SQL_N(msid));
}

enum err store_server_ca(struct store_tx *tx, int64_t msid, const char *ca_known, const char *cert_issuer)
{
	struct server_row row;
	enum err e = server_get(tx, msid, &row);

	if (e)
		return e == ERR_NOT_FOUND ? not_found(tx, msid) : e;
	server_row_deinit(&row);
	e = sql_run(tx,
		    "UPDATE mshost SET ca_known = ?1, cert_issuer = ?2"
		    " WHERE msid = ?3 AND (ca_known IS NOT ?1 OR cert_issuer IS NOT ?2)",
		    SQL_T(ca_known), SQL_T(cert_issuer), SQL_N(msid));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_SERVER, msid);
}

enum err store_server_key(struct store_tx *tx, int64_t msid, const char *key_id)
{
	struct server_row row;
	enum err e = server_get(tx, msid, &row);

	if (e)
		return e == ERR_NOT_FOUND ? not_found(tx, msid) : e;
	server_row_deinit(&row);
	e = sql_run(tx, "UPDATE mshost SET key_id = ?1 WHERE msid = ?2 AND key_id IS NOT ?1", SQL_T(key_id),
		    SQL_N(msid));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_SERVER, msid);
}

/* ---- registering ---- */

static enum err server_insert(struct store_tx *tx, struct server_row *row)
{
	enum err e;

	(void)server_state_move(SERVER_DOWN, SERVER_EVENT_START, &row->state);
	row->id = 0;
	row->removed_ms = 0;
	e = sql_insert(tx, SQL_INSERT("mshost", SERVER_FIELDS), &server_shape, row);
	if (e)
		return e == ERR_EXISTS ? tx_say(tx, e, "the uuid %s is taken", row->uuid) : e;
	row->id = sql_last_id(tx);
	return ERR_OK;
}

/* The row keeps its place in the order and its uuid. A removed server comes back as if it were new, but there. */
static enum err server_take_over(struct store_tx *tx, struct server_row *row, const struct server_row *old)
{
	enum server_state before = old->removed_ms ? SERVER_DOWN : old->state;

	if (!server_state_move(before, SERVER_EVENT_START, &row->state))
		return tx_say(tx, ERR_STATE, "server %" PRId64 " is %s, where it can't start", row->msid,
			      server_state_name(before));
	row->id = old->id;
	row->stopped_ms = old->stopped_ms;
	row->removed_ms = 0;
	str_copy(row->uuid, sizeof(row->uuid), old->uuid);
	return sql_run(tx,
		       "UPDATE mshost SET run_id = ?, name = ?, address = ?, port = ?, state = ?, version = ?,"
		       " last_update_ms = ?, started_ms = ?, key_id = ?, removed_ms = 0 WHERE msid = ?",
		       SQL_N(row->run_id), SQL_T(row->name), SQL_T(row->address), SQL_N(row->port),
		       SQL_T(server_state_name(row->state)), SQL_T(row->version), SQL_N(row->last_update_ms),
		       SQL_N(row->started_ms), SQL_T(row->key_id), SQL_N(row->msid));
}

enum err store_server_register(struct store_tx *tx, struct server_row *row)
{
	struct server_row next = *row; /* texts borrowed */
	struct server_row old;
	size_t moves;
	enum err e;

	if (row->msid <= 0)
		return tx_say(tx, ERR_INVALID, "a server needs a msid above 0");
	next.last_update_ms = tx->wall_ms;
	if (!next.started_ms)
		next.started_ms = tx->wall_ms;
	e = server_get(tx, row->msid, &old);
	if (e == ERR_NOT_FOUND) {
		e = server_insert(tx, &next);
	} else if (!e) {
		e = server_take_over(tx, &next, &old);
		server_row_deinit(&old);
	}
	if (!e)
		e = views_forget(tx, row->msid);
	if (!e)
		e = change_add(tx, CHANGE_SERVER, row->msid);
	if (!e)
		e = placement_refresh(tx, &moves);
	if (!e)
		*row = next;
	return e;
}

/* ---- living ---- */

/* A server that was taken for dead, or removed, and lives comes back; only then others have to hear. */
static enum err come_back(struct store_tx *tx, const struct server_row *row)
{
	enum server_state to = row->state;
	size_t moves;
	enum err e;

	(void)server_state_move(row->state, SERVER_EVENT_HEARTBEAT, &to);
	if (to == row->state && !row->removed_ms)
		return ERR_OK;
	e = sql_run(tx, "UPDATE mshost SET state = ?, removed_ms = 0 WHERE msid = ?", SQL_T(server_state_name(to)),
		    SQL_N(row->msid));
	if (!e)
		e = change_add(tx, CHANGE_SERVER, row->msid);
	return e || !row->removed_ms ? e : placement_refresh(tx, &moves);
}

enum err store_server_heartbeat(struct store_tx *tx, int64_t msid, int64_t run_id)
{
	struct server_row row;
	enum err e = server_get(tx, msid, &row);

	if (e == ERR_NOT_FOUND)
		return tx_say(tx, ERR_CONFLICT, "server %" PRId64 " has no row any more", msid);
	if (e)
		return e;
	if (row.run_id != run_id)
		e = tx_say(tx, ERR_CONFLICT, "run %" PRId64 " of server %" PRId64 " has taken over from run %" PRId64,
			   row.run_id, msid, run_id);
	if (!e)
		e = sql_run(tx, "UPDATE mshost SET last_update_ms = ? WHERE msid = ?", SQL_N(tx->wall_ms), SQL_N(msid));
	if (!e)
		e = come_back(tx, &row);
	server_row_deinit(&row);
	return e;
}

/* ---- changing, leaving ---- */

/* A server that is not removed. */
static enum err state_of(struct store_tx *tx, int64_t msid, enum server_state *state)
{
	struct server_row row;
	enum err e = server_get(tx, msid, &row);

	if (e)
		return e == ERR_NOT_FOUND ? not_found(tx, msid) : e;
	if (row.removed_ms)
		e = not_found(tx, msid);
	*state = row.state;
	server_row_deinit(&row);
	return e;
}

enum err store_server_event(struct store_tx *tx, int64_t msid, enum server_event event, enum server_state *to)
{
	enum server_state from = SERVER_DOWN;
	enum server_state next;
	enum err e = state_of(tx, msid, &from);

	if (e)
		return e;
	if (!server_state_move(from, event, &next))
		return tx_say(tx, ERR_STATE, "server %" PRId64 " is %s, where this is not possible", msid,
			      server_state_name(from));
	if (event == SERVER_EVENT_STOP)
		e = sql_run(tx, "UPDATE mshost SET stopped_ms = ? WHERE msid = ?", SQL_N(tx->wall_ms), SQL_N(msid));
	if (!e && next != from)
		e = sql_run(tx, "UPDATE mshost SET state = ? WHERE msid = ?", SQL_T(server_state_name(next)),
			    SQL_N(msid));
	if (!e && (next != from || event == SERVER_EVENT_STOP))
		e = change_add(tx, CHANGE_SERVER, msid);
	if (!e)
		*to = next;
	return e;
}

enum err store_server_remove(struct store_tx *tx, int64_t msid)
{
	enum server_state state = SERVER_DOWN;
	size_t moves;
	enum err e = state_of(tx, msid, &state);

	if (!e && state == SERVER_UP)
		e = tx_say(tx, ERR_STATE, "server %" PRId64 " is Up and can't be removed", msid);
	if (!e)
		e = sql_run(tx, "UPDATE mshost SET removed_ms = ? WHERE msid = ?", SQL_N(tx->wall_ms ? tx->wall_ms : 1),
			    SQL_N(msid));
	if (!e)
		e = views_forget(tx, msid);
	if (!e)
		e = change_add(tx, CHANGE_SERVER, msid);
	return e ? e : placement_refresh(tx, &moves);
}

/* ---- views ---- */

enum err store_peer_view_set(struct store_tx *tx, int64_t owner, int64_t peer, const char *view)
{
	int64_t is_same = 0;
	enum err e = sql_read(tx, &is_same, 0, "SELECT view = ? FROM mshost_peer WHERE owner = ? AND peer = ?",
			      SQL_T(view), SQL_N(owner), SQL_N(peer));

	if (!e)
		e = sql_run(tx,
			    "INSERT INTO mshost_peer (owner, peer, view, at_ms) VALUES (?, ?, ?, ?)"
			    " ON CONFLICT DO UPDATE SET view = excluded.view, at_ms = excluded.at_ms",
			    SQL_N(owner), SQL_N(peer), SQL_T(view), SQL_N(tx->wall_ms));
	if (e)
		return e == ERR_NOT_FOUND
			       ? tx_say(tx, e, "server %" PRId64 " or %" PRId64 " is not registered", owner, peer)
			       : e;
	return is_same ? ERR_OK : change_add(tx, CHANGE_SERVER, peer);
}

enum err store_peer_view_list(struct store_tx *tx, struct peer_view **rows, size_t *n)
{
	return sql_all(tx, &view_shape, rows, n,
		       "SELECT " SQL_COLUMNS(VIEW_FIELDS) " FROM mshost_peer ORDER BY owner, peer");
}
