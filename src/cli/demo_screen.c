#include "cli/demo.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

#define ROWS_AROUND 8 /* lines of the terminal that are not hosts */
#define ROWS_MIN 4

void screen_init(struct demo *d)
{
	d->screen.to = d->cli->json ? stderr : stdout;
	d->screen.is_live = d->cli->is_terminal && !d->cli->json;
}

void screen_deinit(struct demo *d)
{
	str_list_deinit(&d->screen.at);
}

void screen_say(struct demo *d, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vfprintf(d->screen.to, format, ap);
	va_end(ap);
	fputc('\n', d->screen.to);
	fflush(d->screen.to);
}

/* M2 for its address, which is what lists hold. */
static const char *name_of(const struct demo *d, const char *entry)
{
	const struct demo_server *s = server_of_entry(d, entry);

	return s ? s->child.name : entry ? entry : "";
}

static char *names_of(const struct demo *d, const json_t *list)
{
	CLEAN(str_list_deinit) struct str_list names = {0};
	size_t i;
	json_t *entry;

	json_array_foreach (list, i, entry) {
		if (str_list_add(&names, name_of(d, json_string_value(entry))))
			or_die(NULL);
	}
	return or_die(str_list_join(&names, ","));
}

static size_t rows_that_fit(const struct demo *d)
{
	struct winsize size;
	size_t n = json_array_size(d->hosts);

	if (!d->screen.is_live || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_row >= n + ROWS_AROUND)
		return n;
	return size.ws_row > ROWS_AROUND + ROWS_MIN ? (size_t)(size.ws_row - ROWS_AROUND) : ROWS_MIN;
}

static char *table_of(struct demo *d, size_t n_rows)
{
	static const struct table_column columns[] = {
		{"HOST", 0}, {"LIST", TABLE_LIST}, {"PREFERRED", 0}, {"CONNECTED TO", 0}, {"STATUS", 0},
	};
	struct table *t = table_new(d->cli, columns, ARRAY_SIZE(columns));
	char *text;

	for (size_t i = 0; i < n_rows; i++) {
		const json_t *h = json_array_get(d->hosts, i);
		const char *connected = name_of(d, json_text(h, "musterconnected", NULL));
		const char *preferred = name_of(d, json_text(h, "musterpreferred", NULL));
		char *list = names_of(d, json_object_get(h, "musterlist")), *status = host_status_text(h);

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(h, "name", "?"));
		table_cell(t, TINT_NONE, "%s", list);
		table_cell(t, TINT_NONE, "%s", preferred);
		table_cell(t, str_equal(connected, preferred) ? TINT_GOOD : TINT_CAREFUL, "%s", connected);
		table_cell(t, host_tint(h), "%s", status);
		mem_free(list);
		mem_free(status);
	}
	text = table_text(t);
	table_free(t);
	return text;
}

static char *servers_line(struct demo *d)
{
	char *line = text_or_die("Servers:");

	for (size_t i = 0; i < d->n_servers; i++) {
		bool alive = server_is_alive(d, i);
		char *longer = text_or_die("%s %s %s%s%s%s", line, d->servers[i].child.name,
					   tint_on(d->cli, alive ? TINT_GOOD : TINT_BAD), alive ? "up" : "killed",
					   tint_off(d->cli), i + 1 < d->n_servers ? "," : "");

		mem_free(line);
		line = longer;
	}
	return line;
}

/* How many lines of the terminal it takes: long ones go on below, escape sequences take no room. */
static size_t count_lines(const char *text, size_t width)
{
	size_t n = 0, column = 0;

	for (; *text; text++) {
		if (*text == '\033') {
			text += strcspn(text, "m");
			if (!*text)
				break;
		} else if (*text == '\n') {
			n++;
			column = 0;
		} else if (((unsigned char)*text & 0xc0) != 0x80 && ++column > width) { /* not inside a character */
			n++;
			column = 1;
		}
	}
	return n;
}

/* Everything in one write: a half-drawn picture flickers. */
static void draw(struct demo *d, const char *note)
{
	size_t n = json_array_size(d->hosts), n_shown = rows_that_fit(d);
	char *table = table_of(d, n_shown), *servers = servers_line(d), *block;
	char more[FORMAT_MAX] = "";

	if (n_shown < n)
		snprintf(more, sizeof(more), "... and %zu more\n", n - n_shown);
	block = text_or_die("\n%s%s%s\n%s\n", table, more, servers, note);
	if (d->screen.is_live && d->screen.n_lines)
		fprintf(d->screen.to, "\033[%zuA\r\033[J%s", d->screen.n_lines, block);
	else
		fputs(block, d->screen.to);
	fflush(d->screen.to);
	d->screen.n_lines = count_lines(block, d->cli->width ? d->cli->width : SIZE_MAX);
	mem_free(table);
	mem_free(servers);
	mem_free(block);
}

/* One line for each host that is somewhere else than when we looked last. */
static void say_moves(struct demo *d)
{
	size_t i;
	json_t *h;

	json_array_foreach (d->hosts, i, h) {
		const char *at = name_of(d, json_text(h, "musterconnected", NULL));
		char *copy;

		while (d->screen.at.n <= i) {
			if (str_list_add(&d->screen.at, ""))
				or_die(NULL);
		}
		if (str_equal(d->screen.at.items[i], at))
			continue;
		if (*at)
			fprintf(d->screen.to, "  %s is connected to %s\n", json_text(h, "name", "?"), at);
		else
			fprintf(d->screen.to, "  %s has no connection\n", json_text(h, "name", "?"));
		copy = or_die(mem_strdup(at));
		mem_free(d->screen.at.items[i]);
		d->screen.at.items[i] = copy;
	}
	fflush(d->screen.to);
}

void screen_update(struct demo *d, const char *note)
{
	if (d->screen.is_live)
		draw(d, note);
	else
		say_moves(d);
}

void screen_finish(struct demo *d, const char *note)
{
	if (!d->screen.is_live)
		say_moves(d);
	draw(d, note);
	d->screen.n_lines = 0;
}
