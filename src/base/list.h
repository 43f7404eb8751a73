/*
 * An intrusive doubly linked list. A link that is in no list points to itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct list {
	struct list *next;
	struct list *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_prepend(struct list *head, struct list *l)
{
	list_append(head->next, l);
}

/* Safe on a link that is in no list, if it was initialised. */
static inline void list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

#define list_entry(l, type, member) container_of(l, type, member)
#define list_first(head, type, member) (list_is_empty(head) ? NULL : list_entry((head)->next, type, member))

/* The current element may be removed inside the loop, others may not. */
#define list_for(it, head, type, member)                                                                               \
	for (type *it = list_entry((head)->next, type, member), *it##_next_ = NULL;                                    \
	     &(it)->member != (head) && ((it##_next_ = list_entry((it)->member.next, type, member)), true);            \
	     (it) = it##_next_)
