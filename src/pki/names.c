/*
 * Names in certificates and requests: what they may consist of, and the subjectAltName extension.
 *
 * Who a muster certificate is for stands in a URI: "muster:agent:<guid>" or "muster:server:<id>". The URI is compared
 * as bytes; anything that begins like one of ours without being exactly one is refused rather than skipped, so that
 * no two readers can disagree about what it says.
 */
#include "pki/x509.h"

#include <string.h>
#include <strings.h>

#include <arpa/inet.h>

static const char uri_scheme[] = "muster:";
static const char uri_agent[] = "muster:agent:";
static const char uri_server[] = "muster:server:";

static bool is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool id_is_valid_n(const char *id, size_t n)
{
	if (n == 0 || n >= GUID_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_letter_or_digit(id[i]) && id[i] != '.' && id[i] != '_' && id[i] != '-')
			return false;
	return !(n == 1 && id[0] == '.') && !(n == 2 && id[0] == '.' && id[1] == '.');
}

bool cert_id_is_valid(const char *id)
{
	return id && id_is_valid_n(id, strnlen(id, GUID_MAX));
}

bool name_is_clean(const char *s, size_t n)
{
	if (!str_is_utf8(s, n))
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			return false;
		/* U+0080 to U+009F are control characters too. */
		if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0)
			return false;
	}
	return true;
}

bool name_is_plain(const char *s, size_t n)
{
	return name_is_clean(s, n) && !memchr(s, '/', n) && !memchr(s, '\\', n);
}

bool name_is_dns(const char *s, size_t n)
{
	if (n == 0 || n > 253)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_letter_or_digit(s[i]) && (!s[i] || !strchr(".-_:", s[i])))
			return false;
	return true;
}

/* Tag and length of a string in DER; false for what is none, too long or followed by something. */
static bool der_string(const uint8_t *der, size_t n, uint8_t *tag, const uint8_t **text, size_t *size)
{
	size_t head = 2, len;

	if (n < 2)
		return false;
	len = der[1];
	if (len == 0x81 && n > 2) {
		len = der[2];
		head = 3;
	} else if (len == 0x82 && n > 3) {
		len = (size_t)der[2] << 8 | der[3];
		head = 4;
	} else if (len >= 0x80) {
		return false;
	}
	if (n - head != len)
		return false;
	*tag = der[0];
	*text = der + head;
	*size = len;
	return true;
}

enum err name_from_der(char *out, size_t size, const uint8_t *der, size_t n, struct why *why)
{
	const uint8_t *text;
	size_t len;
	uint8_t tag;

	if (!der_string(der, n, &tag, &text, &len)) {
		why_set(why, "the common name is not a string");
		return ERR_MALFORMED;
	}
	switch (tag) {
	case 0x0c: /* UTF8String */
	case 0x13: /* PrintableString */
	case 0x14: /* TeletexString; ASCII in practice, the check below holds it to that */
	case 0x16: /* IA5String */
		break;
	default:
		why_set(why, "the common name is of a kind of string that is not supported");
		return ERR_UNSUPPORTED;
	}
	if (len >= size) {
		why_set(why, "the common name is longer than %zu characters", size - 1);
		return ERR_INVALID;
	}
	if (!name_is_clean((const char *)text, len)) {
		why_set(why, "the common name contains control characters or is not UTF-8");
		return ERR_INVALID;
	}
	memcpy(out, text, len);
	out[len] = '\0';
	return ERR_OK;
}

void san_deinit(struct san *s)
{
	str_list_deinit(&s->ips);
	str_list_deinit(&s->dns);
}

static enum err san_add_uri(struct san *s, const char *uri, size_t n, struct why *why)
{
	static const struct {
		const char *prefix;
		enum cert_role role;
	} roles[] = {{uri_agent, CERT_ROLE_AGENT}, {uri_server, CERT_ROLE_SERVER}};

	/* Schemes don't depend on case, so "MUSTER:..." would be ours as well: seen here and refused below. */
	if (n < strlen(uri_scheme) || strncasecmp(uri, uri_scheme, strlen(uri_scheme)) != 0)
		return ERR_OK;
	if (s->role != CERT_ROLE_NONE) {
		why_set(why, "more than one muster identity");
		return ERR_INVALID;
	}
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		size_t head = strlen(roles[i].prefix);

		if (n < head || memcmp(uri, roles[i].prefix, head) != 0)
			continue;
		if (!id_is_valid_n(uri + head, n - head))
			break;
		s->role = roles[i].role;
		memcpy(s->id, uri + head, n - head);
		s->id[n - head] = '\0';
		return ERR_OK;
	}
	why_set(why, "the muster identity is not muster:agent:<guid> or muster:server:<id>");
	return ERR_INVALID;
}

static enum err san_add_ip(struct san *s, const gnutls_datum_t *d, struct why *why)
{
	char text[INET6_ADDRSTRLEN];

	if ((d->size != 4 && d->size != 16) ||
	    !inet_ntop(d->size == 4 ? AF_INET : AF_INET6, d->data, text, sizeof(text))) {
		why_set(why, "an address of %u bytes", d->size);
		return ERR_MALFORMED;
	}
	return str_list_add(&s->ips, text);
}

static enum err san_add_dns(struct san *s, const char *name, size_t n, bool plain, struct why *why)
{
	if (plain ? !name_is_dns(name, n) : !name_is_clean(name, n)) {
		why_set(why, "a DNS name with characters that don't belong there");
		return ERR_INVALID;
	}
	return str_list_add_n(&s->dns, name, n);
}

static enum err san_fill(struct san *s, gnutls_subject_alt_names_t names, bool plain, struct why *why)
{
	for (unsigned i = 0;; i++) {
		gnutls_datum_t d = {0}; /* belongs to `names` */
		unsigned type = 0;
		enum err e = ERR_OK;
		int ret = gnutls_subject_alt_names_get(names, i, &type, &d, NULL);

		if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return ERR_OK;
		if (ret < 0)
			return x509_fail(ret, ERR_MALFORMED, why, "alternative names");
		if (i >= NAMES_MAX) {
			why_set(why, "more than %d alternative names", NAMES_MAX);
			return ERR_TOO_BIG;
		}
		switch (type) {
		case GNUTLS_SAN_URI:
			e = san_add_uri(s, (const char *)d.data, d.size, why);
			break;
		case GNUTLS_SAN_IPADDRESS:
			e = san_add_ip(s, &d, why);
			break;
		case GNUTLS_SAN_DNSNAME:
			e = san_add_dns(s, (const char *)d.data, d.size, plain, why);
			break;
		default:
			break;
		}
		if (e)
			return e;
	}
}

enum err san_read(struct san *out, const gnutls_datum_t *der, bool plain, struct why *why)
{
	CLEAN(sans_freep) gnutls_subject_alt_names_t names = NULL;
	struct san s = {0};
	enum err e;
	int ret;

	ret = gnutls_subject_alt_names_init(&names);
	if (ret < 0)
		return ERR_NOMEM;
	ret = gnutls_x509_ext_import_subject_alt_names(der, names, 0);
	if (ret < 0)
		return x509_fail(ret, ERR_MALFORMED, why, "alternative names");
	if ((e = san_fill(&s, names, plain, why))) {
		san_deinit(&s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

static enum err san_put(gnutls_subject_alt_names_t names, unsigned type, const void *data, size_t n, struct why *why)
{
	gnutls_datum_t d = {.data = (unsigned char *)(uintptr_t)data, .size = (unsigned)n};
	int ret = gnutls_subject_alt_names_set(names, type, &d, NULL);

	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "alternative names") : ERR_OK;
}

static enum err san_put_role(gnutls_subject_alt_names_t names, enum cert_role role, const char *id, struct why *why)
{
	char uri[sizeof(uri_server) + GUID_MAX];

	if (!cert_id_is_valid(id)) {
		why_set(why, "the id may only have 1 to %d letters, digits, '.', '_', '-'", GUID_MAX - 1);
		return ERR_INVALID;
	}
	str_copy(uri, sizeof(uri), role == CERT_ROLE_AGENT ? uri_agent : uri_server);
	strcat(uri, id); /* fits: the id was checked */
	return san_put(names, GNUTLS_SAN_URI, uri, strlen(uri), why);
}

static enum err san_put_ip(gnutls_subject_alt_names_t names, const char *text, struct why *why)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t raw[16];

	if (inet_pton(AF_INET, text, raw) == 1)
		return san_put(names, GNUTLS_SAN_IPADDRESS, raw, 4, why);
	if (inet_pton(AF_INET6, text, raw) == 1) {
		/* Readers compare bytes, and an IPv4 peer shows up with 4 of them. */
		if (memcmp(raw, mapped, sizeof(mapped)) == 0)
			return san_put(names, GNUTLS_SAN_IPADDRESS, raw + 12, 4, why);
		return san_put(names, GNUTLS_SAN_IPADDRESS, raw, 16, why);
	}
	why_set(why, "not an IP address among the alternative names");
	return ERR_INVALID;
}

enum err san_write(gnutls_datum_t *out, enum cert_role role, const char *id, const struct str_list *ips,
		   const struct str_list *dns, struct why *why)
{
	CLEAN(sans_freep) gnutls_subject_alt_names_t names = NULL;
	size_t n_ips = ips ? ips->n : 0, n_dns = dns ? dns->n : 0;
	enum err e;
	int ret;

	*out = (gnutls_datum_t){0};
	if (role == CERT_ROLE_NONE && id) {
		why_set(why, "an id without a role");
		return ERR_INVALID;
	}
	if (n_ips > NAMES_MAX / 2 || n_dns > NAMES_MAX / 2 - 1) {
		why_set(why, "more than %d alternative names", NAMES_MAX);
		return ERR_TOO_BIG;
	}
	if (role == CERT_ROLE_NONE && n_ips + n_dns == 0)
		return ERR_OK;

	if (gnutls_subject_alt_names_init(&names) < 0)
		return ERR_NOMEM;
	if (role != CERT_ROLE_NONE && (e = san_put_role(names, role, id, why)))
		return e;
	for (size_t i = 0; i < n_ips; i++)
		if ((e = san_put_ip(names, ips->items[i], why)))
			return e;
	for (size_t i = 0; i < n_dns; i++) {
		if (!name_is_dns(dns->items[i], strlen(dns->items[i]))) {
			why_set(why, "a DNS name with characters that don't belong there");
			return ERR_INVALID;
		}
		if ((e = san_put(names, GNUTLS_SAN_DNSNAME, dns->items[i], strlen(dns->items[i]), why)))
			return e;
	}
	ret = gnutls_x509_ext_export_subject_alt_names(names, out);
	return ret < 0 ? x509_fail(ret, ERR_INVALID, why, "alternative names") : ERR_OK;
}
