/*
 * Numbers, durations, dates and sentences as people read them, and texts that can't fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* printf into a new string; ends the program when there is no memory. */
char *text_or_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program with a sentence when `p` is NULL; returns it otherwise. */
void *or_die(void *p);

#define FORMAT_MAX 64

/* "90 s" is "1 min 30 s"; two units at most: "2 h 5 min", "3 days 4 h". */
const char *format_seconds(char out[FORMAT_MAX], int64_t seconds);
/* "1 agent", "12 agents". */
const char *format_count(char out[FORMAT_MAX], int64_t n, const char *noun);
/* A date of the API (2026-01-15T08:00:02+0000) in local time, "2026-01-15 08:00:02"; what is none stays as it is. */
const char *format_date(char out[FORMAT_MAX], const char *date);
/* Seconds since 1970 of such a date; false: not one. */
bool date_to_seconds(const char *date, int64_t *out);
/* "512 B", "1.5 KiB", "7.8 GiB". */
const char *format_bytes(char out[FORMAT_MAX], double bytes);
/* Control characters become '?', in place: what a peer sent must not paint the terminal. Newlines too. */
char *format_printable(char *text);
