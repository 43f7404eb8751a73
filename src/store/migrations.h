/*
 * The schema's numbered steps, made from migrations/NNNN-*.sql at build time. A step that was released is never
 * changed again; the next one is a new file.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct migration {
	int64_t number;
	const char *name;
	const char *oldest_program; /* the oldest that still works with the schema after this step */
	const char *sql;
};

extern const struct migration migrations[];
extern const size_t n_migrations;
