/*
 * Whatever stands in the cluster key file: it is refused with a sentence that doesn't repeat it, or it is exactly the
 * key that the same text means to everybody else.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "ca/root.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct text {
	const uint8_t *data;
	size_t size;
};

static enum err give(const struct fs *fs, const char *path, size_t limit, struct buf *out, struct why *why)
{
	const struct text *t = fs->user;

	if (t->size > limit) {
		why_set(why, "%s is larger than %zu bytes", path, limit);
		return ERR_TOO_BIG;
	}
	return buf_put(out, t->data, t->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text t = {data, size};
	const struct fs fs = {.read = give, .user = &t};
	uint8_t key[CLUSTER_KEY_SIZE] = {0};
	struct why why = WHY_NONE;
	CLEAN(mem_freep) char *text = NULL;
	enum err e = cluster_key_read(key, &fs, "cluster.key", &why);

	MUST(!e == !why.text[0]);
	if (e) {
		MUST(e == ERR_MALFORMED || e == ERR_TOO_BIG);
		for (size_t i = 0; i < sizeof(key); i++)
			MUST(!key[i]);
		return 0;
	}
	/* One spelling, and blanks behind it. */
	text = base64url_encode(key, sizeof(key));
	MUST(text && size >= strlen(text) && !memcmp(data, text, strlen(text)));
	for (size_t i = strlen(text); i < size; i++)
		MUST(strchr(" \t\r\n", data[i]) && data[i]);
	return 0;
}
