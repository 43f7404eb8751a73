/*
 * Which of two links of one agent is the older one (decision 13).
 *
 * A muster agent numbers its links, and its process starts too. A claim on a host that was made for an older link and
 * comes late (from a server that was stopped, over a network that held it back) must not win over a newer one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct link_stamp {
	const char *boot;    /* of the agent's process, new at each start; NULL: it numbers nothing */
	int64_t boot_number; /* counts the starts; 0: not known */
	int64_t link_number; /* within the boot */
};

/* Surely older. Where it can't be told (no numbers, or two machines with one identity) none is. */
bool link_is_older(const struct link_stamp *a, const struct link_stamp *than);
