/*
 * muster-agent explain: asks the agent that runs in a folder what it is doing.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/door.h"
#include "agent/explain.h"
#include "agent/programs.h"
#include "agent/settings.h"
#include "base/fs.h"
#include "base/mem.h"

#define ANSWER_MS 5000
#define FILE_LIMIT (1024 * 1024)
#define SOCKET_DEFAULT "agent.sock"

/* Where the socket is; a file that can't be read leaves the default. */
static char *socket_path(const char *dir)
{
	CLEAN(mem_freep) char *file = path_join(dir, "agent.properties");
	CLEAN(buf_deinit) struct buf text = {0};
	const struct settings_voice silent = {0};
	struct agent_settings s = {0};
	struct props *p = NULL;
	char *path;

	if (file && file_read(&fs_posix, file, FILE_LIMIT, &text, NULL) == ERR_OK &&
	    props_parse(&p, text.data, text.len, NULL) == ERR_OK && agent_settings_load(&s, p, file, &silent) != ERR_OK)
		s = (struct agent_settings){0};
	props_free(p);
	if (s.socket && s.socket[0] == '/')
		path = mem_strdup(s.socket);
	else
		path = path_join(dir, s.socket ? s.socket : SOCKET_DEFAULT);
	agent_settings_deinit(&s);
	return path;
}

static enum err print(const char *line, bool as_json, struct why *why)
{
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e;

	if (as_json) {
		puts(line);
		return ERR_OK;
	}
	e = explain_text(&text, line, why);
	if (!e)
		fwrite(text.data, 1, text.len, stdout);
	return e;
}

static void usage(FILE *out)
{
	fputs("usage: muster-agent explain [--json] [--dir DIR]\n"
	      "\n"
	      "Says what the agent that runs in DIR is doing: which server it is on, which one it prefers, what it\n"
	      "thinks of each server of its list and why, and when it looks again.\n"
	      "\n"
	      "  -d, --dir DIR  the agent's folder (default: .)\n"
	      "      --json     one line of JSON\n"
	      "  -h, --help\n",
	      out);
}

int explain_main(int argc, char **argv)
{
	enum { JSON = 256 };
	static const struct option options[] = {
		{"dir", required_argument, NULL, 'd'},
		{"json", no_argument, NULL, JSON},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	CLEAN(mem_freep) char *path = NULL;
	CLEAN(mem_freep) char *line = NULL;
	struct why why = WHY_NONE;
	const char *dir = ".";
	bool as_json = false;
	enum err e;
	int c;

	while ((c = getopt_long(argc, argv, "d:h", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			dir = optarg;
			break;
		case JSON:
			as_json = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "muster-agent explain: \"%s\" is one word too many\n", argv[optind]);
		return EXIT_USAGE;
	}
	path = socket_path(dir);
	e = path ? door_ask(&line, path, ANSWER_MS, &why) : ERR_NOMEM;
	if (!e)
		e = print(line, as_json, &why);
	if (e)
		fprintf(stderr, "muster-agent: %s\n", why_text(&why, e));
	return e ? EXIT_FAILURE : EXIT_SUCCESS;
}
