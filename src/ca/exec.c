/*
 * The exec provider: asks the command. Whether the answer is good is exec_check.c's to say.
 */
#include "ca/exec.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ca/command.h"

#define NAMES_MAX 64

struct exec {
	struct ca_provider base;
	struct str_list words; /* none: verifying only */
	char *trusted;         /* owned */
	char fingerprint[FINGERPRINT_TEXT];
	int64_t limit_ms;
};

/* ---- what the command is told ---- */

static const char *role_name(enum cert_role role)
{
	return role == CERT_ROLE_SERVER ? "server" : role == CERT_ROLE_AGENT ? "agent" : "none";
}

/* Commands paste these into subjects and lists of names: nothing that could end one thing and begin another. */
static bool is_harmless(const char *s, const char *also)
{
	if (*s == '\0' || *s == '-')
		return false;
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80 || (!isalnum((unsigned char)*s) && !strchr(also, *s)))
			return false;
	return true;
}

static bool is_address(const char *s)
{
	unsigned char raw[16];

	return inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1;
}

static enum err check_names(const struct ca_request *r, const char *common_name, struct why *why)
{
	for (size_t i = 0; r->dns && i < r->dns->n; i++)
		if (!is_harmless(r->dns->items[i], ".-_")) {
			why_set(why, "a name that can't be given to a command: %s", r->dns->items[i]);
			return ERR_INVALID;
		}
	for (size_t i = 0; r->ips && i < r->ips->n; i++)
		if (!is_address(r->ips->items[i])) {
			why_set(why, "not an address: %s", r->ips->items[i]);
			return ERR_INVALID;
		}
	if ((r->dns ? r->dns->n : 0) + (r->ips ? r->ips->n : 0) > NAMES_MAX) {
		why_set(why, "more than %d names and addresses", NAMES_MAX);
		return ERR_TOO_BIG;
	}
	if (!is_harmless(common_name, ".-_ :@")) {
		why_set(why, "a common name that can't be given to a command");
		return ERR_INVALID;
	}
	return ERR_OK;
}

static enum err put_san(struct buf *b, const char *kind, const char *value)
{
	return buf_printf(b, "%s%s:%s", b->len ? "," : "", kind, value);
}

/* As OpenSSL's subjectAltName wants it. */
static enum err san_of(struct buf *b, const struct ca_request *r)
{
	enum err e = ERR_OK;

	if (r->role != CERT_ROLE_NONE)
		e = buf_printf(b, "URI:muster:%s:%s", role_name(r->role), r->id);
	for (size_t i = 0; !e && r->ips && i < r->ips->n; i++)
		e = put_san(b, "IP", r->ips->items[i]);
	for (size_t i = 0; !e && r->dns && i < r->dns->n; i++)
		e = put_san(b, "DNS", r->dns->items[i]);
	return e;
}

static enum err put(struct str_list *env, const char *name, const char *value)
{
	CLEAN(mem_freep) char *text = mem_printf("MUSTER_%s=%s", name, value);

	return text ? str_list_add(env, text) : ERR_NOMEM;
}

static enum err env_make(struct str_list *env, const struct ca_request *r, const char *common_name, struct why *why)
{
	static const struct str_list none;
	CLEAN(buf_deinit) struct buf san = {0};
	CLEAN(mem_freep) char *ips = str_list_join(r->ips ? r->ips : &none, ",");
	CLEAN(mem_freep) char *dns = str_list_join(r->dns ? r->dns : &none, ",");
	CLEAN(mem_freep) char *seconds = mem_printf("%lld", (long long)r->validity_s);
	/* Rounded down: a certificate that is valid for longer than asked is refused. */
	CLEAN(mem_freep)
	char *days = mem_printf("%lld", (long long)(r->validity_s < 86400 ? 1 : r->validity_s / 86400));
	enum err e = check_names(r, common_name, why);
	const char *san_text;

	if (!e)
		e = san_of(&san, r);
	if (e)
		return e;
	san_text = buf_str(&san);
	if (!ips || !dns || !seconds || !days || !san_text || put(env, "ROLE", role_name(r->role)) ||
	    put(env, "ID", r->id ? r->id : "") || put(env, "COMMON_NAME", common_name) || put(env, "SAN", san_text) ||
	    put(env, "IPS", ips) || put(env, "DNS", dns) ||
	    put(env, "EKU", r->role == CERT_ROLE_SERVER ? "serverAuth,clientAuth" : "clientAuth") ||
	    put(env, "VALIDITY_SECONDS", seconds) || put(env, "VALIDITY_DAYS", days))
		return ERR_NOMEM;
	return ERR_OK;
}

/* ---- issuing ---- */

static enum err make_request(struct ca_issued *i, char **csr, const struct ca_request *r, const char *common_name,
			     struct why *why)
{
	struct csr_params p = {.common_name = common_name, .role = r->role, .id = r->id, .ips = r->ips, .dns = r->dns};
	enum err e = key_new(&i->private_key, KEY_EC_P256, why);

	p.key_pem = i->private_key;
	return e ? e : csr_new(csr, &p, why);
}

static enum err ask(struct exec *p, struct ca_issued *i, const struct ca_request *r, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list env = {0};
	CLEAN(buf_deinit) struct buf output = {0};
	CLEAN(mem_freep) char *made = NULL;
	char common_name[CA_COMMON_NAME_MAX + 1];
	struct command c = {.words = &p->words, .env = &env, .limit_ms = p->limit_ms};
	struct ca_request by_now = *r;
	const char *answer;
	enum err e;

	ca_common_name(common_name, r->common_name ? r->common_name : "");
	if ((e = env_make(&env, r, common_name, why)) ||
	    (!r->csr_pem && (e = make_request(i, &made, r, common_name, why))))
		return e;
	c.input = made ? made : r->csr_pem;
	if ((e = command_run(&output, &c, why)))
		return e;
	if (!(answer = buf_str(&output)))
		return ERR_NOMEM;
	if (strlen(answer) != output.len) {
		why_set(why, "%s wrote something that is no text", p->words.items[0]);
		return ERR_MALFORMED;
	}
	/* The command has taken its time, and many a CA's certificates are valid from the very second on. */
	by_now.wall_s += c.took_ms / 1000 + 1;
	return ca_exec_check(&i->certificate, answer, c.input, &by_now, p->trusted, why);
}

static enum err exec_issue(struct ca_provider *base, struct ca_issued *out, const struct ca_request *r, struct why *why)
{
	struct exec *p = container_of(base, struct exec, base);
	struct ca_issued i = {0};
	enum err e = ask(p, &i, r, why);

	if (!e && !(i.chain = mem_strdup(p->trusted)))
		e = ERR_NOMEM;
	if (e) {
		ca_issued_deinit(&i);
		why_add(why, "the external CA");
		return e;
	}
	*out = i;
	return ERR_OK;
}

static const char *exec_chain(struct ca_provider *base)
{
	return container_of(base, struct exec, base)->trusted;
}

static const char *exec_fingerprint(struct ca_provider *base)
{
	return container_of(base, struct exec, base)->fingerprint;
}

static bool exec_can_issue(struct ca_provider *base)
{
	return container_of(base, struct exec, base)->words.n != 0;
}

static void exec_free(struct ca_provider *base)
{
	struct exec *p = container_of(base, struct exec, base);

	str_list_deinit(&p->words);
	mem_free(p->trusted);
	mem_free(p);
}

static const struct ca_provider_ops exec_ops = {
	.name = "exec",
	.description = "A command of the operator's that asks an external certificate authority",
	.issue = exec_issue,
	.chain = exec_chain,
	.fingerprint = exec_fingerprint,
	.can_issue = exec_can_issue,
	.cannot = "this server has no command to sign with: set ca.plugin.exec.command in its server.properties",
	.is_slow = true,
	.free = exec_free,
};

/* ---- opening ---- */

static enum err take_trusted(struct exec *p, const char *pem, struct why *why)
{
	CLEAN(str_list_deinit) struct str_list all = {0};
	CLEAN(buf_deinit) struct buf text = {0};
	enum err e = cert_split(&all, pem, why);

	for (size_t i = 0; !e && i < all.n; i++) {
		struct cert_info c;

		if ((e = cert_info_parse(&c, all.items[i], why)))
			return e;
		if (!c.is_ca || !c.signs_certs) {
			why_set(why, "%s is not the certificate of a CA", c.common_name);
			e = ERR_INVALID;
		}
		if (i == 0)
			str_copy(p->fingerprint, sizeof(p->fingerprint), c.fingerprint);
		cert_info_deinit(&c);
		if (!e)
			e = buf_put_str(&text, all.items[i]);
	}
	if (e)
		return e;
	p->trusted = buf_take_str(&text);
	return p->trusted ? ERR_OK : ERR_NOMEM;
}

static enum err exec_fill(struct exec *p, const struct ca_exec_params *params, struct why *why)
{
	enum err e;

	if (str_is_blank(params->trusted_pem)) {
		why_set(why, "ca.plugin.exec.ca.file is not set: without it nobody's certificate can be believed");
		return ERR_INVALID;
	}
	e = take_trusted(p, params->trusted_pem, why);
	if (e) {
		why_add(why, "ca.plugin.exec.ca.file");
		return e;
	}
	p->limit_ms = params->limit_ms;
	if (str_is_blank(params->command))
		return ERR_OK;
	e = command_split(&p->words, params->command, why);
	if (!e)
		e = command_check(p->words.items[0], why);
	if (e)
		why_add(why, "ca.plugin.exec.command");
	return e;
}

enum err ca_exec_open(struct ca_provider **out, const struct ca_exec_params *params, struct why *why)
{
	struct exec *p = mem_zalloc(sizeof(*p));
	enum err e;

	if (!p)
		return ERR_NOMEM;
	p->base.ops = &exec_ops;
	if ((e = exec_fill(p, params, why))) {
		exec_free(&p->base);
		return e;
	}
	*out = &p->base;
	return ERR_OK;
}
