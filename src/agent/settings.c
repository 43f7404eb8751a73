/*
 * The rows of agent.properties, and the few rules that a row can't say: blank is unset, a placeholder that the
 * packaging never filled in is unset too, and an interval that is no number is 0.
 */
#include "agent/settings.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "client/agent_file.h"

#define AT(field) offsetof(struct agent_settings, field)
#define WORKERS_DEFAULT 5

/* clang-format off */
static const struct setting rows[] = {
	{ .name = "guid", .type = SETTING_TEXT, .offset = AT(guid),
	  .help = "Stable identity of this host, part of its certificate; written by `muster-agent join`" },
	{ .name = "host", .type = SETTING_TEXT, .offset = AT(host),
	  .help = "Management servers, the preferred one first: M1,M2,M3 or M1,M2,M3@algorithm. The servers keep it up to date" },
	{ .name = "hosts", .type = SETTING_TEXT, .offset = AT(hosts),
	  .help = "Read where `host` is absent" },
	{ .name = "port", .type = SETTING_NUMBER, .offset = AT(port), .fallback = "8250", .min = 1, .max = 65535,
	  .help = "Port of servers that are listed without one" },
	{ .name = "zone", .type = SETTING_TEXT, .offset = AT(zone), .fallback = "default",
	  .help = "Zone of this host: id or name" },
	{ .name = "pod", .type = SETTING_TEXT, .offset = AT(pod), .fallback = "default",
	  .help = "Pod of this host: id or name" },
	{ .name = "cluster", .type = SETTING_TEXT, .offset = AT(cluster), .fallback = "default",
	  .help = "Cluster of this host: id or name" },
	{ .name = "resource", .type = SETTING_TEXT, .offset = AT(resource),
	  .fallback = "com.cloud.hypervisor.kvm.resource.LibvirtComputingResource",
	  .help = "What the host presents itself as; the last part of the class name is sent and is part of the keys with the host's id" },
	{ .name = "host.lb.check.interval", .type = SETTING_TEXT, .offset = AT(check_interval),
	  .help = "Seconds between two looks at the preferred server; 0: never. Set by hand it overrides what the servers say" },
	{ .name = "ping.retries", .type = SETTING_NUMBER, .offset = AT(ping_retries), .fallback = "5", .min = 1, .max = 1000,
	  .help = "Pings without an answer after which a link is given up" },
	{ .name = "muster.ping.deadline", .type = SETTING_NUMBER, .offset = AT(ping_deadline_s), .fallback = "10", .min = 0, .max = 3600,
	  .help = "Seconds in which a server without heartbeats has to answer a ping; after them another one is looked for beside it. 0: only ping.retries counts" },
	{ .name = "ssl.handshake.timeout", .type = SETTING_NUMBER, .offset = AT(handshake_s), .fallback = "10", .min = 1, .max = 600,
	  .help = "Seconds for a TLS handshake; CloudStack's own default is 30" },
	{ .name = "backoff.seconds", .type = SETTING_NUMBER, .offset = AT(backoff_s), .fallback = "5", .min = 1, .max = 3600,
	  .help = "Scales the waits between two attempts at one server: random, from a tenth of it at first to six times as much" },
	{ .name = "workers", .type = SETTING_NUMBER, .offset = AT(workers), .fallback = "5",
	  .help = "Kept for CloudStack's agent; commands need no threads here" },
	{ .name = "keystore.passphrase", .type = SETTING_TEXT, .offset = AT(passphrase),
	  .help = "Opens cloud.jks of CloudStack's agent for `muster-agent takeover`, else kept for that agent; not shown by --dump" },
	{ .name = "agent.health.check.script.path", .type = SETTING_TEXT, .offset = AT(health_script),
	  .help = "Program that says whether this host is healthy: exit code 0 yes, 1 no, anything else not known" },
	{ .name = "muster.health.check.timeout", .type = SETTING_NUMBER, .offset = AT(health_limit_s), .fallback = "60", .min = 1, .max = 3600,
	  .help = "Seconds after which that program and what it has started is killed" },
	{ .name = "host.tags", .type = SETTING_TEXT, .offset = AT(host_tags),
	  .help = "Comma separated tags of this host" },
	{ .name = "hypervisor.type", .type = SETTING_TEXT, .offset = AT(hypervisor), .fallback = "kvm",
	  .help = "kvm or lxc" },
	{ .name = "public.network.device", .type = SETTING_TEXT, .offset = AT(public_device),
	  .help = "Network device whose traffic is reported; default: the one of the default route" },
	{ .name = "private.network.device", .type = SETTING_TEXT, .offset = AT(private_device),
	  .help = "Network device whose address is the host's; default: the one of the default route" },
	{ .name = "host.reserved.mem.mb", .type = SETTING_NUMBER, .offset = AT(reserved_mb), .fallback = "1024", .min = 0, .max = 1000000000,
	  .help = "Memory kept for the host itself, in MiB" },
	{ .name = "host.overcommit.mem.mb", .type = SETTING_NUMBER, .offset = AT(overcommit_mb), .fallback = "0", .min = 0, .max = 1000000000,
	  .help = "Memory offered beyond what there is, in MiB" },
	{ .name = "muster.name", .type = SETTING_TEXT, .offset = AT(name),
	  .help = "Name of this host; default: the host name" },
	{ .name = "muster.source.ip", .type = SETTING_TEXT, .offset = AT(source_ip),
	  .help = "Address to connect from; default: the system's choice" },
	TCP_TIMER_ROWS("muster.", AT(tcp)),
	{ .name = "muster.failback.uptime", .type = SETTING_NUMBER, .offset = AT(failback_uptime_s), .fallback = "30", .min = 0, .max = 86400,
	  .help = "Seconds that the preferred server has to be up before the agent returns to it by itself. 0: at once" },
	{ .name = "muster.failback.uptime.intervals", .type = SETTING_NUMBER, .offset = AT(failback_intervals), .fallback = "2", .min = 0, .max = 1000,
	  .help = "So many check intervals are enough too, whichever is less. 0: at once" },
	{ .name = "muster.failback.heartbeats", .type = SETTING_NUMBER, .offset = AT(failback_heartbeats), .fallback = "3", .min = 0, .max = 100,
	  .help = "Heartbeats that the link to the preferred server has to see before it is used; they come every half second. 0: TLS is enough" },
	{ .name = "muster.failback.prove", .type = SETTING_NUMBER, .offset = AT(failback_prove_s), .fallback = "6", .min = 1, .max = 600,
	  .help = "Seconds in which they have to come" },
	{ .name = "muster.failback.unknown", .type = SETTING_NUMBER, .offset = AT(failback_unknown_s), .fallback = "3", .min = 0, .max = 600,
	  .help = "Seconds on a server that says nothing about the preferred one, after which only the link to that decides" },
	{ .name = "muster.failback.flap", .type = SETTING_NUMBER, .offset = AT(failback_flap_s), .fallback = "300", .min = 0, .max = 86400,
	  .help = "Losing the preferred server within so many seconds of a return is a flap. 0: never" },
	{ .name = "muster.failback.damper", .type = SETTING_NUMBER, .offset = AT(failback_damper_s), .fallback = "300", .min = 0, .max = 86400,
	  .help = "Seconds after a flap before the agent returns by itself again. 0: no damper" },
	{ .name = "muster.failback.jitter", .type = SETTING_NUMBER, .offset = AT(failback_jitter), .fallback = "20", .min = 0, .max = 99,
	  .help = "Percent by which a look at the preferred server may come earlier than its interval" },
	{ .name = "muster.first.dial.few", .type = SETTING_NUMBER, .offset = AT(first_dial_few), .fallback = "100", .min = 0, .max = 1000000000,
	  .help = "Agents on a lost server up to which nobody waits before dialling another one" },
	{ .name = "muster.first.dial.per.agent.us", .type = SETTING_NUMBER, .offset = AT(first_dial_us), .fallback = "200", .min = 0, .max = 1000000,
	  .help = "Microseconds by which each agent more makes the time longer over which they spread. 0: nobody waits" },
	{ .name = "muster.first.dial.most.ms", .type = SETTING_NUMBER, .offset = AT(first_dial_most_ms), .fallback = "5000", .min = 0, .max = 600000,
	  .help = "Milliseconds that this time has at most" },
	{ .name = "muster.log.level", .type = SETTING_CHOICE, .offset = AT(log_level), .fallback = "info", .choices = "error,warn,info,debug",
	  .help = "What is logged: error, warn, info, debug" },
	{ .name = "muster.socket", .type = SETTING_TEXT, .offset = AT(socket), .fallback = "agent.sock",
	  .help = "Local socket that `muster-agent explain` asks; a relative path is relative to the agent's folder" },
	{ .name = KEY_HOST_LASTGOOD, .type = SETTING_TEXT, .offset = AT(lastgood),
	  .help = "Written by the agent: the last list that worked, for when nobody of `host` answers" },
	{ .name = KEY_HOST_BOOTSTRAP, .type = SETTING_TEXT, .offset = AT(bootstrap),
	  .help = "Written by `muster-agent join`: the first servers, tried last" },
	{ .name = KEY_KNOWN_MUSTER, .type = SETTING_TEXT, .offset = AT(known),
	  .help = "Written by the agent: servers known to be muster's, which get no other TLS than muster's any more" },
	{ .name = KEY_ADDRESSES, .type = SETTING_TEXT, .offset = AT(addresses),
	  .help = "Written by the agent: where names led to when they last worked" },
	{ .name = KEY_BOOT, .type = SETTING_TEXT, .offset = AT(boot),
	  .help = "Written by the agent: how often it has started from this file; servers tell an old start from a new one by it" },
	{ .name = KEY_CHECK_INTERVAL_RECEIVED, .type = SETTING_TEXT, .offset = AT(interval_received),
	  .help = "Written by the agent: the interval that the servers sent; host.lb.check.interval is the operator's own where the two differ" },
};
/* clang-format on */

const struct settings_table agent_settings_table = {
	.rows = rows,
	.n = ARRAY_SIZE(rows),
	.own_prefix = "muster.",
};

void agent_settings_deinit(struct agent_settings *s)
{
	if (s->passphrase)
		mem_wipe(s->passphrase, strlen(s->passphrase));
	settings_deinit(&agent_settings_table, s);
}

/* ---- reading ---- */

/* "@ZONE@": what packaging left there for a set-up tool that never ran. */
static bool is_placeholder(const char *value)
{
	size_t n = strlen(value);

	return n > 1 && value[0] == '@' && value[n - 1] == '@';
}

static bool is_unset(const struct setting *row, const char *value)
{
	if (str_is_blank(value))
		return true;
	/* In `host` it is a mistake: no server would be better than a made-up one. */
	return is_placeholder(value) && strcmp(row->name, KEY_HOST) != 0;
}

/* A copy in which what counts as unset says the default; every line stays where it was, for the sentences. */
static enum err with_defaults(struct props **out, const struct props *p)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = props_write(p, &text);

	if (!e)
		e = props_parse(out, text.data, text.len, NULL);
	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++) {
		const char *value = props_get(p, rows[i].name);

		if (value && rows[i].fallback && is_unset(&rows[i], value))
			e = props_set(*out, rows[i].name, rows[i].fallback, NULL);
	}
	return e;
}

/* Blanks at the end of a value can't be seen in an editor; Java keeps them, nobody means them. */
static void tidy_texts(struct agent_settings *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char **text = (char **)(void *)((char *)s + rows[i].offset);
		char *trimmed;

		if (rows[i].type != SETTING_TEXT || !*text)
			continue;
		trimmed = str_trim(*text);
		if (is_unset(&rows[i], trimmed))
			*text = mem_free(*text);
		else
			memmove(*text, trimmed, strlen(trimmed) + 1);
	}
	if (s->workers <= 0)
		s->workers = WORKERS_DEFAULT;
}

static void warn_interval(const struct agent_settings *s, const struct props *p, const char *file,
			  const struct settings_voice *voice)
{
	struct why sentence;
	int64_t number;

	if (!s->check_interval || str_to_i64(s->check_interval, &number) || !voice->warning)
		return;
	why_set(&sentence, "%s:%u: %s: \"%s\" is not a number and counts as 0: never looks at the preferred server",
		file, props_line(p, KEY_CHECK_INTERVAL), KEY_CHECK_INTERVAL, s->check_interval);
	voice->warning(voice->user, sentence.text);
}

enum err agent_settings_load(struct agent_settings *out, const struct props *p, const char *file,
			     const struct settings_voice *voice)
{
	struct agent_settings s = {0};
	struct props *copy = NULL;
	enum err e = with_defaults(&copy, p);

	if (!e)
		e = settings_load(&agent_settings_table, &s, copy, file, voice->mistake, voice->user);
	props_free(copy);
	if (e)
		return e;
	tidy_texts(&s);
	warn_interval(&s, p, file, voice);
	*out = s;
	return ERR_OK;
}

/* ---- from the command line ---- */

static bool is_kept_by_engine(const char *key)
{
	static const char *const keys[] = {
		KEY_HOST,           "hosts",
		KEY_CHECK_INTERVAL, KEY_CHECK_INTERVAL_RECEIVED,
		KEY_HOST_LASTGOOD,  KEY_HOST_BOOTSTRAP,
		KEY_KNOWN_MUSTER,   KEY_ADDRESSES,
		KEY_BOOT,
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i], key) == 0)
			return true;
	}
	return false;
}

enum err agent_settings_set(struct agent_settings *s, const char *key, const char *value, struct why *why)
{
	enum err e;

	if (is_kept_by_engine(key)) {
		why_set(why, "%s: the agent keeps it in agent.properties: change it there", key);
		return ERR_INVALID;
	}
	e = settings_set(&agent_settings_table, s, key, value, why);
	if (!e)
		tidy_texts(s);
	return e;
}

/* ---- what they mean ---- */

enum err agent_settings_check(const struct agent_settings *s, struct why *why)
{
	char name[128];

	if (!s->guid) {
		why_set(why, "there is no guid: this agent has not joined yet (muster-agent join TOKEN)");
		return ERR_INVALID;
	}
	if (s->host && is_placeholder(s->host)) {
		why_set(why, "host: \"%s\" is a placeholder that was never filled in", s->host);
		return ERR_INVALID;
	}
	if (!s->host && !s->hosts) {
		why_set(why, "host: no management server is named");
		return ERR_INVALID;
	}
	if (!agent_settings_resource_name(name, sizeof(name), s)) {
		why_set(why, "resource: \"%s\" doesn't end in the name of a class", s->resource);
		return ERR_INVALID;
	}
	return ERR_OK;
}

bool agent_settings_resource_name(char *out, size_t size, const struct agent_settings *s)
{
	size_t n = s->resource ? strcspn(s->resource, "|") : 0;
	size_t from = n;

	while (from && s->resource[from - 1] != '.')
		from--;
	if (from == n || n - from >= size)
		return false;
	memcpy(out, s->resource + from, n - from);
	out[n - from] = '\0';
	return true;
}

int64_t agent_settings_interval(const struct agent_settings *s)
{
	int64_t interval;

	if (!s->check_interval)
		return -1;
	return str_to_i64(s->check_interval, &interval) && interval > 0 ? interval : 0;
}

struct failback_rule agent_settings_failback(const struct agent_settings *s)
{
	return (struct failback_rule){
		.uptime_ms = s->failback_uptime_s * 1000,
		.uptime_intervals = (unsigned)s->failback_intervals,
		.heartbeats = (unsigned)s->failback_heartbeats,
		.prove_ms = s->failback_prove_s * 1000,
		.unknown_ms = s->failback_unknown_s * 1000,
		.flap_ms = s->failback_flap_s * 1000,
		.damper_ms = s->failback_damper_s * 1000,
		.jitter_percent = (unsigned)s->failback_jitter,
	};
}

struct first_dial_rule agent_settings_first_dial(const struct agent_settings *s)
{
	return (struct first_dial_rule){
		.few = (uint64_t)s->first_dial_few,
		.us_per_agent = s->first_dial_us,
		.most_ms = s->first_dial_most_ms,
	};
}

enum err agent_settings_tags(struct str_list *out, const struct agent_settings *s)
{
	CLEAN(str_list_deinit) struct str_list parts = {0};
	enum err e = str_list_split(&parts, s->host_tags ? s->host_tags : "", ',');

	for (size_t i = 0; !e && i < parts.n; i++) {
		const char *tag = str_trim(parts.items[i]);

		if (*tag && !str_list_has(out, tag))
			e = str_list_add(out, tag);
	}
	return e;
}

/* ---- what is kept ---- */

struct unknown {
	char prefix[130]; /* "LibvirtComputingResource." */
	void (*say)(void *user, const char *key, unsigned line);
	void *user;
};

static void unknown_one(void *user, const char *key, unsigned line)
{
	const struct unknown *u = user;
	size_t n = strlen(u->prefix);

	/* Where the host's id, uuid and name are remembered; the engine writes them. */
	if (n && strncmp(key, u->prefix, n) == 0 &&
	    (!strcmp(key + n, "id") || !strcmp(key + n, "uuid") || !strcmp(key + n, "name")))
		return;
	u->say(u->user, key, line);
}

void agent_settings_unknown(const struct agent_settings *s, const struct props *p,
			    void (*say)(void *user, const char *key, unsigned line), void *user)
{
	struct unknown u = {.say = say, .user = user};

	if (agent_settings_resource_name(u.prefix, sizeof(u.prefix) - 1, s))
		strcat(u.prefix, ".");
	settings_unknown(&agent_settings_table, p, unknown_one, &u);
}

struct kept {
	const struct props *props;
	struct buf *out;
	bool any;
	enum err err;
};

static void dump_kept(void *user, const char *key, unsigned line)
{
	struct kept *k = user;

	if (!k->err && !k->any)
		k->err = buf_put_str(k->out, "\n# kept as they are\n");
	k->any = true;
	if (!k->err)
		k->err = props_put_pair(k->out, key, props_get(k->props, key));
}

enum err agent_settings_dump(const struct agent_settings *s, const struct props *p, struct buf *out)
{
	struct agent_settings shown = *s;
	struct kept k = {.props = p, .out = out};

	shown.passphrase = NULL;
	k.err = settings_dump(&agent_settings_table, &shown, out);
	if (!k.err && p)
		settings_unknown(&agent_settings_table, p, dump_kept, &k);
	return k.err;
}
