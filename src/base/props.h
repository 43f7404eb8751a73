/*
 * Java properties (java.util.Properties), as agent.properties and our own configuration are written.
 *
 * A document keeps every line it was read from - comments, blank lines, order, spelling of keys nobody touched - so
 * that changing one value changes one line. Reading follows agent-protocol section 5.3: ISO-8859-1, LF, CR or CRLF,
 * key ends at the first unescaped '=', ':' or blank, continuation lines, \uXXXX; the last of duplicate keys wins.
 * Keys and values are held as UTF-8.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct props;

/*
 * Parses text. ERR_MALFORMED, with the line number: a broken \u escape (Java refuses it too), half of a surrogate pair
 * and the character NUL (Java can hold them, UTF-8 and C strings can't). Everything else is valid.
 */
enum err props_parse(struct props **out, const void *text, size_t n, struct why *why) MUST_CHECK;
struct props *props_new(void); /* an empty document; NULL when out of memory */
void *props_free(struct props *p);

/* The value (belongs to the document, valid until it is changed) or NULL. */
const char *props_get(const struct props *p, const char *key);
/* The 1-based line where the winning value of key stands; 0 when there is none. */
unsigned props_line(const struct props *p, const char *key);
/*
 * Sets a value: the winning line is replaced in its place, other lines of the same key are removed; a new key is
 * appended at the end. Setting the value it has changes nothing and reports *changed = false (may be NULL).
 * ERR_INVALID: key or value is not UTF-8. On errors the document is as before.
 */
enum err props_set(struct props *p, const char *key, const char *value, bool *changed) MUST_CHECK;
/* Removes all lines of a key. */
void props_remove(struct props *p, const char *key, bool *changed);
/* Writes the document; untouched lines byte for byte. */
enum err props_write(const struct props *p, struct buf *out) MUST_CHECK;
/* The i-th winning key in the order of the file, NULL at the end. */
const char *props_key_at(const struct props *p, size_t i);
size_t props_count(const struct props *p);

/* One "key=value\n" with Java's escapes, as props_write would write it. */
enum err props_put_pair(struct buf *out, const char *key, const char *value) MUST_CHECK;
