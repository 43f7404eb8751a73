/*
 * What the CA keeps: named secrets (sealed before they come here), certificates issued, serials revoked, join tokens.
 */
#include "base/mem.h"
#include "store/sql.h"

#define EXPIRED_LIMIT_S (30LL * 24 * 3600) /* ca/policy.h: so long an expired certificate may let in */

/* clang-format off */
#define CERT_FIELDS(A, F)                                                                       \
	A(TEXT, serial) F(TEXT, common_name) F(TEXT, role) F(TEXT, subject_id)                  \
	F(NUMBER, not_before_s) F(NUMBER, not_after_s) F(NUMBER, revoked_ms) F(TEXT, pem)     \
	F(TEXT, issuer)
#define TOKEN_FIELDS(A, F)                                                                      \
	A(TEXT, id) F(TEXT, hash) F(TEXT, role) F(NUMBER, created_ms) F(NUMBER, expires_ms)     \
	F(NUMBER, uses_left) F(NUMBER, uses) F(BOOL, revoked) F(TEXT, bound_name)               \
	F(TEXT, bound_guid) F(NUMBER, host_id) F(TEXT, bound_zone)               \
	F(BOOL, keeps_certificates)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(cert_row, kind, member),
static const struct sql_field cert_fields[] = {CERT_FIELDS(FIELD, FIELD)};
#undef FIELD
#define FIELD(kind, member) SQL_FIELD(token_row, kind, member),
static const struct sql_field token_fields[] = {TOKEN_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape cert_shape = SQL_SHAPE(cert_row, cert_fields);
static const struct sql_shape token_shape = SQL_SHAPE(token_row, token_fields);

struct text_row {
	char *text;
};
static const struct sql_field text_fields[] = {{SQL_TEXT, offsetof(struct text_row, text)}};
static const struct sql_shape text_shape = SQL_SHAPE(text_row, text_fields);

/* ---- secrets ---- */

enum err store_secret_get(struct store_tx *tx, const char *name, char **value)
{
	struct text_row row;
	enum err e = sql_one(tx, &text_shape, &row, "SELECT value FROM secret WHERE name = ?", SQL_T(name));

	if (e)
		return e == ERR_NOT_FOUND ? tx_say(tx, e, "the store has no %s", name) : e;
	*value = row.text;
	return ERR_OK;
}

enum err store_secret_set(struct store_tx *tx, const char *name, const char *value)
{
	enum err e = sql_run(tx,
			     "INSERT INTO secret (name, value) VALUES (?, ?)"
			     " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
			     SQL_T(name), SQL_T(value));

	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_CA, 0);
}

enum err store_secret_remove(struct store_tx *tx, const char *name)
{
	enum err e = sql_run(tx, "DELETE FROM secret WHERE name = ?", SQL_T(name));

	return e || sql_changes(tx) == 0 ? e : change_add(tx, CHANGE_CA, 0);
}

enum err store_secret_names(struct store_tx *tx, struct str_list *names)
{
	struct str_list list = {0};
	struct sql q;
	enum err e;

	sql_open(&q, tx, "SELECT name FROM secret ORDER BY name");
	while (sql_next(&q)) {
		const char *name = (const char *)sqlite3_column_text(q.st, 0);

		q.err = name ? str_list_add(&list, name) : ERR_NOMEM;
	}
	e = sql_close(&q);
	if (!e)
		str_list_move(names, &list);
	str_list_deinit(&list);
	return e;
}

/* ---- certificates ---- */

void cert_row_deinit(struct cert_row *r)
{
	sql_row_deinit(&cert_shape, r);
}

/* No change row: nobody has to hear of a new certificate. One that was revoked before it came is revoked. */
enum err store_cert_add(struct store_tx *tx, const struct cert_row *row)
{
	struct cert_row made = *row; /* texts borrowed */
	enum err e = sql_read(tx, &made.revoked_ms, row->revoked_ms, "SELECT revoked_ms FROM crl WHERE serial = ?",
			      SQL_T(row->serial));

	if (!e)
		e = sql_insert(tx, SQL_INSERT("certificate", CERT_FIELDS), &cert_shape, &made);
	return e == ERR_EXISTS ? tx_say(tx, e, "a certificate with the serial %s was issued already", row->serial) : e;
}

enum err store_cert_list(struct store_tx *tx, struct cert_row **rows, size_t *n)
{
	return sql_all(tx, &cert_shape, rows, n,
		       "SELECT " SQL_COLUMNS(CERT_FIELDS) " FROM certificate ORDER BY certificate.id");
}

enum err store_cert_get(struct store_tx *tx, const char *serial, struct cert_row *out)
{
	enum err e = sql_one(tx, &cert_shape, out,
			     "SELECT " SQL_COLUMNS(CERT_FIELDS) " FROM certificate WHERE serial = ?", SQL_T(serial));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "no certificate %s was issued here", serial) : e;
}

/*
 * A host that has nothing left to come back with: what it trusts is not known any more, until it joins again. Nobody
 * has to wait for it then, as when it had never been given anything.
 */
static enum err forget_what_it_trusts(struct store_tx *tx, const char *serial)
{
	int64_t host_id = 0;
	enum err e =
		sql_read(tx, &host_id, 0,
			 "SELECT host.id FROM certificate AS c JOIN host ON host.guid = c.subject_id"
			 " WHERE c.serial = ?1 AND c.role <> 'server' AND host.ca_known IS NOT NULL"
			 " AND NOT EXISTS (SELECT 1 FROM certificate AS other WHERE other.role = c.role"
			 " AND other.subject_id = c.subject_id AND other.revoked_ms = 0 AND other.not_after_s > ?2)",
			 SQL_T(serial), SQL_N(tx->wall_ms / 1000 - EXPIRED_LIMIT_S));

	if (e || !host_id)
		return e;
	e = sql_run(tx, "UPDATE host SET ca_known = NULL WHERE id = ?", SQL_N(host_id));
	return e ? e : change_add(tx, CHANGE_HOST, host_id);
}

/* A serial that is revoked already keeps its time. */
enum err store_cert_revoke_by(struct store_tx *tx, const char *serial, const char *common_name, const char *by,
			      const char *reason)
{
	int64_t at = tx->wall_ms ? tx->wall_ms : 1;
	enum err e =
		sql_run(tx,
			"INSERT INTO crl (serial, common_name, revoked_ms, revoked_by, reason) VALUES (?, ?, ?, ?, ?)"
			" ON CONFLICT DO NOTHING",
			SQL_T(serial), SQL_T(common_name), SQL_N(at), SQL_T(by), SQL_T(reason));

	if (e || sql_changes(tx) == 0)
		return e;
	e = sql_run(tx, "UPDATE certificate SET revoked_ms = ? WHERE serial = ? AND revoked_ms = 0", SQL_N(at),
		    SQL_T(serial));
	if (!e)
		e = forget_what_it_trusts(tx, serial);
	return e ? e : change_add(tx, CHANGE_CA, 0);
}

enum err store_cert_revoke(struct store_tx *tx, const char *serial, const char *common_name)
{
	return store_cert_revoke_by(tx, serial, common_name, NULL, NULL);
}

enum err store_revoked_list(struct store_tx *tx, struct str_list *serials)
{
	struct str_list list = {0};
	struct sql q;
	enum err e;

	sql_open(&q, tx, "SELECT serial FROM crl ORDER BY id");
	while (sql_next(&q)) {
		const char *serial = (const char *)sqlite3_column_text(q.st, 0);

		q.err = serial ? str_list_add(&list, serial) : ERR_NOMEM;
	}
	e = sql_close(&q);
	if (!e)
		str_list_move(serials, &list);
	str_list_deinit(&list);
	return e;
}

enum err store_cert_is_for(struct store_tx *tx, const char *serial, const char *guid, bool *is)
{
	int64_t n = 0;
	enum err e = sql_read(tx, &n, 0, "SELECT count(*) FROM certificate WHERE serial = ? AND subject_id = ?",
			      SQL_T(serial), SQL_T(guid));

	if (!e)
		*is = n > 0;
	return e;
}

enum err store_revoked_since(struct store_tx *tx, int64_t after, struct str_list *serials, int64_t *last,
			     int64_t *total)
{
	struct str_list list = {0};
	int64_t newest = after, count = 0;
	struct sql q;
	enum err e;

	sql_open(&q, tx, "SELECT id, serial FROM crl WHERE id > ? ORDER BY id", SQL_N(after));
	while (sql_next(&q)) {
		const char *serial = (const char *)sqlite3_column_text(q.st, 1);

		newest = sql_number(&q, 0);
		q.err = serial ? str_list_add(&list, serial) : ERR_NOMEM;
	}
	e = sql_close(&q);
	if (!e)
		e = sql_read(tx, &count, 0, "SELECT count(*) FROM crl");
	if (!e) {
		str_list_move(serials, &list);
		*last = newest;
		*total = count;
	}
	str_list_deinit(&list);
	return e;
}

enum err store_is_revoked(struct store_tx *tx, const char *serial, bool *is)
{
	int64_t n = 0;
	enum err e = sql_read(tx, &n, 0, "SELECT count(*) FROM crl WHERE serial = ?", SQL_T(serial));

	if (!e)
		*is = n > 0;
	return e;
}

enum err store_cert_revoke_subject_by(struct store_tx *tx, const char *role, const char *subject_id, const char *by,
				      const char *reason, size_t *n)
{
	struct cert_row *rows = NULL;
	size_t count = 0;
	enum err e = sql_all(
		tx, &cert_shape, &rows, &count,
		"SELECT " SQL_COLUMNS(
			CERT_FIELDS) " FROM certificate"
				     " WHERE role = ? AND subject_id = ? AND revoked_ms = 0 ORDER BY certificate.id",
		SQL_T(role), SQL_T(subject_id));

	for (size_t i = 0; i < count; i++) {
		if (!e)
			e = store_cert_revoke_by(tx, rows[i].serial, rows[i].common_name, by, reason);
		cert_row_deinit(&rows[i]);
	}
	mem_free(rows);
	if (!e)
		*n = count;
	return e;
}

enum err store_cert_revoke_subject(struct store_tx *tx, const char *role, const char *subject_id, size_t *n)
{
	return store_cert_revoke_subject_by(tx, role, subject_id, NULL, NULL, n);
}

/* ---- tokens ---- */

void token_row_deinit(struct token_row *r)
{
	sql_row_deinit(&token_shape, r);
}

static enum err token_changed(struct store_tx *tx, const char *id)
{
	int64_t number;
	enum err e = sql_read(tx, &number, 0, "SELECT number FROM join_token WHERE id = ?", SQL_T(id));

	return e ? e : change_add(tx, CHANGE_TOKEN, number);
}

enum err store_token_add(struct store_tx *tx, const struct token_row *row)
{
	enum err e = sql_insert(tx, SQL_INSERT("join_token", TOKEN_FIELDS), &token_shape, row);

	if (e)
		return e == ERR_EXISTS ? tx_say(tx, e, "there is a token %s already", row->id) : e;
	return token_changed(tx, row->id);
}

enum err store_token_get(struct store_tx *tx, const char *id, struct token_row *out)
{
	enum err e = sql_one(tx, &token_shape, out, "SELECT " SQL_COLUMNS(TOKEN_FIELDS) " FROM join_token WHERE id = ?",
			     SQL_T(id));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "there is no token %s", id) : e;
}

enum err store_token_list(struct store_tx *tx, struct token_row **rows, size_t *n)
{
	return sql_all(tx, &token_shape, rows, n,
		       "SELECT " SQL_COLUMNS(TOKEN_FIELDS) " FROM join_token ORDER BY number");
}

/* Looked at and counted in one transaction: two joins at the same moment can't both have the last use. */
static enum err token_judge(struct store_tx *tx, const struct token_row *t)
{
	if (t->revoked)
		return tx_say(tx, ERR_REVOKED, "token %s was revoked", t->id);
	if (t->expires_ms && tx->wall_ms >= t->expires_ms)
		return tx_say(tx, ERR_EXPIRED, "token %s has expired", t->id);
	if (t->uses_left <= 0)
		return tx_say(tx, ERR_REFUSED, "token %s was used as often as it may be", t->id);
	return ERR_OK;
}

enum err store_token_use(struct store_tx *tx, const char *id)
{
	struct token_row t;
	enum err e = store_token_get(tx, id, &t);

	if (e)
		return e;
	e = token_judge(tx, &t);
	token_row_deinit(&t);
	if (!e)
		e = sql_run(tx, "UPDATE join_token SET uses_left = uses_left - 1, uses = uses + 1 WHERE id = ?",
			    SQL_T(id));
	return e ? e : token_changed(tx, id);
}

enum err store_token_revoke(struct store_tx *tx, const char *id)
{
	struct token_row t;
	bool was_revoked;
	enum err e = store_token_get(tx, id, &t);

	if (e)
		return e;
	was_revoked = t.revoked;
	token_row_deinit(&t);
	if (was_revoked)
		return ERR_OK;
	e = sql_run(tx, "UPDATE join_token SET revoked = 1 WHERE id = ?", SQL_T(id));
	return e ? e : token_changed(tx, id);
}

/* No change row: nobody remembers what can't be used. */
enum err store_tokens_trim(struct store_tx *tx, int64_t before_ms)
{
	return sql_run(tx, "DELETE FROM join_token WHERE expires_ms > 0 AND expires_ms < ?", SQL_N(before_ms));
}
