/*
 * muster cert renew, revoke.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cert.h"
#include "cli/confirm.h"
#include "cli/format.h"
#include "cli/table.h"

/* ---- renew: some hosts at a time, each a job ---- */

#define AT_A_TIME 8
#define ADMITTED_DAYS 30 /* so long an expired certificate may let its host in */
#define ROUNDS_MOST 5
#define LOOK_MS 200

struct renewal {
	char *host; /* its name, or as it was called */
	char *job;  /* NULL: this place is free */
};

struct renewing {
	struct cli *c;
	json_t *hosts;   /* {id, name} */
	json_t *outcome; /* of each */
	size_t next, done, failed;
	struct renewal under_way[AT_A_TIME];
};

static void say(struct renewing *r, const char *host, enum err e, const char *sentence)
{
	char *name = format_printable(text_or_die("%s", host));
	json_t *o = or_die(json_object());

	r->done++;
	r->failed += e != ERR_OK;
	json_object_set_new(o, "host", json_string(name));
	json_object_set_new(o, "renewed", json_boolean(e == ERR_OK));
	if (e)
		json_object_set_new(o, "error", json_string(sentence));
	json_array_append_new(r->outcome, o);
	if (!r->c->json && e)
		printf("%zu of %zu  %s: %snot renewed%s: %s\n", r->done, json_array_size(r->hosts), name,
		       tint_on(r->c, TINT_BAD), tint_off(r->c), sentence);
	else if (!r->c->json)
		printf("%zu of %zu  %s has a new certificate\n", r->done, json_array_size(r->hosts), name);
	fflush(stdout);
	mem_free(name);
}

/* The API speaks of its parameters. */
static const char *in_our_words(const char *sentence)
{
	return str_starts(sentence, "Parameter hostid") ? "there is no such host, `muster hosts` shows them" : sentence;
}

static void begin(struct renewing *r, struct renewal *u)
{
	const json_t *host = json_array_get(r->hosts, r->next++);
	const char *name = json_text(host, "name", "?");
	struct why why = WHY_NONE;
	json_t *answer = NULL;
	enum err e = api_ask(cli_api(r->c), &answer, "provisionCertificate",
			     API_ARGS({"hostid", json_text(host, "id", "")}, {"reconnect", "true"}), &why);

	if (!e && json_text(answer, "jobid", NULL)) {
		u->host = text_or_die("%s", name);
		u->job = text_or_die("%s", json_text(answer, "jobid", ""));
	} else {
		say(r, name, e ? e : ERR_MALFORMED, e ? in_our_words(why_text(&why, e)) : "the answer names no job");
	}
	json_decref(answer);
}

static void look(struct renewing *r, struct renewal *u)
{
	struct why why = WHY_NONE;
	json_t *job = NULL;
	const json_t *result;
	enum err e = api_ask(cli_api(r->c), &job, "queryAsyncJobResult", API_ARGS({"jobid", u->job}), &why);
	int64_t status = e ? 2 : json_number(job, "jobstatus", 0);

	if (status == 0) {
		json_decref(job);
		return;
	}
	result = json_object_get(job, "jobresult");
	if (status == 1 && json_flag(result, "success", true))
		say(r, u->host, ERR_OK, NULL);
	else
		say(r, u->host, ERR_REFUSED,
		    e ? why_text(&why, e)
		      : json_text(result, "errortext", json_text(result, "displaytext", "no reason was given")));
	u->host = mem_free(u->host);
	u->job = mem_free(u->job);
	json_decref(job);
}

static void renew_all(struct renewing *r)
{
	struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};

	while (r->done < json_array_size(r->hosts)) {
		bool waits = false;

		for (size_t i = 0; i < AT_A_TIME; i++) {
			struct renewal *u = &r->under_way[i];

			while (!u->job && r->next < json_array_size(r->hosts))
				begin(r, u);
			if (u->job)
				look(r, u);
			waits |= u->job != NULL;
		}
		if (waits)
			nanosleep(&pause, NULL);
	}
}

/* Everybody who is connected: the others can't be asked. */
static json_t *all_hosts(struct cli *c)
{
	return cli_list(c, "listHosts", "host", API_ARGS({"state", "Up"}, {"details", "min"}));
}

static json_t *named_hosts(const struct args *a)
{
	json_t *hosts = or_die(json_array());

	/* A word that is not UTF-8 is refused by json_pack(): no host is called so either. */
	for (size_t i = 0; i < a->n; i++)
		json_array_append_new(hosts, or_die(json_pack("{s:s,s:s}", "id", a->words[i], "name", a->words[i])));
	return hosts;
}

int cmd_cert_renew(struct cli *c, int argc, char **argv)
{
	bool all = false;
	const struct arg_option options[] = {
		{.name = "--all", .flag = &all, .help = "all hosts that are Up"},
	};
	struct args a = {
		.synopsis = "HOST ... | --all",
		.about =
			"Gives hosts new certificates over their links, now. A muster agent goes over to it without a gap;\n"
			"CloudStack's reconnects.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.max = 1000,
	};
	struct renewing r = {.c = c};

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (all == (a.n > 0))
		return cli_misuse(c, "either hosts or --all");
	if (!cli_api(c))
		return c->is_misused ? CLI_USAGE : CLI_FAILED;
	r.hosts = all ? all_hosts(c) : named_hosts(&a);
	if (!r.hosts)
		return CLI_FAILED;
	r.outcome = or_die(json_array());
	renew_all(&r);
	if (c->json) {
		r.outcome = json_listing("host", r.outcome);
		cli_print_json(r.outcome, false);
	} else if (!r.done) {
		cli_advise(c, "No host is Up.");
	} else if (r.failed) {
		cli_advise(c, "%zu of %zu hosts have no new certificate; their old ones are as good as before.",
			   r.failed, r.done);
	}
	json_decref(r.outcome);
	json_decref(r.hosts);
	return r.failed ? CLI_FAILED : cli_flush(c);
}

/* ---- revoke ---- */

static void say_effect(const struct cli *c, const json_t *cert)
{
	const char *state = json_text(cert, "state", "");
	char *owner = cert_owner(cert);

	printf("%s  %s%s%s, %s: ", json_text(cert, "serial", ""), tint_on(c, TINT_STRONG), owner, tint_off(c),
	       str_equal(state, "inuse") ? "in use" : state);
	if (str_equal(json_text(cert, "role", ""), "server"))
		printf("%sthe other management servers cut it off%s\n", tint_on(c, TINT_BAD), tint_off(c));
	else if (str_equal(state, "inuse"))
		printf("%sits link is cut on every server, and it can't come back with it%s\n", tint_on(c, TINT_BAD),
		       tint_off(c));
	else if (str_equal(state, "revoked"))
		printf("nothing changes\n");
	else
		printf("nobody is let in with it any more\n");
	mem_free(owner);
}

/* One that nobody here knows can be revoked as well. */
static json_t *unknown_serial(const char *word)
{
	return or_die(json_pack("[{s:s,s:s,s:s}]", "serial", word, "state", "unknown", "cn", "unknown"));
}

/* One that expired so long ago lets nobody in any more, and the others are enough to read. */
static void drop_over(json_t *certs)
{
	for (size_t i = json_array_size(certs); i-- > 0;) {
		const json_t *cert = json_array_get(certs, i);

		if (str_equal(json_text(cert, "state", ""), "expired") &&
		    json_number(cert, "daysleft", 0) < -ADMITTED_DAYS)
			json_array_remove(certs, i);
	}
}

/* Of a host everything that it could come back with: an expired one may do (ca.plugin.root.allow.expired.cert). */
static json_t *to_revoke(struct cli *c, const char *word, bool is_serial)
{
	json_t *certs;

	if (!is_serial) {
		certs = certs_find(c, word, "inuse,valid,superseded,expired", false);
		if (certs)
			drop_over(certs);
		return certs;
	}
	certs = cli_list(c, "listCertificates", "certificate", API_ARGS({"serial", word}));
	if (certs && !json_array_size(certs)) {
		json_decref(certs);
		return unknown_serial(word);
	}
	return certs;
}

/* Adds the serials of what was revoked. */
static int revoke_each(struct cli *c, const json_t *certs, const char *reason, bool force, json_t *revoked)
{
	int exit_code = CLI_OK;
	size_t i;
	json_t *cert;

	json_array_foreach (certs, i, cert) {
		const char *serial = json_text(cert, "serial", "");
		json_t *answer = cli_job(
			c, "revokeCertificate",
			API_ARGS({"serial", serial}, {"reason", reason}, {"forced", force ? "true" : NULL}), true);

		if (!answer) {
			exit_code = CLI_FAILED;
			continue;
		}
		json_array_append_new(revoked, json_string(serial));
		if (!c->json)
			printf("Certificate %s is revoked.\n", serial);
		json_decref(answer);
	}
	return exit_code;
}

/* The host that was asked for; NULL: the word was a serial number, of that one alone. */
static const char *host_meant(const json_t *certs, const char *word)
{
	const json_t *first = json_array_get(certs, 0);
	const char *id = json_text(first, "hostid", NULL);

	return str_equal(json_text(first, "hostname", NULL), word) || str_equal(id, word) ? id : NULL;
}

static bool has_text(const json_t *texts, const char *text)
{
	json_t *one;
	size_t i;

	json_array_foreach (texts, i, one) {
		if (str_equal(json_string_value(one), text))
			return true;
	}
	return false;
}

/* What that host has by now and isn't revoked; NULL: the question failed. */
static json_t *newer_of(struct cli *c, const char *host_id, const json_t *revoked)
{
	json_t *now = cli_list(c, "listCertificates", "certificate",
			       API_ARGS({"hostid", host_id}, {"state", "inuse,valid,superseded"}));

	for (size_t i = json_array_size(now); i-- > 0;)
		if (has_text(revoked, json_text(json_array_get(now, i), "serial", "")))
			json_array_remove(now, i);
	return now;
}

/*
 * Somebody has thought about it, and a host is given a new certificate at any time: what it was given meanwhile goes
 * too. Whoever has only revoked ones gets no other, so this comes to an end.
 */
static int revoke_all(struct cli *c, const json_t *certs, const char *reason, bool force, const char *word)
{
	const char *host_id = host_meant(certs, word);
	json_t *revoked = or_die(json_array());
	int exit_code = revoke_each(c, certs, reason, force, revoked);

	for (int i = 0; i < ROUNDS_MOST && host_id && !exit_code; i++) {
		json_t *newer = newer_of(c, host_id, revoked);

		if (!newer)
			exit_code = CLI_FAILED;
		else if (json_array_size(newer))
			exit_code = revoke_each(c, newer, reason, force, revoked);
		else
			i = ROUNDS_MOST;
		json_decref(newer);
	}
	if (c->json) {
		revoked = json_listing("revoked", revoked);
		cli_print_json(revoked, false);
	}
	json_decref(revoked);
	return exit_code;
}

int cmd_cert_revoke(struct cli *c, int argc, char **argv)
{
	struct confirm confirm = {.plan = true};
	const char *reason = NULL;
	bool force = false, serial = false;
	const struct arg_option options[] = {
		{.name = "--reason", .value = "TEXT", .text = &reason, .help = "why, for the record"},
		{.name = "--serial",
		 .flag = &serial,
		 .help = "the word is a serial number, also of one that nobody here knows"},
		{.name = "--force", .flag = &force, .help = "also the one of a management server that is not down"},
		{.name = "--yes", .flag = &confirm.yes, .help = "don't ask"},
	};
	struct args a = {
		.synopsis = "SERIAL|HOST",
		.about =
			"Revokes a certificate, or all of a host's: what is connected with it is cut on every server, and\n"
			"nobody is let in with it any more. There is no way back: `muster host rejoin` gives the host a new one.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	json_t *certs, *cert;
	int exit_code = CLI_OK;
	size_t i;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (c->json && !confirm.yes)
		return cli_misuse(c, "--json asks nobody: with it --yes is needed");
	certs = to_revoke(c, a.words[0], serial);
	if (!certs)
		return CLI_FAILED;
	if (!c->json) {
		json_array_foreach (certs, i, cert) {
			say_effect(c, cert);
		}
		exit_code = confirm_ask(c, &confirm);
	}
	if (!exit_code)
		exit_code = revoke_all(c, certs, reason, force, a.words[0]);
	json_decref(certs);
	return exit_code ? exit_code : cli_flush(c);
}
