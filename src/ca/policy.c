/*
 * Who may connect.
 *
 * An identity is strong (a certificate of our CA with the host's guid in a URI), weaker (a certificate of our CA that
 * only names addresses, as the reference issues) or none. A host that once showed a stronger one is not given to a
 * weaker one until an operator allows it; without that rule, whoever reaches the port with strictness off could take
 * over any host by leaving its certificate at home.
 *
 * Two rules are stricter than the reference's: the chain is always verified, and a revoked certificate is refused with
 * strictness off as well (the reference only logs that). Somebody who has nothing to show is let in then, marked
 * unsecured; somebody who shows what was taken away from him is not.
 *
 * `chain_ok` says that the signatures lead to our CA. The certificate's own dates are judged here, because some
 * expired ones are let in.
 */
#include "ca/policy.h"

#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/mem.h"

static const char *const names[ADMIT_N] = {
	[ADMIT_YES] = "yes",
	[ADMIT_UNSECURED] = "unsecured",
	[ADMIT_NO_CERTIFICATE] = "no certificate",
	[ADMIT_NOT_OUR_CA] = "not our CA",
	[ADMIT_EXPIRED] = "certificate expired",
	[ADMIT_NOT_YET_VALID] = "certificate not yet valid",
	[ADMIT_REVOKED] = "certificate revoked",
	[ADMIT_WRONG_ROLE] = "certificate for another role",
	[ADMIT_DOWNGRADE] = "muster certificate without muster/1",
	[ADMIT_OTHER_GUID] = "certificate of another host",
	[ADMIT_ADDRESS_NOT_IN_SAN] = "address not in certificate",
	[ADMIT_WEAKER_IDENTITY] = "weaker identity than before",
	[ADMIT_NOT_ITS_KEY] = "another certificate than before",
	[ADMIT_DUPLICATE_GUID] = "duplicate guid",
	[ADMIT_FORGED] = "forged certificate",
	[ADMIT_STRANGER] = "certificate not issued here",
	[ADMIT_BAD_GUID] = "guid not usable",
};

const char *admit_name(enum admit a)
{
	return (unsigned)a < ADMIT_N ? names[a] : "unknown";
}

bool admit_is_yes(enum admit a)
{
	return a == ADMIT_YES || a == ADMIT_UNSECURED;
}

bool guid_strip(char *out, const char *startup_guid, const char *resource_name)
{
	size_t n = startup_guid ? strlen(startup_guid) : 0;
	size_t tail = resource_name ? strlen(resource_name) : 0;

	if (tail && n > tail && startup_guid[n - tail - 1] == '-' && str_ends(startup_guid, resource_name))
		n -= tail + 1;
	if (n == 0 || n >= GUID_MAX)
		return false;
	memcpy(out, startup_guid, n);
	out[n] = '\0';
	return true;
}

/* An address as 16 bytes, IPv4 in its mapped form; neither a zone ("%eth0") nor brackets are part of it. */
static bool address_read(uint8_t out[16], const char *text)
{
	char bare[INET6_ADDRSTRLEN];
	size_t n;

	if (text[0] == '[' && str_ends(text, "]"))
		text++;
	n = strcspn(text, "%]");

	if (n >= sizeof(bare))
		return false;
	memcpy(bare, text, n);
	bare[n] = '\0';
	memset(out, 0, 16);
	if (inet_pton(AF_INET, bare, out + 12) == 1) {
		out[10] = out[11] = 0xff;
		return true;
	}
	return inet_pton(AF_INET6, bare, out) == 1;
}

bool address_normal(char out[ADDRESS_TEXT], const char *text)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t raw[16];

	if (!text || !address_read(raw, text))
		return false;
	return memcmp(raw, mapped, sizeof(mapped)) == 0 ? inet_ntop(AF_INET, raw + 12, out, ADDRESS_TEXT) != NULL
							: inet_ntop(AF_INET6, raw, out, ADDRESS_TEXT) != NULL;
}

static bool address_is_among(const uint8_t address[16], const struct str_list *texts)
{
	uint8_t other[16];

	for (size_t i = 0; i < texts->n; i++)
		if (address_read(other, texts->items[i]) && memcmp(address, other, 16) == 0)
			return true;
	return false;
}

/* DNS names too: the reference looks at every kind, and writes the host's address as a name as well. */
static bool address_is_certified(const struct cert_info *cert, const char *peer_ip)
{
	uint8_t address[16];

	return peer_ip && address_read(address, peer_ip) &&
	       (address_is_among(address, &cert->ips) || address_is_among(address, &cert->dns));
}

/* Nobody proved who this is, and that is allowed: yes, unless the host has shown more before. */
static enum admit admit_unproven(const struct admit_question *q, const char *guid, const char *because,
				 struct why *sentence)
{
	if ((q->host_bound || q->host_bound_to_uri) && !q->allow_weaker) {
		why_set(sentence, "%s, but host %s once showed a certificate; an operator can allow it to come without",
			because, guid);
		return ADMIT_WEAKER_IDENTITY;
	}
	why_set(sentence, "%s; let in unsecured because ca.plugin.root.auth.strictness is false", because);
	return ADMIT_UNSECURED;
}

static enum admit judge_dates(const struct cert_info *cert, int64_t wall_s, bool allow_expired, int64_t expired_limit_s,
			      struct why *sentence)
{
	if (wall_s < cert->not_before_s) {
		why_set(sentence, "certificate %s is not valid yet (is the clock right?)", cert->serial);
		return ADMIT_NOT_YET_VALID;
	}
	if (wall_s <= cert->not_after_s)
		return ADMIT_YES;
	if (!allow_expired) {
		why_set(sentence, "certificate %s is expired", cert->serial);
		return ADMIT_EXPIRED;
	}
	if (wall_s - cert->not_after_s > expired_limit_s) {
		why_set(sentence, "certificate %s is expired for longer than is let pass", cert->serial);
		return ADMIT_EXPIRED;
	}
	return ADMIT_YES;
}

/* May this certificate, which is ours, be an agent's at all? */
static enum admit judge_agent_role(const struct cert_info *cert, struct why *sentence)
{
	if (cert->is_ca) {
		why_set(sentence, "certificate %s is a CA's, not an agent's", cert->serial);
		return ADMIT_WRONG_ROLE;
	}
	if (cert->role == CERT_ROLE_SERVER) {
		why_set(sentence, "certificate %s is the one of server %s, not an agent's", cert->serial, cert->id);
		return ADMIT_WRONG_ROLE;
	}
	if (!cert->eku_client) {
		why_set(sentence, "certificate %s is not for clients", cert->serial);
		return ADMIT_WRONG_ROLE;
	}
	return ADMIT_YES;
}

/* A certificate of ours that names addresses only. */
static enum admit judge_address(const struct admit_question *q, const char *guid, struct why *sentence)
{
	char because[160];

	if (!address_is_certified(q->cert, q->peer_ip)) {
		snprintf(because, sizeof(because), "address %s is not in certificate %s",
			 q->peer_ip ? q->peer_ip : "(unknown)", q->cert->serial);
		if (!q->strict)
			return admit_unproven(q, guid, because, sentence);
		why_set(sentence, "%s", because);
		return ADMIT_ADDRESS_NOT_IN_SAN;
	}
	if (q->host_bound_to_uri && !q->allow_weaker) {
		why_set(sentence,
			"host %s once showed a certificate with its guid; certificate %s only names its address", guid,
			q->cert->serial);
		return ADMIT_WEAKER_IDENTITY;
	}
	return ADMIT_YES;
}

enum admit admit_agent(const struct admit_question *q, struct why *sentence)
{
	const struct cert_info *cert = q->has_cert ? q->cert : NULL;
	char guid[GUID_MAX];
	enum admit a;

	/* 1. Nobody can be recognised by a guid that can't be kept: empty, too long, control characters, slashes. */
	if (!guid_strip(guid, q->startup_guid, q->resource_name) || !cert_id_is_valid(guid)) {
		why_set(sentence, "the guid of the startup must have 1 to %d letters, digits, '.', '_', '-'",
			GUID_MAX - 1);
		return ADMIT_BAD_GUID;
	}
	/* 2. Without a certificate only where strictness is off. */
	if (!cert) {
		if (!q->strict)
			return admit_unproven(q, guid, "no certificate", sentence);
		why_set(sentence, "no certificate, and ca.plugin.root.auth.strictness asks for one");
		return ADMIT_NO_CERTIFICATE;
	}
	/*
	 * 3. Revoked is refused whatever the strictness. Like the reference we know revoked certificates by their
	 * serial alone, so this comes first where the chain can't be checked any more (its CA was replaced).
	 */
	if (q->revoked && (q->chain_ok || !q->strict)) {
		why_set(sentence, "certificate %s is revoked", cert->serial);
		return ADMIT_REVOKED;
	}
	/* 4. What our CA didn't sign says nothing; what it claims is not even looked at. */
	if (!q->chain_ok) {
		if (!q->strict)
			return admit_unproven(q, guid, "the certificate is not from our CA", sentence);
		why_set(sentence, "certificate %s is not from our CA (issuer: %s)", cert->serial, cert->issuer);
		return ADMIT_NOT_OUR_CA;
	}
	/* 5. Ours, but not an agent's: a renewal would not help, so this is said before dates are. */
	if ((a = judge_agent_role(cert, sentence)) != ADMIT_YES)
		return a;
	/*
	 * 6. A muster agent's, but not from a muster agent: everything that muster adds would be gone, copies of a
	 * machine found out among it. Its agents insist on muster/1 as well, so that nobody in between can make them do
	 * without.
	 */
	if (cert->role == CERT_ROLE_AGENT && !q->is_muster) {
		why_set(sentence, "certificate %s is a muster agent's (%s), but the peer doesn't speak muster/1",
			cert->serial, cert->id);
		return ADMIT_DOWNGRADE;
	}
	/* 7. Ours, but another host's. */
	if (cert->role == CERT_ROLE_AGENT && !str_equal(cert->id, guid)) {
		why_set(sentence, "certificate %s is for host %s, but the startup says %s", cert->serial, cert->id,
			guid);
		return ADMIT_OTHER_GUID;
	}
	/* 8. The right one, but too early or too late. The reference refuses this with strictness off, too. */
	a = judge_dates(cert, q->wall_s, q->allow_expired, q->expired_limit_s, sentence);
	if (a != ADMIT_YES)
		return a;
	/* 9. One without a guid is good for its addresses, and for hosts that never showed a better one. */
	if (cert->role == CERT_ROLE_NONE)
		return judge_address(q, guid, sentence);
	/* 10. Everything else is this host. */
	return ADMIT_YES;
}

enum admit admit_binding(const struct admit_binding *b, struct why *sentence)
{
	uint8_t peer[16], host[16];

	if (!b->bound_to || str_equal(b->bound_to, b->key_id) || b->is_issued_for_host || b->allow_weaker)
		return ADMIT_YES;
	if (b->peer_ip && b->host_address && address_read(peer, b->peer_ip) && address_read(host, b->host_address) &&
	    memcmp(peer, host, sizeof(peer)) == 0)
		return ADMIT_YES;
	why_set(sentence,
		"host %s (%s) showed a certificate with another key before, and this one comes from %s; an operator can allow it "
		"(muster host allow-weaker)",
		b->guid, b->host_address ? b->host_address : "?", b->peer_ip ? b->peer_ip : "?");
	return ADMIT_NOT_ITS_KEY;
}

enum admit admit_origin(enum cert_origin origin, const char *serial, bool is_suspect, struct why *sentence)
{
	if (origin == CERT_FORGED) {
		why_set(sentence, "another certificate was issued here with the number %s", serial);
		return ADMIT_FORGED;
	}
	if (origin == CERT_STRANGER && is_suspect) {
		why_set(sentence,
			"certificate %s was not issued here, and the key of its CA was stolen; `muster host rejoin` gives "
			"its host another one",
			serial);
		return ADMIT_STRANGER;
	}
	return ADMIT_YES;
}

enum admit admit_server(bool has_cert, bool chain_ok, const struct cert_info *cert, bool revoked, int64_t wall_s,
			struct why *sentence)
{
	/* Strictness is about hosts. A server without a certificate is none. */
	if (!has_cert || !cert) {
		why_set(sentence, "no certificate");
		return ADMIT_NO_CERTIFICATE;
	}
	if (!chain_ok) {
		why_set(sentence, "certificate %s is not from our CA (issuer: %s)", cert->serial, cert->issuer);
		return ADMIT_NOT_OUR_CA;
	}
	if (revoked) {
		why_set(sentence, "certificate %s is revoked", cert->serial);
		return ADMIT_REVOKED;
	}
	if (cert->is_ca || cert->role != CERT_ROLE_SERVER || !cert->eku_client) {
		why_set(sentence, "certificate %s is not a management server's", cert->serial);
		return ADMIT_WRONG_ROLE;
	}
	return judge_dates(cert, wall_s, false, 0, sentence);
}

enum admit admit_as_server(bool is_muster, bool has_cert, bool chain_ok, bool is_ca_itself,
			   const struct cert_info *cert, struct why *sentence)
{
	/* 1. A chain that is verified, dates included: the link does that. */
	if (!has_cert || !cert) {
		why_set(sentence, "the server shows no certificate");
		return ADMIT_NO_CERTIFICATE;
	}
	if (!chain_ok) {
		why_set(sentence, "the server's certificate %s is not from our CA (issuer: %s)", cert->serial,
			cert->issuer);
		return ADMIT_NOT_OUR_CA;
	}
	/* 2. A CloudStack server presents the CA certificate itself. Nobody else has its key. */
	if (!is_muster && is_ca_itself)
		return ADMIT_YES;
	/* 3. An agent's certificate is no server's, towards CloudStack neither: it says so. */
	if (cert->role == CERT_ROLE_AGENT) {
		why_set(sentence, "certificate %s is the one of agent %s: it may not act as a server", cert->serial,
			cert->id);
		return ADMIT_WRONG_ROLE;
	}
	if (!cert->eku_server) {
		why_set(sentence, "certificate %s is not for servers", cert->serial);
		return ADMIT_WRONG_ROLE;
	}
	/* 4. A muster server has a certificate that says it is one. The reference's leaves say nothing of the kind. */
	if (is_muster && (cert->role != CERT_ROLE_SERVER || cert->is_ca)) {
		why_set(sentence, "certificate %s is not a management server's", cert->serial);
		return ADMIT_WRONG_ROLE;
	}
	return ADMIT_YES;
}
