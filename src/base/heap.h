/*
 * An intrusive binary heap of due times: what timers stand on.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/mono.h"

#define HEAP_NOT_IN ((size_t)-1)

struct heap_node {
	struct mono at;
	uint64_t order; /* equal times leave in the order in which they came */
	size_t index;   /* HEAP_NOT_IN: not in the heap */
};

struct heap {
	struct heap_node **nodes;
	size_t n;
	size_t cap;
	uint64_t next_order;
};

void heap_deinit(struct heap *h); /* nodes are only forgotten */
void heap_node_init(struct heap_node *n);
/* Puts in or moves. */
enum err heap_set(struct heap *h, struct heap_node *n, struct mono at) MUST_CHECK;
void heap_remove(struct heap *h, struct heap_node *n);
/* The earliest, or NULL. */
struct heap_node *heap_first(const struct heap *h);
