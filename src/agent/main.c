/*
 * muster-agent: a host's agent as a process.
 *
 * Read run() and set_up() as a table of contents: lock, file, world, identity, facts, engine, door; stopped in
 * reverse. The lock comes first because everything behind it is this agent's alone; the door last, because who asks
 * there asks about what stands by then.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/certificate_words.h"
#include "agent/daemon.h"
#include "agent/identity.h"
#include "agent/join.h"
#include "agent/lock.h"
#include "agent/programs.h"
#include "agent/takeover.h"
#include "base/mem.h"
#include "base/process.h"
#include "net/world_uv.h"

#define FILE_NAME "agent.properties"
#define ASSIGNMENTS_MAX 64

/* What the command line says; kept for a SIGHUP. */
struct command_line {
	const char *dir;
	const char *assignments[ASSIGNMENTS_MAX]; /* "key=value" */
	size_t n;
};

struct program {
	struct daemon daemon;
	const struct command_line *line;
};

/* ---- settings ---- */

static void say(void *user, const char *sentence)
{
	fprintf(stderr, "muster-agent: %s\n", sentence);
}

static void say_in_log(void *user, const char *sentence)
{
	const struct daemon *d = user;

	log_warn(&d->log, sentence);
}

static enum err assign(struct agent_settings *s, const char *assignment, struct why *why)
{
	const char *equals = strchr(assignment, '=');
	CLEAN(mem_freep) char *key = NULL;

	if (!equals) {
		why_set(why, "-s %s: it has to be key=value", assignment);
		return ERR_INVALID;
	}
	key = mem_strndup(assignment, (size_t)(equals - assignment));
	return key ? agent_settings_set(s, key, equals + 1, why) : ERR_NOMEM;
}

static enum err fill_defaults(struct agent_settings *s)
{
	char host[256] = "";

	if (s->name)
		return ERR_OK;
	gethostname(host, sizeof(host) - 1);
	s->name = mem_strdup(host[0] ? host : "host");
	return s->name ? ERR_OK : ERR_NOMEM;
}

/* All of it, or nothing and what was wrong has been said. */
static enum err load_settings(struct agent_settings *out, const struct agent_file *file,
			      const struct command_line *line, const struct settings_voice *voice)
{
	struct agent_settings s = {0};
	struct why why = WHY_NONE;
	enum err e = agent_settings_load(&s, agent_file_props(file), agent_file_path(file), voice);

	if (e == ERR_INVALID)
		return e; /* said already */
	for (size_t i = 0; !e && i < line->n; i++)
		e = assign(&s, line->assignments[i], &why);
	if (!e) {
		e = agent_settings_check(&s, &why);
		if (e)
			why_add(&why, "%s", agent_file_path(file));
	}
	if (!e)
		e = fill_defaults(&s);
	if (e) {
		voice->mistake(voice->user, why_text(&why, e));
		agent_settings_deinit(&s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

static enum err open_file(struct agent_file **out, const struct command_line *line)
{
	CLEAN(mem_freep) char *path = path_join(line->dir, FILE_NAME);
	struct why why = WHY_NONE;
	enum err e = path ? agent_file_open(out, &fs_posix, path, &why) : ERR_NOMEM;

	if (e == ERR_NOT_FOUND)
		why_set(&why, "there is no %s: this agent has not joined yet (muster-agent join TOKEN --dir %s)", path,
			line->dir);
	if (e)
		say(NULL, why_text(&why, e));
	return e;
}

/* ---- what the engine asks of its host program ---- */

static const bool *is_healthy(const struct daemon *d, bool *out)
{
	enum health_result r = d->health ? health_last(d->health) : HEALTH_UNKNOWN;

	*out = r == HEALTH_GOOD;
	return r == HEALTH_UNKNOWN ? NULL : out;
}

/* The machine may have got processors, memory or addresses since the last one. */
static enum err read_facts(struct daemon *d)
{
	struct facts f = {0};
	enum err e = facts_read(&f, &d->roots);

	if (!e)
		e = facts_read_cards(&f);
	if (e) {
		facts_deinit(&f);
		return e;
	}
	facts_deinit(&d->facts);
	d->facts = f;
	return ERR_OK;
}

static enum err on_startup(void *user, struct msg_startup_routing *out)
{
	struct daemon *d = user;
	enum err e = read_facts(d);
	bool healthy;

	return e ? e : facts_put(&d->facts, &d->settings, d->creds != NULL, is_healthy(d, &healthy), out);
}

/*
 * There is nobody here who knows of virtual machines, and an empty report would say that there are none: without one
 * the servers leave them alone. Only a health script makes such a ping worth sending.
 */
static enum err on_ping(void *user, struct msg_ping_routing *out)
{
	struct daemon *d = user;
	bool healthy;
	const bool *known;

	if (!d->health)
		return ERR_UNSUPPORTED;
	known = is_healthy(d, &healthy);
	msg_set_bool(&out->_gatewayAccessible, true);
	msg_set_bool(&out->_vnetAccessible, true);
	if (known)
		msg_set_bool(&out->hostHealthCheckResult, *known);
	/* For the next ping. */
	health_ask(d->health, NULL);
	return ERR_OK;
}

static void on_command(void *user, struct agent_command *c)
{
	commands_run(user, c);
}

static void on_creds_judged(void *user, bool new_stays, const char *sentence)
{
	credentials_judged(user, new_stays, sentence);
}

static void on_stopped(void *user, enum err why, const char *sentence)
{
	struct daemon *d = user;

	if (d->is_stopping)
		return;
	d->is_stopping = true;
	if (why == ERR_STOPPED) {
		log_info(&d->log, "this agent has nothing to do any more", KV_S("reason", sentence));
	} else {
		log_error(&d->log, "this agent must stop", KV_S("reason", sentence));
		d->exit_code = why == ERR_REFUSED ? EXIT_REJECTED : EXIT_START;
	}
	world_uv_stop(d->world);
}

static const struct agent_host host = {
	.startup = on_startup,
	.ping = on_ping,
	.command = on_command,
	.creds_judged = on_creds_judged,
	.stopped = on_stopped,
};

/* ---- the door ---- */

static enum err on_asked(void *user, struct buf *out)
{
	return daemon_explain(user, out);
}

/* An agent that can't be asked still does its work. */
static void open_door(struct daemon *d)
{
	CLEAN(mem_freep)
	char *path =
		d->settings.socket[0] == '/' ? mem_strdup(d->settings.socket) : path_join(d->dir, d->settings.socket);
	struct why why = WHY_NONE;
	enum err e = path ? door_open(&d->door, d->world, path, on_asked, d, &why) : ERR_NOMEM;

	if (e)
		log_warn(&d->log, "muster-agent explain will not work", KV_S("reason", why_text(&why, e)));
}

/* ---- signals ---- */

static void on_gone(void *user)
{
	struct daemon *d = user;

	world_uv_stop(d->world);
}

static void on_terminate(void *user, int signo)
{
	struct daemon *d = user;

	if (d->is_stopping) {
		log_warn(&d->log, "second signal, stopping at once");
		world_uv_stop(d->world);
		return;
	}
	d->is_stopping = true;
	log_info(&d->log, "stopping", KV_S("signal", signo == SIGTERM ? "TERM" : "INT"));
	agent_stop(d->agent, on_gone, d);
}

static enum err start_health(struct daemon *d)
{
	d->health = health_free(d->health);
	if (!d->settings.health_script)
		return ERR_OK;
	return health_new(&d->health, d->world, &d->log, d->settings.health_script, d->settings.health_limit_s);
}

static void apply_log_level(struct daemon *d)
{
	/* One of the choices of its row. */
	log_level_from_text(d->settings.log_level, &d->log.level);
}

/*
 * SIGHUP: what can change while it runs is read again - log level, tags, timers of connections that are made from now
 * on, what facts are made of, certificates. Who
 * this agent is and whom it asks stays until it is started again.
 */
static void on_reload(void *user, int signo)
{
	struct program *p = user;
	struct daemon *d = &p->daemon;
	const struct settings_voice voice = {.mistake = say_in_log, .warning = say_in_log, .user = d};
	struct agent_settings s = {0};
	struct agent_file *file = NULL;
	struct why why = WHY_NONE;
	bool has_other_script;
	enum err e = agent_file_open(&file, d->fs, agent_file_path(d->file), &why);

	if (d->is_stopping) {
		agent_file_free(file);
		return;
	}
	if (e)
		say_in_log(d, why_text(&why, e));
	else
		e = load_settings(&s, file, p->line, &voice);
	agent_file_free(file);
	if (e) {
		log_warn(&d->log, "nothing is changed, the settings are not good");
		return;
	}
	has_other_script = !str_equal(s.health_script, d->settings.health_script) ||
			   s.health_limit_s != d->settings.health_limit_s;
	if (!str_equal(s.guid, d->settings.guid))
		log_warn(&d->log, "the guid has changed: that needs a restart");
	agent_settings_deinit(&d->settings);
	d->settings = s;
	apply_log_level(d);
	world_uv_set_tcp(d->world, &d->settings.tcp);
	if (has_other_script && start_health(d) != ERR_OK)
		log_warn(&d->log, "the health script is not watched", KV_S("error", err_text(ERR_NOMEM)));
	e = credentials_reload(d, &why);
	if (e)
		log_warn(&d->log, "the certificate stays as it was", KV_S("reason", why_text(&why, e)));
	log_info(&d->log, "settings were read again");
}

/* ---- life ---- */

static enum err make_agent(struct daemon *d, struct why *why)
{
	const struct agent_settings *s = &d->settings;
	struct agent_params p;

	agent_params_init(&p);
	p.world = d->world;
	p.log = &d->log;
	p.file = d->file;
	p.creds = d->creds;
	p.old_creds = d->old_creds;
	p.guid = s->guid;
	p.resource_name = d->resource_name;
	p.name = s->name;
	p.zone = s->zone;
	p.pod = s->pod;
	p.cluster = s->cluster;
	p.port = (uint16_t)s->port;
	p.source_ip = s->source_ip;
	p.version = MUSTER_VERSION;
	p.ping_retries = s->ping_retries;
	p.ping_deadline_ms = s->ping_deadline_s * 1000;
	p.failback = agent_settings_failback(s);
	p.first_dial = agent_settings_first_dial(s);
	p.handshake_ms = s->handshake_s * 1000;
	p.backoff = (struct backoff_rule){
		.floor_ms = s->backoff_s * 100, .base_ms = s->backoff_s * 100, .cap_ms = s->backoff_s * 6000};
	p.host = &host;
	p.host_user = d;
	return agent_new(&d->agent, &p, why);
}

static enum err set_up(struct program *p, struct why *why)
{
	struct daemon *d = &p->daemon;
	enum err e = world_uv_new(&d->world, why);

	if (!e)
		world_uv_set_tcp(d->world, &d->settings.tcp);
	if (!e)
		e = credentials_load(d, why);
	if (!e)
		e = read_facts(d);
	if (!e)
		e = start_health(d);
	if (!e)
		e = make_agent(d, why);
	if (!e)
		e = world_uv_on_signal(d->world, SIGTERM, on_terminate, d);
	if (!e)
		e = world_uv_on_signal(d->world, SIGINT, on_terminate, d);
	if (!e)
		e = world_uv_on_signal(d->world, SIGHUP, on_reload, p);
	if (!e)
		e = agent_start(d->agent);
	if (e)
		return e;
	if (d->health)
		health_ask(d->health, NULL);
	open_door(d);
	log_info(&d->log, "agent started", KV_S("name", d->settings.name), KV_S("guid", d->settings.guid),
		 KV_S("dir", d->dir));
	return ERR_OK;
}

static void tear_down(struct daemon *d)
{
	d->door = door_close(d->door);
	/* Commands end with the agent: what still works on one must not answer it any more. */
	pings_stop(d);
	d->health = health_free(d->health);
	d->agent = agent_free(d->agent);
	credentials_deinit(d);
	if (d->world)
		d->world = world_uv_free(d->world);
	facts_deinit(&d->facts);
	str_list_deinit(&d->params);
}

/* What an operator has to put right in the folder, and the rest. */
static int exit_code_of(enum err e)
{
	switch (e) {
	case ERR_INVALID:
	case ERR_MALFORMED:
	case ERR_NOT_FOUND:
	case ERR_UNTRUSTED:
	case ERR_STATE: /* a key store that waits for a takeover */
		return EXIT_CONFIG;
	default:
		return EXIT_START;
	}
}

static int run(struct program *p)
{
	struct daemon *d = &p->daemon;
	struct why why = WHY_NONE;
	int lock = -1;
	enum err e;

	log_init_stderr(&d->log, LOG_INFO, getenv("JOURNAL_STREAM") == NULL);
	apply_log_level(d);
	process_keep_secrets();
	e = lock_take(&lock, d->dir, &why);
	if (!e)
		e = set_up(p, &why);
	if (e) {
		log_error(&d->log, "this agent can't start", KV_S("reason", why_text(&why, e)));
		d->exit_code = exit_code_of(e);
	} else {
		world_uv_run(d->world);
	}
	tear_down(d);
	lock_release(lock);
	return d->exit_code;
}

/* ---- command line ---- */

static void usage(FILE *out)
{
	fputs("usage: muster-agent [--dir DIR] [-s KEY=VALUE]... [--check | --dump]\n"
	      "       muster-agent join [TOKEN | @FILE | -] [--dir DIR] ...\n"
	      "       muster-agent takeover FOLDER [--dir DIR] ...\n"
	      "       muster-agent explain [--json] [--dir DIR]\n"
	      "\n"
	      "Runs a host's agent: keeps it connected to the management server that it should be on.\n"
	      "\n"
	      "  -d, --dir DIR          folder of agent.properties and the certificate (default: .)\n"
	      "  -s, --set KEY=VALUE    overrides a setting of agent.properties\n"
	      "      --check            reads settings and certificate, says what is wrong with them, and stops\n"
	      "      --dump             prints all settings in force as a valid agent.properties, and stops\n"
	      "      --settings[=scdoc] prints what each setting means, and stops\n"
	      "  -V, --version\n"
	      "  -h, --help\n",
	      out);
}

static int print_settings(bool scdoc)
{
	CLEAN(buf_deinit) struct buf text = {0};

	if (settings_help(&agent_settings_table, scdoc, &text))
		return EXIT_FAILURE;
	fwrite(text.data, 1, text.len, stdout);
	return EXIT_SUCCESS;
}

static int dump(const struct daemon *d)
{
	CLEAN(buf_deinit) struct buf text = {0};

	if (agent_settings_dump(&d->settings, agent_file_props(d->file), &text))
		return EXIT_FAILURE;
	fwrite(text.data, 1, text.len, stdout);
	return EXIT_SUCCESS;
}

static void list_unknown(void *user, const char *key, unsigned line)
{
	printf("%s:%u: %s is kept, it has no meaning here\n", (const char *)user, line, key);
}

static enum err show_certificate(const char *what, const struct identity *i, int64_t wall_s)
{
	CLEAN(buf_deinit) struct buf words = {0};
	CLEAN(mem_freep) char *text = NULL;
	struct cert_info info = {0};
	enum err e = cert_info_parse(&info, i->cert, NULL);

	if (!e)
		e = certificate_words(&words, &info, wall_s);
	if (!e && !(text = buf_take_str(&words)))
		e = ERR_NOMEM;
	if (!e) {
		str_make_printable(info.issuer);
		printf("%s: %s\n  serial %s, issued by %.60s\n", what, text, info.serial, info.issuer);
	}
	if (!e && certificate_age(&info, wall_s) == CERTIFICATE_EXPIRED)
		puts("  servers may let it in for some time still, and renew it (ca.plugin.root.allow.expired.cert)");
	cert_info_deinit(&info);
	return e;
}

/* There is one from before a renewal: what is that, and what becomes of it? */
static enum err show_trial(const struct daemon *d, const struct identity *old, int64_t wall_s)
{
	bool is_others = false;
	enum err e = identity_is_others(&is_others, d->fs, d->dir, NULL, NULL);

	if (e)
		return e;
	if (is_others)
		puts("  somebody has put it there while another was on trial: it stays, and the old one is removed");
	else
		puts("  renewed, and no server has taken it yet: it is tried first; if servers refuse it, the old one is back");
	return show_certificate("old certificate", old, wall_s);
}

/* Not a reason not to start: only a renewal would fail. */
static void show_what_cannot_be_replaced(const struct daemon *d)
{
	struct why why = WHY_NONE;
	enum err e = identity_can_replace(d->fs, d->dir, &why);

	if (e)
		printf("  it can't be renewed: %s\n", why_text(&why, e));
}

/* One that has expired is worth a line, and no reason not to start: servers judge it. */
static enum err check_identity(struct daemon *d, struct why *why)
{
	struct identity i = {0}, old = {0};
	int64_t wall_s = (int64_t)time(NULL);
	enum err e;

	if (identity_is_interrupted(d->fs, d->dir)) {
		puts("the certificate is being replaced; the next start finishes it");
		return ERR_OK;
	}
	if (join_is_cut_off(d->fs, d->dir)) {
		puts("a join was cut off; the next start, or the same join again, finishes it");
		return ERR_OK;
	}
	e = identity_load(&i, d->fs, d->dir, why);
	if (!e && i.key)
		e = identity_check(&i, d->settings.guid, wall_s, why);
	else if (!e)
		e = takeover_is_due(d->fs, d->dir, why);
	if (e == ERR_EXPIRED)
		e = ERR_OK;
	if (!e && !i.key)
		puts("no certificate: every server is trusted (muster-agent join TOKEN gets one)");
	if (!e && i.key) {
		e = show_certificate("certificate", &i, wall_s);
		show_what_cannot_be_replaced(d);
	}
	if (!e && i.key && identity_load_old(&old, d->fs, d->dir, NULL) == ERR_OK && old.key)
		e = show_trial(d, &old, wall_s);
	identity_deinit(&i);
	identity_deinit(&old);
	return e;
}

/*
 * Reads what a start would read and touches nothing. What can be read but not replaced is worth a word too: the agent
 * could not keep its list.
 */
static int check(struct daemon *d)
{
	struct why why = WHY_NONE;
	enum err e;

	agent_settings_unknown(&d->settings, agent_file_props(d->file), list_unknown,
			       (void *)(uintptr_t)agent_file_path(d->file));
	e = check_identity(d, &why);
	if (!e && access(d->dir, W_OK)) {
		why_set(&why, "%s can't be written: the agent could not keep the list that servers send it", d->dir);
		e = ERR_IO;
	}
	if (e) {
		say(NULL, why_text(&why, e));
		return EXIT_CONFIG;
	}
	printf("%s: fine\n", agent_file_path(d->file));
	return EXIT_SUCCESS;
}

enum mode { MODE_RUN, MODE_CHECK, MODE_DUMP };

/* Before agent.properties is read: it may be another one afterwards. */
static enum err finish_join(const char *dir)
{
	struct why why = WHY_NONE;
	bool done = false;
	int lock = -1;
	enum err e;

	if (!join_is_cut_off(&fs_posix, dir))
		return ERR_OK;
	e = lock_take(&lock, dir, &why);
	if (!e)
		e = identity_recover(&fs_posix, dir, &why);
	if (!e || e == ERR_CONFLICT)
		e = join_finish(&done, &fs_posix, dir, &why);
	lock_release(lock);
	if (e)
		say(NULL, why_text(&why, e));
	/* Whether what is there fits is seen when it is read. */
	return e == ERR_CONFLICT ? ERR_OK : e;
}

static int start(const struct command_line *line, enum mode mode)
{
	const struct settings_voice voice = {.mistake = say, .warning = say};
	struct program p = {
		.daemon = {.dir = line->dir, .fs = &fs_posix, .roots = facts_machine},
		.line = line,
	};
	struct daemon *d = &p.daemon;
	int code = EXIT_CONFIG;
	enum err e;

	list_init(&d->pings);
	e = mode == MODE_RUN ? finish_join(line->dir) : ERR_OK;
	if (!e)
		e = open_file(&d->file, line);
	if (!e)
		e = load_settings(&d->settings, d->file, line, &voice);
	if (!e && !agent_settings_resource_name(d->resource_name, sizeof(d->resource_name), &d->settings))
		e = ERR_INVALID;
	if (!e)
		code = mode == MODE_CHECK ? check(d) : mode == MODE_DUMP ? dump(d) : run(&p);
	agent_settings_deinit(&d->settings);
	agent_file_free(d->file);
	return code;
}

int main(int argc, char **argv)
{
	enum { OPT_CHECK = 256, OPT_DUMP, OPT_SETTINGS };
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'd'},
		{"set", required_argument, NULL, 's'},
		{"check", no_argument, NULL, OPT_CHECK},
		{"dump", no_argument, NULL, OPT_DUMP},
		{"settings", optional_argument, NULL, OPT_SETTINGS},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {{"join", join_main}, {"takeover", takeover_main}, {"explain", explain_main}};
	struct command_line line = {.dir = "."};
	enum mode mode = MODE_RUN;
	int c;

	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	while ((c = getopt_long(argc, argv, "d:s:Vh", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			line.dir = optarg;
			break;
		case 's':
			if (line.n == ASSIGNMENTS_MAX) {
				fputs("muster-agent: too many -s\n", stderr);
				return EXIT_USAGE;
			}
			line.assignments[line.n++] = optarg;
			break;
		case OPT_CHECK:
			mode = MODE_CHECK;
			break;
		case OPT_DUMP:
			mode = MODE_DUMP;
			break;
		case OPT_SETTINGS:
			return print_settings(optarg && strcmp(optarg, "scdoc") == 0);
		case 'V':
			puts("muster-agent " MUSTER_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "muster-agent: \"%s\" is one word too many\n", argv[optind]);
		return EXIT_USAGE;
	}
	return start(&line, mode);
}
