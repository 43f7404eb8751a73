/*
 * A line is built on the stack and handed on whole. It is at most LINE_MAX_BYTES long, so that with level and time
 * it stays below PIPE_BUF and one write(2) puts it into a pipe in one piece; nothing is allocated, so that "out of
 * memory" can still be said.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define LINE_MAX_BYTES 3968
#define CUT_MARK "..."

struct line {
	char text[LINE_MAX_BYTES + sizeof(CUT_MARK)];
	size_t len;
	bool is_cut; /* nothing more is added */
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

const char *log_level_name(enum log_level level)
{
	return (size_t)level < ARRAY_SIZE(level_names) ? level_names[level] : "unknown";
}

bool log_level_from_text(const char *text, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (str_equal_nocase(text, level_names[i])) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void line_put(struct line *l, const char *text, size_t n)
{
	if (l->is_cut)
		return;
	if (n > LINE_MAX_BYTES - l->len) {
		l->is_cut = true;
		text = CUT_MARK;
		n = strlen(CUT_MARK);
	}
	memcpy(l->text + l->len, text, n);
	l->len += n;
}

/* Controls and what isn't UTF-8 are spelled out: a value can neither start a new line nor paint a terminal. */
static void line_put_escaped(struct line *l, const char *text, bool is_quoted)
{
	size_t n = strlen(text);

	while (n && !l->is_cut) {
		char escape[12];
		uint32_t c = (uint8_t)*text;
		size_t len = str_utf8_get(text, n, &c);
		bool is_stray = !len;

		if (is_stray)
			len = 1;
		if (c == '\n')
			line_put(l, "\\n", 2);
		else if (c == '\t')
			line_put(l, "\\t", 2);
		else if (c == '\r')
			line_put(l, "\\r", 2);
		else if (is_stray || c < 0x20 || (c >= 0x7f && c <= 0x9f))
			line_put(l, escape, (size_t)snprintf(escape, sizeof(escape), "\\x%02x", (unsigned)c));
		else if (is_quoted && (c == '"' || c == '\\'))
			line_put(l, escape, (size_t)snprintf(escape, sizeof(escape), "\\%c", (char)c));
		else
			line_put(l, text, len);
		text += len;
		n -= len;
	}
}

static bool needs_quotes(const char *text)
{
	/* A bare "-" stands for a missing text. */
	if (!*text || strcmp(text, "-") == 0)
		return true;
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return true;
	}
	return false;
}

static void line_put_text(struct line *l, const char *text)
{
	if (!text) {
		line_put(l, "-", 1);
	} else if (needs_quotes(text)) {
		line_put(l, "\"", 1);
		line_put_escaped(l, text, true);
		line_put(l, "\"", 1);
	} else {
		line_put(l, text, strlen(text));
	}
}

static void line_put_kv(struct line *l, const struct kv *kv)
{
	char number[24];

	line_put(l, " ", 1);
	line_put(l, kv->key, strlen(kv->key));
	line_put(l, "=", 1);
	switch (kv->kind) {
	case KV_END:
		break;
	case KV_TEXT:
		line_put_text(l, kv->value.text);
		break;
	case KV_NUMBER:
		line_put(l, number, (size_t)snprintf(number, sizeof(number), "%" PRId64, kv->value.number));
		break;
	case KV_UNSIGNED:
		line_put(l, number, (size_t)snprintf(number, sizeof(number), "%" PRIu64, kv->value.unsigned_number));
		break;
	case KV_BOOL:
		line_put(l, kv->value.flag ? "true" : "false", kv->value.flag ? 4 : 5);
		break;
	}
}

void log_line(const struct log *log, enum log_level level, const char *sentence, const struct kv *kvs)
{
	struct line l;

	if (!log || !log->write || level > log->level)
		return;
	l.len = 0;
	l.is_cut = false;
	if (log->name) {
		line_put_escaped(&l, log->name, false);
		line_put(&l, ": ", 2);
	}
	line_put_escaped(&l, sentence, false);
	for (; kvs && kvs->kind != KV_END; kvs++)
		line_put_kv(&l, kvs);
	l.text[l.len] = '\0';
	log->write(log->user, level, l.text);
}

/* Lines of several threads must not mix, so that each is one write(2). Nobody is left to tell when that fails. */
static void write_stderr(const char *time, enum log_level level, const char *line)
{
	char text[LINE_MAX_BYTES + 128];
	int n = snprintf(text, sizeof(text), "%s%s: %s\n", time, log_level_name(level), line);
	size_t left = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
	int old_errno = errno;

	/* A pipe may take a part only, when a signal comes; then the rest follows. */
	for (const char *at = text; left;) {
		ssize_t done = write(STDERR_FILENO, at, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			break;
		at += done;
		left -= (size_t)done;
	}
	errno = old_errno;
}

static void write_plain(void *user, enum log_level level, const char *line)
{
	write_stderr("", level, line);
}

static void write_with_time(void *user, enum log_level level, const char *line)
{
	char date[32] = "", text[48] = "";
	struct timespec now;
	struct tm tm;

	if (clock_gettime(CLOCK_REALTIME, &now) == 0 && gmtime_r(&now.tv_sec, &tm)) {
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(text, sizeof(text), "%s.%03uZ ", date, (unsigned)(now.tv_nsec / 1000000) % 1000u);
	}
	write_stderr(text, level, line);
}

void log_init_stderr(struct log *log, enum log_level level, bool with_time)
{
	*log = (struct log){.level = level, .write = with_time ? write_with_time : write_plain};
}
