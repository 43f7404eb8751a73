#include "base/heap.h"

#include <assert.h>
#include <stdbool.h>

#include "base/mem.h"

#define SMALLEST_CAP 16

void heap_deinit(struct heap *h)
{
	for (size_t i = 0; i < h->n; i++)
		h->nodes[i]->index = HEAP_NOT_IN;
	mem_free(h->nodes);
	*h = (struct heap){0};
}

void heap_node_init(struct heap_node *n)
{
	*n = (struct heap_node){.index = HEAP_NOT_IN};
}

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
	if (a->at.us != b->at.us)
		return a->at.us < b->at.us;
	return a->order < b->order;
}

static void place(struct heap *h, struct heap_node *n, size_t index)
{
	h->nodes[index] = n;
	n->index = index;
}

static void sift_up(struct heap *h, struct heap_node *n)
{
	size_t i = n->index;

	while (i > 0 && is_before(n, h->nodes[(i - 1) / 2])) {
		place(h, h->nodes[(i - 1) / 2], i);
		i = (i - 1) / 2;
	}
	place(h, n, i);
}

static void sift_down(struct heap *h, struct heap_node *n)
{
	size_t i = n->index;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && is_before(h->nodes[child + 1], h->nodes[child]))
			child++;
		if (!is_before(h->nodes[child], n))
			break;
		place(h, h->nodes[child], i);
		i = child;
	}
	place(h, n, i);
}

enum err heap_set(struct heap *h, struct heap_node *n, struct mono at)
{
	if (n->index == HEAP_NOT_IN) {
		if (h->n == h->cap) {
			size_t cap = h->cap ? h->cap * 2 : SMALLEST_CAP;
			struct heap_node **nodes = mem_grow_array(h->nodes, cap, sizeof(struct heap_node *));

			if (!nodes)
				return ERR_NOMEM;
			h->nodes = nodes;
			h->cap = cap;
		}
		place(h, n, h->n++);
	}
	assert(n->index < h->n && h->nodes[n->index] == n);
	n->at = at;
	n->order = h->next_order++;
	sift_up(h, n);
	sift_down(h, n);
	return ERR_OK;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	struct heap_node *last;

	if (n->index == HEAP_NOT_IN)
		return;
	assert(n->index < h->n && h->nodes[n->index] == n);
	last = h->nodes[--h->n];
	if (last != n) {
		place(h, last, n->index);
		sift_up(h, last);
		sift_down(h, last);
	}
	n->index = HEAP_NOT_IN;
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->n ? h->nodes[0] : NULL;
}
