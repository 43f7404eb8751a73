/*
 * What is known of certificates, as operators ask for it and as a signed revocation list names it.
 *
 * Three places know of some: the table of those that were issued, the table of revocations, where a serial may stand
 * that was never issued here, and each host's row, whose certificate may be somebody else's (CloudStack's, say).
 */
#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define VIEW_FIELDS(A, F)                                                                       \
	A(TEXT, serial) F(TEXT, common_name) F(TEXT, role) F(TEXT, subject_id)                  \
	F(NUMBER, not_before_s) F(NUMBER, not_after_s) F(TEXT, issuer) F(TEXT, pem)           \
	F(NUMBER, revoked_ms) F(TEXT, revoked_by) F(TEXT, reason) F(NUMBER, host_id)          \
	F(NUMBER, state)
#define REVOKED_FIELDS(A, F) A(TEXT, serial) F(NUMBER, revoked_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(cert_view, kind, member),
static const struct sql_field view_fields[] = {VIEW_FIELDS(FIELD, FIELD)};
#undef FIELD
#define FIELD(kind, member) SQL_FIELD(revoked_row, kind, member),
static const struct sql_field revoked_fields[] = {REVOKED_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape view_shape = SQL_SHAPE(cert_view, view_fields);
static const struct sql_shape revoked_shape = SQL_SHAPE(revoked_row, revoked_fields);

void cert_view_deinit(struct cert_view *v)
{
	sql_row_deinit(&view_shape, v);
}

void revoked_row_deinit(struct revoked_row *r)
{
	sql_row_deinit(&revoked_shape, r);
}

enum err store_revoked_rows(struct store_tx *tx, const char *issuer, int64_t ended_before_s, struct revoked_row **rows,
			    size_t *n, int64_t *last)
{
	int64_t newest;
	enum err e = sql_read(tx, &newest, 0, "SELECT max(id) FROM crl");

	if (!e)
		e = sql_all(tx, &revoked_shape, rows, n,
			    "SELECT r.serial, r.revoked_ms FROM crl r LEFT JOIN certificate c ON c.serial = r.serial"
			    " WHERE c.id IS NULL OR ((?1 IS NULL OR c.issuer IS NULL OR c.issuer IN ('', ?1))"
			    " AND c.not_after_s >= ?2) ORDER BY r.id",
			    SQL_T(issuer), SQL_N(ended_before_s));
	if (!e)
		*last = newest;
	return e;
}

/*
 * `kind` and `number` are the order; `current` is the serial that the host shows. A host is found by its guid, which is
 * the subject of its certificates whatever their role.
 */
#define KNOWN                                                                                                           \
	"WITH known AS ("                                                                                               \
	"SELECT 0 AS kind, c.id AS number, c.serial, c.common_name, c.role, c.subject_id, c.not_before_s,"              \
	" c.not_after_s, c.issuer, c.pem, coalesce(r.revoked_ms, 0) AS revoked_ms, r.revoked_by, r.reason,"             \
	" coalesce(h.id, 0) AS host_id, h.name AS host_name, h.cert_serial AS current"                                  \
	" FROM certificate c LEFT JOIN crl r ON r.serial = c.serial"                                                    \
	" LEFT JOIN host h ON h.guid = c.subject_id AND h.removed_ms = 0 AND c.role <> 'server'"                        \
	" UNION ALL "                                                                                                   \
	"SELECT 1, r.id, r.serial, r.common_name, NULL, NULL, 0, 0, NULL, NULL, r.revoked_ms, r.revoked_by, r.reason,"  \
	" 0, NULL, NULL"                                                                                                \
	" FROM crl r WHERE NOT EXISTS (SELECT 1 FROM certificate c WHERE c.serial = r.serial)"                          \
	" UNION ALL "                                                                                                   \
	"SELECT 2, h.id, h.cert_serial, h.name, CASE h.bound_key WHEN 'uri' THEN 'agent' ELSE 'other' END, h.guid,"     \
	" h.cert_not_before_s, h.cert_not_after_s, h.cert_issuer, NULL, 0, NULL, NULL, h.id, h.name, h.cert_serial"     \
	" FROM host h WHERE h.removed_ms = 0 AND h.cert_serial <> ''"                                                   \
	" AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.serial = h.cert_serial)"                                  \
	" AND NOT EXISTS (SELECT 1 FROM crl r WHERE r.serial = h.cert_serial)"                                          \
	"), judged AS ("                                                                                                \
	"SELECT *, CASE WHEN revoked_ms <> 0 THEN 4 WHEN not_after_s <> 0 AND not_after_s <= ?1 THEN 3"                 \
	" WHEN serial = current OR instr(?2, ',' || serial || ',') > 0 THEN 0"                                          \
	" WHEN kind = 0 AND subject_id <> '' AND EXISTS (SELECT 1 FROM certificate n WHERE n.role = known.role"         \
	" AND n.subject_id = known.subject_id AND n.revoked_ms = 0 AND n.id > known.number) THEN 2"                     \
	" ELSE 1 END AS state FROM known"                                                                               \
	" WHERE (?3 IS NULL OR serial = ?3) AND (?4 IS NULL OR role = ?4) AND (?5 IS NULL OR subject_id = ?5)"          \
	" AND (?6 = 0 OR (not_after_s <> 0 AND not_after_s < ?6))"                                                      \
	" AND (?7 IS NULL OR instr(lower(serial || ' ' || coalesce(common_name, '') || ' ' || coalesce(subject_id, '')" \
	" || ' ' || coalesce(host_name, '')), lower(?7)) > 0)"                                                          \
	") "
#define WANTED " FROM judged WHERE (?8 >> state) & 1 = 1"
#define WANTED_VALUES(q)                                                                                               \
	SQL_N((q)->now_s), SQL_T((q)->in_use ? (q)->in_use : ""), SQL_T((q)->serial), SQL_T((q)->role),                \
		SQL_T((q)->subject_id), SQL_N((q)->ends_before_s), SQL_T((q)->keyword), SQL_N((q)->states)

enum err store_cert_views(struct store_tx *tx, const struct cert_question *q, struct cert_view **views, size_t *n,
			  size_t *count)
{
	int64_t total = 0;
	enum err e = sql_read(tx, &total, 0, KNOWN "SELECT count(*)" WANTED, WANTED_VALUES(q));

	if (!e)
		e = sql_all(tx, &view_shape, views, n,
			    KNOWN "SELECT " SQL_COLUMNS(VIEW_FIELDS) WANTED
			    " ORDER BY kind, number DESC LIMIT ?9 OFFSET ?10",
			    WANTED_VALUES(q), SQL_N((int64_t)q->room), SQL_N((int64_t)q->first));
	if (!e)
		*count = (size_t)total;
	return e;
}
