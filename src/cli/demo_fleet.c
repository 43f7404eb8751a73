#include "cli/demo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/props.h"
#include "base/rng.h"
#include "cli/format.h"
#include "core/server_list.h"

#define READY_MS 20000
#define READY_STEP_MS 25
#define JOIN_MS 20000
#define ASK_S 3
#define STOP_MS 3000
#define LOG_LINES 12
#define LOGS_OF_AGENTS 8 /* of so many, and of those that have ended */
/* Below what Linux gives out for outgoing connections, so that nobody takes it in between. */
#define PORT_LOW 20000
#define PORT_HIGH 32000
#define PORT_TRIES 200
#define PORT_MARK_IP "127.255.255.254" /* nobody else listens there */

/* ---- programs ---- */

char *own_folder(void)
{
	char *path = NULL, *folder = NULL;

	if (fs_posix.real_path(&fs_posix, "/proc/self/exe", &path, NULL) == ERR_OK)
		folder = path_dir(path);
	mem_free(path);
	return folder;
}

/* Beside us as installed, or in its floor's folder of a build. */
static enum err find_program(char **out, const char *name, const char *floor, struct why *why)
{
	CLEAN(mem_freep) char *folder = own_folder();
	char *paths[2];

	if (!folder) {
		why_set(why, "the folder of this program can't be found");
		return ERR_NOT_FOUND;
	}
	paths[0] = text_or_die("%s/%s", folder, name);
	paths[1] = text_or_die("%s/../%s/%s", folder, floor, name);
	for (size_t i = 0; i < ARRAY_SIZE(paths) && !*out; i++) {
		if (access(paths[i], X_OK) == 0)
			*out = STEAL(paths[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		mem_free(paths[i]);
	if (*out)
		return ERR_OK;
	why_set(why, "%s is not beside this program (%s); build or install it first", name, folder);
	return ERR_NOT_FOUND;
}

/* ---- folders ---- */

static enum err make_temporary(struct demo *d, struct why *why)
{
	const char *base = getenv("TMPDIR");

	d->dir = text_or_die("%s/muster-demo.XXXXXX", base && *base ? base : "/tmp");
	if (mkdtemp(d->dir)) {
		d->is_temporary = true;
		return ERR_OK;
	}
	why_set(why, "no temporary folder %s: %s", d->dir, strerror(errno));
	d->dir = mem_free(d->dir);
	return ERR_IO;
}

static enum err make_named(struct demo *d, struct why *why)
{
	const char *dir = d->params.dir;

	if (mkdir(dir, 0700) && errno != EEXIST) {
		why_set(why, "the folder %s: %s", dir, strerror(errno));
		return ERR_IO;
	}
	/* Only a folder that holds nothing yet is empty enough to be removed, so this is the whole check. */
	if (rmdir(dir) || mkdir(dir, 0700)) {
		why_set(why, "the folder %s is not empty; name a new one", dir);
		return ERR_EXISTS;
	}
	return fs_posix.real_path(&fs_posix, dir, &d->dir, why);
}

static enum err child_init(struct demo *d, struct child *child, char letter, size_t number, struct why *why)
{
	*child = (struct child){0};
	snprintf(child->name, sizeof(child->name), "%c%zu", letter, number);
	child->dir = text_or_die("%s/%s", d->dir, child->name);
	child->log_path = text_or_die("%s/log", child->dir);
	if (mkdir(child->dir, 0700) == 0)
		return ERR_OK;
	why_set(why, "the folder %s: %s", child->dir, strerror(errno));
	return ERR_IO;
}

/* ---- ports ---- */

/* A socket that holds the address and port, or -1. */
static int listen_at(const char *ip, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	inet_pton(AF_INET, ip, &a.sin_addr);
	/* Old connections that the kernel still remembers are no hindrance to the servers either. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 1) == 0)
		return fd;
	close(fd);
	return -1;
}

/*
 * Two demonstrations that start at the same time would both find a port free. The one that has the mark has the port;
 * the mark goes when the process does.
 */
static bool take_port(struct demo *d, uint16_t port)
{
	int mark = listen_at(PORT_MARK_IP, port);
	bool is_free = mark >= 0;

	for (size_t i = 0; is_free && i < d->n_servers; i++) {
		int fd = listen_at(d->servers[i].ip, port);

		is_free = fd >= 0;
		if (is_free)
			close(fd);
	}
	if (is_free) {
		d->port = port;
		d->port_mark = mark;
	} else if (mark >= 0) {
		close(mark);
	}
	return is_free;
}

static enum err choose_port(struct demo *d, struct why *why)
{
	struct rng rng;

	rng_init(&rng, (uint64_t)clock_now().us ^ (uint64_t)getpid() << 40);
	if (take_port(d, SERVER_LIST_PORT))
		return ERR_OK;
	for (int i = 0; i < PORT_TRIES; i++) {
		if (take_port(d, (uint16_t)rng_between(&rng, PORT_LOW, PORT_HIGH)))
			return ERR_OK;
	}
	why_set(why, "no port is free on all of 127.0.0.1 to 127.0.0.%zu", d->n_servers);
	return ERR_EXISTS;
}

/* ---- servers ---- */

static enum err write_settings(const struct demo *d, const struct demo_server *s, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	char *store = text_or_die("%s/muster.db", d->dir), *key = text_or_die("%s/cluster.key", d->dir);
	char *path = text_or_die("%s/server.properties", s->child.dir);
	char port[8];
	enum err e = ERR_OK;

	snprintf(port, sizeof(port), "%u", d->port);
	{
		const char *const pairs[][2] = {
			{"name", s->child.name}, {"address", s->ip},        {"listen", s->ip}, {"port", port},
			{"store", store},        {"cluster.key.file", key}, {"api.port", "0"}, {"socket", s->socket},
		};

		for (size_t i = 0; !e && i < ARRAY_SIZE(pairs); i++)
			e = props_put_pair(&text, pairs[i][0], pairs[i][1]);
	}
	if (!e)
		e = file_replace(&fs_posix, path, 0600, text.data, text.len, why);
	mem_free(store);
	mem_free(key);
	mem_free(path);
	return e;
}

static enum err server_prepare(struct demo *d, struct demo_server *s, size_t number, struct why *why)
{
	struct server_address a = {.port = d->port == SERVER_LIST_PORT ? 0 : d->port};
	enum err e = child_init(d, &s->child, 'M', number, why);

	if (e)
		return e;
	str_copy(a.host, sizeof(a.host), s->ip);
	server_address_format(s->entry, sizeof(s->entry), &a);
	s->socket = text_or_die("%s/muster.sock", s->child.dir);
	e = api_open(&s->api, &(struct api_door){.socket = s->socket, .timeout_s = ASK_S}, why);
	return e ? e : write_settings(d, s, why);
}

enum err fleet_prepare(struct demo *d, struct why *why)
{
	enum err e = find_program(&d->programs[0], "muster-server", "server", why);

	if (!e)
		e = find_program(&d->programs[1], "muster-agent", "agent", why);
	if (!e)
		e = d->params.dir ? make_named(d, why) : make_temporary(d, why);
	if (e)
		return e;
	d->n_servers = d->params.n_servers;
	for (size_t i = 0; i < d->n_servers; i++)
		snprintf(d->servers[i].ip, sizeof(d->servers[i].ip), "127.0.0.%zu", i + 1);
	e = choose_port(d, why);
	for (size_t i = 0; !e && i < d->n_servers; i++)
		e = server_prepare(d, &d->servers[i], i + 1, why);
	return e;
}

static enum err wait_ready(struct demo *d, struct demo_server *s, struct why *why)
{
	struct mono deadline = mono_add_ms(clock_now(), READY_MS);

	for (;;) {
		json_t *answer = NULL;
		char end[FORMAT_MAX];

		if (api_ask(s->api, &answer, "getMusterStatus", NULL, why) == ERR_OK) {
			json_decref(answer);
			return ERR_OK;
		}
		if (!child_is_alive(&s->child)) {
			child_describe_end(end, sizeof(end), &s->child);
			why_set(why, "%s %s while it started", s->child.name, end);
			return ERR_CLOSED;
		}
		if (mono_reached(clock_now(), deadline)) {
			why_add(why, "%s is not ready after %d s", s->child.name, READY_MS / 1000);
			return ERR_TIMEOUT;
		}
		if (!demo_sleep(d, READY_STEP_MS))
			return ERR_STOPPED;
	}
}

enum err server_start(struct demo *d, size_t i, struct why *why)
{
	struct demo_server *s = &d->servers[i];
	char option[] = "--dir";
	char *argv[] = {d->programs[0], option, s->child.dir, NULL};
	enum err e = child_start(&s->child, argv, NULL, why);

	return e ? e : wait_ready(d, s, why);
}

bool server_is_alive(struct demo *d, size_t i)
{
	return child_is_alive(&d->servers[i].child);
}

const struct demo_server *server_of_entry(const struct demo *d, const char *entry)
{
	for (size_t i = 0; entry && i < d->n_servers; i++) {
		if (server_entry_same(d->servers[i].entry, entry, SERVER_LIST_PORT))
			return &d->servers[i];
	}
	return NULL;
}

/* ---- questions ---- */

enum err demo_ask(struct demo *d, json_t **out, const char *command, const struct api_arg *args, struct why *why)
{
	enum err e = ERR_UNREACHABLE;

	why_set(why, "no management server is left");
	for (size_t i = 0; i < d->n_servers; i++) {
		if (!server_is_alive(d, i))
			continue;
		e = api_ask(d->servers[i].api, out, command, args, why);
		if (!e || e == ERR_REFUSED)
			break;
	}
	if (e)
		why_add(why, "%s", command);
	return e;
}

enum err demo_set(struct demo *d, const char *name, const char *value, struct why *why)
{
	json_t *answer = NULL;
	enum err e = demo_ask(d, &answer, "updateConfiguration", API_ARGS({"name", name}, {"value", value}), why);

	json_decref(answer);
	return e;
}

static int host_compare(const void *a, const void *b)
{
	int64_t left = json_number(*(json_t *const *)a, "musterhostid", 0);
	int64_t right = json_number(*(json_t *const *)b, "musterhostid", 0);

	return left < right ? -1 : left > right;
}

static json_t *sorted(const json_t *hosts)
{
	size_t n = json_array_size(hosts);
	json_t **items = or_die(mem_zalloc_array(n + 1, sizeof(json_t *)));
	json_t *out = or_die(json_array());

	for (size_t i = 0; i < n; i++)
		items[i] = json_array_get(hosts, i);
	qsort(items, n, sizeof(items[0]), host_compare);
	for (size_t i = 0; i < n; i++)
		json_array_append(out, items[i]);
	mem_free(items);
	return out;
}

enum err demo_look(struct demo *d, struct why *why)
{
	json_t *answer = NULL;
	enum err e = demo_ask(d, &answer, "listHosts", NULL, why);

	if (e)
		return e;
	json_decref(d->hosts);
	d->hosts = sorted(json_object_get(answer, "host"));
	json_decref(answer);
	return ERR_OK;
}

/* ---- agents ---- */

static enum err make_token(struct demo *d, char **out, const char *command, const struct api_arg *args, struct why *why)
{
	json_t *answer = NULL;
	enum err e = demo_ask(d, &answer, command, args, why);
	const char *token = e ? NULL : json_text(json_object_get(answer, "jointoken"), "token", NULL);

	if (!e && !token) {
		why_set(why, "%s gave no token", command);
		e = ERR_MALFORMED;
	}
	if (!e)
		*out = text_or_die("%s\n", token);
	json_decref(answer);
	return e;
}

static enum err agent_join(struct demo *d, struct child *agent, const char *token, struct why *why)
{
	char join[] = "join", from_stdin[] = "-", dir[] = "--dir", name[] = "--name";
	char *argv[] = {d->programs[1], join, from_stdin, dir, agent->dir, name, agent->name, NULL};
	struct mono deadline = mono_add_ms(clock_now(), JOIN_MS);
	char end[FORMAT_MAX];
	enum err e = child_start(agent, argv, token, why);

	while (!e && child_is_alive(agent)) {
		if (mono_reached(clock_now(), deadline)) {
			why_set(why, "%s did not join within %d s", agent->name, JOIN_MS / 1000);
			e = ERR_TIMEOUT;
		} else if (!demo_sleep(d, READY_STEP_MS)) {
			e = ERR_STOPPED;
		}
	}
	if (!e && agent->status) {
		child_describe_end(end, sizeof(end), agent);
		why_set(why, "%s could not join: muster-agent join %s", agent->name, end);
		e = ERR_REFUSED;
	}
	return e;
}

enum err agent_add(struct demo *d, struct why *why)
{
	struct child *agent = &d->agents[d->n_agents];
	char option[] = "--dir";
	CLEAN(mem_freep) char *token = NULL;
	enum err e = child_init(d, agent, 'H', d->n_agents + 1, why);
	char *argv[] = {d->programs[1], option, agent->dir, NULL};

	d->n_agents++; /* from here on it is cleaned up with the others */
	if (!e)
		e = make_token(d, &token, "createJoinToken",
			       API_ARGS({"role", "agent"}, {"uses", "1"}, {"name", agent->name}), why);
	if (!e)
		e = agent_join(d, agent, token, why);
	return e ? e : child_start(agent, argv, NULL, why);
}

enum err agent_rejoin(struct demo *d, size_t i, const char *host_id, struct why *why)
{
	struct child *agent = &d->agents[i];
	char option[] = "--dir";
	char *argv[] = {d->programs[1], option, agent->dir, NULL};
	CLEAN(mem_freep) char *token = NULL;
	enum err e = make_token(d, &token, "createRejoinToken", API_ARGS({"hostid", host_id}), why);

	if (!e)
		e = agent_join(d, agent, token, why);
	if (e)
		return e;
	agent->was_killed = false;
	return child_start(agent, argv, NULL, why);
}

/* ---- the end ---- */

static bool is_lost(struct child *child, struct why *why)
{
	char end[FORMAT_MAX];

	if (child->was_killed || child_is_alive(child))
		return false;
	child_describe_end(end, sizeof(end), child);
	why_set(why, "%s %s", child->name, end);
	return true;
}

bool fleet_has_lost(struct demo *d, struct why *why)
{
	for (size_t i = 0; i < d->n_servers; i++) {
		if (is_lost(&d->servers[i].child, why))
			return true;
	}
	for (size_t i = 0; i < d->n_agents; i++) {
		if (is_lost(&d->agents[i], why))
			return true;
	}
	return false;
}

void fleet_print_logs(struct demo *d, FILE *to)
{
	for (size_t i = 0; i < d->n_servers; i++)
		child_print_log(to, &d->servers[i].child, LOG_LINES);
	for (size_t i = 0; i < d->n_agents; i++) {
		if (i < LOGS_OF_AGENTS || !child_is_alive(&d->agents[i]))
			child_print_log(to, &d->agents[i], LOG_LINES);
	}
}

static void stop_all(struct child **children, size_t n)
{
	struct mono deadline = mono_add_ms(clock_now(), STOP_MS);

	for (size_t i = 0; i < n; i++)
		child_signal(children[i], SIGTERM);
	for (size_t i = 0; i < n; i++) {
		int64_t left = mono_ms_between(clock_now(), deadline);

		if (!child_wait(children[i], left > 0 ? (int)left : 0)) {
			child_signal(children[i], SIGKILL);
			child_wait(children[i], STOP_MS);
		}
	}
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *ftw)
{
	return remove(path);
}

/* Agents first: they would only look for another server. */
void fleet_stop(struct demo *d)
{
	struct child *agents[DEMO_AGENTS_MAX + 1] = {NULL}, *servers[DEMO_SERVERS_MAX] = {NULL};

	for (size_t i = 0; i < d->n_agents; i++)
		agents[i] = &d->agents[i];
	for (size_t i = 0; i < d->n_servers; i++)
		servers[i] = &d->servers[i].child;
	stop_all(agents, d->n_agents);
	stop_all(servers, d->n_servers);
	if (d->is_temporary)
		nftw(d->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < d->n_agents; i++)
		child_deinit(&d->agents[i]);
	for (size_t i = 0; i < d->n_servers; i++) {
		child_deinit(&d->servers[i].child);
		mem_free(d->servers[i].socket);
		api_free(d->servers[i].api);
	}
	if (d->port_mark >= 0)
		close(d->port_mark);
	mem_free(d->programs[0]);
	mem_free(d->programs[1]);
	mem_free(d->dir);
}
