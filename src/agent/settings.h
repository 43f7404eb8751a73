/*
 * agent.properties as the daemon reads it: CloudStack's names, and muster.* for what CloudStack doesn't have
 * (agent-protocol section 5, decision 18). The engine reads and writes its own keys in the same file
 * (client/agent_file.h); they have rows here so that they are checked, dumped and explained like all others.
 */
#pragma once

#include "base/settings.h"
#include "core/failback.h"
#include "core/first_dial.h"
#include "net/tcp_timers.h"

struct agent_settings {
	char *guid;
	char *resource;
	int64_t workers;
	char *host, *hosts;
	char *check_interval; /* as it stands there; agent_settings_interval() */
	int64_t port;
	char *zone, *pod, *cluster;
	int64_t ping_retries;
	int64_t ping_deadline_s;
	int64_t handshake_s;
	int64_t backoff_s;
	char *passphrase;
	char *health_script;
	char *host_tags;
	char *hypervisor;
	char *public_device, *private_device;
	int64_t reserved_mb, overcommit_mb;
	char *name;
	char *source_ip;
	char *log_level;
	char *socket;
	int64_t health_limit_s;
	struct tcp_timers tcp;
	char *lastgood, *bootstrap, *known, *addresses;
	char *interval_received;
	char *boot;
	int64_t failback_uptime_s, failback_intervals;
	int64_t failback_heartbeats, failback_prove_s;
	int64_t failback_unknown_s;
	int64_t failback_flap_s, failback_damper_s;
	int64_t failback_jitter;
	int64_t first_dial_few, first_dial_us, first_dial_most_ms;
};

extern const struct settings_table agent_settings_table;

/* What a program says while it reads them: mistakes end it, the others don't. */
struct settings_voice {
	void (*mistake)(void *user, const char *sentence);
	void (*warning)(void *user, const char *sentence);
	void *user;
};

/*
 * From a document; `file` is for the sentences. Unset and blank values are the defaults. ERR_INVALID: mistakes were
 * said, `out` holds nothing. Unknown keys are not its business: agent_settings_unknown().
 */
enum err agent_settings_load(struct agent_settings *out, const struct props *p, const char *file,
			     const struct settings_voice *voice) MUST_CHECK;
/*
 * One from the command line. What the engine keeps in the file itself can't be set for one run only: ERR_INVALID.
 */
enum err agent_settings_set(struct agent_settings *s, const char *key, const char *value, struct why *why) MUST_CHECK;
/* The rules that it makes. */
struct failback_rule agent_settings_failback(const struct agent_settings *s);
struct first_dial_rule agent_settings_first_dial(const struct agent_settings *s);
/* Ready to run? A guid, and a list without a placeholder. */
enum err agent_settings_check(const struct agent_settings *s, struct why *why) MUST_CHECK;
void agent_settings_deinit(struct agent_settings *s);

/* "LibvirtComputingResource": the first class of `resource` without its package. `out` of at least 128 bytes. */
bool agent_settings_resource_name(char *out, size_t size, const struct agent_settings *s);
/* The interval that the file sets; -1: none. What is no number counts as 0. */
int64_t agent_settings_interval(const struct agent_settings *s);
/* host.tags: trimmed, no blanks, none twice. */
enum err agent_settings_tags(struct str_list *out, const struct agent_settings *s) MUST_CHECK;
/* Calls `say` for each key that is kept without a meaning here. */
void agent_settings_unknown(const struct agent_settings *s, const struct props *p,
			    void (*say)(void *user, const char *key, unsigned line), void *user);
/* A valid agent.properties: all that is in force, then what is kept. The passphrase is not shown. */
enum err agent_settings_dump(const struct agent_settings *s, const struct props *p, struct buf *out) MUST_CHECK;
