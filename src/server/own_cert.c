/*
 * Our own certificate: read from server.crt and server.key, and made anew when it is missing, near its end, not of this
 * CA or not for our address.
 *
 * Keys are made and signatures done on WORK_CRYPTO.
 */
#include "server/internal.h"

#include <string.h>

#define FILE_CERT "server.crt"
#define FILE_KEY "server.key"
#define FILE_CA "server.ca.crt"
#define FILE_LIMIT (256 * 1024)
#define RENEW_BEFORE_S (30LL * 24 * 3600)
#define SERVER_VALIDITY_S (3650LL * 24 * 3600)

struct own_cert {
	struct work work;
	struct server *server;
	enum err result;
	struct why why;
	struct ca_issued issued;
	char *key;
	struct ca_request request; /* borrows the lists below */
	struct str_list ips, dns;
	void (*done)(struct server *s, enum err result, const char *sentence);
};

static void own_cert_free(struct own_cert *o)
{
	o->server->making_cert = NULL;
	ca_issued_deinit(&o->issued);
	key_free(o->key);
	str_list_deinit(&o->ips);
	str_list_deinit(&o->dns);
	mem_free(o);
}

static void ends(struct own_cert *o, enum err result, const char *sentence)
{
	struct server *s = o->server;

	o->done(s, result, sentence);
	own_cert_free(o);
}

static void fail(struct own_cert *o)
{
	ends(o, o->result, why_text(&o->why, o->result));
}

static enum err read_file(struct server *s, const char *name, char **out, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(s->p.dir, name);
	struct buf b = {0};
	enum err e = path ? file_read(s->world->fs, path, FILE_LIMIT, &b, why) : ERR_NOMEM;

	if (!e) {
		*out = buf_take_str(&b);
		e = *out ? ERR_OK : ERR_NOMEM;
	}
	buf_deinit(&b);
	return e;
}

static enum err write_file(struct server *s, const char *name, unsigned mode, const char *text, struct why *why)
{
	CLEAN(mem_freep) char *path = path_join(s->p.dir, name);

	return path ? file_replace(s->world->fs, path, mode, text, strlen(text), why) : ERR_NOMEM;
}

static bool covers(const struct cert_info *c, const char *host)
{
	return str_list_has(&c->ips, host) || str_list_has(&c->dns, host);
}

/* Is what lies in the folder usable? A sentence says why not. */
static bool own_cert_is_good(struct server *s, const struct server_address *address, struct why *why)
{
	int64_t now_s = world_wall_ms(s->world) / 1000;
	struct cert_info c = {0};
	bool good = false;

	if (cert_info_parse(&c, s->own_cert, why) || cert_verify(s->own_cert, s->ca_chain, now_s, why) ||
	    key_matches_cert(s->own_key, s->own_cert, why)) {
		cert_info_deinit(&c);
		return false;
	}
	if (c.role != CERT_ROLE_SERVER || !str_equal(c.id, s->uuid))
		why_set(why, "it is for another server (%s)", c.id);
	else if (c.not_after_s - now_s < RENEW_BEFORE_S)
		why_set(why, "it expires soon");
	else if (!covers(&c, address->host))
		why_set(why, "it is not for the address %s", address->host);
	else if (map_get(&s->revoked, c.serial))
		why_set(why, "it is revoked");
	else
		good = true;
	cert_info_deinit(&c);
	return good;
}

struct issued_entry {
	struct entry entry;
	struct cert_row row;
};

static enum err issued_run(struct store_tx *tx, struct entry *entry, struct why *why)
{
	return store_cert_add(tx, &container_of(entry, struct issued_entry, entry)->row);
}

static void issued_done(struct server *s, struct entry *entry, enum err result, const char *sentence)
{
	struct issued_entry *i = container_of(entry, struct issued_entry, entry);

	if (result && result != ERR_STOPPED)
		log_warn(s->log, "an issued certificate could not be recorded", KV_S("error", sentence));
	cert_row_deinit(&i->row);
	mem_free(i);
}

static void record_issued(struct server *s, const char *pem)
{
	struct issued_entry *i = mem_zalloc(sizeof(*i));

	if (!i)
		return;
	i->entry.run = issued_run;
	i->entry.done = issued_done;
	if (authority_cert_row(pem, &i->row)) {
		cert_row_deinit(&i->row);
		mem_free(i);
		return;
	}
	ledger_add(s, &i->entry);
}

static void own_cert_made(struct work *work)
{
	struct own_cert *o = container_of(work, struct own_cert, work);
	struct server *s = o->server;

	if (!o->result)
		o->result = write_file(s, FILE_KEY, 0600, o->key, &o->why);
	if (!o->result)
		o->result = write_file(s, FILE_CERT, 0600, o->issued.certificate, &o->why);
	if (!o->result)
		o->result = write_file(s, FILE_CA, 0644, s->ca_chain, &o->why);
	if (!o->result) {
		key_free(s->own_key);
		mem_free(s->own_cert);
		s->own_cert = STEAL(o->issued.certificate);
		s->own_key = STEAL(o->key);
		record_issued(s, s->own_cert);
		o->result = authority_renew_creds(s, &o->why);
	}
	if (o->result)
		fail(o);
	else
		ends(o, ERR_OK, "");
	server_gone_if_idle(s);
}

static void make_own_cert(struct work *work)
{
	struct own_cert *o = container_of(work, struct own_cert, work);
	struct csr_params p = {0};
	CLEAN(mem_freep) char *csr = NULL;

	o->result = key_new(&o->key, KEY_EC_P256, &o->why);
	if (o->result)
		return;
	p.key_pem = o->key;
	p.common_name = o->request.common_name;
	o->result = csr_new(&csr, &p, &o->why);
	if (o->result)
		return;
	o->request.csr_pem = csr;
	o->result = ca_issue(o->server->ca, &o->issued, &o->request, &o->why);
	o->request.csr_pem = NULL;
}

static bool is_literal(const char *host)
{
	/* Digits and dots, or a colon: an address; everything else is a name. */
	return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

static void make(struct own_cert *o, const struct server_address *address)
{
	struct server *s = o->server;

	if (!s->ca->ops->can_issue(s->ca)) {
		o->result = ERR_REFUSED;
		why_set(&o->why,
			"this server has no certificate that can be used, and can't make one: %s; or use muster-server join",
			s->ca->ops->cannot);
		fail(o);
		return;
	}
	o->result = str_list_add(is_literal(address->host) ? &o->ips : &o->dns, address->host);
	if (!o->result && !is_literal(s->p.name) && !str_list_has(&o->dns, s->p.name))
		o->result = str_list_add(&o->dns, s->p.name);
	if (o->result) {
		fail(o);
		return;
	}
	o->request = (struct ca_request){
		.common_name = s->p.name,
		.role = CERT_ROLE_SERVER,
		.id = s->uuid,
		.ips = &o->ips,
		.dns = &o->dns,
		.validity_s = SERVER_VALIDITY_S,
		.wall_s = world_wall_ms(s->world) / 1000,
	};
	world_entropy(s->world, o->request.serial, sizeof(o->request.serial));
	o->work = (struct work){.run = make_own_cert, .done = own_cert_made, .cost_us = 2000};
	world_work(s->world, authority_lane(s), &o->work);
}

void own_cert_start(struct server *s, void (*done)(struct server *s, enum err result, const char *sentence))
{
	struct own_cert *o = mem_zalloc(sizeof(*o));
	struct server_address address;
	struct why why = WHY_NONE;

	if (!o) {
		done(s, ERR_NOMEM, err_text(ERR_NOMEM));
		return;
	}
	s->making_cert = o;
	o->server = s;
	o->done = done;
	o->result = server_address_parse(&address, s->p.address, &o->why);
	if (o->result) {
		fail(o);
		return;
	}
	s->own_cert = mem_free(s->own_cert);
	s->own_key = key_free(s->own_key);
	if (read_file(s, FILE_CERT, &s->own_cert, &why) == ERR_OK &&
	    read_file(s, FILE_KEY, &s->own_key, &why) == ERR_OK) {
		if (own_cert_is_good(s, &address, &why)) {
			o->result = authority_renew_creds(s, &o->why);
			if (o->result)
				fail(o);
			else
				ends(o, ERR_OK, "");
			return;
		}
		log_info(s->log, "own certificate is made anew", KV_S("reason", why.text));
	}
	make(o, &address);
}

void own_cert_deinit(struct server *s)
{
	if (s->making_cert)
		own_cert_free(s->making_cert);
	s->own_cert = mem_free(s->own_cert);
	s->own_key = key_free(s->own_key);
}
