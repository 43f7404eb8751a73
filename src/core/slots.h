/*
 * Slots: the place of each host in its zone that roundrobin counts by (docs/placement.md, "Slots").
 *
 * CloudStack ranks hosts by position, so one deleted host moves everybody. Here a host keeps its slot. The first
 * slots are 0, 1, 2 ... in order of creation; a deleted host's slot goes to the next new host; if the holes make the
 * spread over the n servers exceed 1, hosts with the highest slots take holes, one move each, and as few as possible.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* More servers than any list can name (SERVER_LIST_MAX): slots_repair() leaves the slots alone beyond this. */
#define SLOTS_SERVERS_MAX 1024

/* The slot for a new host: the lowest hole, or the end. `taken` is sorted ascending, without duplicates. */
uint64_t slots_next(const uint64_t *taken, size_t n);
/*
 * The same for a known number of servers, so that a new host moves nobody: the lowest hole or end among the servers
 * that have the fewest hosts. Without holes both give n. 0 servers or too many: like slots_next().
 */
uint64_t slots_next_even(const uint64_t *taken, size_t n, size_t n_servers);

struct slot_move {
	uint64_t from;
	uint64_t to;
};

/*
 * The moves that bring the spread over `n_servers` down to at most 1: which taken slot goes to which hole. At most n
 * moves are written to `moves` (room for n); returns how many. `taken` is sorted ascending, without duplicates.
 */
size_t slots_repair(const uint64_t *taken, size_t n, size_t n_servers, struct slot_move *moves);

/* max - min of hosts per server when host i goes to server taken[i] mod n_servers. 0 when there are no servers. */
size_t slots_spread(const uint64_t *taken, size_t n, size_t n_servers);
