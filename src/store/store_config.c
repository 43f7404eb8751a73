/*
 * Configuration that was set, with a version that grows with each change.
 */
#include "base/mem.h"
#include "store/sql.h"

/* clang-format off */
#define CONFIG_FIELDS(A, F) \
	A(TEXT, name) F(TEXT, scope) F(NUMBER, scope_id) F(TEXT, value)
/* clang-format on */
#define FIELD(kind, member) SQL_FIELD(config_row, kind, member),
static const struct sql_field config_fields[] = {CONFIG_FIELDS(FIELD, FIELD)};
#undef FIELD
static const struct sql_shape config_shape = SQL_SHAPE(config_row, config_fields);

void config_row_deinit(struct config_row *r)
{
	sql_row_deinit(&config_shape, r);
}

enum err store_config_list(struct store_tx *tx, struct config_row **rows, size_t *n)
{
	return sql_all(tx, &config_shape, rows, n,
		       "SELECT " SQL_COLUMNS(CONFIG_FIELDS) " FROM configuration ORDER BY name, scope, scope_id");
}

static bool is_algorithm(const char *name, const char *scope)
{
	return !*scope && str_equal(name, "indirect.agent.lb.algorithm");
}

static bool is_about_lists(const char *name, const char *scope)
{
	return is_algorithm(name, scope) || (!*scope && str_equal(name, "host"));
}

enum err store_config_set(struct store_tx *tx, const char *name, const char *scope, int64_t scope_id, const char *value,
			  bool *changed)
{
	size_t moves;
	enum err e;

	*changed = false;
	if (value)
		e = sql_run(tx,
			    "INSERT INTO configuration (name, scope, scope_id, value) VALUES (?, ?, ?, ?)"
			    " ON CONFLICT DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
			    SQL_T(name), SQL_T(scope), SQL_N(scope_id), SQL_T(value));
	else
		e = sql_run(tx, "DELETE FROM configuration WHERE name = ? AND scope = ? AND scope_id = ?", SQL_T(name),
			    SQL_T(scope), SQL_N(scope_id));
	if (e || sql_changes(tx) == 0)
		return e;
	*changed = true;
	e = sql_run(tx, "UPDATE counter SET value = value + 1 WHERE name = 'configuration.version'");
	if (!e)
		e = change_add(tx, CHANGE_CONFIG, 0);
	/* While another one is in force entries and hosts change without a new version of the placement. */
	if (!e && is_algorithm(name, scope))
		e = placement_outdate(tx);
	return e || !is_about_lists(name, scope) ? e : placement_refresh(tx, &moves);
}

enum err store_config_version(struct store_tx *tx, int64_t *version)
{
	return sql_read(tx, version, 0, "SELECT value FROM counter WHERE name = 'configuration.version'");
}
