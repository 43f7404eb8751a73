/*
 * One English sentence, then key=value.
 *
 * Levels by reader: error - someone must act; warn - degraded but going on; info - a state changed;
 * debug - a message passed. Lines look like
 *
 *   info: link moved peer=host-7 from=handshake to=up reason="hello accepted"
 *
 * A struct log belongs to one server or agent; libmuster hands lines to its host through `write`.
 * Values are quoted when they need it and control characters are escaped. Never log keys, tokens or private parts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log {
	enum log_level level;
	const char *name; /* borrowed; put before the sentence as "name: " when set (several instances, one terminal) */
	void (*write)(void *user, enum log_level level, const char *line); /* the line has no newline; any thread */
	void *user;
};

struct kv {
	enum { KV_END, KV_TEXT, KV_NUMBER, KV_UNSIGNED, KV_BOOL } kind;
	const char *key;
	union {
		const char *text;
		int64_t number;
		uint64_t unsigned_number;
		bool flag;
	} value;
};

#define KV_S(k, v) ((struct kv){.kind = KV_TEXT, .key = (k), .value.text = (v)})
#define KV_I(k, v) ((struct kv){.kind = KV_NUMBER, .key = (k), .value.number = (v)})
#define KV_U(k, v) ((struct kv){.kind = KV_UNSIGNED, .key = (k), .value.unsigned_number = (v)})
#define KV_B(k, v) ((struct kv){.kind = KV_BOOL, .key = (k), .value.flag = (v)})
#define KV_NONE ((struct kv){.kind = KV_END})

/* A log that writes "level: line" to stderr, with a time stamp when `with_time` (not under systemd). */
void log_init_stderr(struct log *log, enum log_level level, bool with_time);
/* log may be NULL: then nothing happens. */
void log_line(const struct log *log, enum log_level level, const char *sentence, const struct kv *kvs);
bool log_level_from_text(const char *text, enum log_level *out);
const char *log_level_name(enum log_level level);

#ifndef CPPCHECK /* which does not know __VA_OPT__ */
#define log_at(log, level, sentence, ...)                                                                              \
	log_line((log), (level), (sentence), (const struct kv[]){__VA_ARGS__ __VA_OPT__(, ) KV_NONE})
#else
#define log_at(log, level, ...) ((void)(log), (void)(level))
#endif
#define log_error(log, ...) log_at(log, LOG_ERROR, __VA_ARGS__)
#define log_warn(log, ...) log_at(log, LOG_WARN, __VA_ARGS__)
#define log_info(log, ...) log_at(log, LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_at(log, LOG_DEBUG, __VA_ARGS__)
