/*
 * muster cert list, show, issue.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/cert.h"
#include "cli/cluster.h"
#include "cli/format.h"
#include "cli/table.h"

#define DAYS_BAD 7
#define ALERT_DAYS "ca.framework.cert.expiry.alert.period"
#define ALERT_DAYS_DEFAULT 15
#define SERIAL_MIN 8 /* shorter words of hex digits are somebody's name */
#define CSR_MAX 65535

/* ---- finding some ---- */

static bool is_serial(const char *word)
{
	if (strncasecmp(word, "0x", 2) == 0)
		word += 2;
	return strlen(word) >= SERIAL_MIN && strspn(word, "0123456789abcdefABCDEF: ") == strlen(word);
}

/* A number, or a UUID: what the API looks for itself. */
static bool is_id(const char *word)
{
	return strspn(word, "0123456789") == strlen(word) || (strlen(word) == 36 && word[8] == '-');
}

/* Its id, new string; NULL after a sentence: the API's own would speak of its parameters. */
static char *host_of(struct cli *c, const char *word)
{
	char *id = host_find(c, word), *name;

	if (!id || is_id(word) || !str_equal(id, word))
		return id;
	mem_free(id);
	name = text_or_die("%s", word);
	cli_fail(c, "no host is called %s, and no certificate has that serial", format_printable(name));
	mem_free(name);
	return NULL;
}

json_t *certs_find(struct cli *c, const char *word, const char *states, bool pem)
{
	const char *with = pem ? "true" : NULL;
	CLEAN(mem_freep) char *id = NULL;
	json_t *certs = NULL;
	char *name;

	if (is_serial(word)) {
		certs = cli_list(c, "listCertificates", "certificate", API_ARGS({"serial", word}, {"pem", with}));
		if (!certs || json_array_size(certs))
			return certs;
		json_decref(certs);
	}
	id = host_of(c, word);
	if (!id)
		return NULL;
	certs = cli_list(c, "listCertificates", "certificate",
			 API_ARGS({"hostid", id}, {"state", states}, {"pem", with}));
	if (!certs || json_array_size(certs))
		return certs;
	json_decref(certs);
	name = text_or_die("%s", word);
	cli_fail(c, "no certificate that counts is known of %s; muster cert list --all", format_printable(name));
	mem_free(name);
	return NULL;
}

char *cert_owner(const json_t *cert)
{
	static const char *const members[] = {"hostname", "managementservername", "cn", "subject"};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = json_text(cert, members[i], "");

		if (*text)
			return format_printable(text_or_die("%s", text));
	}
	return text_or_die("unknown");
}

/* ---- list ---- */

static int64_t alert_days(struct cli *c)
{
	json_t *settings = cli_list(c, "listConfigurations", "configuration", API_ARGS({"name", ALERT_DAYS}));
	int64_t days = ALERT_DAYS_DEFAULT;

	if (json_array_size(settings))
		(void)str_to_i64(json_text(json_array_get(settings, 0), "value", ""), &days);
	json_decref(settings);
	return days;
}

static enum tint days_tint(int64_t days, int64_t alert)
{
	return days < DAYS_BAD ? TINT_BAD : days < alert ? TINT_CAREFUL : TINT_GOOD;
}

static const char *state_words(const char *state)
{
	return str_equal(state, "inuse") ? "in use" : state;
}

static enum tint state_tint(const char *state)
{
	if (str_equal(state, "inuse"))
		return TINT_GOOD;
	if (str_equal(state, "revoked") || str_equal(state, "expired"))
		return TINT_BAD;
	return str_equal(state, "valid") ? TINT_NONE : TINT_FAINT;
}

static bool matters(const char *state)
{
	return str_equal(state, "inuse") || str_equal(state, "valid");
}

static void days_cell(struct table *t, const json_t *cert, int64_t alert)
{
	int64_t days = json_number(cert, "daysleft", 0);

	if (!json_object_get(cert, "daysleft"))
		table_cell(t, TINT_NONE, "%s", "");
	else
		table_cell(t, matters(json_text(cert, "state", "")) || days < 0 ? days_tint(days, alert) : TINT_FAINT,
			   "%" JSON_INTEGER_FORMAT, (json_int_t)days);
}

static void print_table(const struct cli *c, const json_t *certs, int64_t alert)
{
	static const struct table_column columns[] = {
		{"SERIAL", 0}, {"FOR", TABLE_SHORTEN}, {"ROLE", 0}, {"STATE", 0}, {"DAYS", TABLE_RIGHT}, {"EXPIRES", 0},
	};
	struct table *t = table_new(c, columns, ARRAY_SIZE(columns));
	size_t i;
	json_t *cert;

	json_array_foreach (certs, i, cert) {
		const char *state = json_text(cert, "state", ""), *until = json_text(cert, "notafter", NULL);
		char *owner = cert_owner(cert);
		char date[FORMAT_MAX];

		table_row(t);
		table_cell(t, TINT_NONE, "%s", json_text(cert, "serial", ""));
		table_cell(t, TINT_STRONG, "%s", owner);
		table_cell(t, TINT_NONE, "%s", json_text(cert, "role", ""));
		table_cell(t, state_tint(state), "%s", state_words(state));
		days_cell(t, cert, alert);
		table_cell(t, TINT_NONE, "%.10s", until ? format_date(date, until) : "");
		mem_free(owner);
	}
	table_print(t);
	table_free(t);
}

int cmd_cert_list(struct cli *c, int argc, char **argv)
{
	const char *host = NULL, *server = NULL, *role = NULL, *state = NULL;
	int64_t expires_in = -1;
	bool all = false;
	const struct arg_option options[] = {
		{.name = "--all", .flag = &all, .help = "also those that are superseded, expired or revoked"},
		{.name = "--state",
		 .value = "STATE",
		 .text = &state,
		 .help = "in-use, valid, superseded, expired, revoked; several with commas"},
		{.name = "--host", .value = "HOST", .text = &host, .help = "of this host"},
		{.name = "--server", .value = "SERVER", .text = &server, .help = "of this management server"},
		{.name = "--role", .value = "ROLE", .text = &role, .help = "agent, server or other"},
		{.name = "--expires-in",
		 .value = "DAYS",
		 .number = &expires_in,
		 .min = 0,
		 .max = 36500,
		 .help = "those that end within so many days"},
	};
	struct args a = {
		.synopsis = "[TEXT]",
		.about = "Lists the certificates that are in use or could be, the newest first; with TEXT those whose\n"
			 "serial number, name, subject or host contains it.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.max = 1,
	};
	char days[24], *states, *at;
	json_t *certs;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	snprintf(days, sizeof(days), "%" JSON_INTEGER_FORMAT, (json_int_t)expires_in);
	states = text_or_die("%s", state ? state : all ? "" : "inuse,valid");
	while ((at = strstr(states, "in-use")))
		memmove(at + 2, at + 3, strlen(at + 3) + 1);
	certs = cli_list(c, "listCertificates", "certificate",
			 API_ARGS({"hostid", host}, {"managementserverid", server}, {"role", role},
				  {"state", *states ? states : NULL}, {"expiresin", expires_in < 0 ? NULL : days},
				  {"keyword", a.n ? a.words[0] : NULL}));
	mem_free(states);
	if (!certs)
		return CLI_FAILED;
	if (c->json) {
		certs = json_listing("certificate", certs);
		cli_print_json(certs, false);
	} else if (json_array_size(certs)) {
		print_table(c, certs, alert_days(c));
	} else {
		cli_advise(c, "No certificate is like that.%s",
			   all || state ? "" : " --all shows those that are over, too.");
	}
	json_decref(certs);
	return cli_flush(c);
}

/* ---- show ---- */

static void print_line(const json_t *cert, const char *title, const char *member)
{
	char *text = text_or_die("%s", json_text(cert, member, ""));

	if (*text)
		printf("%-12s %s\n", title, format_printable(text));
	mem_free(text);
}

static void print_life(const struct cli *c, const json_t *cert, int64_t alert)
{
	int64_t days = json_number(cert, "daysleft", 0);
	enum tint tint = days_tint(days, alert);
	char from[FORMAT_MAX], to[FORMAT_MAX], count[FORMAT_MAX];

	if (!json_object_get(cert, "daysleft"))
		return;
	printf("Valid        %s to %s, %s%s%s\n", format_date(from, json_text(cert, "notbefore", "?")),
	       format_date(to, json_text(cert, "notafter", "?")), tint_on(c, tint),
	       days < 0 ? "expired" : format_count(count, days, "day"), tint_off(c));
}

static void print_revocation(const struct cli *c, const json_t *cert)
{
	const char *when = json_text(cert, "revoked", NULL);
	char *by, *why, date[FORMAT_MAX];

	if (!when)
		return;
	by = format_printable(text_or_die("%s", json_text(cert, "revokedby", "an unknown account")));
	why = format_printable(text_or_die("%s", json_text(cert, "reason", "")));
	printf("Revoked      %s%s%s by %s%s%s\n", tint_on(c, TINT_BAD), format_date(date, when), tint_off(c), by,
	       *why ? ": " : "", why);
	mem_free(by);
	mem_free(why);
}

static void print_cert(const struct cli *c, const json_t *cert, int64_t alert)
{
	const char *state = json_text(cert, "state", "");

	printf("Serial       %s\n", json_text(cert, "serial", ""));
	print_line(cert, "Name", "cn");
	print_line(cert, "Role", "role");
	print_line(cert, "Subject", "subject");
	print_line(cert, "Host", "hostname");
	print_line(cert, "Server", "managementservername");
	print_line(cert, "CA key", "issuer");
	print_life(c, cert, alert);
	printf("State        %s%s%s\n", tint_on(c, state_tint(state)), state_words(state), tint_off(c));
	print_revocation(c, cert);
	if (!json_flag(cert, "issuedhere", true))
		printf("It was not issued by this cluster: the certificate itself is not kept here.\n");
}

int cmd_cert_show(struct cli *c, int argc, char **argv)
{
	bool pem = false;
	const struct arg_option options[] = {
		{.name = "--pem", .flag = &pem, .help = "only the certificate itself, for other programs"},
	};
	struct args a = {
		.synopsis = "SERIAL|HOST",
		.about = "Shows all that is known of a certificate, or of those that a host uses or could use.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.min = 1,
		.max = 1,
	};
	json_t *certs, *cert;
	int64_t alert;
	size_t i;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	certs = certs_find(c, a.words[0], "inuse,valid", true);
	if (!certs)
		return CLI_FAILED;
	alert = c->json || pem ? 0 : alert_days(c);
	if (c->json) {
		certs = json_listing("certificate", certs);
		cli_print_json(certs, false);
		json_decref(certs);
		return cli_flush(c);
	}
	json_array_foreach (certs, i, cert) {
		if (pem) {
			fputs(json_text(cert, "certificate", ""), stdout);
			continue;
		}
		printf("%s", i ? "\n" : "");
		print_cert(c, cert, alert);
	}
	if (pem && !json_object_get(json_array_get(certs, 0), "certificate"))
		cli_fail(c, "it was not issued by this cluster and is not kept here");
	json_decref(certs);
	return cli_flush(c);
}

/* ---- issue ---- */

struct issue {
	const char *csr, *key, *out, *ca; /* files */
	const char *ip;
	int64_t days;
};

static bool is_stdout(const char *file)
{
	return str_equal(file, "-");
}

static int write_out(const struct cli *c, const char *file, unsigned mode, const char *text, const char *what)
{
	struct why why = WHY_NONE;
	enum err e;

	if (!file)
		return CLI_OK;
	if (is_stdout(file)) {
		fputs(text, stdout);
		return CLI_OK;
	}
	e = file_replace(&fs_posix, file, mode, text, strlen(text), &why);
	return e ? cli_fail(c, "the %s could not be written: %s", what, why_text(&why, e)) : CLI_OK;
}

/* Before anything is asked for: what can't be written would be issued for nothing. */
static int check_files(const struct cli *c, const struct issue *i)
{
	const char *const files[] = {i->key, i->out, i->ca};

	if (!i->csr && !i->key)
		return cli_misuse(c, "--key says where the private key goes, a new file or - for the terminal; or give "
				     "a request with --csr");
	if (i->csr && i->key)
		return cli_misuse(c, "with --csr there is no private key to be written");
	for (size_t k = 0; k < ARRAY_SIZE(files); k++)
		if (files[k] && !is_stdout(files[k]) && fs_posix.exists(&fs_posix, files[k]))
			return cli_fail(c, "%s is there already: nothing is overwritten", files[k]);
	/* An empty file with the mode of a key shows that one can be written, and keeps its place. */
	return i->key && !is_stdout(i->key) ? write_out(c, i->key, 0600, "", "private key") : CLI_OK;
}

static char *read_csr(const struct cli *c, const char *file)
{
	CLEAN(buf_deinit) struct buf text = {0};
	struct why why = WHY_NONE;
	enum err e = file_read_any(str_equal(file, "-") ? "/dev/stdin" : file, CSR_MAX, &text, &why);

	if (e) {
		cli_fail(c, "the request could not be read: %s", why_text(&why, e));
		return NULL;
	}
	return or_die(buf_take_str(&text));
}

static void say_where(const struct cli *c, const struct issue *i, const json_t *certs)
{
	char date[FORMAT_MAX];

	cli_advise(c, "Certificate %s, valid until %s%s%s%s%s.", json_text(certs, "musterserial", "?"),
		   format_date(date, json_text(certs, "musternotafter", "?")), i->key ? "; key: " : "",
		   i->key ? i->key : "", i->out ? "; certificate: " : "", i->out ? i->out : "");
}

/* Those that are named. */
static int write_files(const struct cli *c, const struct issue *i, const json_t *certs)
{
	int exit_code = CLI_OK;

	/* The key first: a certificate can be had again. */
	if (i->key)
		exit_code = write_out(c, i->key, 0600, json_text(certs, "privatekey", ""), "private key");
	if (!exit_code)
		exit_code = write_out(c, i->out, 0644, json_text(certs, "certificate", ""), "certificate");
	if (!exit_code)
		exit_code = write_out(c, i->ca, 0644, json_text(certs, "cacertificates", ""), "CA certificate");
	if (exit_code)
		cli_fail(c, "certificate %s was issued all the same: muster cert revoke %s",
			 json_text(certs, "musterserial", "?"), json_text(certs, "musterserial", "SERIAL"));
	return exit_code;
}

static int write_all(const struct cli *c, const struct issue *i, const json_t *certs)
{
	struct issue files = *i;
	int exit_code;

	if (!files.out)
		files.out = "-";
	exit_code = write_files(c, &files, certs);
	if (!exit_code)
		say_where(c, i, certs);
	return exit_code;
}

/* As the API gives it, without the key where that went to a file. */
static int print_json(const struct cli *c, const struct issue *i, json_t *certs)
{
	struct issue files = *i;
	int exit_code;

	files.key = i->key && !is_stdout(i->key) ? i->key : NULL;
	files.out = i->out && !is_stdout(i->out) ? i->out : NULL;
	files.ca = i->ca && !is_stdout(i->ca) ? i->ca : NULL;
	exit_code = write_files(c, &files, certs);
	/* A key that could not be written must not be lost as well. */
	if (files.key && !exit_code)
		json_object_del(certs, "privatekey");
	cli_print_json(certs, false);
	return exit_code;
}

static void wipe_key(const json_t *certs)
{
	const json_t *key = json_object_get(certs, "privatekey");

	if (json_is_string(key))
		mem_wipe((void *)(uintptr_t)json_string_value(key), json_string_length(key));
}

static int issue(struct cli *c, const struct issue *i, const char *names)
{
	char days[24], *csr = NULL;
	json_t *answer, *certs;
	int exit_code;

	if (i->csr && !(csr = read_csr(c, i->csr)))
		return CLI_FAILED;
	exit_code = check_files(c, i);
	if (exit_code) {
		mem_free(csr);
		return exit_code;
	}
	snprintf(days, sizeof(days), "%" JSON_INTEGER_FORMAT, (json_int_t)i->days);
	answer = cli_job(c, "issueCertificate",
			 API_ARGS({"csr", csr}, {"domain", *names ? names : NULL}, {"ipaddress", i->ip},
				  {"duration", i->days ? days : NULL}),
			 true);
	mem_free(csr);
	certs = json_object_get(answer, "certificates");
	if (!certs) {
		if (i->key && !is_stdout(i->key))
			remove(i->key); /* still empty */
		if (answer)
			cli_fail(c, "the answer holds no certificate");
		json_decref(answer);
		return CLI_FAILED;
	}
	exit_code = c->json ? print_json(c, i, certs) : write_all(c, i, certs);
	wipe_key(certs);
	json_decref(answer);
	return exit_code ? exit_code : cli_flush(c);
}

int cmd_cert_issue(struct cli *c, int argc, char **argv)
{
	struct issue i = {0};
	const struct arg_option options[] = {
		{.name = "--csr", .value = "FILE", .text = &i.csr, .help = "a certificate request, PEM; - reads stdin"},
		{.name = "--ip", .value = "ADDRESS", .text = &i.ip, .help = "addresses, with commas"},
		{.name = "--days",
		 .value = "DAYS",
		 .number = &i.days,
		 .min = 1,
		 .max = 10950,
		 .help = "how long it is valid; default: setting ca.framework.cert.validity.period"},
		{.name = "--key",
		 .value = "FILE",
		 .text = &i.key,
		 .help = "where the new private key goes, mode 0600; - writes it to stdout"},
		{.name = "--out",
		 .value = "FILE",
		 .text = &i.out,
		 .help = "where the certificate goes; default: stdout"},
		{.name = "--ca",
		 .value = "FILE",
		 .text = &i.ca,
		 .help = "where the CA certificates go; default: nowhere"},
	};
	struct args a = {
		.synopsis = "[NAME ...]",
		.about =
			"Issues a certificate of CloudStack's kind for these names, with an RSA key made by the server or for\n"
			"the key of a request. Hosts and management servers of muster get theirs by joining: muster token.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
		.max = 100,
	};
	CLEAN(str_list_deinit) struct str_list names = {0};
	char *joined;
	int exit_code;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	if (!a.n && !i.csr)
		return cli_misuse(c, "a NAME, or a request with --csr");
	for (size_t k = 0; k < a.n; k++)
		if (str_list_add(&names, a.words[k]))
			or_die(NULL);
	joined = or_die(str_list_join(&names, ","));
	exit_code = issue(c, &i, joined);
	mem_free(joined);
	return exit_code;
}
