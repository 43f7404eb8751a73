/*
 * The root provider and the cluster key that its private key is sealed under.
 *
 * The key lies in the store, sealed; the cluster key lies beside the configuration, outside the store. Neither alone
 * can sign, so a copy of the database is not a copy of the CA.
 */
#include "ca/root.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "ca/sealed.h"

#define KEY_CONTEXT SEALED_CA_KEY
#define CA_LIFE_S (INT64_C(30) * 365 * 86400)
#define BACKDATE_S (12 * 3600) /* as the reference: clocks of a cluster may differ */
#define KEY_FILE_MAX 4096

struct root {
	struct ca_provider base;
	char *chain;         /* owned; the signing certificate first */
	char *key;           /* owned, secret; NULL: verifying only */
	struct cert_info ca; /* the signing certificate */
};

static void key_freep(char **key)
{
	*key = key_free(*key);
}

void ca_root_record_deinit(struct ca_root_record *r)
{
	r->certificate = mem_free(r->certificate);
	r->sealed_key = mem_free(r->sealed_key);
}

static enum err seal_key(char **out, const char *key, const uint8_t cluster_key[CLUSTER_KEY_SIZE],
			 const uint8_t nonce[12])
{
	CLEAN(buf_deinit) struct buf sealed = {0};
	enum err e = seal_bytes(&sealed, cluster_key, nonce, key, strlen(key), KEY_CONTEXT);

	if (e)
		return e;
	*out = base64url_encode(sealed.data, sealed.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

/* Does a certificate that it signs lead to its root? Finds what stands in the way while somebody is there to ask. */
static enum err try_it(struct ca_provider *root, const uint8_t entropy[64], int64_t wall_s, struct why *why)
{
	CLEAN(ca_issued_deinit) struct ca_issued issued = {0};
	CLEAN(str_list_deinit) struct str_list chain = {0};
	CLEAN(mem_freep) char *path = NULL;
	struct ca_request r = {
		.common_name = "trial", .role = CERT_ROLE_SERVER, .id = "trial", .validity_s = 3600, .wall_s = wall_s};
	enum err e;

	memcpy(r.serial, entropy, sizeof(r.serial));
	if ((e = ca_issue(root, &issued, &r, why)) || (e = cert_split(&chain, issued.chain, why)))
		return e;
	/* Only the root is believed here, so that every link on the way is looked at. */
	if (!(path = mem_printf("%s%s", issued.certificate, issued.chain)))
		return ERR_NOMEM;
	e = cert_verify(path, chain.items[chain.n - 1], wall_s, why);
	if (e)
		why_add(why, "what it signs is not believed");
	return e;
}

static enum err check_imported(const struct cert_info *c, int64_t wall_s, struct why *why)
{
	if (!c->is_ca)
		why_set(why, "it is not a CA certificate (basicConstraints CA:TRUE)");
	else if (!c->signs_certs)
		why_set(why, "its key usage has no keyCertSign, so nothing that it signs is believed");
	else if (!c->is_ec && !c->is_rsa)
		why_set(why, "its key is neither EC nor RSA: some TLS peers would not understand it");
	else if (c->is_rsa && c->key_bits < 2048)
		why_set(why, "its RSA key has %u bits, fewer than 2048", c->key_bits);
	else if (wall_s < c->not_before_s)
		why_set(why, "it is not valid yet (is the clock right?)");
	else if (wall_s >= c->not_after_s)
		why_set(why, "it is expired");
	else
		return ERR_OK;
	return ERR_INVALID;
}

static enum err import_fill(struct ca_root_record *r, const struct ca_import *m, struct why *why)
{
	CLEAN(mem_freep) char *given = mem_printf("%s\n%s", m->certificate, m->chain ? m->chain : "");
	struct cert_info info;
	enum err e;

	if (!given)
		return ERR_NOMEM;
	if ((e = cert_info_parse(&info, m->certificate, why)))
		return e;
	e = check_imported(&info, m->wall_s, why);
	cert_info_deinit(&info);
	if (e || (e = key_matches_cert(m->key, m->certificate, why)) ||
	    (e = cert_chain_complete(&r->certificate, given, m->wall_s, why)))
		return e;
	return seal_key(&r->sealed_key, m->key, m->cluster_key, m->entropy + 16);
}

enum err ca_root_import(struct ca_root_record *out, const struct ca_import *m, struct why *why)
{
	struct ca_root_record r = {0};
	struct ca_provider *root = NULL;
	enum err e = import_fill(&r, m, why);

	if (!e)
		e = ca_root_open(&root, &r, m->cluster_key, why);
	if (!e)
		e = try_it(root, m->entropy, m->wall_s, why);
	ca_provider_free(root);
	if (e) {
		ca_root_record_deinit(&r);
		why_add(why, "the CA can't be imported");
		return e;
	}
	*out = r;
	return ERR_OK;
}

enum err ca_root_create(struct ca_root_record *out, const char *dn_common_name,
			const uint8_t cluster_key[CLUSTER_KEY_SIZE], const uint8_t entropy[64], int64_t wall_s,
			struct why *why)
{
	CLEAN(key_freep) char *key = NULL;
	CLEAN(mem_freep) char *certificate = NULL;
	struct cert_params p = {
		.common_name = dn_common_name,
		.is_ca = true,
		.not_before_s = wall_s - BACKDATE_S,
		.not_after_s = wall_s + CA_LIFE_S,
	};
	char *sealed_key;
	enum err e;

	/* The key pair's own randomness is the TLS library's. */
	if ((e = key_new(&key, KEY_EC_P256, why)))
		return e;
	p.key_pem = key;
	memcpy(p.serial, entropy, sizeof(p.serial));
	if ((e = cert_new(&certificate, &p, why)) ||
	    (e = seal_key(&sealed_key, key, cluster_key, entropy + sizeof(p.serial)))) {
		why_add(why, "make the cluster's CA");
		return e;
	}
	out->certificate = STEAL(certificate);
	out->sealed_key = sealed_key;
	return ERR_OK;
}

static enum err root_issue(struct ca_provider *base, struct ca_issued *out, const struct ca_request *r, struct why *why)
{
	struct root *p = container_of(base, struct root, base);
	char common_name[CA_COMMON_NAME_MAX + 1];
	struct ca_issued i = {0};
	struct cert_params params = {
		.ca_cert_pem = p->chain,
		.ca_key_pem = p->key,
		.csr_pem = r->csr_pem,
		.common_name = common_name,
		.role = r->role,
		.id = r->id,
		.ips = r->ips,
		.dns = r->dns,
		.not_before_s = r->wall_s - BACKDATE_S,
		.not_after_s = r->wall_s + r->validity_s,
	};
	enum err e = ERR_OK;

	if (r->wall_s >= p->ca.not_after_s) {
		why_set(why, "the CA certificate is expired");
		return ERR_EXPIRED;
	}
	/* It would not be believed any longer than its CA. */
	if (params.not_after_s > p->ca.not_after_s)
		params.not_after_s = p->ca.not_after_s;
	ca_common_name(common_name, r->common_name ? r->common_name : "");
	memcpy(params.serial, r->serial, sizeof(params.serial));

	if (!r->csr_pem)
		e = key_new(&i.private_key, KEY_EC_P256, why);
	params.key_pem = i.private_key;
	if (!e)
		e = cert_new(&i.certificate, &params, why);
	if (!e && !(i.chain = mem_strdup(p->chain)))
		e = ERR_NOMEM;
	if (e) {
		ca_issued_deinit(&i);
		why_add(why, "issue a certificate");
		return e;
	}
	*out = i;
	return ERR_OK;
}

static enum err root_crl(struct ca_provider *base, struct buf *out, const struct crl_params *params, struct why *why)
{
	struct root *p = container_of(base, struct root, base);
	struct crl_params mine = *params;

	mine.ca_cert_pem = p->chain;
	mine.ca_key_pem = p->key;
	return crl_sign(out, &mine, why);
}

static const char *root_chain(struct ca_provider *base)
{
	return container_of(base, struct root, base)->chain;
}

static const char *root_fingerprint(struct ca_provider *base)
{
	return container_of(base, struct root, base)->ca.fingerprint;
}

static bool root_can_issue(struct ca_provider *base)
{
	return container_of(base, struct root, base)->key != NULL;
}

static void root_free(struct ca_provider *base)
{
	struct root *p = container_of(base, struct root, base);

	mem_free(p->chain);
	key_free(p->key);
	cert_info_deinit(&p->ca);
	mem_free(p);
}

static const struct ca_provider_ops root_ops = {
	.name = "root",
	.description = "The cluster's own certificate authority",
	.issue = root_issue,
	.chain = root_chain,
	.fingerprint = root_fingerprint,
	.can_issue = root_can_issue,
	.cannot = "this server has no CA key: give it the cluster key file of the others",
	.crl = root_crl,
	.free = root_free,
};

static enum err open_key(char **out, const char *sealed_key, const uint8_t *cluster_key, struct why *why)
{
	CLEAN(buf_deinit) struct buf sealed = {0};
	CLEAN(buf_wipe) struct buf plain = {0};
	enum err e;

	/* Room first: then a text that can't be decoded is damaged, and not memory that was missing. */
	if (buf_reserve(&sealed, strlen(sealed_key) + 1))
		return ERR_NOMEM;
	if (!base64url_decode(sealed_key, &sealed)) {
		why_set(why, "the CA's key in the store is damaged");
		return ERR_DAMAGED;
	}
	e = open_bytes(&plain, cluster_key, sealed.data, sealed.len, KEY_CONTEXT);
	if (e == ERR_UNTRUSTED)
		why_set(why, "the cluster key does not open the CA's key in the store: copy the cluster key file of a "
			     "server that issues certificates, or restore the one from when the CA was made");
	if (e)
		return e;
	*out = mem_strndup((const char *)plain.data, plain.len);
	return *out ? ERR_OK : ERR_NOMEM;
}

static enum err root_fill(struct root *p, const struct ca_root_record *r, const uint8_t *cluster_key, struct why *why)
{
	enum err e;

	if ((e = cert_info_parse(&p->ca, r->certificate, why)))
		return e;
	if (!p->ca.is_ca) {
		why_set(why, "%s is not a CA certificate", p->ca.common_name);
		return ERR_INVALID;
	}
	if (!(p->chain = mem_strdup(r->certificate)))
		return ERR_NOMEM;
	/* Without either half there is nothing to sign with, and that is a way to run. */
	if (!cluster_key || str_is_blank(r->sealed_key))
		return ERR_OK;
	if ((e = open_key(&p->key, r->sealed_key, cluster_key, why)))
		return e;
	return key_matches_cert(p->key, p->chain, why);
}

enum err ca_root_open(struct ca_provider **out, const struct ca_root_record *r, const uint8_t *cluster_key,
		      struct why *why)
{
	struct root *p = mem_zalloc(sizeof(*p));
	enum err e;

	if (!p)
		return ERR_NOMEM;
	p->base.ops = &root_ops;
	if ((e = root_fill(p, r, cluster_key, why))) {
		root_free(&p->base);
		why_add(why, "open the cluster's CA");
		return e;
	}
	*out = &p->base;
	return ERR_OK;
}

enum err cluster_key_read(uint8_t out[CLUSTER_KEY_SIZE], const struct fs *fs, const char *path, struct why *why)
{
	CLEAN(buf_wipe) struct buf text = {0};
	CLEAN(buf_wipe) struct buf key = {0};
	CLEAN(key_freep) char *line = NULL;
	bool is_text;
	enum err e;
	size_t n;

	if ((e = file_read(fs, path, KEY_FILE_MAX, &text, why)))
		return e;
	line = mem_strndup(text.len ? (const char *)text.data : "", text.len);
	if (!line || buf_reserve(&key, KEY_FILE_MAX))
		return ERR_NOMEM;
	/* A NUL would end the text for us and not for another reader, so the length must be the file's. */
	n = strlen(line);
	is_text = n == text.len;
	while (n && strchr(" \t\r\n", line[n - 1]))
		line[--n] = '\0';
	if (!is_text || !base64url_decode(line, &key) || key.len != CLUSTER_KEY_SIZE) {
		why_set(why, "%s: not a cluster key (one line of 43 characters)", path);
		return ERR_MALFORMED;
	}
	memcpy(out, key.data, CLUSTER_KEY_SIZE);
	return ERR_OK;
}

enum err cluster_key_create(uint8_t out[CLUSTER_KEY_SIZE], const struct fs *fs, const char *path,
			    const uint8_t random[32], struct why *why)
{
	CLEAN(key_freep) char *text = NULL;
	char line[64];
	enum err e;

	/* Writing over it would make the CA in the store useless for ever. */
	if (fs->exists(fs, path)) {
		why_set(why, "%s: there is a cluster key already", path);
		return ERR_EXISTS;
	}
	if (!(text = base64url_encode(random, CLUSTER_KEY_SIZE)))
		return ERR_NOMEM;
	str_copy(line, sizeof(line) - 1, text);
	strcat(line, "\n");
	e = file_replace(fs, path, 0600, line, strlen(line), why);
	mem_wipe(line, sizeof(line));
	if (!e)
		memcpy(out, random, CLUSTER_KEY_SIZE);
	return e;
}
