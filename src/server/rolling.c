/*
 * Rolling restart: what every server remembers of one that is under way (docs/placement.md, "Rolling restart").
 *
 * It is a row among the settings in the store, as a freeze is (freeze.c): whoever carries it out may die, and whoever
 * comes next finds in it whose turn it is. The servers only keep and show it; api_rolling.c judges what is asked.
 */
#include "server/internal.h"

const struct config_row *rolling_row(const struct config_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_equal(rows[i].name, ROLLING_ROW) && str_equal(rows[i].scope, CONFIG_GLOBAL))
			return &rows[i];
	return NULL;
}

static bool server_is_sound(const json_t *o)
{
	return json_is_string(json_object_get(o, "entry")) && json_is_string(json_object_get(o, "name")) &&
	       json_is_string(json_object_get(o, "uuid")) && json_is_integer(json_object_get(o, "msid")) &&
	       json_is_integer(json_object_get(o, "run"));
}

json_t *rolling_read(const char *value)
{
	json_t *o = value ? json_loads(value, 0, NULL) : NULL, *servers = json_object_get(o, "servers"), *one;
	json_int_t step = json_integer_value(json_object_get(o, "step"));
	bool ok = json_array_size(servers) > 0 && step >= 0 && (size_t)step <= json_array_size(servers) &&
		  json_is_string(json_object_get(o, "algorithm")) && json_is_string(json_object_get(o, "host"));
	size_t i;

	json_array_foreach (servers, i, one) {
		ok = ok && server_is_sound(one);
	}
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

bool rolling_hands_over(const json_t *rolling)
{
	return str_equal(json_string_value(json_object_get(rolling, "algorithm")), algorithm_name(ALGORITHM_BALANCED));
}

void rolling_load(struct server *s, const struct config_row *rows, size_t n)
{
	const struct config_row *row = rolling_row(rows, n);

	rolling_deinit(s);
	if (!row)
		return;
	s->rolling = rolling_read(row->value);
	if (!s->rolling)
		log_error(s->log,
			  "the rolling restart that is stored can't be read: muster rolling-restart --abort ends it");
}

void rolling_deinit(struct server *s)
{
	json_decref(s->rolling);
	s->rolling = NULL;
}
