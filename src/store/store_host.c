/*
 * Hosts: their rows, how they come and go, what an operator says about them. Who owns them: store_owner.c.
 */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "store/sql.h"

/* The columns of `host`; details, last_ping_ms and its place stand in tables of their own. */
/* clang-format off */
#define HOST_FIELDS(A, F)                                                                                 \
	A(ID, id) F(UUID, uuid) F(TEXT, guid) F(TEXT, name) F(TEXT, type) F(TEXT, resource_name)          \
	F(TEXT, hypervisor) F(TEXT, version) F(TEXT, arch) F(TEXT, private_ip) F(TEXT, capabilities)      \
	F(NUMBER, zone_id) F(NUMBER, pod_id) F(NUMBER, cluster_id) F(NUMBER, slot) F(NUMBER, pin)          \
	F(HOST_STATUS, status) F(RESOURCE_STATE, resource_state)                                          \
	F(NUMBER, owner) F(NUMBER, last_owner) F(NUMBER, epoch) F(TEXT, boot) F(NUMBER, link_number)      \
	F(NUMBER, boot_number)                                                                            \
	F(TEXT, ms_list) F(NUMBER, ms_interval) F(BOOL, is_muster) F(BOOL, secured)                       \
	F(TEXT, bound_key) F(BOOL, allow_weaker) F(TEXT, cert_serial) F(NUMBER, cert_not_after_s)         \
	F(NUMBER, cert_not_before_s) F(TEXT, cert_issuer) F(TEXT, ca_known) F(TEXT, bound_to)             \
	F(NUMBER, bound_zone)                                                                             \
	F(NUMBER, created_ms) F(NUMBER, disconnected_ms) F(NUMBER, removed_ms)
#define ALL_FIELDS(A, F) \
	HOST_FIELDS(A, F) F(TEXT, details) F(NUMBER, last_ping_ms) F(NUMBER, placed_first)                \
	F(NUMBER, placed_second) F(NUMBER, placed_third) F(NUMBER, placed_away)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(host_row, kind, member),
static const struct sql_field host_fields[] = {HOST_FIELDS(FIELD, FIELD)};
static const struct sql_field all_fields[] = {ALL_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape host_shape = SQL_SHAPE(host_row, host_fields);
static const struct sql_shape all_shape = SQL_SHAPE(host_row, all_fields);

#define SELECT_HOST                                                                                                    \
	"SELECT " SQL_COLUMNS(ALL_FIELDS) " FROM host LEFT JOIN host_details d ON d.host_id = host.id"                 \
					  " LEFT JOIN host_ping p ON p.host_id = host.id"                              \
					  " LEFT JOIN placement_host q ON q.host_id = host.id"

void host_row_deinit(struct host_row *r)
{
	sql_row_deinit(&all_shape, r);
}

enum err host_row_copy(struct host_row *to, const struct host_row *from)
{
	return sql_row_copy(&all_shape, to, from);
}

/* ---- reading ---- */

enum err store_host_get(struct store_tx *tx, int64_t id, struct host_row *out)
{
	enum err e = sql_one(tx, &all_shape, out, SELECT_HOST " WHERE id = ?", SQL_N(id));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "host %" PRId64 " does not exist", id) : e;
}

enum err store_host_by_guid(struct store_tx *tx, const char *guid, struct host_row *out)
{
	enum err e = sql_one(tx, &all_shape, out, SELECT_HOST " WHERE guid = ? AND removed_ms = 0", SQL_T(guid));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "no host has the guid %s", guid) : e;
}

enum err store_host_list(struct store_tx *tx, enum err (*each)(void *user, const struct host_row *row), void *user)
{
	struct sql q;
	struct host_row row;

	sql_open(&q, tx, SELECT_HOST " WHERE removed_ms = 0 ORDER BY id");
	while (sql_next(&q)) {
		if (sql_get(&q, &all_shape, &row))
			break;
		q.err = each(user, &row);
		host_row_deinit(&row);
	}
	return sql_close(&q);
}

enum err store_host_bound_zone(struct store_tx *tx, const char *guid, int64_t *zone_id)
{
	return sql_read(tx, zone_id, 0, "SELECT bound_zone FROM host WHERE guid = ? AND removed_ms = 0", SQL_T(guid));
}

/* ---- coming ---- */

/* Zone, pod and cluster must be there and belong together. */
static enum err check_place(struct store_tx *tx, const struct host_row *row)
{
	int64_t fits;
	enum err e = sql_read(tx, &fits, 0,
			      "SELECT 1 FROM cluster c JOIN host_pod_ref p ON p.id = c.pod_id"
			      " WHERE c.id = ? AND p.id = ? AND p.data_center_id = ?",
			      SQL_N(row->cluster_id), SQL_N(row->pod_id), SQL_N(row->zone_id));

	if (e || fits)
		return e;
	return tx_say(tx, ERR_NOT_FOUND, "there is no cluster %" PRId64 " in pod %" PRId64 " of zone %" PRId64,
		      row->cluster_id, row->pod_id, row->zone_id);
}

static enum err check_new(struct store_tx *tx, const struct host_row *row)
{
	int64_t other;
	enum err e;

	if (str_is_blank(row->guid) || str_is_blank(row->uuid))
		return tx_say(tx, ERR_INVALID, "a host needs a guid and a uuid");
	e = sql_read(tx, &other, 0, "SELECT id FROM host WHERE guid = ? AND removed_ms = 0", SQL_T(row->guid));
	if (!e && other)
		return tx_say(tx, ERR_EXISTS, "host %" PRId64 " has the guid %s already", other, row->guid);
	if (!e)
		e = sql_read(tx, &other, 0, "SELECT id FROM host WHERE uuid = ?", SQL_T(row->uuid));
	if (!e && other)
		return tx_say(tx, ERR_EXISTS, "host %" PRId64 " has the uuid %s already", other, row->uuid);
	return e ? e : check_place(tx, row);
}

/* What stands beside the row. */
static enum err write_details(struct store_tx *tx, int64_t id, const char *details)
{
	return sql_run(tx,
		       "INSERT INTO host_details (host_id, details) VALUES (?, ?)"
		       " ON CONFLICT DO UPDATE SET details = excluded.details WHERE details IS NOT excluded.details",
		       SQL_N(id), SQL_T(details));
}

static enum err place_read(struct store_tx *tx, struct host_row *row)
{
	struct host_place place;
	enum err e = store_placement_get(tx, row->id, &place);

	if (e)
		return e;
	row->placed_first = place.placed_first;
	row->placed_second = place.placed_second;
	row->placed_third = place.placed_third;
	row->placed_away = place.placed_away;
	return ERR_OK;
}

enum err store_host_create(struct store_tx *tx, struct host_row *row)
{
	struct host_row made = *row; /* texts borrowed */
	enum err e = check_new(tx, row);

	if (!e)
		e = slot_take(tx, row->zone_id, &made.slot);
	if (e)
		return e;
	made.id = 0;
	made.epoch = 0;
	made.removed_ms = 0;
	made.pin = 0;
	if (!made.created_ms)
		made.created_ms = tx->wall_ms;
	e = sql_insert(tx, SQL_INSERT("host", HOST_FIELDS), &host_shape, &made);
	if (e)
		return e;
	made.id = sql_last_id(tx);
	e = write_details(tx, made.id, made.details);
	if (!e)
		e = sql_run(tx, "INSERT INTO host_ping (host_id, last_ping_ms) VALUES (?, ?)", SQL_N(made.id),
			    SQL_N(made.last_ping_ms));
	if (!e)
		e = placement_host_comes(tx, made.id, made.zone_id);
	if (!e)
		e = place_read(tx, &made);
	if (!e)
		e = change_add(tx, CHANGE_HOST, made.id);
	if (!e)
		*row = made;
	return e;
}

/* ---- describing ---- */

/* The zone and slot of a host that is not removed. */
static enum err where_is(struct store_tx *tx, int64_t id, int64_t *zone_id, uint64_t *slot)
{
	struct sql q;
	bool found;
	enum err e;

	sql_open(&q, tx, "SELECT zone_id, slot FROM host WHERE id = ? AND removed_ms = 0", SQL_N(id));
	found = sql_next(&q);
	if (found) {
		*zone_id = sql_number(&q, 0);
		*slot = (uint64_t)sql_number(&q, 1);
	}
	e = sql_close(&q);
	return e || found ? e : tx_say(tx, ERR_NOT_FOUND, "host %" PRId64 " does not exist or was removed", id);
}

/* A host that comes back in another zone leaves its slot and gets one there. */
static enum err change_zone(struct store_tx *tx, const struct host_row *row, int64_t old_zone, uint64_t old_slot)
{
	uint64_t slot;
	enum err e = slot_take(tx, row->zone_id, &slot);

	if (!e)
		e = placement_host_changes_zone(tx, row->id, row->zone_id);
	if (!e)
		e = sql_run(tx, "UPDATE host SET zone_id = ?, slot = ? WHERE id = ?", SQL_N(row->zone_id),
			    SQL_N((int64_t)slot), SQL_N(row->id));
	return e ? e : slot_give_back(tx, old_zone, old_slot);
}

#define DESCRIBED                                                                                                      \
	"name, type, resource_name, hypervisor, version, arch, private_ip, capabilities, pod_id, cluster_id,"          \
	" is_muster, secured, bound_key, cert_serial, cert_not_after_s, cert_not_before_s, cert_issuer, bound_to"

/* The usual startup says what the last one said: then nothing is written. */
enum err store_host_describe(struct store_tx *tx, const struct host_row *row)
{
	int64_t zone_id = 0;
	uint64_t slot = 0;
	size_t n_changes = 0;
	enum err e = where_is(tx, row->id, &zone_id, &slot);

	if (!e)
		e = check_place(tx, row);
	if (!e && zone_id != row->zone_id) {
		e = change_zone(tx, row, zone_id, slot);
		n_changes++;
	}
	if (!e) {
		e = sql_run(tx,
			    "UPDATE host SET (" DESCRIBED ") ="
			    " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
			    " WHERE id = ?19 AND (" DESCRIBED ") IS NOT"
			    " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
			    SQL_T(row->name), SQL_T(row->type), SQL_T(row->resource_name), SQL_T(row->hypervisor),
			    SQL_T(row->version), SQL_T(row->arch), SQL_T(row->private_ip), SQL_T(row->capabilities),
			    SQL_N(row->pod_id), SQL_N(row->cluster_id), SQL_N(row->is_muster), SQL_N(row->secured),
			    SQL_T(row->bound_key), SQL_T(row->cert_serial), SQL_N(row->cert_not_after_s),
			    SQL_N(row->cert_not_before_s), SQL_T(row->cert_issuer), SQL_T(row->bound_to),
			    SQL_N(row->id));
		n_changes += e ? 0 : sql_changes(tx);
	}
	if (!e) {
		e = write_details(tx, row->id, row->details);
		n_changes += e ? 0 : sql_changes(tx);
	}
	return e || !n_changes ? e : change_add(tx, CHANGE_HOST, row->id);
}

enum err store_host_cert_alert(struct store_tx *tx, int64_t host_id, int64_t since_ms, int64_t now_ms, bool *is_due)
{
	enum err e = sql_run(tx, "UPDATE host SET cert_alerted_ms = ? WHERE id = ? AND cert_alerted_ms <= ?",
			     SQL_N(now_ms), SQL_N(host_id), SQL_N(since_ms));

	if (!e)
		*is_due = sql_changes(tx) > 0;
	return e;
}

enum err store_host_ca_known(struct store_tx *tx, int64_t host_id, const char *hash)
{
	int64_t zone_id;
	uint64_t slot;
	enum err e = where_is(tx, host_id, &zone_id, &slot);

	if (!e)
		e = sql_run(tx, "UPDATE host SET ca_known = ?1 WHERE id = ?2 AND ca_known IS NOT ?1", SQL_T(hash),
			    SQL_N(host_id));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_HOST, host_id);
}

enum err store_host_shown(struct store_tx *tx, const struct host_row *row)
{
	int64_t zone_id;
	uint64_t slot;
	enum err e = where_is(tx, row->id, &zone_id, &slot);

	if (!e)
		e = sql_run(
			tx,
			"UPDATE host SET cert_serial = ?1, cert_not_before_s = ?2, cert_not_after_s = ?3, cert_issuer = ?4"
			" WHERE id = ?5 AND (cert_serial IS NOT ?1 OR cert_issuer IS NOT ?4)",
			SQL_T(row->cert_serial), SQL_N(row->cert_not_before_s), SQL_N(row->cert_not_after_s),
			SQL_T(str_is_blank(row->cert_issuer) ? NULL : row->cert_issuer), SQL_N(row->id));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_HOST, row->id);
}

enum err store_host_cert_issuer(struct store_tx *tx, int64_t host_id, const char *issuer)
{
	int64_t zone_id;
	uint64_t slot;
	enum err e = where_is(tx, host_id, &zone_id, &slot);

	if (!e)
		e = sql_run(tx, "UPDATE host SET cert_issuer = ?1 WHERE id = ?2 AND cert_issuer IS NOT ?1",
			    SQL_T(str_is_blank(issuer) ? NULL : issuer), SQL_N(host_id));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_HOST, host_id);
}

enum err store_host_list_confirmed(struct store_tx *tx, int64_t host_id, const char *ms_list, int64_t interval)
{
	int64_t zone_id;
	uint64_t slot;
	enum err e = where_is(tx, host_id, &zone_id, &slot);

	if (e)
		return e;
	return sql_run(tx,
		       "UPDATE host SET ms_list = ?1, ms_interval = ?2"
		       " WHERE id = ?3 AND (ms_list IS NOT ?1 OR ms_interval <> ?2)",
		       SQL_T(ms_list), SQL_N(interval), SQL_N(host_id));
}

enum err store_host_allow_weaker(struct store_tx *tx, int64_t id, bool allow)
{
	int64_t zone_id;
	uint64_t slot;
	enum err e = where_is(tx, id, &zone_id, &slot);

	if (!e)
		e = sql_run(tx, "UPDATE host SET allow_weaker = ?1 WHERE id = ?2 AND allow_weaker <> ?1", SQL_N(allow),
			    SQL_N(id));
	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_HOST, id);
}

/* ---- going ---- */

/*
 * An operator can delete a host in any status, also one that never came (Creating), for which the table of events has
 * no way to Removed; so this is written without asking it.
 */
static enum err mark_removed(struct store_tx *tx, int64_t id, enum resource_state administrative)
{
	/* 0 would mean "not removed". */
	int64_t at = tx->wall_ms ? tx->wall_ms : 1;

	return sql_run(tx,
		       "UPDATE host SET removed_ms = ?1, status = ?2, resource_state = ?3, epoch = epoch + 1,"
		       " last_owner = iif(owner <> 0, owner, last_owner),"
		       " disconnected_ms = iif(owner <> 0, ?1, disconnected_ms), owner = 0 WHERE id = ?4",
		       SQL_N(at), SQL_T(host_status_name(HOST_REMOVED)), SQL_T(resource_state_name(administrative)),
		       SQL_N(id));
}

enum err store_host_remove(struct store_tx *tx, int64_t id, size_t n_servers, size_t *moved)
{
	struct host_row row;
	enum resource_state administrative;
	enum err e = store_host_get(tx, id, &row);

	if (e)
		return e;
	if (row.removed_ms)
		e = tx_say(tx, ERR_NOT_FOUND, "host %" PRId64 " was removed", id);
	administrative = row.resource_state;
	(void)resource_state_move(row.resource_state, RESOURCE_EVENT_DELETE_HOST, &administrative);
	if (!e)
		e = placement_host_goes(tx, id);
	if (!e)
		e = mark_removed(tx, id, administrative);
	if (!e)
		e = slot_give_back(tx, row.zone_id, row.slot);
	if (!e)
		e = change_add(tx, CHANGE_HOST, id);
	if (!e)
		e = slot_repair_zone(tx, row.zone_id, n_servers, moved);
	host_row_deinit(&row);
	return e;
}
