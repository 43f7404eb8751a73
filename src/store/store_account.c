/*
 * Accounts of the query API.
 */
#include <string.h>

#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define ACCOUNT_FIELDS(A, F) \
	A(TEXT, name) F(TEXT, uuid) F(TEXT, role) F(TEXT, api_key) F(TEXT, secret_key) F(NUMBER, created_ms)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(account_row, kind, member),
static const struct sql_field account_fields[] = {ACCOUNT_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape account_shape = SQL_SHAPE(account_row, account_fields);

void account_row_deinit(struct account_row *r)
{
	if (r->secret_key)
		mem_wipe(r->secret_key, strlen(r->secret_key));
	sql_row_deinit(&account_shape, r);
}

enum err store_account_add(struct store_tx *tx, const struct account_row *row)
{
	enum err e = sql_insert(tx, SQL_INSERT("account", ACCOUNT_FIELDS), &account_shape, row);

	if (e)
		return e == ERR_EXISTS ? tx_say(tx, e, "an account %s, or one with its uuid or key, exists", row->name)
				       : e;
	return change_add(tx, CHANGE_ACCOUNT, sql_last_id(tx));
}

enum err store_account_by_key(struct store_tx *tx, const char *api_key, struct account_row *out)
{
	enum err e = sql_one(tx, &account_shape, out,
			     "SELECT " SQL_COLUMNS(ACCOUNT_FIELDS) " FROM account WHERE api_key = ?", SQL_T(api_key));

	return e == ERR_NOT_FOUND ? tx_say(tx, e, "no account has this key") : e;
}

enum err store_account_list(struct store_tx *tx, struct account_row **rows, size_t *n)
{
	return sql_all(tx, &account_shape, rows, n,
		       "SELECT " SQL_COLUMNS(ACCOUNT_FIELDS) " FROM account ORDER BY number");
}

enum err store_account_remove(struct store_tx *tx, const char *name)
{
	int64_t number;
	enum err e = sql_read(tx, &number, 0, "SELECT number FROM account WHERE name = ?", SQL_T(name));

	if (!e && !number)
		return tx_say(tx, ERR_NOT_FOUND, "there is no account %s", name);
	if (!e)
		e = sql_run(tx, "DELETE FROM account WHERE number = ?", SQL_N(number));
	return e ? e : change_add(tx, CHANGE_ACCOUNT, number);
}
