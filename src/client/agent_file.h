/*
 * What an agent remembers: its agent.properties (agent-protocol section 5, decisions 18, 22, 23).
 *
 * One writer. Every change is a whole-file atomic replacement through the world's files; nothing is written when
 * nothing changed. Comments, order and unknown keys stay. A file that can't be read or parsed is reported and never
 * overwritten.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/fs.h"
#include "base/props.h"
#include "base/str.h"

struct agent_file;

/* ERR_NOT_FOUND: there is no file; ERR_MALFORMED with file and line. */
enum err agent_file_open(struct agent_file **out, const struct fs *fs, const char *path, struct why *why) MUST_CHECK;
struct agent_file *agent_file_free(struct agent_file *f);
const struct props *agent_file_props(const struct agent_file *f);
const char *agent_file_path(const struct agent_file *f);
/* Any key; NULL when unset or blank. */
const char *agent_file_get(const struct agent_file *f, const char *key);
/* The list as it stands in the file: `host`, or `hosts` where that is absent (decision 18); NULL: none. */
const char *agent_file_host(const struct agent_file *f);

/*
 * Several changes, one replacement: value NULL removes the key. On an error nothing has changed, in memory neither.
 * The file is read again before it is written, so that what an operator edited meanwhile stays.
 */
struct agent_change {
	const char *key;
	const char *value;
};
enum err agent_file_change(struct agent_file *f, const struct agent_change *changes, size_t n, struct why *why)
	MUST_CHECK;

/* The keys that the engine writes. */
#define KEY_HOST "host"
#define KEY_CHECK_INTERVAL "host.lb.check.interval"
#define KEY_CHECK_INTERVAL_RECEIVED "muster.lb.check.interval.received"
#define KEY_HOST_LASTGOOD "muster.host.lastgood"
#define KEY_HOST_BOOTSTRAP "muster.host.bootstrap"
#define KEY_KNOWN_MUSTER "muster.servers.known"  /* entries that answered with our ALPN before, comma separated */
#define KEY_ADDRESSES "muster.servers.addresses" /* name=address, ...: where names led to when they last worked */
#define KEY_BOOT "muster.boot"                   /* how often an agent has started from this file */

/* host=<list>@<algorithm>: replaces it, and muster.host.lastgood with what was there if that one had worked. */
enum err agent_file_save_list(struct agent_file *f, const struct str_list *list, const char *algorithm, bool old_worked,
			      struct why *why) MUST_CHECK;
/*
 * The received interval (decision 22): > 0 is written to host.lb.check.interval with the received line beside it; 0
 * removes both; an operator's own value (no received line, or one that differs) stays and nothing is written.
 */
enum err agent_file_save_interval(struct agent_file *f, int64_t interval, struct why *why) MUST_CHECK;
/* List and interval in one replacement. */
enum err agent_file_save_list_and_interval(struct agent_file *f, const struct str_list *list, const char *algorithm,
					   bool old_worked, int64_t interval, struct why *why) MUST_CHECK;
/* The interval in force given what was received: the operator's own wins (garbage: 0), negative is 0. */
int64_t agent_file_interval(const struct agent_file *f, int64_t received, bool *is_own);
/* The interval received last, as the file remembers it; 0: none. */
int64_t agent_file_received_interval(const struct agent_file *f);
/* <ResourceSimpleName>.id, .uuid, .name */
enum err agent_file_save_identity(struct agent_file *f, const char *resource_name, int64_t id, const char *uuid,
				  const char *name, struct why *why) MUST_CHECK;
/*
 * Counts one more start and says which it is. It is on disk before it is used, or a crash would give a number twice. On
 * an error (a full disk, a counter that is no number) *out is 0: this start has no number, and nothing is overwritten.
 */
enum err agent_file_next_boot(struct agent_file *f, int64_t *out, struct why *why) MUST_CHECK;
int64_t agent_file_host_id(const struct agent_file *f, const char *resource_name); /* -1: none yet */
