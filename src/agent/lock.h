/*
 * One instance in a folder: agent.lock is held as long as the process lives; the system gives it back after a crash.
 */
#pragma once

#include "base/err.h"

/* ERR_BUSY with the other one's process id; *fd is to be kept. */
enum err lock_take(int *fd, const char *dir, struct why *why) MUST_CHECK;
void lock_release(int fd); /* -1 is fine */
