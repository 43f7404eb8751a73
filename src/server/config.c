/*
 * The cluster's settings in memory: what the store has, over the defaults of config.def.
 *
 * Validation happens once, where a value enters (config_check()); values that are read back from the store are taken
 * as they are when they still pass, and replaced by the default, loudly, when they don't: a newer program may have
 * stored what this one doesn't know.
 */
#include "server/internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct config_key config_keys[] = {
#define X(name_, type_, default_, min_, max_, options_, per_cluster_, dynamic_, group_, subgroup_, component_,         \
	  category_, description_)                                                                                     \
	{.name = (name_),                                                                                              \
	 .type = (type_),                                                                                              \
	 .fallback = (default_),                                                                                       \
	 .min = (min_),                                                                                                \
	 .max = (max_),                                                                                                \
	 .options = (options_),                                                                                        \
	 .per_cluster = (per_cluster_),                                                                                \
	 .dynamic = (dynamic_),                                                                                        \
	 .group = (group_),                                                                                            \
	 .subgroup = (subgroup_),                                                                                      \
	 .component = (component_),                                                                                    \
	 .category = (category_),                                                                                      \
	 .description = (description_)},
#include "server/config.def"
#undef X
};
const size_t config_n_keys = ARRAY_SIZE(config_keys);

#define CONFIG_VALUE_MAX 4095

/* A value that was set. */
struct config_value {
	const struct config_key *key;
	int64_t cluster_id; /* 0: global */
	char *text;
};

const struct config_key *config_find(const char *name)
{
	for (size_t i = 0; i < config_n_keys; i++)
		if (strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	return NULL;
}

/* ---- judging a new value ---- */

static enum err check_number(const struct config_key *k, const char *text, struct why *why)
{
	int64_t v;

	if (!str_to_i64(text, &v)) {
		why_set(why, "%s: \"%s\" is not a whole number", k->name, text);
		return ERR_INVALID;
	}
	if (v < k->min || v > k->max) {
		why_set(why, "%s: %s is not between %lld and %lld", k->name, text, (long long)k->min,
			(long long)k->max);
		return ERR_INVALID;
	}
	return ERR_OK;
}

static enum err check_real(const struct config_key *k, const char *text, struct why *why)
{
	char *end;
	double v = strtod(text, &end);

	if (*end || end == text || !isfinite(v)) {
		why_set(why, "%s: \"%s\" is not a number", k->name, text);
		return ERR_INVALID;
	}
	if (v < (double)k->min || v > (double)k->max) {
		why_set(why, "%s: %s is not between %lld and %lld", k->name, text, (long long)k->min,
			(long long)k->max);
		return ERR_INVALID;
	}
	return ERR_OK;
}

static enum err check_bool(const struct config_key *k, char *text, struct why *why)
{
	if (!str_equal_nocase(text, "true") && !str_equal_nocase(text, "false")) {
		why_set(why, "%s: \"%s\" is neither true nor false", k->name, text);
		return ERR_INVALID;
	}
	for (char *c = text; *c; c++)
		*c = (char)(*c | 0x20);
	return ERR_OK;
}

static enum err check_select(const struct config_key *k, const char *text, struct why *why)
{
	struct str_list options = {0};
	enum err e = str_list_split(&options, k->options, ',');

	if (!e && !str_list_has(&options, text)) {
		why_set(why, "%s: \"%s\" is not one of %s", k->name, text, k->options);
		e = ERR_INVALID;
	}
	str_list_deinit(&options);
	return e;
}

static enum err check_servers(const struct config_key *k, const char *text, char **normal, struct why *why)
{
	struct str_list servers = {0};
	enum err e = server_list_parse_setting(&servers, text, why);

	if (e) {
		why_add(why, "%s", k->name);
	} else {
		*normal = str_list_join(&servers, ",");
		e = *normal ? ERR_OK : ERR_NOMEM;
	}
	str_list_deinit(&servers);
	return e;
}

enum err config_check(const struct config_key *k, const char *value, char **normal, struct why *why)
{
	CLEAN(mem_freep) char *copy = NULL;
	char *text;
	enum err e = ERR_OK;

	*normal = NULL;
	if (strlen(value) > CONFIG_VALUE_MAX) {
		why_set(why, "%s: longer than %d characters", k->name, CONFIG_VALUE_MAX);
		return ERR_INVALID;
	}
	copy = mem_strdup(value);
	if (!copy)
		return ERR_NOMEM;
	text = str_trim(copy);
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f) {
			why_set(why, "%s: control characters are not allowed", k->name);
			return ERR_INVALID;
		}
	}

	switch (k->type) {
	case CONFIG_NUMBER:
		e = check_number(k, text, why);
		break;
	case CONFIG_REAL:
		e = check_real(k, text, why);
		break;
	case CONFIG_BOOL:
		e = check_bool(k, text, why);
		break;
	case CONFIG_SELECT:
		e = check_select(k, text, why);
		break;
	case CONFIG_SERVERS:
		return check_servers(k, text, normal, why);
	case CONFIG_TEXT:
		break;
	}
	if (e)
		return e;
	*normal = mem_strdup(text);
	return *normal ? ERR_OK : ERR_NOMEM;
}

/* ---- values in force ---- */

static const struct config_value *value_find(const struct server *s, const char *name, int64_t cluster_id)
{
	for (size_t i = 0; i < s->n_config; i++)
		if (s->config[i].cluster_id == cluster_id && strcmp(s->config[i].key->name, name) == 0)
			return &s->config[i];
	return NULL;
}

const char *config_text(const struct server *s, const char *name, int64_t cluster_id)
{
	const struct config_key *k = config_find(name);
	const struct config_value *v = NULL;

	assert(k); /* a name in our own source */
	if (cluster_id && k->per_cluster)
		v = value_find(s, name, cluster_id);
	if (!v)
		v = value_find(s, name, 0);
	return v ? v->text : k->fallback;
}

int64_t config_number(const struct server *s, const char *name, int64_t cluster_id)
{
	const char *text = config_text(s, name, cluster_id);
	int64_t v = 0;

	return text && str_to_i64(text, &v) ? v : 0;
}

bool config_bool(const struct server *s, const char *name)
{
	const char *text = config_text(s, name, 0);

	return text && strcmp(text, "true") == 0;
}

double config_real(const struct server *s, const char *name)
{
	const char *text = config_text(s, name, 0);

	return text ? strtod(text, NULL) : 0;
}

/* ---- loading ---- */

static void values_free(struct config_value *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mem_free(values[i].text);
	mem_free(values);
}

void config_deinit(struct server *s)
{
	values_free(s->config, s->n_config);
	s->config = NULL;
	s->n_config = 0;
}

/* Keys whose change reaches agents. */
static bool key_is_told(const char *name)
{
	return strcmp(name, "host") == 0 || str_starts(name, "indirect.agent.lb.");
}

static bool told_values_differ(const struct config_value *a, size_t n_a, const struct config_value *b, size_t n_b)
{
	for (size_t i = 0; i < n_a; i++) {
		bool same = false;

		if (!key_is_told(a[i].key->name))
			continue;
		for (size_t k = 0; k < n_b && !same; k++)
			same = a[i].key == b[k].key && a[i].cluster_id == b[k].cluster_id &&
			       strcmp(a[i].text, b[k].text) == 0;
		if (!same)
			return true;
	}
	return false;
}

enum err config_load(struct server *s, const struct config_row *rows, size_t n, int64_t version, bool *lists_changed)
{
	struct config_value *values = mem_zalloc_array(n ? n : 1, sizeof(*values));
	size_t n_values = 0;

	if (!values)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		bool is_state = str_equal(rows[i].name, FREEZE_ROW) ||
				str_equal(rows[i].name, ROLLING_ROW); /* freeze.c and rolling.c read them */
		const struct config_key *k = is_state ? NULL : config_find(rows[i].name);
		CLEAN(mem_freep) char *normal = NULL;
		struct why why = WHY_NONE;
		enum err e;

		if (is_state)
			continue;
		if (!k || !rows[i].value || (rows[i].scope[0] && strcmp(rows[i].scope, "cluster") != 0)) {
			log_debug(s->log, "a setting in the store is not known here", KV_S("name", rows[i].name));
			continue;
		}
		e = config_check(k, rows[i].value, &normal, &why);
		if (e == ERR_NOMEM) {
			values_free(values, n_values);
			return e;
		}
		if (e) {
			log_error(s->log, "a setting in the store can't be used, the default holds",
				  KV_S("name", k->name), KV_S("error", why_text(&why, e)));
			continue;
		}
		values[n_values++] = (struct config_value){
			.key = k,
			.cluster_id = strcmp(rows[i].scope, "cluster") == 0 ? rows[i].scope_id : 0,
			.text = STEAL(normal),
		};
	}
	*lists_changed = told_values_differ(s->config, s->n_config, values, n_values) ||
			 told_values_differ(values, n_values, s->config, s->n_config);
	values_free(s->config, s->n_config);
	s->config = values;
	s->n_config = n_values;
	s->config_version = version;
	return ERR_OK;
}
