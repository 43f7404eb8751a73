/*
 * muster-agent join, the subcommand: token, key, request, answer; what comes of it is written by join.c.
 *
 * A token that is none leaves no trace; the folder is locked before it is looked at; nothing is written before the
 * answer has been judged.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/facts.h"
#include "agent/join.h"
#include "agent/lock.h"
#include "agent/programs.h"
#include "agent/settings.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/process.h"
#include "client/join.h"
#include "core/server_list.h"
#include "net/world_uv.h"

CLEAN_DEFINE(struct props, props_free)

struct joining {
	struct join_options options;
	const struct fs *fs;
	struct log log;
	struct world *world;
	struct token token;
	struct str_list servers;
	struct agent_settings settings;         /* of an agent.properties that is there already */
	bool says_zone, says_pod, says_cluster; /* there: where nothing is said, the token or the server decides */
	bool is_host;                           /* there is a guid, a key and a certificate, to be kept */
	struct facts facts;
	struct identity identity; /* the key, then all of it */
	struct work work;
	char host_name[256];
	char guid[GUID_MAX];
	char *csr; /* owned */
	struct join *join;
	enum err result;
	bool is_rejected; /* a server has said no */
	struct why why;
};

static void finish(struct joining *j, enum err result, const char *sentence)
{
	struct why copy;

	/* The sentence may be the one that is replaced. */
	why_set(&copy, "%s", sentence);
	j->result = result;
	j->why = copy;
	world_uv_stop(j->world);
}

static enum err check_answer(struct joining *j, const struct msg_join_answer *a)
{
	if (str_is_blank(a->certificate) || str_is_blank(a->caCertificates) || !a->guid || !cert_id_is_valid(a->guid)) {
		why_set(&j->why, "the server's answer lacks a certificate, its CA or a guid");
		return ERR_MALFORMED;
	}
	if (!identity_ca_has(a->caCertificates, j->token.fingerprint)) {
		why_set(&j->why, "the CA that came with the certificate is not the token's");
		return ERR_UNTRUSTED;
	}
	j->identity.cert = mem_strdup(a->certificate);
	j->identity.ca = mem_strdup(a->caCertificates);
	if (!j->identity.cert || !j->identity.ca)
		return ERR_NOMEM;
	return identity_check(&j->identity, a->guid, world_wall_ms(j->world) / 1000, &j->why);
}

/* What happens to links, and what is our own, is no answer. */
static bool is_answer_of_server(enum err e)
{
	switch (e) {
	case ERR_NOMEM:
	case ERR_TIMEOUT:
	case ERR_CLOSED:
	case ERR_UNREACHABLE:
	case ERR_NO_NAME:
	case ERR_TLS:
	case ERR_IO:
		return false;
	default:
		return true;
	}
}

static void on_joined(void *user, enum err result, const char *sentence, const struct msg_join_answer *a)
{
	struct joining *j = user;
	enum err e;

	if (result) {
		j->is_rejected = is_answer_of_server(result);
		finish(j, result, sentence);
		return;
	}
	e = check_answer(j, a);
	if (!e)
		e = join_write(j->fs, &j->options, &j->identity, a, &j->servers, &j->why);
	if (!e && str_copy(j->guid, sizeof(j->guid), a->guid) && a->msHostList.has && a->msHostList.list.n)
		log_info(&j->log, "joined", KV_S("guid", a->guid), KV_I("host_id", a->hostId.value),
			 KV_S("preferred", a->msHostList.list.items[0]), KV_U("servers", a->msHostList.list.n));
	finish(j, e, why_text(&j->why, e));
}

static enum err fill_request(struct joining *j, struct msg_join *m)
{
	const struct join_options *o = &j->options;
	char resource[128] = "LibvirtComputingResource";
	const struct {
		msg_text *to;
		const char *value;
	} rows[] = {
		{&m->tokenId, j->token.id},
		{&m->tokenSecret, j->token.secret},
		{&m->role, "agent"},
		{&m->csr, j->csr},
		{&m->guid, j->guid},
		{&m->name, j->host_name},
		{&m->resourceName, resource},
		{&m->zone, o->zone        ? o->zone
			   : j->says_zone ? j->settings.zone
					  : NULL},
		{&m->pod, o->pod        ? o->pod
			  : j->says_pod ? j->settings.pod
					: NULL},
		{&m->cluster, o->cluster        ? o->cluster
			      : j->says_cluster ? j->settings.cluster
						: NULL},
	};
	enum err e = ERR_OK;

	if (!agent_settings_resource_name(resource, sizeof(resource), &j->settings))
		return ERR_INVALID;
	for (size_t i = 0; !e && i < ARRAY_SIZE(rows); i++)
		e = msg_set_text(rows[i].to, rows[i].value);
	/* --force gives up what is here, so the token may make another host of this machine. */
	msg_set_bool(&m->guidIsFixed, o->guid || (j->settings.guid && !o->force));
	msg_set_bool(&m->rejoins, j->is_host);
	m->addresses.has = true;
	return e ? e : facts_addresses(&m->addresses.list, &j->facts, &j->settings);
}

static enum err send_request(struct joining *j)
{
	CLEAN(mem_freep) char *servers = str_list_join(&j->servers, ",");
	CLEAN(batch_deinit) struct batch b = {0};
	struct msg_join *m = batch_add(&b, MSG_JOIN);
	const struct join_params p = {
		.world = j->world,
		.log = &j->log,
		.servers = servers,
		.fingerprint = j->token.fingerprint,
		.source_ip = j->settings.source_ip,
	};
	enum err e = servers && m ? fill_request(j, m) : ERR_NOMEM;

	if (!e)
		e = join_start(&j->join, &p, m, on_joined, j, &j->why);
	if (m && m->tokenSecret)
		mem_wipe(m->tokenSecret, strlen(m->tokenSecret));
	return e;
}

static void key_run(struct work *w)
{
	struct joining *j = container_of(w, struct joining, work);
	struct str_list none = {0};
	struct csr_params p = {.common_name = j->host_name, .role = CERT_ROLE_AGENT, .id = j->guid, .ips = &none};

	j->result = key_new(&j->identity.key, KEY_EC_P256, &j->why);
	p.key_pem = j->identity.key;
	if (!j->result)
		j->result = csr_new(&j->csr, &p, &j->why);
}

static void key_done(struct work *w)
{
	struct joining *j = container_of(w, struct joining, work);
	enum err e = j->result ? j->result : send_request(j);

	if (e)
		finish(j, e, why_text(&j->why, e));
}

/* ---- before anything is asked ---- */

static enum err make_dir(struct joining *j)
{
	return j->fs->make_dir(j->fs, j->options.dir, 0700, &j->why);
}

/* What is here is replaced only by the same host, or when somebody says that it may be. */
static enum err check_guid(struct joining *j)
{
	if (!j->is_host || !j->options.guid || str_equal(j->options.guid, j->settings.guid))
		return ERR_OK;
	why_set(&j->why, "%s is an agent's already (guid %s): --force gives that up for guid %s", j->options.dir,
		j->settings.guid, j->options.guid);
	return ERR_EXISTS;
}

static enum err read_old(struct joining *j)
{
	CLEAN(mem_freep) char *path = path_join(j->options.dir, JOIN_FILE);
	CLEAN(props_freep) struct props *p = NULL;
	const struct settings_voice silent = {0};
	enum err e = path ? join_open_props(&p, j->fs, path, &j->why) : ERR_NOMEM;

	agent_settings_deinit(&j->settings); /* of an earlier look */
	j->settings = (struct agent_settings){0};
	if (!e) {
		e = agent_settings_load(&j->settings, p, path, &silent);
		if (e)
			why_set(&j->why, "%s has mistakes: muster-agent --check --dir %s lists them", path,
				j->options.dir);
	}
	if (e)
		return e;
	j->says_zone = props_get(p, "zone") != NULL;
	j->says_pod = props_get(p, "pod") != NULL;
	j->says_cluster = props_get(p, "cluster") != NULL;
	if (j->options.source_ip)
		e = agent_settings_set(&j->settings, "muster.source.ip", j->options.source_ip, &j->why);
	j->is_host = !j->options.force && j->settings.guid && identity_exists(j->fs, j->options.dir);
	return e ? e : check_guid(j);
}

static enum err choose_names(struct joining *j)
{
	const struct join_options *o = &j->options;
	const char *guid = o->guid ? o->guid : j->settings.guid;
	const char *name = o->name ? o->name : j->settings.name;

	if (name)
		str_copy(j->host_name, sizeof(j->host_name), name);
	else
		gethostname(j->host_name, sizeof(j->host_name) - 1);
	if (!guid) {
		world_uuid(j->world, j->guid);
		return ERR_OK;
	}
	if (str_copy(j->guid, sizeof(j->guid), guid) && cert_id_is_valid(guid))
		return ERR_OK;
	why_set(&j->why, "\"%s\" can't be a guid: 1 to 127 letters, digits, dots, dashes and underscores", guid);
	return ERR_INVALID;
}

static enum err choose_servers(struct joining *j)
{
	enum err e;

	if (j->options.servers) {
		e = server_list_parse_setting(&j->servers, j->options.servers, &j->why);
		if (e)
			why_add(&j->why, "--server");
		return e;
	}
	if (j->token.servers.n)
		return str_list_copy(&j->servers, &j->token.servers);
	why_set(&j->why, "the token names no server: say one with --server HOST:PORT");
	return ERR_INVALID;
}

static enum err read_token(struct joining *j, const char *from)
{
	char *text = NULL;
	enum err e = join_token_text(&text, from, &j->why);

	if (!e)
		e = token_parse(&j->token, text, &j->why);
	if (text)
		mem_wipe(text, strlen(text));
	mem_free(text);
	if (e || j->token.role == CERT_ROLE_AGENT)
		return e;
	why_set(&j->why, "this token is for a management server: muster-server join");
	return ERR_REFUSED;
}

/*
 * One that was cut off: its token may be used up, so it is not asked for again. A repeat is finished with that, unless
 * it wants something else.
 */
static enum err finish_cut_off(struct joining *j, bool *is_repeat)
{
	struct identity i = {0};
	bool done = false;
	enum err e = join_finish(&done, j->fs, j->options.dir, &j->why);

	*is_repeat = false;
	/* --force gives up what is here, whatever it is. */
	if (e == ERR_CONFLICT && j->options.force)
		return ERR_OK;
	if (e || !done || j->options.force)
		return e;
	e = read_old(j);
	if (!e)
		e = identity_load(&i, j->fs, j->options.dir, &j->why);
	if (!e && i.ca && j->settings.guid && identity_ca_has(i.ca, j->token.fingerprint)) {
		*is_repeat = true;
		str_copy(j->guid, sizeof(j->guid), j->settings.guid);
		e = choose_names(j);
	}
	identity_deinit(&i);
	return e;
}

static enum err prepare(struct joining *j)
{
	enum err e = read_old(j);

	if (!e)
		e = choose_names(j);
	if (!e)
		e = facts_read(&j->facts, &facts_machine);
	if (!e)
		e = facts_read_cards(&j->facts);
	return e;
}

static void joining_deinit(struct joining *j)
{
	join_free(j->join);
	if (j->world)
		world_uv_free(j->world);
	token_deinit(&j->token);
	str_list_deinit(&j->servers);
	agent_settings_deinit(&j->settings);
	facts_deinit(&j->facts);
	identity_deinit(&j->identity);
	mem_free(j->csr);
}

/* A server's no is 1, what has to be put right here is 66, all else 67. */
static int exit_code_of(const struct joining *j, enum err e)
{
	switch (e) {
	case ERR_OK:
		return EXIT_SUCCESS;
	case ERR_INVALID:
	case ERR_MALFORMED:
	case ERR_EXISTS:
	case ERR_CONFLICT: /* a file that somebody has changed */
	case ERR_NOT_FOUND:
	case ERR_REFUSED: /* a token for something else */
		return j->is_rejected ? EXIT_REJECTED : EXIT_CONFIG;
	default:
		return j->is_rejected ? EXIT_REJECTED : EXIT_START;
	}
}

static int join_run(struct joining *j, const char *token)
{
	bool is_repeat = false;
	int lock = -1;
	enum err e = world_uv_new(&j->world, &j->why);

	/* A token that is none leaves no trace. */
	if (!e)
		e = read_token(j, token);
	if (!e)
		e = choose_servers(j);
	if (!e)
		e = make_dir(j);
	if (!e)
		e = lock_take(&lock, j->options.dir, &j->why);
	if (!e)
		e = identity_recover(j->fs, j->options.dir, &j->why);
	/* Whose it is makes no difference to who replaces it. */
	if (e == ERR_CONFLICT)
		e = ERR_OK;
	if (!e)
		e = finish_cut_off(j, &is_repeat);
	if (!e && !is_repeat)
		e = prepare(j);
	if (!e && !is_repeat) {
		j->work = (struct work){.run = key_run, .done = key_done};
		world_work(j->world, WORK_CRYPTO, &j->work);
		world_uv_run(j->world);
		e = j->result;
	}
	if (e)
		fprintf(stderr, "muster-agent: can't join: %s\n", why_text(&j->why, e));
	else
		printf("joined as %s (guid %s)%s; start it with: muster-agent --dir %s\n", j->host_name, j->guid,
		       is_repeat ? ", which was cut off before and is finished now" : "", j->options.dir);
	lock_release(lock);
	return exit_code_of(j, e);
}

static void usage(FILE *out)
{
	fputs("usage: muster-agent join [TOKEN | @FILE | -] [--dir DIR] [options]\n"
	      "\n"
	      "Makes this machine a host: gets a certificate with a token from `muster token create` and writes the\n"
	      "agent's folder. Without TOKEN it is taken from the environment, " JOIN_TOKEN_VARIABLE
	      "; - reads it from standard input.\n"
	      "\n"
	      "  -d, --dir DIR            the agent's folder (default: .), made if it isn't there\n"
	      "      --name NAME          name of the host (default: the host name)\n"
	      "      --guid GUID          identity of the host (default: a new one, unless the token decides)\n"
	      "      --server HOST:PORT,  servers to ask, instead of the token's\n"
	      "      --source-ip IP       address to connect from\n"
	      "      --zone Z --pod P --cluster C\n"
	      "                           where the host belongs (default: default)\n"
	      "      --force              gives up an identity that is there; without it only a token of\n"
	      "                           `muster host rejoin` for this same host replaces it\n"
	      "  -v, --verbose\n"
	      "  -h, --help\n",
	      out);
}

int join_main(int argc, char **argv)
{
	enum { NAME = 256, GUID, SERVER, SOURCE, ZONE, POD, CLUSTER, FORCE };
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'd'},
		{"name", required_argument, NULL, NAME},
		{"guid", required_argument, NULL, GUID},
		{"server", required_argument, NULL, SERVER},
		{"source-ip", required_argument, NULL, SOURCE},
		{"zone", required_argument, NULL, ZONE},
		{"pod", required_argument, NULL, POD},
		{"cluster", required_argument, NULL, CLUSTER},
		{"force", no_argument, NULL, FORCE},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	CLEAN(mem_freep) char *token = NULL;
	struct joining j = {.fs = &fs_posix, .options = {.dir = "."}};
	struct join_options *o = &j.options;
	enum log_level level = LOG_ERROR;
	int c, code;

	while ((c = getopt_long(argc, argv, "d:vh", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->dir = optarg;
			break;
		case NAME:
			o->name = optarg;
			break;
		case GUID:
			o->guid = optarg;
			break;
		case SERVER:
			o->servers = optarg;
			break;
		case SOURCE:
			o->source_ip = optarg;
			break;
		case ZONE:
			o->zone = optarg;
			break;
		case POD:
			o->pod = optarg;
			break;
		case CLUSTER:
			o->cluster = optarg;
			break;
		case FORCE:
			o->force = true;
			break;
		case 'v':
			level = LOG_DEBUG;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 < argc) {
		fprintf(stderr, "muster-agent join: \"%s\" is one word too many\n", argv[optind + 1]);
		return EXIT_USAGE;
	}
	if (optind < argc) {
		token = mem_strdup(argv[optind]);
		/* Others can read a command line as long as it lives. */
		mem_wipe(argv[optind], strlen(argv[optind]));
	}
	log_init_stderr(&j.log, level, false);
	process_keep_secrets();
	code = join_run(&j, token);
	if (token)
		mem_wipe(token, strlen(token));
	joining_deinit(&j);
	return code;
}
