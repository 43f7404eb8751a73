#include "cli/effect.h"

#include <inttypes.h>
#include <netdb.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/plan_change.h"
#include "cli/plan_live.h"
#include "cli/plan_show.h"
#include "cli/table.h"

#define DRAIN_PER_S 100 /* when nothing is said (docs/failover.md, "Draining" 4) */
#define DRAIN_WINDOW 64

/* What the cluster is, and what it would be. */
struct effect {
	struct plan p;
	struct plan_live live;
};

static void effect_deinit(struct effect *e)
{
	plan_deinit(&e->p);
	plan_live_deinit(&e->live);
}

static int compute(const struct cli *c, struct effect *e)
{
	struct why why = WHY_NONE;
	struct rng rng;
	enum err err;

	rng_init(&rng, (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32);
	err = plan_compute(&e->p, &rng, &why);
	return err ? cli_fail(c, "%s", why_text(&why, err)) : CLI_OK;
}

static int compute_and_show(const struct cli *c, struct effect *e, size_t n_hosts_now)
{
	const struct plan_view view = {
		.hosts = PLAN_HOSTS_MOVING,
		.pace = &e->live.pace,
		.is_frozen = e->live.is_frozen,
		.n_hosts_now = n_hosts_now,
	};
	int exit_code = compute(c, e);

	if (!exit_code)
		plan_show(c, &e->p, &view);
	return exit_code;
}

/* ---- settings ---- */

bool effect_has_setting(const char *name)
{
	return str_equal(name, "host") || str_equal(name, "indirect.agent.lb.algorithm");
}

int effect_of_setting(struct cli *c, const char *name, const char *value)
{
	CLEAN(effect_deinit) struct effect e = {0};
	struct plan_changes ch = {.hosts = PLAN_SAME_SIZE};
	struct why why = WHY_NONE;
	enum algorithm algorithm = ALGORITHM_STATIC;
	int exit_code;
	enum err err;

	if (!str_equal(name, "host") && !algorithm_from_text(value, &algorithm))
		return cli_misuse(c, "there is no algorithm \"%s\"; there are %s", value, algorithm_choices());
	exit_code = plan_read_live(c, &e.p, &e.live);
	if (exit_code)
		return exit_code;
	if (str_equal(name, "host")) {
		ch.servers = value;
	} else {
		e.p.algorithm = algorithm;
		e.p.same_algorithm = algorithm == e.live.in_force;
	}
	err = plan_change(&e.p, &ch, &why);
	if (err == ERR_INVALID)
		return cli_misuse(c, "%s", str_starts(why.text, "--servers: ") ? why.text + 11 : why.text);
	if (err)
		return cli_fail(c, "%s", why_text(&why, err));
	return compute_and_show(c, &e, e.p.n_hosts);
}

/* ---- a host that is removed ---- */

/* Its record of the answer, by number or UUID; NULL: none. *at: its place there and in the plan. */
static const json_t *live_host(const struct plan_live *live, const char *host, size_t *at)
{
	char number[24];
	size_t i;
	json_t *h;

	json_array_foreach (live->hosts, i, h) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, (json_int_t)json_number(h, "id", 0));
		if (!str_equal_nocase(json_text(h, "uuid", ""), host) && !str_equal(number, host))
			continue;
		*at = i;
		return h;
	}
	return NULL;
}

static int no_such_host(const struct cli *c, const char *host)
{
	return cli_fail(c, "there is no host %s; `muster hosts` shows them", host);
}

int effect_of_removal(struct cli *c, const char *host)
{
	CLEAN(effect_deinit) struct effect e = {0};
	CLEAN(mem_freep) char *name = NULL; /* a host's own word */
	const char *on;
	int exit_code = plan_read_live(c, &e.p, &e.live);
	const json_t *h;
	size_t at;

	if (exit_code)
		return exit_code;
	h = live_host(&e.live, host, &at);
	if (!h || plan_remove_host(&e.p, (uint64_t)json_number(h, "id", 0)))
		return no_such_host(c, host);
	name = format_printable(text_or_die("%s", json_text(h, "name", host)));
	on = json_text(h, "on", NULL);
	if (on)
		printf("%s is connected to %s; its link ends. Without it:\n\n", name, on);
	else
		printf("%s is not connected. Without it:\n\n", name);
	return compute_and_show(c, &e, e.p.n_hosts);
}

/* ---- what is said of a server of the lists, of a host ---- */

/* By entry, however spelled, or by the server that it means; NULL: in no list. */
static struct plan_server *listed(struct effect *e, const char *word)
{
	size_t i;
	json_t *s;

	json_array_foreach (e->live.servers, i, s) {
		if (server_entry_same(json_text(s, "name", ""), word, SERVER_LIST_PORT))
			return plan_find_server(&e->p, json_text(s, "name", ""));
	}
	json_array_foreach (e->live.servers, i, s) {
		if (str_equal(json_text(s, "server", NULL), word) ||
		    str_equal_nocase(json_text(s, "serverid", NULL), word))
			return plan_find_server(&e->p, json_text(s, "name", ""));
	}
	return NULL;
}

/* The zone's name, a new string; NULL after a sentence. */
static char *zone_name(struct cli *c, const char *word)
{
	json_t *zones = cli_list(c, "listZones", "zone", API_ARGS({"name", word}));
	char *name;

	if (zones && !json_array_size(zones)) {
		json_decref(zones);
		zones = cli_list(c, "listZones", "zone", API_ARGS({"id", word}));
	}
	if (!zones)
		return NULL;
	name = json_array_size(zones) ? text_or_die("%s", json_text(json_array_get(zones, 0), "name", word)) : NULL;
	if (!name)
		cli_fail(c, "there is no zone %s", word);
	json_decref(zones);
	return name;
}

int effect_of_server(struct cli *c, const struct effect_server *w)
{
	CLEAN(effect_deinit) struct effect e = {0};
	bool has_zone = w->zone && *w->zone && !str_equal(w->zone, "none");
	int exit_code = plan_read_live(c, &e.p, &e.live);
	char *zone = !exit_code && has_zone ? zone_name(c, w->zone) : NULL;
	struct plan_server *s = exit_code ? NULL : listed(&e, w->server);

	if (!exit_code && has_zone && !zone)
		exit_code = CLI_FAILED;
	if (exit_code || !s) {
		mem_free(zone);
		if (!exit_code)
			printf("%s is in no list: nothing changes now.\n", w->server);
		return exit_code;
	}
	if (w->weight >= 0)
		s->weight = w->weight;
	if (w->zone) {
		mem_free(s->zone);
		s->zone = zone;
	}
	return compute_and_show(c, &e, e.p.n_hosts);
}

int effect_of_pin(struct cli *c, const char *host, const char *server)
{
	CLEAN(effect_deinit) struct effect e = {0};
	int exit_code = plan_read_live(c, &e.p, &e.live);
	const struct plan_server *s;
	struct plan_host *h;
	size_t at;

	if (exit_code)
		return exit_code;
	s = listed(&e, server);
	if (!s)
		return cli_fail(c, "%s is in no list; `muster servers` shows what there is", server);
	if (!live_host(&e.live, host, &at))
		return no_such_host(c, host);
	h = &e.p.hosts[at];
	mem_free(h->pin);
	h->pin = text_or_die("%s", s->name);
	return compute_and_show(c, &e, e.p.n_hosts);
}

/* ---- a server that is drained ---- */

struct target {
	const json_t *server;
	int64_t on, come;
};

struct exodus {
	struct target *targets; /* by place in the answer's servers */
	size_t n_targets;
	const char *id; /* of the server that is emptied */
	int64_t n, n_stranded;
	bool is_anyone_up;
};

static struct target *target_named(const struct exodus *x, const char *entry)
{
	for (size_t i = 0; i < x->n_targets; i++) {
		if (str_equal(json_text(x->targets[i].server, "name", NULL), entry))
			return &x->targets[i];
	}
	return NULL;
}

static bool takes_agents(const struct exodus *x, const struct target *t)
{
	return t && str_equal(json_text(t->server, "state", NULL), "Up") &&
	       !str_equal(json_text(t->server, "serverid", NULL), x->id);
}

/* By its list, to the first server that is Up. */
static void count_leaving(struct exodus *x, const struct str_list *list)
{
	x->n++;
	for (size_t i = 0; i < list->n; i++) {
		struct target *t = target_named(x, list->items[i]);

		if (!takes_agents(x, t))
			continue;
		t->come++;
		return;
	}
	x->n_stranded++;
}

/* The answer's hosts and those of the plan are in the same order. */
static void count_exodus(struct exodus *x, const struct effect *e)
{
	size_t i;
	json_t *h, *s;

	x->n_targets = json_array_size(e->live.servers);
	x->targets = or_die(mem_zalloc_array(x->n_targets + 1, sizeof(*x->targets)));
	json_array_foreach (e->live.servers, i, s) {
		x->targets[i].server = s;
		x->is_anyone_up = x->is_anyone_up || takes_agents(x, &x->targets[i]);
	}
	json_array_foreach (e->live.hosts, i, h) {
		struct target *t = target_named(x, json_text(h, "on", NULL));

		if (t)
			t->on++;
		if (str_equal(json_text(h, "serverid", NULL), x->id))
			count_leaving(x, &e->p.hosts[i].after);
	}
}

static void print_exodus(const struct cli *c, const struct exodus *x)
{
	static const struct table_column columns[] = {
		{"SERVER", 0}, {"STATE", 0}, {"NOW ON", TABLE_RIGHT}, {"COME", TABLE_RIGHT}, {"THEN", TABLE_RIGHT}};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));

	for (size_t i = 0; i < x->n_targets; i++) {
		const struct target *to = &x->targets[i];
		const char *state = json_text(to->server, "state", "not registered");
		bool is_drained = str_equal(json_text(to->server, "serverid", NULL), x->id);

		table_row(t);
		table_cell(t, TINT_STRONG, "%s", json_text(to->server, "name", "?"));
		table_cell(t, server_tint(state), "%s", state);
		table_cell(t, TINT_NONE, "%" PRId64, to->on);
		if (is_drained)
			table_cell(t, TINT_CAREFUL, "is emptied");
		else
			table_cell(t, TINT_NONE, "%" PRId64, to->come);
		table_cell(t, TINT_NONE, "%" PRId64, is_drained ? x->n_stranded : to->on + to->come);
	}
	table_print(t);
	table_free(t);
}

static void print_drain_pace(const struct effect_drain *d, const struct exodus *x)
{
	int64_t rate = d->rate ? d->rate : DRAIN_PER_S;
	char time[FORMAT_MAX], agents[FORMAT_MAX];

	if (!x->n)
		printf("%s has no agents.\n", d->name);
	else if (!x->is_anyone_up)
		printf("No other management server is Up: the drain would pause until one is.\n");
	else
		printf("%s %s asked to move, %" PRId64
		       " per second and at most %d at a time: about %s. Each has its new link\n"
		       "before the old one ends.\n",
		       format_count(agents, x->n, "agent"), x->n == 1 ? "is" : "are", rate, DRAIN_WINDOW,
		       format_seconds(time, (x->n + rate - 1) / rate));
	if (x->is_anyone_up && x->n_stranded)
		printf("%s %s no other server in the list that is Up, and would stay.\n",
		       format_count(agents, x->n_stranded, "agent"), x->n_stranded == 1 ? "has" : "have");
}

int effect_of_drain(struct cli *c, const struct effect_drain *d)
{
	CLEAN(effect_deinit) struct effect e = {0};
	struct exodus x = {.id = d->id};
	enum algorithm algorithm;
	int exit_code;

	if (d->algorithm && !algorithm_from_text(d->algorithm, &algorithm))
		return cli_misuse(c, "there is no algorithm \"%s\"; there are %s", d->algorithm, algorithm_choices());
	exit_code = plan_read_live(c, &e.p, &e.live);
	if (!exit_code && d->algorithm) {
		e.p.algorithm = algorithm;
		e.p.same_algorithm = algorithm == e.live.in_force;
	}
	if (!exit_code)
		exit_code = compute(c, &e);
	if (exit_code)
		return exit_code;
	count_exodus(&x, &e);
	print_exodus(c, &x);
	printf("\n");
	print_drain_pace(d, &x);
	mem_free(x.targets);
	return CLI_OK;
}

/* ---- entries that are no server ---- */

static bool is_same_machine(const struct addrinfo *found, const char *address)
{
	char text[NI_MAXHOST];

	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 &&
		    str_equal_nocase(text, address))
			return true;
	}
	return false;
}

static uint16_t port_of(const struct server_address *a)
{
	return a->port ? a->port : SERVER_LIST_PORT;
}

/* By address or name first; what a name leads to is looked up for those that are left. */
static bool is_registered(const json_t *servers, const char *entry, bool look_up)
{
	struct addrinfo *found = NULL;
	struct server_address a;
	bool is_found = false;
	size_t i;
	json_t *s;

	if (server_address_parse(&a, entry, NULL) || (look_up && getaddrinfo(a.host, NULL, NULL, &found)))
		return false;
	json_array_foreach (servers, i, s) {
		const char *address = json_text(s, "address", "");

		if (json_number(s, "port", SERVER_LIST_PORT) != port_of(&a))
			continue;
		is_found = is_found || str_equal_nocase(a.host, address) ||
			   str_equal_nocase(a.host, json_text(s, "name", NULL)) ||
			   (look_up && is_same_machine(found, address));
	}
	if (found)
		freeaddrinfo(found);
	return is_found;
}

void advise_unregistered(struct cli *c, const char *value)
{
	CLEAN(str_list_deinit) struct str_list entries = {0}, unknown = {0};
	json_t *status, *servers;
	char *names;

	/* What is no list at all, the server says. */
	if (c->json || server_list_parse_setting(&entries, value, NULL))
		return;
	status = cli_ask(c, "getMusterStatus", NULL);
	if (!status)
		return;
	servers = json_object_get(json_object_get(status, "musterstatus"), "servers");
	for (size_t i = 0; i < entries.n; i++) {
		if (is_registered(servers, entries.items[i], false) || is_registered(servers, entries.items[i], true))
			continue;
		if (str_list_add(&unknown, entries.items[i]))
			or_die(NULL);
	}
	json_decref(status);
	if (!unknown.n)
		return;
	names = or_die(str_list_join(&unknown, ", "));
	cli_advise(c, "No registered management server is %s: agents would try %s in vain.", names,
		   unknown.n == 1 ? "it" : "them");
	mem_free(names);
}
