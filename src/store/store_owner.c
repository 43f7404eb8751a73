/*
 * Who owns a host, and the status of its connection.
 *
 * An owner is one server; `epoch` counts the changes of owner, losing it included. An owner that acts with an epoch
 * that is not the current one has lost the host without knowing: it gets ERR_CONFLICT and has to claim again.
 *
 * Epochs alone would let a stalled server's late claim win over a newer link. A muster agent numbers its links, and
 * boot and number of the newest link that was ever claimed stay in the row, also while nobody owns the host: an older
 * link of the same boot can't claim it any more. An older boot can't while somebody owns the host: later it may be a
 * machine that was restored from a backup, count and all, and has to get in. Agents that number nothing: their server
 * checks that the link is still open before it commits.
 */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "core/link_order.h"
#include "store/sql.h"

/* What decides, without the rest of the row. */
struct owned {
	int64_t id;
	enum host_status status;
	int64_t owner;
	int64_t last_owner;
	int64_t epoch;
	int64_t link_number;
	int64_t boot_number;
	char *boot;
	int64_t disconnected_ms;
};
/* clang-format off */
#define OWNED_FIELDS(A, F)                                                                         \
	A(NUMBER, id) F(HOST_STATUS, status) F(NUMBER, owner) F(NUMBER, last_owner) F(NUMBER, epoch) \
	F(NUMBER, link_number) F(NUMBER, boot_number) F(TEXT, boot) F(NUMBER, disconnected_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(owned, kind, member),
static const struct sql_field owned_fields[] = {OWNED_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape owned_shape = SQL_SHAPE(owned, owned_fields);

static enum err owned_get(struct store_tx *tx, int64_t id, struct owned *out)
{
	enum err e =
		sql_one(tx, &owned_shape, out,
			"SELECT " SQL_COLUMNS(OWNED_FIELDS) " FROM host WHERE id = ? AND removed_ms = 0", SQL_N(id));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "host %" PRId64 " does not exist or was removed", id) : e;
}

/* The only place where owner, epoch and status change, but for removal. */
static enum err owned_put(struct store_tx *tx, const struct owned *h)
{
	enum err e = sql_run(tx,
			     "UPDATE host SET status = ?, owner = ?, last_owner = ?, epoch = ?, link_number = ?,"
			     " boot_number = ?, boot = ?, disconnected_ms = ? WHERE id = ?",
			     SQL_T(host_status_name(h->status)), SQL_N(h->owner), SQL_N(h->last_owner), SQL_N(h->epoch),
			     SQL_N(h->link_number), SQL_N(h->boot_number), SQL_T(h->boot), SQL_N(h->disconnected_ms),
			     SQL_N(h->id));

	return e ? e : change_add(tx, CHANGE_HOST, h->id);
}

static void set_owner(struct store_tx *tx, struct owned *h, int64_t owner)
{
	if (h->owner && h->owner != owner)
		h->last_owner = h->owner;
	if (h->owner && !owner)
		h->disconnected_ms = tx->wall_ms;
	h->owner = owner;
	h->epoch++;
}

static enum err no_transition(struct store_tx *tx, const struct owned *h, enum host_event event)
{
	return tx_say(tx, ERR_STATE, "host %" PRId64 " is %s, where %s has no meaning", h->id,
		      host_status_name(h->status), host_event_name(event));
}

/* ---- claims ---- */

static bool is_late(const struct host_claim *c, const struct owned *h)
{
	const struct link_stamp claimed = {c->boot, c->boot_number, c->link_number};
	const struct link_stamp known = {h->boot, h->boot_number, h->link_number};

	return link_is_older(&claimed, &known) && (h->owner || str_equal(c->boot, h->boot));
}

static enum err claim(struct store_tx *tx, struct host_claim *c, struct owned *h)
{
	struct owned next = *h; /* the text is borrowed */

	c->previous_owner = h->owner;
	c->epoch = h->epoch;
	c->superseded = is_late(c, h);
	if (c->superseded)
		return ERR_OK;
	if (!host_status_move(h->status, EVENT_AGENT_CONNECTED, &next.status))
		return no_transition(tx, h, EVENT_AGENT_CONNECTED);
	set_owner(tx, &next, c->msid);
	next.boot = (char *)(uintptr_t)c->boot; /* only read */
	next.link_number = c->link_number;
	next.boot_number = c->boot_number;
	c->epoch = next.epoch;
	return owned_put(tx, &next);
}

static enum err ping(struct store_tx *tx, int64_t host_id, int64_t wall_ms)
{
	return sql_run(tx, "UPDATE host_ping SET last_ping_ms = ?1 WHERE host_id = ?2 AND last_ping_ms < ?1",
		       SQL_N(wall_ms), SQL_N(host_id));
}

enum err store_host_claim(struct store_tx *tx, struct host_claim *c)
{
	struct owned h;
	enum err e;

	if (c->msid <= 0)
		return tx_say(tx, ERR_INVALID, "a claim needs a msid above 0");
	e = owned_get(tx, c->host_id, &h);
	if (e)
		return e;
	e = claim(tx, c, &h);
	if (!e && !c->superseded)
		e = ping(tx, c->host_id, tx->wall_ms);
	sql_row_deinit(&owned_shape, &h);
	return e;
}

/* ---- events ---- */

static enum err apply_event(struct store_tx *tx, const struct owned *h, int64_t epoch, enum host_event event,
			    enum host_status *to)
{
	struct owned next = *h; /* the text is borrowed */

	if (epoch && epoch != h->epoch)
		return tx_say(tx, ERR_CONFLICT,
			      "host %" PRId64 " has epoch %" PRId64 ", not %" PRId64 ": its owner changed", h->id,
			      h->epoch, epoch);
	if (event == EVENT_REMOVE || !host_status_move(h->status, event, &next.status))
		return no_transition(tx, h, event);
	*to = next.status;
	if (host_status_clears_owner(next.status) && h->owner)
		set_owner(tx, &next, 0);
	/* A ping of a host that is Up changes nothing that others want to know. */
	if (next.status == h->status && next.owner == h->owner)
		return ERR_OK;
	return owned_put(tx, &next);
}

enum err store_host_event(struct store_tx *tx, int64_t host_id, int64_t epoch, enum host_event event,
			  enum host_status *to)
{
	struct owned h;
	enum err e = owned_get(tx, host_id, &h);

	if (e)
		return e;
	e = apply_event(tx, &h, epoch, event, to);
	sql_row_deinit(&owned_shape, &h);
	if (!e && (event == EVENT_PING || event == EVENT_AGENT_CONNECTED))
		e = ping(tx, host_id, tx->wall_ms);
	return e;
}

enum err store_host_resource_event(struct store_tx *tx, int64_t host_id, enum resource_event event,
				   enum resource_state *to)
{
	struct host_row row;
	enum resource_state next;
	enum resource_state now;
	enum err e = store_host_get(tx, host_id, &row);

	if (e)
		return e;
	now = row.resource_state;
	if (row.removed_ms)
		e = tx_say(tx, ERR_NOT_FOUND, "host %" PRId64 " was removed", host_id);
	host_row_deinit(&row);
	if (e)
		return e;
	if (!resource_state_move(now, event, &next))
		return tx_say(tx, ERR_STATE, "host %" PRId64 " is %s, where this is not possible", host_id,
			      resource_state_name(now));
	*to = next;
	if (next == now)
		return ERR_OK;
	e = sql_run(tx, "UPDATE host SET resource_state = ? WHERE id = ?", SQL_T(resource_state_name(next)),
		    SQL_N(host_id));
	return e ? e : change_add(tx, CHANGE_HOST, host_id);
}

enum err store_host_pings(struct store_tx *tx, const struct host_ping *pings, size_t n)
{
	enum err e = ERR_OK;

	for (size_t i = 0; i < n && !e; i++)
		e = ping(tx, pings[i].host_id, pings[i].wall_ms);
	return e;
}

/* ---- the end of a server ---- */

enum err store_hosts_disown(struct store_tx *tx, int64_t msid, size_t *n)
{
	struct owned *rows = NULL;
	size_t count = 0;
	enum err e;

	if (msid <= 0)
		return tx_say(tx, ERR_INVALID, "hosts can't be taken from nobody");
	e = sql_all(tx, &owned_shape, &rows, &count,
		    "SELECT " SQL_COLUMNS(OWNED_FIELDS) " FROM host WHERE owner = ? AND removed_ms = 0 ORDER BY id",
		    SQL_N(msid));

	for (size_t i = 0; i < count; i++) {
		struct owned *h = &rows[i];

		/* Without a transition the status stays; the owner is gone all the same. */
		(void)host_status_move(h->status, EVENT_MANAGEMENT_SERVER_DOWN, &h->status);
		set_owner(tx, h, 0);
		if (!e)
			e = owned_put(tx, h);
		sql_row_deinit(&owned_shape, h);
	}
	mem_free(rows);
	if (!e)
		*n = count;
	return e;
}
