/*
 * muster-server: a management server as a process.
 *
 * Read main() as a table of contents: settings, secrets, store, world, server, doors; stopped in reverse. Nothing is
 * let in before everything behind it stands.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "base/props.h"
#include "base/str.h"
#include "ca/root.h"
#include "net/world_uv.h"
#include "server/ca_command.h"
#include "server/cluster_key.h"
#include "server/enrol.h"
#include "server/http.h"
#include "server/key_change.h"
#include "server/key_command.h"
#include "server/server.h"
#include "server/settings.h"
#include "store/store.h"

#define FILES_ELSEWHERE 128 /* open files that are no links: the store, the API, the log */

#define SETTINGS_LIMIT (1024 * 1024)
#define TWIN_FRESH_MS 10000 /* a heartbeat younger than that may be of a server that runs */
#define TOKEN_VARIABLE "MUSTER_TOKEN"
#define EXIT_USAGE 2
#define EXIT_CONFIG 66
#define EXIT_START 67
#define EXIT_FENCED 219 /* another run has taken our place: as the reference's management server */

struct daemon {
	const char *dir;
	struct server_settings settings;
	struct log log;
	uint8_t cluster_key[CLUSTER_KEY_SIZE];
	bool has_cluster_key;
	struct store *store;
	struct world *world;
	struct server *server;
	struct http *http;
	char *socket_path;
	char *exec_trusted; /* CA certificates, PEM; NULL: no such setting */
	int lock;           /* of the folder */
	int exit_code;
	bool stopping;
	int64_t started_ms; /* Unix time */
};

/* ---- settings ---- */

static void say(void *user, const char *sentence)
{
	fprintf(stderr, "muster-server: %s\n", sentence);
}

/* A key of the cluster's configuration in the file of one server: the likeliest mistake, so it gets its own words. */
static bool has_cluster_settings(const struct props *p, const char *path)
{
	static const char *const prefixes[] = {"indirect.agent.", "ca.", "ping.", "agent.", "management.server.", NULL};
	bool found = false;

	for (size_t i = 0; props_key_at(p, i); i++) {
		const char *key = props_key_at(p, i);
		bool is_cluster = strcmp(key, "host") == 0;

		for (size_t k = 0; prefixes[k]; k++)
			is_cluster |= strncmp(key, prefixes[k], strlen(prefixes[k])) == 0;
		/* What a server runs is not for the cluster to say (D22). */
		if (!is_cluster || str_starts(key, "ca.plugin.exec."))
			continue;
		fprintf(stderr,
			"muster-server: %s:%u: %s belongs to the cluster, not to one server: muster config set %s VALUE\n",
			path, props_line(p, key), key, key);
		found = true;
	}
	return found;
}

static enum err load_settings(struct daemon *d, char *const *assignments, size_t n)
{
	CLEAN(mem_freep) char *path = path_join(d->dir, "server.properties");
	struct buf text = {0};
	struct props *p = NULL;
	struct why why = WHY_NONE;
	enum err e = path ? file_read(&fs_posix, path, SETTINGS_LIMIT, &text, &why) : ERR_NOMEM;

	/* No file is a server with every default; a folder that isn't there is a mistake. */
	if (e == ERR_NOT_FOUND && fs_posix.exists(&fs_posix, d->dir))
		e = ERR_OK;
	if (!e)
		e = props_parse(&p, text.data, text.len, &why);
	buf_deinit(&text);
	if (e) {
		why_add(&why, "%s", path ? path : d->dir);
		say(NULL, why_text(&why, e));
		return e;
	}
	if (has_cluster_settings(p, path))
		e = ERR_INVALID;
	if (!e)
		e = settings_load(&server_settings_table, &d->settings, p, path, say, NULL);
	props_free(p);
	for (size_t i = 0; !e && i < n && assignments[i]; i++) {
		char *equals = strchr(assignments[i], '=');

		if (!equals) {
			why_set(&why, "-s %s: it has to be key=value", assignments[i]);
			e = ERR_INVALID;
		} else {
			*equals = 0;
			e = settings_set(&server_settings_table, &d->settings, assignments[i], equals + 1, &why);
		}
		if (e)
			say(NULL, why_text(&why, e));
	}
	return e;
}

/* What agents are told has to be an address that they can use. */
static bool address_is_usable(const struct daemon *d)
{
	const char *listen = d->settings.listen;
	const char *told = str_is_blank(d->settings.address) ? listen : d->settings.address;

	if (strcmp(told, "::") != 0 && strcmp(told, "0.0.0.0") != 0 && !str_is_blank(told))
		return true;
	fprintf(stderr,
		"muster-server: address has to be set when listen is %s: it is what agents and other servers are told\n",
		str_is_blank(listen) ? "empty" : listen);
	return false;
}

static char *in_dir(const struct daemon *d, const char *path)
{
	return path[0] == '/' || path[0] == ':' ? mem_strdup(path) : path_join(d->dir, path);
}

/* ---- secrets ---- */

/* One server a folder: two would be one identity that runs twice. The lock goes with the process. */
static enum err lock_folder(struct daemon *d, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(d->dir, "server.lock");

	d->lock = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (d->lock < 0) {
		why_set(why, "%s: %s", path ? path : d->dir, strerror(errno));
		return ERR_IO;
	}
	if (flock(d->lock, LOCK_EX | LOCK_NB)) {
		why_set(why, "another muster-server runs from the folder %s", d->dir);
		return ERR_BUSY;
	}
	return ERR_OK;
}

/* ---- what the store says before we start ---- */

struct glance {
	int64_t msid; /* of this folder; 0: it has none yet */
	bool has_ca;  /* or something else that is sealed under a cluster key */
	struct cluster_key_record key;
	bool is_up;
	int64_t last_update_ms;
};

static enum err glance_run(struct store_tx *tx, void *arg, struct why *why)
{
	struct glance *g = arg;
	struct server_row *rows = NULL;
	char *ca = NULL;
	size_t n = 0;
	enum err e = store_secret_get(tx, "ca.certificate", &ca);

	/* Under an external CA only the keys of tickets tell that there is a cluster key already. */
	if (e == ERR_NOT_FOUND)
		e = store_secret_get(tx, "tls.sealed_ticket_keys", &ca);
	g->has_ca = e == ERR_OK;
	mem_free(ca);
	if (e && e != ERR_NOT_FOUND)
		return e;
	if ((e = key_record_get(tx, &g->key)))
		return e;
	e = store_server_list(tx, &rows, &n);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].msid == g->msid) {
			g->is_up = rows[i].state == SERVER_UP;
			g->last_update_ms = rows[i].last_update_ms;
		}
		server_row_deinit(&rows[i]);
	}
	mem_free(rows);
	return e;
}

static enum err glance(struct daemon *d, struct glance *g, struct why *why)
{
	struct store_call call = {.run = glance_run, .arg = g, .read_only = true};
	struct store_call *calls[] = {&call};
	enum err e = store_run(d->store, calls, 1, why);

	if (!e && call.result) {
		*why = call.why;
		e = call.result;
	}
	return e;
}

static int64_t own_msid(const struct daemon *d)
{
	CLEAN(mem_freep) char *path = path_join(d->dir, "server.id");
	struct buf text = {0};
	struct props *p = NULL;
	const char *value = NULL;
	int64_t msid = 0;

	if (path && file_read(&fs_posix, path, SETTINGS_LIMIT, &text, NULL) == ERR_OK &&
	    props_parse(&p, text.data, text.len, NULL) == ERR_OK)
		value = props_get(p, "msid");
	if (value && !str_to_i64(value, &msid))
		msid = 0;
	buf_deinit(&text);
	props_free(p);
	return msid;
}

/*
 * A copy of a server's folder would take its place, and the two would throw each other out for ever. A heartbeat of
 * ours that moves while we are not running is somebody else's.
 */
static enum err check_no_twin(struct daemon *d, struct glance *g, struct why *why)
{
	const struct timespec two_heartbeats = {.tv_sec = 2, .tv_nsec = 300000000};
	int64_t before = g->last_update_ms;
	enum err e;

	if (!g->is_up || world_wall_ms(d->world) - before > TWIN_FRESH_MS)
		return ERR_OK;
	nanosleep(&two_heartbeats, NULL);
	e = glance(d, g, why);
	if (e || !g->is_up || g->last_update_ms == before)
		return e;
	why_set(why,
		"a server with the identity of this folder is running elsewhere; if this is a copy, remove server.id, "
		"server.key and server.crt from %s and it becomes a server of its own",
		d->dir);
	return ERR_DUPLICATE;
}

static enum err read_cluster_key(struct daemon *d, const struct cluster_key_place *place, struct why *why)
{
	enum err e = secret_file_check(place->path, place->is_credential, why);

	return e ? e : cluster_key_read(d->cluster_key, &fs_posix, place->path, why);
}

static enum err read_or_make_cluster_key(struct daemon *d, const char *path, struct why *why)
{
	uint8_t random[32];
	enum err e = read_cluster_key(d, &(struct cluster_key_place){.path = (char *)(uintptr_t)path}, why);

	if (e == ERR_NOT_FOUND) {
		/* Only the first server of a cluster makes one: with a CA in the store already, a new key opens
		 * nothing. */
		world_entropy(d->world, random, sizeof(random));
		e = cluster_key_create(d->cluster_key, &fs_posix, path, random, why);
		mem_wipe(random, sizeof(random));
		if (!e)
			log_info(&d->log, "a cluster key was made; keep a copy of it in a safe place",
				 KV_S("file", path));
	}
	return e;
}

/* The other secret in our folder is our own: it has been read by whoever could, so what is left is to say so. */
static void check_own_key(struct daemon *d)
{
	CLEAN(mem_freep) char *path = path_join(d->dir, "server.key");
	struct why why = WHY_NONE;

	if (path && secret_file_check(path, false, &why) == ERR_REFUSED)
		log_warn(&d->log, "the private key of this server is not private", KV_S("reason", why.text));
}

/*
 * A change of the key that broke off is finished, or undone, before anybody reads the file. If that can't be, because
 * the files are somebody else's to write, it is for check_cluster_key() to say whether it matters.
 */
static void settle_cluster_key(struct daemon *d, const char *path, struct glance *g)
{
	CLEAN(mem_freep) char *real = NULL, *next = NULL;
	enum key_settled settled = KEY_SETTLED_NOTHING;
	struct why why = WHY_NONE;
	enum err e;
	int lock;

	if (fs_posix.real_path(&fs_posix, path, &real, NULL) == ERR_OK)
		next = mem_printf("%s" CLUSTER_KEY_NEXT, real);
	if (!next || !fs_posix.exists(&fs_posix, next))
		return;
	/* Or it is at work now: the lock is what we wait for. */
	lock = cluster_key_lock(path);
	e = lock < 0 ? ERR_IO : glance(d, g, &why); /* it may have been made while we waited */
	if (!e)
		e = key_change_settle(&settled, &fs_posix, path, g->key.id, &why);
	if (e)
		log_error(&d->log,
			  "a change of the cluster key broke off: `muster-server cluster-key change`, called again by "
			  "who began it, brings the files in order",
			  KV_S("file", next), KV_S("error", why_text(&why, e)));
	else if (settled != KEY_SETTLED_NOTHING)
		log_warn(&d->log,
			 settled == KEY_SETTLED_FINISHED
				 ? "a change of the cluster key had broken off, and was finished"
				 : "a change of the cluster key had broken off before it was made, and was tidied up",
			 KV_S("file", path));
	if (lock >= 0)
		close(lock);
}

/* The file of before opens nothing: said here, where it can be said which one is wanted. */
static enum err check_cluster_key(const struct daemon *d, const struct cluster_key_place *place,
				  const struct cluster_key_record *r, struct why *why)
{
	char id[CLUSTER_KEY_ID_TEXT], date[32] = "";
	time_t since = (time_t)(r->since_ms / 1000);
	struct tm tm;

	cluster_key_id(id, d->cluster_key);
	if (!r->id[0] || str_equal(id, r->id))
		return ERR_OK;
	if (gmtime_r(&since, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &tm);
	why_set(why, "%s is not the cluster's key: that was changed on %s (it is %s, this one is %s). %s", place->path,
		date, r->id, id,
		place->is_credential ? "Have systemd give the new one (LoadCredential=)"
				     : "Copy the key file of a server that has the new one");
	return ERR_UNTRUSTED;
}

static enum err load_cluster_key(struct daemon *d, struct glance *g, struct why *why)
{
	CLEAN(cluster_key_place_deinit) struct cluster_key_place place = {0};
	enum err e = cluster_key_find(&place, d->dir, d->settings.cluster_key, getenv(CREDENTIALS_VARIABLE), why);
	const char *path = place.path;
	int lock;

	check_own_key(d);
	if (!e && !place.is_credential)
		settle_cluster_key(d, path, g);
	if (!e)
		e = read_cluster_key(d, &place, why);
	if (!e && (e = check_cluster_key(d, &place, &g->key, why)))
		return e;
	if (e == ERR_NOT_FOUND && place.is_credential)
		return ERR_INVALID; /* what systemd was told to give is not there: nothing to make up for */
	if (e == ERR_NOT_FOUND && g->has_ca) {
		/* A new key would open nothing. Without it we run, if we have a certificate, and can't issue (decision
		 * 6). */
		log_warn(&d->log, "the cluster has a cluster key already, and its file is not here",
			 KV_S("file", path));
		return ERR_OK;
	}
	if (e == ERR_NOT_FOUND) {
		lock = cluster_key_lock(path);
		e = read_or_make_cluster_key(d, path, why);
		if (lock >= 0)
			close(lock);
	}
	d->has_cluster_key = e == ERR_OK;
	return e;
}

/* While we run, because it was changed. The credentials of systemd stay what they were: then it is a restart. */
static enum err read_cluster_key_again(void *user, uint8_t out[CLUSTER_KEY_SIZE], struct why *why)
{
	const struct daemon *d = user;
	CLEAN(cluster_key_place_deinit) struct cluster_key_place place = {0};
	enum err e = cluster_key_find(&place, d->dir, d->settings.cluster_key, getenv(CREDENTIALS_VARIABLE), why);

	if (!e)
		e = secret_file_check(place.path, place.is_credential, why);
	if (!e)
		e = cluster_key_read(out, &fs_posix, place.path, why);
	if (!e && place.is_credential)
		why_set(why, "%s is a credential: replace what systemd gives, and restart this server", place.path);
	return e;
}

/* ---- events ---- */

static void stop_world(void *user)
{
	struct daemon *d = user;

	world_uv_stop(d->world);
}

static void stop(struct daemon *d, int code)
{
	if (d->stopping && !server_is_leaving(d->server))
		return;
	d->stopping = true;
	d->exit_code = code;
	d->http = http_free(d->http);
	server_stop(d->server, stop_world, d);
}

/* Agents move away first. The doors stay open meanwhile: an operator may want to watch. */
static void leave(struct daemon *d)
{
	if (d->stopping)
		return;
	d->stopping = true;
	server_leave(d->server, d->settings.drain_on_stop * 1000, stop_world, d);
}

/* triggerShutdown, on this server or on another one. */
static void on_stop_asked(void *user)
{
	struct daemon *d = user;

	log_info(&d->log, "stopping, as triggerShutdown says");
	leave(d);
}

static void on_signal(void *user, int signo)
{
	struct daemon *d = user;

	if (d->stopping && server_is_leaving(d->server)) {
		log_warn(&d->log, "second signal, agents are not waited for any more");
		d->http = http_free(d->http);
		server_stop(d->server, stop_world, d);
		return;
	}
	if (d->stopping) {
		/* A write may be under way on another thread; what is acknowledged is on disk, the rest ends with us.
		 */
		log_warn(&d->log, "second signal, stopping at once");
		_exit(EXIT_FAILURE);
	}
	log_info(&d->log, "stopping", KV_S("signal", signo == SIGTERM ? "TERM" : "INT"));
	if (signo == SIGTERM)
		leave(d);
	else
		stop(d, 0);
}

static void on_fatal(void *user, enum err why, const char *sentence)
{
	struct daemon *d = user;

	log_error(&d->log, "this server must stop", KV_S("error", sentence));
	stop(d, EXIT_FENCED);
}

/* For metrics: what the kernel knows of us. Cheap, and never waits. */
static void on_process(void *user, struct process_facts *out)
{
	const struct daemon *d = user;
	struct rusage used;
	long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	out->started_ms = d->started_ms;
	if (getrusage(RUSAGE_SELF, &used) == 0)
		out->cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL + used.ru_utime.tv_usec +
			      used.ru_stime.tv_usec;
	if (f && fscanf(f, "%*s %lld", &pages) == 1)
		out->memory_bytes = pages * sysconf(_SC_PAGESIZE);
	if (f)
		fclose(f);
}

static enum err take_doors(struct daemon *d, struct why *why)
{
	struct http_params p = {
		.world = d->world,
		.log = &d->log,
		.server = d->server,
		.listen_ip = d->settings.api_port ? d->settings.api_listen : NULL,
		.port = (uint16_t)d->settings.api_port,
		.socket_path = d->socket_path,
		.is_watched = d->settings.api_metrics,
	};

	return http_new(&d->http, &p, why);
}

static void on_started(void *user, enum err result, const char *sentence)
{
	struct daemon *d = user;
	struct why why = WHY_NONE;
	enum err e = result;

	if (e)
		why_set(&why, "%s", sentence);
	else
		e = http_serve(d->http, &why);
	if (e) {
		log_error(&d->log, "this server can't start", KV_S("error", why_text(&why, e)));
		d->exit_code = EXIT_START;
		world_uv_stop(d->world);
		return;
	}
	log_info(&d->log, "ready", KV_S("name", d->settings.name), KV_S("listen", d->settings.listen),
		 KV_U("port", server_port(d->server)), KV_U("api_port", d->settings.api_port ? http_port(d->http) : 0),
		 KV_S("socket", d->socket_path));
}

/* ---- life ---- */

/*
 * Where files run out before links do, nothing can be accepted any more, not even in somebody's place (crowd.c): so the
 * limit of links is the first to be met.
 */
static size_t links_possible(const struct daemon *d)
{
	size_t wanted = (size_t)d->settings.max_links;
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY ||
	    files.rlim_cur < 2 * FILES_ELSEWHERE || files.rlim_cur - FILES_ELSEWHERE >= wanted)
		return wanted;
	log_warn(&d->log, "fewer links than links.max: there are not enough open files (ulimit -n)",
		 KV_U("links_max", wanted), KV_U("open_files", files.rlim_cur),
		 KV_U("links", files.rlim_cur - FILES_ELSEWHERE));
	return files.rlim_cur - FILES_ELSEWHERE;
}

static enum err read_trusted(struct daemon *d, struct why *why)
{
	CLEAN(mem_freep) char *path = NULL;
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e;

	if (str_is_blank(d->settings.exec_ca_file))
		return ERR_OK;
	path = in_dir(d, d->settings.exec_ca_file);
	e = path ? file_read(&fs_posix, path, SETTINGS_LIMIT, &text, why) : ERR_NOMEM;
	if (e) {
		why_add(why, "ca.plugin.exec.ca.file");
		return e;
	}
	d->exec_trusted = buf_take_str(&text);
	return d->exec_trusted ? ERR_OK : ERR_NOMEM;
}

static enum err set_up(struct daemon *d, struct why *why)
{
	struct server_params p;
	struct glance g = {0};
	CLEAN(mem_freep) char *store_path = in_dir(d, d->settings.store);
	enum err e;

	d->socket_path = in_dir(d, d->settings.socket);
	if (!store_path || !d->socket_path)
		return ERR_NOMEM;
	e = lock_folder(d, why);
	if (!e)
		e = world_uv_new(&d->world, why);
	if (!e)
		world_uv_set_tcp(d->world, &d->settings.tcp);
	if (!e)
		e = store_open(&d->store, store_path, why);
	g.msid = own_msid(d);
	if (!e)
		e = glance(d, &g, why);
	if (!e)
		e = check_no_twin(d, &g, why);
	if (!e)
		e = load_cluster_key(d, &g, why);
	if (!e)
		e = read_trusted(d, why);
	if (e)
		return e;
	server_params_init(&p);
	p.world = d->world;
	p.log = &d->log;
	p.store = d->store;
	p.name = d->settings.name;
	p.dir = d->dir;
	p.listen_ip = d->settings.listen;
	p.port = (uint16_t)d->settings.port;
	p.address = d->settings.address;
	p.cluster_key = d->has_cluster_key ? d->cluster_key : NULL;
	p.read_cluster_key = read_cluster_key_again;
	p.exec_command = d->settings.exec_command;
	p.exec_trusted = d->exec_trusted;
	p.with_rsa = true;
	p.exec_limit_ms = d->settings.exec_timeout * 1000;
	p.max_links = links_possible(d);
	p.max_anonymous_per_ip = (size_t)d->settings.max_anonymous_per_address;
	p.max_anonymous = (size_t)d->settings.max_anonymous;
	p.fatal = on_fatal;
	p.stop_asked = on_stop_asked;
	p.process = on_process;
	p.user = d;
	d->started_ms = world_wall_ms(d->world);
	e = server_new(&d->server, &p, why);
	mem_wipe(d->cluster_key, sizeof(d->cluster_key)); /* the server has a copy, which it wipes when it is changed */
	if (!e)
		e = world_uv_on_signal(d->world, SIGTERM, on_signal, d);
	if (!e)
		e = world_uv_on_signal(d->world, SIGINT, on_signal, d);
	/* Every door is taken before the store hears of us: a server that can't start is in nobody's list. */
	if (!e)
		e = take_doors(d, why);
	if (!e)
		e = server_start(d->server, on_started, d);
	return e;
}

static void tear_down(struct daemon *d)
{
	d->http = http_free(d->http);
	/* A start that failed may have left something under way on another thread. */
	if (d->world)
		world_uv_stop_work(d->world);
	d->server = server_free(d->server);
	if (d->world)
		d->world = world_uv_free(d->world);
	d->store = store_close(d->store);
	mem_wipe(d->cluster_key, sizeof(d->cluster_key));
	if (d->lock > 0)
		close(d->lock);
	mem_free(d->socket_path);
	mem_free(d->exec_trusted);
	settings_deinit(&server_settings_table, &d->settings);
}

static void harden(void)
{
	struct rlimit files;

	process_keep_secrets();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* ---- command line ---- */

static void usage(FILE *out)
{
	fputs("usage: muster-server [--dir DIR] [-s KEY=VALUE]... [--check | --dump]\n"
	      "       muster-server join [TOKEN] [--dir DIR] [-s KEY=VALUE]...\n"
	      "       muster-server ca import --certificate FILE --key FILE [--chain FILE] [--next] [--force] [--dir DIR]\n"
	      "       muster-server ca use root|exec [--force] [--dir DIR]\n"
	      "       muster-server cluster-key change [--key FILE] [--dir DIR]\n"
	      "\n"
	      "Runs a management server: agents connect to it, are authenticated and evenly spread.\n"
	      "\n"
	      "  -d, --dir DIR          folder of server.properties, keys and store (default: .)\n"
	      "  -s, --set KEY=VALUE    overrides a setting of server.properties\n"
	      "      --check            reads the settings, says what is wrong with them, and stops\n"
	      "      --dump             prints all settings in force as a valid server.properties, and stops\n"
	      "      --settings         prints what each setting means, and stops\n"
	      "      --certificate FILE, --key FILE, --chain FILE\n"
	      "                         ca import: a CA of your own, its key, what leads from it to its root; PEM\n"
	      "                         cluster-key change: --key is the new one, otherwise one is made\n"
	      "      --next             ca import: beside running servers, for `muster ca rotate` to begin with\n"
	      "      --force            ca: also when agents have joined, which then have to join again;\n"
	      "                         with --next: in place of another one that is prepared\n"
	      "  -V, --version\n"
	      "  -h, --help\n"
	      "\n"
	      "The cluster's settings (host, indirect.agent.lb.algorithm ...) live in its store: see muster config.\n",
	      out);
}

static int print(enum err (*make)(const struct settings_table *, const void *, struct buf *), const void *block)
{
	struct buf text = {0};
	enum err e = make(&server_settings_table, block, &text);

	if (!e)
		fwrite(text.data, 1, text.len, stdout);
	buf_deinit(&text);
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}

static enum err help(const struct settings_table *table, const void *block, struct buf *out)
{
	return settings_help(table, false, out);
}

/* For the manual page, which is made from the same rows. */
static enum err manual(const struct settings_table *table, const void *block, struct buf *out)
{
	return settings_help(table, true, out);
}

static enum err fill_defaults(struct daemon *d)
{
	char host[256] = "server";

	if (d->settings.name)
		return ERR_OK;
	gethostname(host, sizeof(host) - 1);
	d->settings.name = mem_strdup(host);
	return d->settings.name ? ERR_OK : ERR_NOMEM;
}

static int run(struct daemon *d)
{
	struct why why = WHY_NONE;
	enum log_level level = LOG_INFO;
	enum err e;

	log_level_from_text(d->settings.log_level, &level);
	log_init_stderr(&d->log, level, getenv("JOURNAL_STREAM") == NULL);
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error to report, not an end */
	harden();
	e = set_up(d, &why);
	if (e) {
		log_error(&d->log, "this server can't start", KV_S("error", why_text(&why, e)));
		d->exit_code = EXIT_START;
	} else {
		world_uv_run(d->world);
	}
	tear_down(d);
	return d->exit_code;
}

static int join(struct daemon *d, char *token)
{
	struct enrol_params p = {.dir = d->dir, .settings = &d->settings, .token = token};
	struct why why = WHY_NONE;
	enum err e;

	harden();
	e = enrol(&p, &why);
	mem_wipe(token, strlen(token));
	if (e)
		fprintf(stderr, "muster-server: join: %s\n", why_text(&why, e));
	else
		printf("This server has joined the cluster. Start it with: muster-server --dir %s\n", d->dir);
	settings_deinit(&server_settings_table, &d->settings);
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int change_cluster_key(struct daemon *d, struct key_command *command)
{
	CLEAN(mem_freep) char *store_path = in_dir(d, d->settings.store);
	struct why why = WHY_NONE;
	enum err e;

	log_init_stderr(&d->log, LOG_WARN, getenv("JOURNAL_STREAM") == NULL);
	harden();
	e = store_path ? world_uv_new(&d->world, &why) : ERR_NOMEM;
	if (!e)
		e = store_open(&d->store, store_path, &why);
	command->store = d->store;
	command->world = d->world;
	command->dir = d->dir;
	command->setting = d->settings.cluster_key;
	command->credentials = getenv(CREDENTIALS_VARIABLE);
	if (!e)
		e = key_command(command, &why);
	if (e)
		fprintf(stderr, "muster-server: cluster-key: %s\n", why_text(&why, e));
	tear_down(d);
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The CA of a cluster that doesn't run (server/ca_command.h): the folder is locked as by a server. Or the next one. */
static int change_ca(struct daemon *d, struct ca_command *command)
{
	CLEAN(mem_freep) char *store_path = in_dir(d, d->settings.store);
	struct glance g = {0};
	struct why why = WHY_NONE;
	enum err e;

	log_init_stderr(&d->log, LOG_WARN, getenv("JOURNAL_STREAM") == NULL);
	harden();
	/* What is only prepared may be so beside the folder's server. */
	e = !store_path ? ERR_NOMEM : command->next ? ERR_OK : lock_folder(d, &why);
	if (!e)
		e = world_uv_new(&d->world, &why);
	if (!e)
		e = store_open(&d->store, store_path, &why);
	if (!e)
		e = glance(d, &g, &why);
	if (!e && command->next && !g.has_ca) {
		why_set(&why, "the cluster has no CA yet: without --next this becomes its first one");
		e = ERR_REFUSED;
	}
	if (!e)
		e = load_cluster_key(d, &g, &why);
	command->store = d->store;
	command->world = d->world;
	command->cluster_key = d->has_cluster_key ? d->cluster_key : NULL;
	if (!e)
		e = ca_command(command, &why);
	if (e)
		fprintf(stderr, "muster-server: ca: %s\n", why_text(&why, e));
	tear_down(d);
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	enum { OPT_CHECK = 256, OPT_DUMP, OPT_SETTINGS, OPT_CERTIFICATE, OPT_KEY, OPT_CHAIN, OPT_NEXT, OPT_FORCE };
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'd'},
		{"set", required_argument, NULL, 's'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"dump", no_argument, NULL, OPT_DUMP},
		{"settings", optional_argument, NULL, OPT_SETTINGS},
		{"certificate", required_argument, NULL, OPT_CERTIFICATE},
		{"key", required_argument, NULL, OPT_KEY},
		{"chain", required_argument, NULL, OPT_CHAIN},
		{"next", no_argument, NULL, OPT_NEXT},
		{"force", no_argument, NULL, OPT_FORCE},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct daemon d = {.dir = "."};
	struct ca_command ca = {0};
	struct key_command key = {0};
	char *assignments[64] = {NULL};
	size_t n = 0;
	CLEAN(mem_freep) char *token = NULL;
	bool for_manual = false;
	int mode = 0, c, code;

	while ((c = getopt_long(argc, argv, "d:s:Vh", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			d.dir = optarg;
			break;
		case 's':
			if (n == ARRAY_SIZE(assignments)) {
				fputs("muster-server: too many -s\n", stderr);
				return EXIT_USAGE;
			}
			assignments[n++] = optarg;
			break;
		case OPT_CHECK:
		case OPT_DUMP:
		case OPT_SETTINGS:
			mode = c;
			for_manual = optarg && strcmp(optarg, "scdoc") == 0;
			break;
		case OPT_CERTIFICATE:
			ca.certificate = optarg;
			break;
		case OPT_KEY:
			ca.key = optarg;
			break;
		case OPT_CHAIN:
			ca.chain = optarg;
			break;
		case OPT_NEXT:
			ca.next = true;
			break;
		case OPT_FORCE:
			ca.force = true;
			break;
		case 'V':
			puts("muster-server " MUSTER_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc && strcmp(argv[optind], "join") == 0) {
		/* Others can read a command line as long as it lives, and the environment of a process only its owner.
		 */
		token = mem_strdup(++optind < argc ? argv[optind] : getenv(TOKEN_VARIABLE));
		if (!token) {
			fputs("muster-server: join needs a token: its text, @FILE, - for standard input, or in " TOKEN_VARIABLE
			      "\n",
			      stderr);
			return EXIT_USAGE;
		}
		if (optind < argc) {
			mem_wipe(argv[optind], strlen(argv[optind]));
			optind++;
		}
	} else if (optind < argc && strcmp(argv[optind], "ca") == 0) {
		optind += ca_command_words(&ca, argc - optind, argv + optind);
	} else if (optind < argc && strcmp(argv[optind], "cluster-key") == 0) {
		optind += key_command_words(&key, argc - optind, argv + optind);
		key.file = ca.key;
		ca.key = NULL;
	}
	if (!ca_command_is_whole(&ca) || !key_command_is_whole(&key))
		return EXIT_USAGE;
	if (optind < argc) {
		fprintf(stderr, "muster-server: \"%s\" is one word too many\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (mode == OPT_SETTINGS)
		return print(for_manual ? manual : help, NULL);
	if (load_settings(&d, assignments, n) || fill_defaults(&d) || !address_is_usable(&d)) {
		settings_deinit(&server_settings_table, &d.settings);
		return EXIT_CONFIG;
	}
	if (token)
		return join(&d, token);
	if (ca.verb)
		return change_ca(&d, &ca);
	if (key.verb)
		return change_cluster_key(&d, &key);
	if (mode == OPT_CHECK) {
		puts("server.properties: fine");
		code = EXIT_SUCCESS;
	} else if (mode == OPT_DUMP) {
		code = print(settings_dump, &d.settings);
	} else {
		return run(&d);
	}
	settings_deinit(&server_settings_table, &d.settings);
	return code;
}
