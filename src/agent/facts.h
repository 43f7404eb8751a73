/*
 * Facts about the machine: what a startup says of it and what GetHostStats measures (agent-protocol 3.4, 3.8).
 *
 * Read from /proc, /etc/os-release, uname and the network devices. Where these are is an argument, so that tests read
 * other machines. What the machine doesn't say stays 0 or empty: nothing is made up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/settings.h"
#include "base/fs.h"
#include "net/world.h"
#include "wire/message.h"

struct facts_roots {
	const struct fs *fs;
	const char *proc;       /* "/proc" */
	const char *sys;        /* "/sys" */
	const char *os_release; /* "/etc/os-release" */
};
extern const struct facts_roots facts_machine;

/* One address of one network device. */
struct facts_card {
	char device[32];
	char ip[IP_TEXT];
	char netmask[IP_TEXT];
	char mac[18]; /* "" where it has none */
	bool is_ipv6;
	bool is_public_use; /* neither loopback nor link-local */
};

struct facts {
	int64_t cpus, sockets, mhz; /* 0: not known */
	int64_t memory_bytes;       /* all of it */
	bool has_vmx;               /* the processor helps with virtual machines */
	char arch[32];
	char kernel[128];
	char os_name[128];
	char os_version[64];
	char default_device[32];  /* of the default route; "": none */
	struct facts_card *cards; /* owned */
	size_t n_cards;
};

void facts_deinit(struct facts *f);
/* Reads everything; a file that isn't there leaves its fields empty. ERR_NOMEM only. */
enum err facts_read(struct facts *out, const struct facts_roots *roots) MUST_CHECK;
/* Adds the cards of this machine; facts_read() doesn't, so that tests bring theirs. */
enum err facts_read_cards(struct facts *f) MUST_CHECK;
enum err facts_add_card(struct facts *f, const struct facts_card *card) MUST_CHECK;

/* The card whose address is the host's: source address, private.network.device, default route, the first; NULL: none.
 */
const struct facts_card *facts_own_card(const struct facts *f, const struct agent_settings *s);
/* Addresses for a certificate: all that others may see, and the source address. */
enum err facts_addresses(struct str_list *out, const struct facts *f, const struct agent_settings *s) MUST_CHECK;

/* Fills in what section 3.4 asks for; identity, list and version are the engine's. `is_healthy` NULL: not known. */
enum err facts_put(const struct facts *f, const struct agent_settings *s, bool is_secured, const bool *is_healthy,
		   struct msg_startup_routing *out) MUST_CHECK;

/* ---- measured ---- */

struct facts_cpu { /* sums since the machine's start, in ticks */
	uint64_t busy, total;
};

struct facts_stats {
	double cpu_percent;    /* of all cores, since the call before; the first time since the machine's start */
	double load;           /* of the last minute */
	double rx_kib, tx_kib; /* cumulative */
	double total_kib, free_kib;
};

/* `cpu` is carried from call to call; {0} at first. ERR_IO with a sentence when /proc doesn't say. */
enum err facts_measure(struct facts_stats *out, struct facts_cpu *cpu, const struct facts_roots *roots,
		       const struct facts *f, const struct agent_settings *s, struct why *why) MUST_CHECK;
