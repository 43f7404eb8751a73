/*
 * The agents: each is a struct agent as muster-agent runs it, with an identity, a file and a source address of its own.
 *
 * An agent says that something has changed at the end of the turn in which it did; what it then is, compared with what
 * it was, is an event. "Without a link" runs from the moment an agent that was up isn't to the moment it is again; an
 * agent that goes from one link to the other without being without one has moved.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "bench/bench.h"

#define RAMP_LOOK_MS 10
#define BEAT_MS 100
#define ALIVE "resource is alive"
#define CPUS 8
#define MEMORY_BYTES (64LL << 30)

/* What an agent looked like last. */
struct seen {
	enum agent_state state;
	char *server; /* owned; NULL: none */
	bool is_moving, is_home;
};

struct member {
	struct fleet *fleet;
	char name[128];
	char source[IP_TEXT];
	struct log log;
	struct agent_file *file;
	struct tls_creds *creds;
	struct agent *agent;
	struct seen seen;
	int64_t began_us, lost_us;
	bool was_up;
};

/* The links that agents made to one server. */
struct target {
	char *name;
	struct rate links;
};

struct fleet {
	struct fleet_params p;
	struct log log;
	struct member *members; /* owned */
	size_t n_started, n_up;
	struct timer ramp;
	struct timer beat; /* tells how late the loop is: times of agents that it holds up would be its own */
	int64_t beat_due_us;
	int64_t began_us, all_up_us;
	struct later flush;
	struct map targets; /* name -> struct target, owned */
	struct samples first, without, late;
	size_t n_losses, n_moves, n_commands, n_ended, n_uncounted;
	int64_t rss_before, rss_identities, rss_all_up; /* KiB */
};

CLEAN_DEFINE(struct fleet, fleet_free)

/* ---- where they come from ---- */

enum err source_of(const char *cidr, size_t i, char out[IP_TEXT], struct why *why)
{
	char text[IP_TEXT];
	char *slash;
	struct in_addr net;
	int64_t bits = 32;
	uint32_t size;

	out[0] = '\0';
	if (!*cidr)
		return ERR_OK;
	if (!str_copy(text, sizeof(text), cidr))
		text[0] = '\0';
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (inet_pton(AF_INET, text, &net) != 1 ||
	    (slash && (!str_to_i64(slash + 1, &bits) || bits < 1 || bits > 32))) {
		why_set(why, "--source %s: not an IPv4 network such as 127.0.0.0/8", cidr);
		return ERR_INVALID;
	}
	/* The first and the last address of a network are not for hosts. */
	size = bits == 32 ? 0 : (uint32_t)(UINT32_MAX >> bits);
	if (size > 2)
		net.s_addr = htonl((ntohl(net.s_addr) & ~size) + 1 + (uint32_t)(i % (size - 1)));
	inet_ntop(AF_INET, &net, out, IP_TEXT);
	return ERR_OK;
}

/* ---- events ---- */

static void run_flush(struct later *l)
{
	fflush(stdout);
}

static void event_print(struct fleet *f, const struct member *m, const struct agent_view *v, bool is_home)
{
	if (!f->p.options->events)
		return;
	printf("{\"t\":%" PRId64 ",\"agent\":\"%s\",\"from\":\"%s\",\"to\":\"%s\",\"server\":%s%s%s,\"moving\":%s,"
	       "\"home\":%s}\n",
	       wall_us(), m->name, agent_state_name(m->seen.state), agent_state_name(v->state),
	       v->connected ? "\"" : "", v->connected ? v->connected : "null", v->connected ? "\"" : "",
	       v->moving ? "true" : "false", is_home ? "true" : "false");
	world_later(f->p.world, &f->flush);
}

static struct target *target_get(struct fleet *f, const char *name)
{
	struct target *t = map_get(&f->targets, name);

	if (t)
		return t;
	t = mem_zalloc(sizeof(*t));
	if (t && (t->name = mem_strdup(name)) && map_put(&f->targets, name, t) == ERR_OK)
		return t;
	if (t)
		mem_free(t->name);
	return mem_free(t);
}

static void count(struct fleet *f, enum err e)
{
	f->n_uncounted += e != ERR_OK;
}

static void member_arrived(struct member *m, const char *server, int64_t now)
{
	struct fleet *f = m->fleet;
	struct target *t = target_get(f, server);

	count(f, t ? rate_add(&t->links, now) : ERR_NOMEM);
	if (m->seen.state == AGENT_UP) {
		f->n_moves++;
		return;
	}
	count(f, m->was_up ? samples_add(&f->without, now - m->lost_us) : samples_add(&f->first, now - m->began_us));
	m->was_up = true;
	f->n_up++;
	if (f->n_up == f->p.options->agents && !f->all_up_us) {
		f->all_up_us = now;
		f->rss_all_up = rss_kib();
		f->p.all_up(f->p.user);
	}
}

static void member_lost(struct member *m, int64_t now)
{
	m->lost_us = now;
	m->fleet->n_losses++;
	m->fleet->n_up--;
}

static void see(struct member *m, const struct agent_view *v, bool is_home)
{
	if (!str_equal(m->seen.server, v->connected)) {
		mem_free(m->seen.server);
		m->seen.server = mem_strdup(v->connected);
		count(m->fleet, m->seen.server || !v->connected ? ERR_OK : ERR_NOMEM);
	}
	m->seen.state = v->state;
	m->seen.is_moving = v->moving;
	m->seen.is_home = is_home;
}

static void on_changed(void *user)
{
	struct member *m = user;
	struct agent_view v;
	bool is_up, is_other, is_home;
	int64_t now = now_us();

	agent_look(m->agent, &v);
	is_up = v.state == AGENT_UP;
	is_other = !str_equal(m->seen.server, v.connected);
	/* A new list makes an agent at home, or not, without anything else. */
	is_home = is_up && str_equal(v.connected, v.preferred);
	if (v.state == m->seen.state && v.moving == m->seen.is_moving && is_home == m->seen.is_home && !is_other)
		return;
	event_print(m->fleet, m, &v, is_home);
	if (is_up && (is_other || m->seen.state != AGENT_UP))
		member_arrived(m, v.connected, now);
	else if (!is_up && m->seen.state == AGENT_UP)
		member_lost(m, now);
	see(m, &v, is_home);
}

/* ---- what the engine asks of its host program ---- */

static enum err on_startup(void *user, struct msg_startup_routing *out)
{
	enum err e = msg_set_text(&out->hypervisorType, "KVM");

	msg_set_i64(&out->cpus, CPUS);
	msg_set_i64(&out->memory, MEMORY_BYTES);
	return e ? e : msg_set_text(&out->caps, "hvm");
}

static enum err check_health_put(struct batch *b)
{
	struct msg_check_health_answer *a = batch_add(b, MSG_CHECK_HEALTH_ANSWER);

	if (!a)
		return ERR_NOMEM;
	msg_set_bool(&a->result, true);
	return msg_set_text(&a->details, ALIVE);
}

/* Everything works on these hosts, and nothing is behind it. */
static void on_command(void *user, struct agent_command *c)
{
	struct member *m = user;
	struct batch b = {0};

	m->fleet->n_commands++;
	if (c->element->type == MSG_CHECK_HEALTH && check_health_put(&b) == ERR_OK) {
		agent_answer(c, &b);
		return;
	}
	batch_deinit(&b);
	agent_answer_plain(c, true, NULL);
}

static void on_stopped(void *user, enum err why, const char *sentence)
{
	struct member *m = user;

	m->fleet->n_ended++;
	log_error(&m->log, "the agent has ended", KV_S("reason", sentence));
}

static const struct agent_host host = {
	.startup = on_startup,
	.command = on_command,
	.changed = on_changed,
	.stopped = on_stopped,
};

/* ---- made ---- */

static enum err load_creds(struct member *m, struct folder *folder, struct why *why)
{
	enum err e = folder_load(folder, why);
	const struct tls_material material = {.chain = folder->cert, .key = folder->key, .ca = folder->ca};

	return e ? e : tls_creds_new(m->fleet->p.world, &m->creds, &material, why);
}

static enum err load_file(struct member *m, const struct folder *folder, struct why *why)
{
	const char *servers = m->fleet->p.options->servers;
	CLEAN(mem_freep) char *path = folder_properties(folder);
	enum err e = path ? agent_file_open(&m->file, m->fleet->p.fs, path, why) : ERR_NOMEM;

	if (e || !servers)
		return e;
	return agent_file_change(m->file, &(struct agent_change){KEY_HOST, servers}, 1, why);
}

static enum err make_agent(struct member *m, struct why *why)
{
	const char *port = agent_file_get(m->file, "port");
	struct agent_params p;
	int64_t number;

	agent_params_init(&p);
	p.world = m->fleet->p.world;
	p.log = &m->log;
	p.file = m->file;
	p.creds = m->creds;
	p.guid = agent_file_get(m->file, "guid");
	p.resource_name = RESOURCE;
	p.name = m->name;
	p.zone = p.pod = p.cluster = "default";
	if (port && str_to_i64(port, &number) && number > 0 && number <= UINT16_MAX)
		p.port = (uint16_t)number;
	p.source_ip = m->source[0] ? m->source : NULL;
	p.version = MUSTER_VERSION;
	p.host = &host;
	p.host_user = m;
	return agent_new(&m->agent, &p, why);
}

static enum err member_init(struct member *m, struct fleet *f, size_t i, struct why *why)
{
	const struct options *o = f->p.options;
	CLEAN(folder_deinit) struct folder folder = {0};
	enum err e;

	m->fleet = f;
	snprintf(m->name, sizeof(m->name), "%s%zu", o->prefix, i + 1);
	m->log = f->log;
	m->log.name = m->name;
	e = source_of(o->source, i, m->source, why);
	if (!e)
		e = folder_init(&folder, o->dir, m->name);
	if (!e)
		e = load_creds(m, &folder, why);
	if (e == ERR_NOT_FOUND)
		why_set(why, "%s has not joined yet: --token TOKEN lets it", m->name);
	if (!e)
		e = load_file(m, &folder, why);
	return e ? e : make_agent(m, why);
}

static void ramp_fired(struct timer *t);
static void beat_fired(struct timer *t);

enum err fleet_new(struct fleet **out, const struct fleet_params *p, struct why *why)
{
	CLEAN(fleet_freep) struct fleet *f = mem_zalloc(sizeof(*f));
	enum err e = ERR_OK;

	if (!f || !(f->members = mem_zalloc_array(p->options->agents, sizeof(*f->members)))) {
		return ERR_NOMEM;
	}
	f->p = *p;
	log_init_stderr(&f->log, p->options->level, true);
	map_init_text(&f->targets, 0);
	timer_init(&f->ramp, ramp_fired);
	timer_init(&f->beat, beat_fired);
	list_init(&f->flush.queued);
	f->flush.call = run_flush;
	f->rss_before = rss_kib();
	for (size_t i = 0; !e && i < p->options->agents; i++)
		e = member_init(&f->members[i], f, i, why);
	if (e)
		return e;
	f->rss_identities = rss_kib();

	*out = STEAL(f);
	return ERR_OK;
}

struct fleet *fleet_free(struct fleet *f)
{
	size_t cursor = 0;

	if (!f)
		return NULL;
	for (size_t i = 0; f->members && i < f->p.options->agents; i++) {
		struct member *m = &f->members[i];

		agent_free(m->agent);
		agent_file_free(m->file);
		if (m->creds)
			tls_creds_unref(m->creds);
		mem_free(m->seen.server);
	}
	if (f->p.world) {
		timer_stop(f->p.world, &f->ramp);
		timer_stop(f->p.world, &f->beat);
		world_later_cancel(&f->flush);
	}
	for (struct target *t = map_next(&f->targets, &cursor); t; t = map_next(&f->targets, &cursor)) {
		mem_free(t->name);
		rate_deinit(&t->links);
		mem_free(t);
	}
	map_deinit(&f->targets);
	samples_deinit(&f->first);
	samples_deinit(&f->without);
	samples_deinit(&f->late);
	mem_free(f->members);
	return mem_free(f);
}

/* ---- started ---- */

static enum err start_up_to(struct fleet *f, size_t n)
{
	enum err e = ERR_OK;

	if (n > f->p.options->agents)
		n = f->p.options->agents;
	for (; !e && f->n_started < n; f->n_started++) {
		f->members[f->n_started].began_us = now_us();
		e = agent_start(f->members[f->n_started].agent);
	}
	return e;
}

static void ramp_fired(struct timer *t)
{
	struct fleet *f = container_of(t, struct fleet, ramp);
	int64_t us = now_us() - f->began_us;
	enum err e = start_up_to(f, 1 + (size_t)((uint64_t)us * f->p.options->ramp / 1000000));

	if (e)
		log_error(&f->log, "an agent can't be started", KV_S("error", err_text(e)));
	if (f->n_started < f->p.options->agents)
		timer_set_in(f->p.world, &f->ramp, RAMP_LOOK_MS);
}

static void beat_next(struct fleet *f)
{
	f->beat_due_us = now_us() + BEAT_MS * 1000;
	timer_set_in(f->p.world, &f->beat, BEAT_MS);
}

static void beat_fired(struct timer *t)
{
	struct fleet *f = container_of(t, struct fleet, beat);
	int64_t late = now_us() - f->beat_due_us;

	count(f, samples_add(&f->late, late > 0 ? late : 0));
	beat_next(f);
}

enum err fleet_start(struct fleet *f)
{
	f->began_us = now_us();
	beat_next(f);
	if (f->p.options->events) {
		printf("{\"t\":%" PRId64 ",\"started\":%zu}\n", wall_us(), f->p.options->agents);
		fflush(stdout);
	}
	if (!f->p.options->ramp)
		return start_up_to(f, f->p.options->agents);
	timer_set_in(f->p.world, &f->ramp, 0);
	return ERR_OK;
}

size_t fleet_up(const struct fleet *f)
{
	return f->n_up;
}

/* ---- report ---- */

static double per_agent(const struct fleet *f, int64_t from_kib, int64_t to_kib)
{
	return to_kib ? (double)(to_kib - from_kib) / (double)f->p.options->agents : 0.0;
}

static json_t *memory_json(const struct fleet *f)
{
	return json_pack("{s:I,s:f,s:f}", "rss_kib", (json_int_t)rss_kib(), "kib_per_identity",
			 per_agent(f, f->rss_before, f->rss_identities), "kib_per_agent_up",
			 per_agent(f, f->rss_before, f->rss_all_up));
}

static json_t *links_json(const struct fleet *f)
{
	json_t *all = json_object();
	size_t cursor = 0;

	for (const struct target *t = map_next(&f->targets, &cursor); t; t = map_next(&f->targets, &cursor))
		json_object_set_new(all, t->name,
				    json_pack("{s:I,s:I}", "links", (json_int_t)t->links.total, "peak_links_per_s",
					      (json_int_t)t->links.peak));
	return all;
}

enum err fleet_report(struct fleet *f, json_t *to)
{
	const struct {
		const char *key;
		size_t value;
	} counts[] = {
		{"agents", f->p.options->agents}, {"up", f->n_up},
		{"losses", f->n_losses},          {"moves", f->n_moves},
		{"commands", f->n_commands},      {"ended", f->n_ended},
		{"uncounted", f->n_uncounted},
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		failed |= json_object_set_new(to, counts[i].key, json_integer((json_int_t)counts[i].value));
	if (f->all_up_us)
		failed |= json_object_set_new(to, "all_up_ms", json_real((double)(f->all_up_us - f->began_us) / 1000));
	failed |= json_object_set_new(to, "first_up", samples_json(&f->first));
	failed |= json_object_set_new(to, "without_link", samples_json(&f->without));
	failed |= json_object_set_new(to, "loop_late", samples_json(&f->late));
	failed |= json_object_set_new(to, "links", links_json(f));
	failed |= json_object_set_new(to, "memory", memory_json(f));
	return failed ? ERR_NOMEM : ERR_OK;
}
