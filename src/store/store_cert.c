/*
 * What is known of certificates, as operators ask for it and as a signed revocation list names it.
 *
 * Three places know of some: the table of those that were issued, the table of revocations, where a serial may stand
 * that was never issued here, and each host's row, whose certificate may be somebody else's (CloudStack's, say).
 */
#include "base/mem.h"
#include "store/sql.h"

#define CERT_SLICE 500 /* looked at together: a few milliseconds */

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
 *
 * There is a question for each kind, in three ways: one slice of numbers (?11 up to ?12), by serial, by subject. The
 * last two find their rows by an index.
 */
#define ISSUED(where)                                                                                                  \
	"SELECT 0 AS kind, c.id AS number, c.serial, c.common_name, c.role, c.subject_id, c.not_before_s,"             \
	" c.not_after_s, c.issuer, c.pem, coalesce(r.revoked_ms, 0) AS revoked_ms, r.revoked_by, r.reason,"            \
	" coalesce(h.id, 0) AS host_id, h.name AS host_name, h.cert_serial AS current"                                 \
	" FROM certificate c LEFT JOIN crl r ON r.serial = c.serial"                                                   \
	" LEFT JOIN host h ON h.guid = c.subject_id AND h.removed_ms = 0 AND c.role <> 'server'"                       \
	" WHERE " where
#define REVOKED(where)                                                                                                 \
	"SELECT 1 AS kind, r.id AS number, r.serial, r.common_name, NULL AS role, NULL AS subject_id,"                 \
	" 0 AS not_before_s, 0 AS not_after_s, NULL AS issuer, NULL AS pem, r.revoked_ms, r.revoked_by, r.reason,"     \
	" 0 AS host_id, NULL AS host_name, NULL AS current"                                                            \
	" FROM crl r WHERE " where " AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.serial = r.serial)"
#define SHOWN(where)                                                                                                   \
	"SELECT 2 AS kind, h.id AS number, h.cert_serial AS serial, h.name AS common_name,"                            \
	" CASE h.bound_key WHEN 'uri' THEN 'agent' ELSE 'other' END AS role, h.guid AS subject_id,"                    \
	" h.cert_not_before_s AS not_before_s, h.cert_not_after_s AS not_after_s, h.cert_issuer AS issuer,"            \
	" NULL AS pem, 0 AS revoked_ms, NULL AS revoked_by, NULL AS reason, h.id AS host_id, h.name AS host_name,"     \
	" h.cert_serial AS current"                                                                                    \
	" FROM host h WHERE " where " AND h.removed_ms = 0 AND h.cert_serial <> ''"                                    \
	" AND NOT EXISTS (SELECT 1 FROM certificate c WHERE c.serial = h.cert_serial)"                                 \
	" AND NOT EXISTS (SELECT 1 FROM crl r WHERE r.serial = h.cert_serial)"
#define SLICE(id) id " BETWEEN ?11 AND ?12"
#define JUDGED(known)                                                                                                   \
	"WITH known AS (" known "), judged AS ("                                                                        \
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
#define WANTED " FROM judged WHERE (?8 >> state) & 1 = 1 AND ?11 <= ?12"
#define COUNT(known) JUDGED(known) "SELECT count(*)" WANTED
#define PAGE(known) JUDGED(known) "SELECT " SQL_COLUMNS(VIEW_FIELDS) WANTED " ORDER BY number DESC LIMIT ?9 OFFSET ?10"
#define BOTH(known)                                                                                                    \
	{                                                                                                              \
		COUNT(known), PAGE(known)                                                                              \
	}
#define WANTED_VALUES(q)                                                                                               \
	SQL_N((q)->now_s), SQL_T((q)->in_use ? (q)->in_use : ""), SQL_T((q)->serial), SQL_T((q)->role),                \
		SQL_T((q)->subject_id), SQL_N((q)->ends_before_s), SQL_T((q)->keyword), SQL_N((q)->states)

enum how { BY_NUMBER, BY_SERIAL, BY_SUBJECT, HOWS };

/* clang-format off */
static const struct {
	const char *last; /* its highest number */
	struct {
		const char *count, *page;
	} by[HOWS];
} kinds[] = {
	{"SELECT max(id) FROM certificate",
	 {BOTH(ISSUED(SLICE("c.id"))), BOTH(ISSUED("c.serial = ?3")),
	  BOTH(ISSUED("c.role IN ('agent', 'other', 'server') AND c.subject_id = ?5"))}},
	{"SELECT max(id) FROM crl",
	 {BOTH(REVOKED(SLICE("r.id"))), BOTH(REVOKED("r.serial = ?3")), BOTH(REVOKED("?5 IS NULL AND 0"))}},
	{"SELECT max(id) FROM host",
	 {BOTH(SHOWN(SLICE("h.id"))), BOTH(SHOWN("h.cert_serial = ?3")), BOTH(SHOWN("h.guid = ?5"))}},
};
/* clang-format on */

/* The highest number that is left to be looked at; 0: nothing of this kind. */
static enum err slice_end(struct store_tx *tx, const struct cert_cursor *c, int64_t *end)
{
	*end = c->below - 1;
	return c->below ? ERR_OK : sql_read(tx, end, 0, kinds[c->kind].last);
}

static enum err look(struct store_tx *tx, const struct cert_question *q, struct cert_cursor *c, enum how how,
		     int64_t first, int64_t end, struct cert_view **views, size_t *n)
{
	int64_t total = 0, skip = q->first > c->count ? (int64_t)(q->first - c->count) : 0;
	int64_t room = q->room > c->given ? (int64_t)(q->room - c->given) : 0;
	enum err e = sql_read(tx, &total, 0, kinds[c->kind].by[how].count, WANTED_VALUES(q), SQL_N(0), SQL_N(0),
			      SQL_N(first), SQL_N(end));

	if (!e && room && total > skip)
		e = sql_all(tx, &view_shape, views, n, kinds[c->kind].by[how].page, WANTED_VALUES(q), SQL_N(room),
			    SQL_N(skip), SQL_N(first), SQL_N(end));
	if (!e) {
		c->count += (size_t)total;
		c->given += *n;
	}
	return e;
}

enum err store_cert_views_some(struct store_tx *tx, const struct cert_question *q, struct cert_cursor *cursor,
			       struct cert_view **views, size_t *n)
{
	enum how how = q->serial ? BY_SERIAL : q->subject_id ? BY_SUBJECT : BY_NUMBER;
	struct cert_cursor c = *cursor;
	int64_t end = INT64_MAX, first = 0;
	enum err e = ERR_OK;

	*views = NULL;
	*n = 0;
	if (how == BY_NUMBER) {
		e = slice_end(tx, &c, &end);
		first = end > CERT_SLICE ? end - CERT_SLICE + 1 : 1;
	}
	if (!e && end > 0)
		e = look(tx, q, &c, how, first, end, views, n);
	if (e)
		return e;
	c.below = first;
	if (first <= 1) {
		c.kind++;
		c.below = 0;
	}
	c.is_over = c.kind == ARRAY_SIZE(kinds);
	*cursor = c;
	return ERR_OK;
}

/* Takes them over, what is in the arrays as well. */
static enum err append(struct cert_view **to, size_t *n_to, struct cert_view *take_more, size_t n)
{
	struct cert_view *grown = n ? mem_grow_array(*to, *n_to + n, sizeof(*grown)) : *to;

	for (size_t i = 0; i < n; i++) {
		if (grown)
			grown[*n_to + i] = take_more[i];
		else
			cert_view_deinit(&take_more[i]);
	}
	mem_free(take_more);
	if (n && !grown)
		return ERR_NOMEM;
	*to = grown;
	*n_to += n;
	return ERR_OK;
}

enum err store_cert_views(struct store_tx *tx, const struct cert_question *q, struct cert_view **views, size_t *n,
			  size_t *count)
{
	struct cert_cursor c = {0};
	struct cert_view *all = NULL, *some;
	size_t n_all = 0, n_some;
	enum err e = ERR_OK;

	while (!e && !c.is_over) {
		e = store_cert_views_some(tx, q, &c, &some, &n_some);
		if (!e)
			e = append(&all, &n_all, some, n_some);
	}
	if (e) {
		for (size_t i = 0; i < n_all; i++)
			cert_view_deinit(&all[i]);
		mem_free(all);
		return e;
	}
	*views = all;
	*n = n_all;
	*count = c.count;
	return ERR_OK;
}
