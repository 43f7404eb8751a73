/*
 * May this CA take the place of that one while everything runs? What is wrong with a CA by itself is ca_root_import()'s
 * to say; here it is held against the one before it. The rules are numbered as in docs/certificates.md ("A CA of your
 * own as the next one").
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Both with their chains, the signing certificate first. ERR_REFUSED or ERR_EXPIRED, with a sentence. */
enum err ca_may_follow(const char *present_pem, const char *next_pem, int64_t wall_s, struct why *why) MUST_CHECK;
