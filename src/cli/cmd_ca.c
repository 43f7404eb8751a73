/*
 * muster ca show, crl: who signs for the cluster, and what it has taken back.
 */
#include "base/mem.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/args.h"
#include "cli/format.h"
#include "cli/table.h"

#define DAYS_CAREFUL 90
#define DAYS_BAD 30

static void print_life(const struct cli *c, const json_t *ca)
{
	int64_t days = json_number(ca, "musterdaysleft", 0);
	enum tint tint = days < DAYS_BAD ? TINT_BAD : days < DAYS_CAREFUL ? TINT_CAREFUL : TINT_GOOD;
	char from[FORMAT_MAX], to[FORMAT_MAX], count[FORMAT_MAX];

	printf("Valid        %s to %s, %s%s%s\n", format_date(from, json_text(ca, "musternotbefore", "")),
	       format_date(to, json_text(ca, "musternotafter", "")), tint_on(c, tint),
	       days < 0 ? "expired" : format_count(count, days, "day"), tint_off(c));
}

/* Names are their makers': made harmless for a terminal. */
static void print_text(const char *what, const char *text, const char *more)
{
	char *line = text_or_die("%s", text);

	printf("%-12s %s%s\n", what, format_printable(line), more);
	mem_free(line);
}

static void print_ca(const struct cli *c, const json_t *ca)
{
	printf("Provider     %s: %s\n", json_text(ca, "musterprovider", "?"), json_text(ca, "musterdescription", ""));
	print_text("Subject", json_text(ca, "mustersubject", ""), "");
	print_text("Issuer", json_text(ca, "musterissuer", ""), "");
	printf("SHA-256      %s\n", json_text(ca, "musterfingerprint", ""));
	printf("Key          %s, %" JSON_INTEGER_FORMAT " bits\n", json_text(ca, "musterkey", ""),
	       (json_int_t)json_number(ca, "musterkeybits", 0));
	print_life(c, ca);
	if (json_object_get(ca, "musterrotation"))
		printf("Rotation     %s%s%s, under way: `muster ca rotate --status`\n", tint_on(c, TINT_STRONG),
		       json_text(ca, "musterrotation", ""), tint_off(c));
	if (json_object_get(ca, "musterprepared"))
		print_text("Prepared", json_text(ca, "musterprepared", ""),
			   ", for the next rotation: `muster ca rotate --status`");
	if (json_flag(ca, "mustercanissue", true))
		printf("%s can issue certificates.\n", json_text(ca, "musteransweredby", "This server"));
	else
		printf("%sCertificates can't be issued by %s%s: %s.\n", tint_on(c, TINT_CAREFUL),
		       json_text(ca, "musteransweredby", "this server"), tint_off(c),
		       json_text(ca, "mustercannot", ""));
}

int cmd_ca_show(struct cli *c, int argc, char **argv)
{
	bool pem = false;
	const struct arg_option options[] = {
		{.name = "--pem", .flag = &pem, .help = "only the CA certificates, for other programs"},
	};
	struct args a = {
		.about = "Shows the certificate authority of the cluster and whether the server asked can issue.",
		.options = options,
		.n_options = ARRAY_SIZE(options),
	};
	json_t *answer, *ca;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "listCaCertificate", NULL);
	if (!answer)
		return CLI_FAILED;
	ca = json_object_get(answer, "cacertificates");
	if (c->json)
		cli_print_json(ca, false);
	else if (pem)
		fputs(json_text(ca, "certificate", ""), stdout);
	else
		print_ca(c, ca);
	json_decref(answer);
	return cli_flush(c);
}

static void advise_list(struct cli *c, const char *whose, const json_t *list)
{
	char date[FORMAT_MAX], count[FORMAT_MAX];

	cli_advise(c, "%s%s; the next list comes before %s.", whose,
		   format_count(count, json_number(list, "entries", 0), "certificate"),
		   format_date(date, json_text(list, "nextupdate", "?")));
}

/* One of each CA: two while a rotation is under way. */
static void advise_lists(struct cli *c, const json_t *crl)
{
	const json_t *lists = json_object_get(crl, "lists"), *l;
	size_t i;

	if (json_array_size(lists) < 2) {
		advise_list(c, "", crl);
	} else {
		json_array_foreach (lists, i, l) {
			advise_list(c,
				    json_flag(l, "signs", false) ? "Of the CA that signs: " : "Of the other CA: ", l);
		}
	}
	if (json_text(crl, "problem", NULL))
		cli_advise(c, "A list is missing or not renewed: %s.", json_text(crl, "problem", ""));
}

int cmd_ca_crl(struct cli *c, int argc, char **argv)
{
	struct args a = {
		.about =
			"Prints the signed list of revoked certificates (CRL), PEM, for other programs that trust this CA.\n"
			"Each server has it as the file crl.pem, and at /crl.pem and /crl.der of its API port.",
	};
	json_t *answer, *crl;

	if (!args_parse(c, &a, argc, argv))
		return a.exit_code;
	answer = cli_ask(c, "getRevocationList", NULL);
	if (!answer)
		return CLI_FAILED;
	crl = json_object_get(answer, "revocationlist");
	if (c->json) {
		cli_print_json(crl, false);
	} else {
		fputs(json_text(crl, "crl", ""), stdout);
		advise_lists(c, crl);
	}
	json_decref(answer);
	return cli_flush(c);
}
