#include "ca/join_request.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/mem.h"
#include "pki/x509.h"

#define NAME_MAX_LENGTH 253 /* of a name in the DNS */
#define PLACE_MAX_LENGTH 255
#define RESOURCE_MAX_LENGTH 127
#define ADDRESSES_MAX 64
#define CSR_MAX (64 * 1024)

static const struct {
	const char *name;
	enum err err;
} refusals[] = {
#define X(name, err, text) [name] = {text, err},
	JOIN_REFUSALS(X)
#undef X
};

const char *join_refusal_name(enum join_refusal r)
{
	return refusals[r].name;
}

enum err join_refusal_err(enum join_refusal r)
{
	return refusals[r].err;
}

bool join_refusal_is_theirs(enum join_refusal r)
{
	return r != JOIN_YES && r != JOIN_FAILED && r != JOIN_CANNOT_ISSUE;
}

/* ---- words ---- */

static bool is_word(const char *s, size_t most, const char *others)
{
	size_t n = s ? strnlen(s, most + 1) : 0;

	if (n == 0 || n > most || s[0] == '-' || s[0] == '.')
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
		      strchr(others, *s)))
			return false;
	return true;
}

/* Of a machine: it comes into certificates, file names and onto terminals. */
static bool is_machine(const char *s)
{
	return is_word(s, NAME_MAX_LENGTH, ".-_");
}

bool join_place_is_valid(const char *name)
{
	size_t n = name ? strnlen(name, PLACE_MAX_LENGTH + 1) : 0;

	return n <= PLACE_MAX_LENGTH && !str_is_blank(name) && name_is_clean(name, n);
}

/* ---- taking it over ---- */

static enum join_refusal check_names(const struct join_said *s, struct why *why)
{
	const struct {
		const char *what, *name;
	} places[] = {{"zone", s->zone}, {"pod", s->pod}, {"cluster", s->cluster}};

	if (!is_machine(s->name)) {
		why_set(why, "the name of the joining machine can't be used: 1 to %d letters, digits, '.', '-', '_'",
			NAME_MAX_LENGTH);
		return JOIN_BAD_NAME;
	}
	if (!cert_id_is_valid(s->guid)) {
		why_set(why, "the guid of the joining machine can't be used: 1 to %d letters, digits, '.', '_' and '-'",
			GUID_MAX - 1);
		return JOIN_BAD_NAME;
	}
	if (!str_is_blank(s->resource_name) && !is_word(s->resource_name, RESOURCE_MAX_LENGTH, "._-$")) {
		why_set(why, "the resource name can't be used");
		return JOIN_BAD_NAME;
	}
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (str_is_blank(places[i].name) || join_place_is_valid(places[i].name))
			continue;
		why_set(why, "the name of the %s can't be used: 1 to %d bytes without control characters",
			places[i].what, PLACE_MAX_LENGTH);
		return JOIN_BAD_NAME;
	}
	return JOIN_YES;
}

static enum join_refusal check_form(const struct join_said *s, struct why *why)
{
	bool has_role = !str_is_blank(s->role);

	if (str_is_blank(s->token_id) || str_is_blank(s->token_secret) || str_is_blank(s->csr)) {
		why_set(why, "a join request without token or certificate request");
		return JOIN_MALFORMED;
	}
	if (has_role && strcmp(s->role, "agent") != 0 && strcmp(s->role, "server") != 0) {
		why_set(why, "who joins is an agent or a server");
		return JOIN_MALFORMED;
	}
	if (strlen(s->csr) > CSR_MAX) {
		why_set(why, "the certificate request is too long");
		return JOIN_BAD_CSR;
	}
	return check_names(s, why);
}

static enum err add_once(struct str_list *l, const char *text)
{
	return str_list_has(l, text) ? ERR_OK : str_list_add(l, text);
}

/* What is neither an address nor a name is left out: it would only make the certificate wrong. */
static enum err add_address(struct join_request *q, const char *text)
{
	uint8_t raw[16];

	if (inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1)
		return add_once(&q->ips, text);
	return is_machine(text) ? add_once(&q->dns, text) : ERR_OK;
}

static enum err take_addresses(struct join_request *q, const struct join_said *s)
{
	enum err e = s->peer_ip ? add_address(q, s->peer_ip) : ERR_OK;

	for (size_t i = 0; !e && s->addresses && i < s->addresses->n && i < ADDRESSES_MAX; i++)
		e = add_address(q, s->addresses->items[i]);
	return e ? e : add_address(q, s->name);
}

/* NULL for what wasn't said. */
static enum err take(char **field, const char *value)
{
	*field = str_is_blank(value) ? NULL : mem_strdup(value);
	return *field || str_is_blank(value) ? ERR_OK : ERR_NOMEM;
}

enum join_refusal join_request_take(struct join_request *out, const struct join_said *said, struct why *why)
{
	struct join_request q = {.guid_is_fixed = said->guid_is_fixed || said->rejoins, .rejoins = said->rejoins};
	enum join_refusal r = check_form(said, why);

	*out = (struct join_request){0};
	if (r)
		return r;
	/* What can't be the id of a token, or its secret, isn't asked for in the store. */
	if (!token_id_is_valid(said->token_id) || strlen(said->token_secret) != TOKEN_SECRET_BYTES * 2) {
		why_set(why, "no such token");
		return JOIN_UNKNOWN_TOKEN;
	}
	str_copy(q.token_id, sizeof(q.token_id), said->token_id);
	str_copy(q.token_secret, sizeof(q.token_secret), said->token_secret);
	str_copy(q.guid, sizeof(q.guid), said->guid);
	q.role = str_equal(said->role, "server") ? CERT_ROLE_SERVER : CERT_ROLE_AGENT;
	if (take(&q.csr, said->csr) || take(&q.name, said->name) ||
	    take(&q.resource_name,
		 str_is_blank(said->resource_name) ? "LibvirtComputingResource" : said->resource_name) ||
	    take(&q.zone, said->zone) || take(&q.pod, said->pod) || take(&q.cluster, said->cluster) ||
	    take_addresses(&q, said)) {
		join_request_deinit(&q);
		return JOIN_FAILED;
	}
	*out = q;
	mem_wipe(q.token_secret, sizeof(q.token_secret));
	return JOIN_YES;
}

void join_request_deinit(struct join_request *q)
{
	mem_wipe(q->token_secret, sizeof(q->token_secret));
	mem_free(q->csr);
	mem_free(q->name);
	mem_free(q->resource_name);
	mem_free(q->zone);
	mem_free(q->pod);
	mem_free(q->cluster);
	str_list_deinit(&q->ips);
	str_list_deinit(&q->dns);
	*q = (struct join_request){0};
}

/* ---- the certificate request ---- */

enum join_refusal join_request_check_csr(const struct join_request *q, struct why *why)
{
	struct csr_info info = {0};
	enum err e = csr_info_parse(&info, q->csr, why);
	enum join_refusal r = JOIN_BAD_CSR;

	if (e) {
		why_add(why, "the certificate request");
	} else if (info.wants_ca) {
		why_set(why, "the request asks for a CA certificate");
	} else if (info.role != CERT_ROLE_NONE && info.role != q->role) {
		why_set(why, "the certificate request is for another role");
	} else if (info.role != CERT_ROLE_NONE && !str_equal(info.id, q->guid)) {
		why_set(why, "the certificate request is for %s, and %s wants to join", info.id, q->guid);
	} else {
		r = JOIN_YES;
	}
	csr_info_deinit(&info);
	return e == ERR_NOMEM ? JOIN_FAILED : r;
}
