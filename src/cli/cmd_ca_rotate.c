/*
 * muster ca rotate: the root of the CA is changed, a step at a time.
 *
 * A step is taken at once; then agents and servers follow at their pace, and this only watches. The next step waits
 * until nobody is behind. It begins with a new CA that is made for it, or with the operator's own one, if that was
 * prepared (muster-server ca import --next).
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/confirm.h"
#include "cli/format.h"
#include "cli/table.h"

#define LOOK_MS 500
#define NAMED_MOST 10

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int number)
{
	(void)number;
	is_interrupted = 1;
}

/* ---- as people read it ---- */

struct phase {
	const char *name;
	const char *is;   /* what holds in it */
	const char *next; /* what the step out of it does */
	const char *back; /* what the step back does; NULL: there is none */
};

static const struct phase phases[] = {
	{"none", "There is one CA.",
	 "A new CA is made. Servers and agents come to trust both; the old one goes on signing.", NULL},
	{"trust", "Servers and agents come to trust both CAs; the old one signs.",
	 "The new CA signs. Servers and agents get certificates of it; both stay trusted.",
	 "The new CA is forgotten, here and by all agents."},
	{"issue", "The new CA signs; servers and agents get certificates of it. Both are trusted.",
	 "The old CA is not trusted any more; its key is kept, so that this can be taken back.",
	 "The old CA signs again; servers and agents get certificates of it."},
	{"drop", "Only the new CA is trusted; the key of the old one is kept.",
	 "The key of the old CA is destroyed. This can't be taken back.", "The old CA is trusted again."},
};

static const struct phase *phase_of(const json_t *r)
{
	const char *name = json_text(r, "phase", "");

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (str_equal(name, phases[i].name))
			return &phases[i];
	return &phases[0];
}

/* Its name is its maker's: made harmless for a terminal. */
static void print_name(const char *what, const json_t *ca, const char *field)
{
	char *line = text_or_die("%s", json_text(ca, field, "?"));

	printf("%-12s %s\n", what, format_printable(line));
	mem_free(line);
}

static void print_ca(const char *what, const json_t *ca, const char *more)
{
	char until[FORMAT_MAX];
	char *name;

	if (!ca)
		return;
	name = text_or_die("%s", json_text(ca, "subject", "?"));
	printf("%-12s %.40s, %.16s..., until %s%s\n", what, format_printable(name), json_text(ca, "fingerprint", "?"),
	       format_date(until, json_text(ca, "notafter", "?")), more);
	mem_free(name);
}

/* What comes into force without anybody having looked at it since: all of it. */
static void print_prepared(const json_t *ca)
{
	char from[FORMAT_MAX], until[FORMAT_MAX];

	if (!ca)
		return;
	print_name("Prepared", ca, "subject");
	print_name("  issuer", ca, "issuer");
	printf("  SHA-256    %s\n", json_text(ca, "fingerprint", "?"));
	printf("  key        %s, %" JSON_INTEGER_FORMAT " bits\n", json_text(ca, "key", "?"),
	       (json_int_t)json_number(ca, "keybits", 0));
	printf("  valid      %s to %s\n", format_date(from, json_text(ca, "notbefore", "?")),
	       format_date(until, json_text(ca, "notafter", "?")));
}

/* As above, where the first step takes it. */
#define NEXT_PREPARED                                                                                                  \
	"The prepared CA is taken. Servers and agents come to trust both; the present one goes on signing."
#define BACK_PREPARED "The new CA is forgotten by all agents, and is prepared as it was before."

static size_t print_behind(const struct cli *c, const json_t *list, const char *what)
{
	size_t i, n = 0;
	json_t *o;

	json_array_foreach (list, i, o) {
		char *line;

		if (n == NAMED_MOST)
			break;
		line = text_or_die("%s %s (%s) %s", what, json_text(o, "name", "?"), json_text(o, "state", "?"),
				   json_text(o, "why", "is behind"));
		printf("  %s%s%s\n", tint_on(c, TINT_CAREFUL), format_printable(line), tint_off(c));
		mem_free(line);
		n++;
	}
	return n;
}

static int64_t n_behind(const json_t *r)
{
	return json_number(r, "serversbehind", 0) + json_number(r, "hostsbehind", 0);
}

static void print_counts(const json_t *r)
{
	char servers[FORMAT_MAX], hosts[FORMAT_MAX];

	printf("Ready        %" JSON_INTEGER_FORMAT " of %s, %" JSON_INTEGER_FORMAT " of %s\n",
	       (json_int_t)(json_number(r, "servers", 0) - json_number(r, "serversbehind", 0)),
	       format_count(servers, json_number(r, "servers", 0), "server"),
	       (json_int_t)(json_number(r, "hosts", 0) - json_number(r, "hostsbehind", 0)),
	       format_count(hosts, json_number(r, "hosts", 0), "host"));
}

static void print_rotation(const struct cli *c, const json_t *r)
{
	const struct phase *p = phase_of(r);
	bool under_way = p != &phases[0];
	char since[FORMAT_MAX];
	size_t named;

	printf("Phase        %s%s%s", tint_on(c, under_way ? TINT_STRONG : TINT_NONE), p->name, tint_off(c));
	if (under_way)
		printf(", since %s by %s", format_date(since, json_text(r, "since", "?")), json_text(r, "by", "?"));
	printf("\n             %s\n", p->is);
	print_ca(under_way ? "Signs" : "CA", json_object_get(r, "signs"), "");
	print_ca("Other", json_object_get(r, "other"),
		 json_flag(r, "othertrusted", false) ? ", trusted" : ", not trusted");
	print_prepared(json_object_get(r, "prepared"));
	if (!under_way)
		return;
	if (json_flag(r, "compromised", false))
		printf("Stolen       The key of the old CA. Who shows a certificate of it that was not issued here gets no new one\n"
		       "             by itself, and is refused from issue on; `muster cert renew HOST` vouches for one.\n");
	print_counts(r);
	named = print_behind(c, json_object_get(r, "serverlist"), "server");
	named += print_behind(c, json_object_get(r, "hostlist"), "host");
	if (n_behind(r) > (int64_t)named)
		printf("  ... and %" JSON_INTEGER_FORMAT " more\n", (json_int_t)(n_behind(r) - (int64_t)named));
	if (n_behind(r) && json_flag(r, "frozen", false))
		printf("  Moves are frozen, and with them the renewal of certificates: `muster thaw` lets it go on.\n");
}

/* ---- watching ---- */

static json_t *look(struct cli *c)
{
	json_t *answer = cli_ask(c, "listCaRotation", NULL);
	json_t *r = answer ? json_incref(json_object_get(answer, "carotation")) : NULL;

	json_decref(answer);
	return r;
}

static char *progress(const json_t *r)
{
	return text_or_die("%s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " servers, %" JSON_INTEGER_FORMAT
			   " of %" JSON_INTEGER_FORMAT " hosts",
			   json_text(r, "phase", "?"),
			   (json_int_t)(json_number(r, "servers", 0) - json_number(r, "serversbehind", 0)),
			   (json_int_t)json_number(r, "servers", 0),
			   (json_int_t)(json_number(r, "hosts", 0) - json_number(r, "hostsbehind", 0)),
			   (json_int_t)json_number(r, "hosts", 0));
}

/* On a terminal one line that changes, elsewhere a line whenever it says something else. */
static void show_progress(const struct cli *c, const json_t *r, char **last)
{
	char *text;

	if (c->json)
		return;
	text = progress(r);
	if (c->is_terminal)
		printf("\r\033[K%s", text);
	else if (!str_equal(text, *last))
		printf("%s\n", text);
	fflush(stdout);
	mem_free(*last);
	*last = text;
}

/* Until nobody is behind. The last record; NULL: after a sentence. */
static json_t *watch(struct cli *c)
{
	const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
	const struct sigaction action = {.sa_handler = on_interrupt};
	CLEAN(mem_freep) char *last = NULL;
	json_t *r;

	sigaction(SIGINT, &action, NULL);
	for (;;) {
		r = look(c);
		if (!r)
			break;
		show_progress(c, r, &last);
		if (!n_behind(r) || is_interrupted)
			break;
		(void)nanosleep(&pause, NULL);
		json_decref(r);
	}
	if (last && c->is_terminal)
		printf("\r\033[K");
	return r;
}

/* ---- the command ---- */

struct wish {
	bool status, back, finish, discard, force, no_wait, compromised;
	struct confirm confirm;
};

static int show(struct cli *c, const json_t *r)
{
	if (c->json)
		cli_print_json(r, false);
	else
		print_rotation(c, r);
	return cli_flush(c);
}

static const char *effect_of(const struct wish *w, const json_t *r)
{
	const struct phase *p = phase_of(r);

	if (w->back)
		return str_equal(p->name, "trust") && json_flag(r, "otherwasprepared", false) ? BACK_PREPARED : p->back;
	return json_object_get(r, "prepared") && p == &phases[0] ? NEXT_PREPARED : p->next;
}

/* What it does, and whether somebody stands in the way, before it is asked for. */
static int ask(struct cli *c, const struct wish *w, const json_t *r)
{
	const struct phase *p = phase_of(r);
	const struct confirm confirm = {.plan = !c->json, .yes = w->confirm.yes};

	if (w->back && !p->back)
		return cli_fail(c, "no rotation of the CA is under way: there is nothing to take back");
	if (w->finish && !str_equal(p->name, "drop"))
		return cli_fail(c, "--finish is for the phase drop; it is %s", p->name);
	/* The only step that can't be taken back isn't taken by who calls this once more. */
	if (!w->back && !w->finish && str_equal(p->name, "drop"))
		return cli_fail(
			c, "the last step destroys the key of the old CA: --finish takes it, --back trusts it again");
	if (c->json)
		return CLI_OK;
	print_rotation(c, r);
	if (!w->back && n_behind(r) && !w->force)
		return cli_fail(c, "the next step waits for these; --force takes it all the same and cuts them off");
	printf("\n%s%s\n", w->back ? "Back: " : "Next: ", effect_of(w, r));
	if (w->force && n_behind(r))
		printf("%sWho is behind is cut off: such hosts have to join again.%s\n", tint_on(c, TINT_BAD),
		       tint_off(c));
	return confirm_ask(c, &confirm);
}

static int report(struct cli *c, const struct wish *w)
{
	json_t *r = w->no_wait ? look(c) : watch(c);
	int exit_code;

	if (!r)
		return CLI_FAILED;
	exit_code = show(c, r);
	if (n_behind(r))
		cli_advise(c, "It goes on by itself; `muster ca rotate --status` shows how far it is.");
	else if (str_equal(json_text(r, "phase", ""), "drop"))
		cli_advise(c,
			   "Everybody is ready: `muster ca rotate --finish` ends it, `--back` takes this step back.");
	else if (!str_equal(json_text(r, "phase", ""), "none"))
		cli_advise(c,
			   "Everybody is ready: `muster ca rotate` takes the next step, `--back` takes this one back.");
	json_decref(r);
	return exit_code;
}

/* With all that was shown: what has changed meanwhile has to be looked at first. */
static json_t *ask_step(struct cli *c, const struct wish *w, const json_t *r)
{
	const char *phase = json_text(r, "phase", NULL), *force = w->force ? "true" : NULL;
	const char *prepared = json_text(json_object_get(r, "prepared"), "fingerprint", "none");

	if (w->back)
		return cli_ask(c, "revertCaRotation", API_ARGS({"phase", phase}, {"force", force}));
	return cli_ask(c, "advanceCaRotation",
		       API_ARGS({"phase", phase}, {"prepared", phase_of(r) == &phases[0] ? prepared : NULL},
				{"force", force}, {"compromised", w->compromised ? "true" : NULL}));
}

static int take_step(struct cli *c, const struct wish *w, const json_t *r)
{
	json_t *answer = ask_step(c, w, r);

	if (!answer)
		return CLI_FAILED;
	json_decref(answer);
	return report(c, w);
}

static int discard(struct cli *c, const struct wish *w, const json_t *r)
{
	const struct confirm confirm = {.plan = !c->json, .yes = w->confirm.yes};
	const json_t *prepared = json_object_get(r, "prepared");
	json_t *answer;
	int exit_code;

	if (!prepared)
		return cli_fail(c, "no CA is prepared");
	if (!c->json) {
		print_prepared(prepared);
		printf("\nIt is dropped, with its key.\n");
		exit_code = confirm_ask(c, &confirm);
		if (exit_code != CLI_OK)
			return exit_code;
	}
	answer = cli_ask(c, "discardPreparedCa", NULL);
	if (!answer)
		return CLI_FAILED;
	exit_code = show(c, json_object_get(answer, "carotation"));
	json_decref(answer);
	return exit_code;
}

int cmd_ca_rotate(struct cli *c, int argc, char **argv)
{
	struct wish w = {0};
	const struct arg_option options[] = {
		{.name = "--status", .flag = &w.status, .help = "only show how far it is and who is behind"},
		{.name = "--back", .flag = &w.back, .help = "take the last step back"},
		{.name = "--finish", .flag = &w.finish, .help = "the last step, which destroys the key of the old CA"},
		{.name = "--discard",
		 .flag = &w.discard,
		 .help = "drop the CA that was prepared for the next rotation"},
		{.name = "--compromised", .flag = &w.compromised, .help = "the key of the old CA was stolen"},
		{.name = "--force", .flag = &w.force, .help = "also if hosts or servers would be cut off"},
		{.name = "--yes", .flag = &w.confirm.yes, .help = "don't ask"},
		{.name = "--no-wait", .flag = &w.no_wait, .help = "don't watch until everybody has followed"},
	};
	struct args a = {
		.about =
			"Changes the root of the cluster's CA while everything runs, in phases: trust (both are trusted), issue (the new\n"
			"one signs), drop (only the new one is trusted), and the end. Each call takes the next step, when everybody is\n"
			"ready for it, and watches until all servers and agents have followed; the last one has to be asked for with --finish.\n"
			"No agent loses its link. A CA of your own that was prepared with `muster-server ca import --next` is taken;\n"
			"without one a new root is made.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	json_t *r;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (w.status && (w.back || w.force || w.finish))
		return cli_misuse(c, "--status changes nothing: it goes without --back, --finish and --force");
	if (w.compromised && (w.status || w.back || w.finish || w.discard))
		return cli_misuse(c, "--compromised is said with a step forward, the first one best");
	if (w.back && w.finish)
		return cli_misuse(c, "--back and --finish are opposites");
	if (w.discard && (w.status || w.back || w.finish || w.force))
		return cli_misuse(
			c, "--discard drops a prepared CA: it goes without --status, --back, --finish and --force");
	r = look(c);
	if (!r)
		return CLI_FAILED;
	if (w.status) {
		exit_code = show(c, r);
	} else if (w.discard) {
		exit_code = discard(c, &w, r);
	} else {
		exit_code = ask(c, &w, r);
		if (exit_code == CLI_OK)
			exit_code = take_step(c, &w, r);
	}
	json_decref(r);
	return exit_code;
}
