/*
 * muster-agent takeover, the subcommand: looks, writes, and tells what it took, what it left and what to do next.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/lock.h"
#include "agent/programs.h"
#include "agent/takeover.h"
#include "base/mem.h"
#include "base/process.h"

#define DAY_S 86400
#define SOON_DAYS 15 /* CloudStack renews by then */

static bool is_same_folder(const char *a, const char *b)
{
	struct stat of_a, of_b;

	return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static void print_day(int64_t wall_s)
{
	time_t t = (time_t)wall_s;
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d", &tm);
	fputs(text, stdout);
}

static void print_certificate(const struct takeover *t, int64_t wall_s)
{
	int64_t days = (t->cert.not_after_s - wall_s) / DAY_S;

	printf("certificate   %s, serial %s, by %s, until ", t->cert.common_name, t->cert.serial, t->cert.issuer);
	print_day(t->cert.not_after_s);
	putchar('\n');
	if (days < SOON_DAYS)
		printf("              it ends in %lld days: get a new one soon\n", (long long)days);
}

static void print_report(const struct takeover *t, const struct takeover_options *o, int64_t wall_s)
{
	printf("host          guid %s, zone %s, pod %s, cluster %s\n", t->settings.guid, t->settings.zone,
	       t->settings.pod, t->settings.cluster);
	printf("servers       %s, port %lld\n", t->settings.host ? t->settings.host : t->settings.hosts,
	       (long long)t->settings.port);
	printf("taken from    %s in %s\n", t->source, o->from);
	print_certificate(t, wall_s);
	for (size_t i = 0; i < t->done.n; i++)
		printf("%-13s %s\n", i ? "" : "files", t->done.items[i]);
	printf("left alone    all that CloudStack's agent has in %s%s; it can start again with it\n", o->from,
	       t->store ? ", key store and passphrase too" : "");
	printf("next          stop CloudStack's agent for good (systemctl disable --now cloudstack-agent): two agents\n"
	       "              with one guid would take the host from each other; then muster-agent --dir %s\n",
	       o->dir);
}

/* What has to be put right in the folders, and the rest. */
static int exit_code_of(enum err e)
{
	switch (e) {
	case ERR_OK:
		return EXIT_SUCCESS;
	case ERR_NOMEM:
	case ERR_IO:
	case ERR_BUSY:
		return EXIT_START;
	default:
		return EXIT_CONFIG;
	}
}

static enum err write_locked(struct takeover *t, struct takeover_options *o, int64_t wall_s, struct why *why)
{
	int lock = -1;
	enum err e = fs_posix.make_dir(&fs_posix, o->dir, 0700, why);

	if (!e)
		e = lock_take(&lock, o->dir, why);
	o->in_place = is_same_folder(o->from, o->dir);
	if (!e)
		e = identity_recover(&fs_posix, o->dir, why);
	/* Whose it is makes no difference to who replaces it. */
	if (e == ERR_CONFLICT)
		e = ERR_OK;
	if (!e)
		e = takeover_write(t, &fs_posix, o, wall_s, why);
	lock_release(lock);
	return e;
}

static int takeover_run(struct takeover_options *o)
{
	int64_t wall_s = (int64_t)time(NULL);
	struct takeover t = {0};
	struct why why = WHY_NONE;
	enum err e;

	process_keep_secrets();
	e = takeover_read(&t, &fs_posix, o, wall_s, &why);
	if (!e)
		e = write_locked(&t, o, wall_s, &why);
	if (e)
		fprintf(stderr, "muster-agent: can't take over %s: %s\n", o->from, why_text(&why, e));
	else
		print_report(&t, o, wall_s);
	takeover_deinit(&t);
	return exit_code_of(e);
}

static void usage(FILE *out)
{
	fputs("usage: muster-agent takeover FOLDER [--dir DIR] [--store]\n"
	      "\n"
	      "Makes muster-agent the agent of a host that CloudStack's agent has run on: takes guid, servers, key and\n"
	      "certificate from FOLDER (/etc/cloudstack/agent). Files of CloudStack's agent are never changed, so that it\n"
	      "can be started again.\n"
	      "\n"
	      "  -d, --dir DIR  the folder for muster-agent, made if it isn't there (default: FOLDER itself)\n"
	      "      --store    takes the key from cloud.jks even if cloud.key, cloud.crt and cloud.ca.crt are there\n"
	      "  -h, --help\n",
	      out);
}

int takeover_main(int argc, char **argv)
{
	enum { STORE = 256 };
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'd'},
		{"store", no_argument, NULL, STORE},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct takeover_options o = {0};
	int c;

	while ((c = getopt_long(argc, argv, "d:h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			o.dir = optarg;
			break;
		case STORE:
			o.store = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		fputs("muster-agent takeover: exactly one folder is needed, that of CloudStack's agent\n", stderr);
		return EXIT_USAGE;
	}
	o.from = argv[optind];
	if (!o.dir)
		o.dir = o.from;
	return takeover_run(&o);
}
