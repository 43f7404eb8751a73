#include "ca/policy.h"

#include "check.h"

#include <string.h>

#include "base/mem.h"

#define WALL_S INT64_C(1750000000)
#define DAY_S INT64_C(86400)
#define GUID "8a4e1c52-3b6f-3d0a-9c77-5e1f0a2b3c4d"
#define STARTUP_GUID GUID "-LibvirtComputingResource"

/* Certificates by what matters of them. */
enum which { NONE, URI, URI_OTHER, SAN, SERVER, CA, NOT_CLIENT };

/* The usual question: strict, a good chain, the right time, a host nobody has seen. A row changes what it is about. */
struct row {
	const char *what;
	enum which cert;
	const char *ip;   /* NULL: 10.1.1.21, which is in the certificates */
	const char *guid; /* NULL: STARTUP_GUID */
	int64_t at_s;     /* seconds after WALL_S; certificates are good for a day before and after */
	bool not_strict, bad_chain, revoked, allow_expired, bound, bound_to_uri, allow_weaker, not_muster;
	enum admit admit;
	const char *sentence; /* a part of it */
};

static void cert_make(struct cert_info *c, enum which which)
{
	*c = (struct cert_info){
		.serial = "abc1",
		.issuer = "CN=somebody",
		.not_before_s = WALL_S - DAY_S,
		.not_after_s = WALL_S + DAY_S,
		.is_ca = which == CA,
		.eku_client = which != NOT_CLIENT,
		.eku_server = which == SERVER || which == SAN,
		.has_eku = which != SAN,
		.role = which == SERVER               ? CERT_ROLE_SERVER
			: which == SAN || which == CA ? CERT_ROLE_NONE
						      : CERT_ROLE_AGENT,
	};
	if (c->role != CERT_ROLE_NONE)
		str_copy(c->id, sizeof(c->id), which == URI_OTHER ? "another-guid" : GUID);
	if (which != URI) {
		assert_int_equal(str_list_add(&c->ips, "10.1.1.21"), ERR_OK);
		assert_int_equal(str_list_add(&c->ips, "2001:db8::15"), ERR_OK);
		assert_int_equal(str_list_add(&c->ips, "::ffff:10.1.1.22"), ERR_OK);
		assert_int_equal(str_list_add(&c->dns, "kvm1.example.org"), ERR_OK);
		assert_int_equal(str_list_add(&c->dns, "10.1.1.23"), ERR_OK);
		assert_int_equal(str_list_add(&c->dns, "[2001:db8::16:1]"), ERR_OK);
	}
}

static void judge(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		struct cert_info cert;
		struct why why = WHY_NONE;
		struct admit_question q = {
			.has_cert = r->cert != NONE,
			.chain_ok = r->cert != NONE && !r->bad_chain,
			.cert = r->cert != NONE ? &cert : NULL,
			.revoked = r->revoked,
			.peer_ip = r->ip ? r->ip : "10.1.1.21",
			.is_muster = !r->not_muster,
			.startup_guid = r->guid ? r->guid : STARTUP_GUID,
			.resource_name = "LibvirtComputingResource",
			.host_known = r->bound,
			.host_bound = r->bound || r->bound_to_uri,
			.host_bound_to_uri = r->bound_to_uri,
			.allow_weaker = r->allow_weaker,
			.strict = !r->not_strict,
			.allow_expired = r->allow_expired,
			.wall_s = WALL_S + r->at_s,
			.expired_limit_s = 30 * DAY_S,
		};
		enum admit a;

		cert_make(&cert, r->cert);
		a = admit_agent(&q, &why);
		if (a != r->admit || (r->sentence && !strstr(why.text, r->sentence)))
			fail_msg("%s: %s: %s", r->what, admit_name(a), why.text);
		/* Whatever isn't a plain yes says why. */
		check_row(r, a == ADMIT_YES || why.text[0]);
		/* And may be asked without wanting to know. */
		check_row(r, admit_agent(&q, NULL) == a);
		cert_info_deinit(&cert);
	}
}

static void a_certificate_with_a_guid(void **state)
{
	static const struct row rows[] = {
		{"the host it is for", URI, .admit = ADMIT_YES},
		{"from any address: the guid is what counts", URI, .ip = "192.0.2.1", .admit = ADMIT_YES},
		{"a startup without the suffix", URI, .guid = GUID, .admit = ADMIT_YES},
		{"on a host that was bound to it", URI, .bound_to_uri = true, .admit = ADMIT_YES},
		{"on a host that had a weaker one", URI, .bound = true, .admit = ADMIT_YES},
		{"the same with strictness off is not unsecured", URI, .not_strict = true, .admit = ADMIT_YES},
		{"another host's", URI_OTHER, .admit = ADMIT_OTHER_GUID, .sentence = "is for host another-guid"},
		{"another host's with strictness off", URI_OTHER, .not_strict = true, .admit = ADMIT_OTHER_GUID},
		{"another host's from its certified address", URI_OTHER, .ip = "10.1.1.21", .admit = ADMIT_OTHER_GUID},
		{"a guid that only begins like its own", URI, .guid = GUID "0", .admit = ADMIT_OTHER_GUID},
		{"a guid in other letters", URI, .guid = "8A4E1C52-3b6f-3d0a-9c77-5e1f0a2b3c4d",
		 .admit = ADMIT_OTHER_GUID},
		{"a suffix of another resource is part of the guid", URI, .guid = GUID "-OtherResource",
		 .admit = ADMIT_OTHER_GUID},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void a_certificate_with_addresses_only(void **state)
{
	static const struct row rows[] = {
		{"the address it names", SAN, .admit = ADMIT_YES},
		{"the address as the peer of an IPv6 socket", SAN, .ip = "::ffff:10.1.1.21", .admit = ADMIT_YES},
		{"a mapped address in the certificate", SAN, .ip = "10.1.1.22", .admit = ADMIT_YES},
		{"IPv6, spelled otherwise", SAN, .ip = "2001:0DB8:0:0::0015", .admit = ADMIT_YES},
		{"IPv6 with a zone", SAN, .ip = "2001:db8::15%eth0", .admit = ADMIT_YES},
		{"IPv6 in brackets", SAN, .ip = "[2001:db8::15]", .admit = ADMIT_YES},
		{"IPv6 in brackets in the certificate, as a name", SAN, .ip = "2001:db8::16:1", .admit = ADMIT_YES},
		{"an open bracket is no address", SAN, .ip = "[2001:db8::15", .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"IPv4 in brackets is taken as what it means", SAN, .ip = "[10.1.1.21]", .admit = ADMIT_YES},
		{"from somebody who doesn't speak muster/1", SAN, .not_muster = true, .admit = ADMIT_YES},
		{"an address among the DNS names, as the reference writes it", SAN, .ip = "10.1.1.23",
		 .admit = ADMIT_YES},
		{"a host that was bound to addresses", SAN, .bound = true, .admit = ADMIT_YES},
		{"another address", SAN, .ip = "10.1.1.99", .admit = ADMIT_ADDRESS_NOT_IN_SAN,
		 .sentence = "address 10.1.1.99 is not in certificate abc1"},
		{"another IPv6 address with the same first part (where the reference cuts)", SAN, .ip = "2001:db8::16",
		 .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"a longer text that begins with an address", SAN, .ip = "10.1.1.211",
		 .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"a name is no address", SAN, .ip = "kvm1.example.org", .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"an empty address", SAN, .ip = "", .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"rubbish as the address", SAN,
		 .ip = "1111111111111111111111111111111111111111111111111111111111111111111111111",
		 .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"another address with strictness off: nothing is proven", SAN, .ip = "10.1.1.99", .not_strict = true,
		 .admit = ADMIT_UNSECURED},
		{"the same on a bound host", SAN, .ip = "10.1.1.99", .not_strict = true, .bound = true,
		 .admit = ADMIT_WEAKER_IDENTITY},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void bound_hosts_are_not_given_away(void **state)
{
	static const struct row rows[] = {
		{"a host with a guid certificate is not taken by an address", SAN, .bound_to_uri = true,
		 .admit = ADMIT_WEAKER_IDENTITY, .sentence = "once showed"},
		{"nor with strictness off", SAN, .bound_to_uri = true, .not_strict = true,
		 .admit = ADMIT_WEAKER_IDENTITY},
		{"an operator can allow it", SAN, .bound_to_uri = true, .allow_weaker = true, .admit = ADMIT_YES},
		{"nobody takes a bound host without a certificate", NONE, .bound = true, .not_strict = true,
		 .admit = ADMIT_WEAKER_IDENTITY},
		{"nor one bound to its guid", NONE, .bound_to_uri = true, .not_strict = true,
		 .admit = ADMIT_WEAKER_IDENTITY},
		{"nor with a certificate that can't be verified", URI, .bound = true, .not_strict = true,
		 .bad_chain = true, .admit = ADMIT_WEAKER_IDENTITY},
		{"an operator can allow that too", NONE, .bound = true, .not_strict = true, .allow_weaker = true,
		 .admit = ADMIT_UNSECURED},
		{"but not what strictness forbids", NONE, .bound = true, .allow_weaker = true,
		 .admit = ADMIT_NO_CERTIFICATE},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void muster_agents_speak_muster(void **state)
{
	static const struct row rows[] = {
		{"a muster agent's certificate over CloudStack's protocol", URI, .not_muster = true,
		 .admit = ADMIT_DOWNGRADE, .sentence = "doesn't speak muster/1"},
		{"with strictness off", URI, .not_muster = true, .not_strict = true, .admit = ADMIT_DOWNGRADE},
		{"also where an operator allows a weaker identity", URI, .not_muster = true, .bound_to_uri = true,
		 .allow_weaker = true, .admit = ADMIT_DOWNGRADE},
		{"of another host", URI_OTHER, .not_muster = true, .admit = ADMIT_DOWNGRADE},
		{"a server's is a server's", SERVER, .not_muster = true, .admit = ADMIT_WRONG_ROLE},
		{"revoked is said first", URI, .not_muster = true, .revoked = true, .admit = ADMIT_REVOKED},
		{"a foreign one is foreign", URI, .not_muster = true, .bad_chain = true, .admit = ADMIT_NOT_OUR_CA},
		{"none at all, strictness off", NONE, .not_muster = true, .not_strict = true, .admit = ADMIT_UNSECURED},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

/* A host bound to a certificate that names addresses only, and another one of that kind. */
static void a_key_is_not_replaced_by_anybodys(void **state)
{
	static const struct {
		const char *what;
		struct admit_binding b;
		enum admit admit;
	} rows[] = {
		{"the same key, from wherever it is certified for",
		 {.bound_to = "k1", .key_id = "k1", .host_address = "10.1.1.21", .peer_ip = "10.1.1.99"},
		 ADMIT_YES},
		{"nothing is known of the key before",
		 {.key_id = "k1", .host_address = "10.1.1.21", .peer_ip = "10.1.1.99"},
		 ADMIT_YES},
		{"another key from the host's own address: set up again",
		 {.bound_to = "k1", .key_id = "k2", .host_address = "10.1.1.21", .peer_ip = "10.1.1.21"},
		 ADMIT_YES},
		{"the same, as an IPv6 socket has it",
		 {.bound_to = "k1", .key_id = "k2", .host_address = "10.1.1.21", .peer_ip = "::ffff:10.1.1.21"},
		 ADMIT_YES},
		{"the same over IPv6, spelled otherwise",
		 {.bound_to = "k1", .key_id = "k2", .host_address = "2001:DB8:0::21", .peer_ip = "2001:db8::21%eth0"},
		 ADMIT_YES},
		{"another key from another address: a neighbour",
		 {.bound_to = "k1", .key_id = "k2", .host_address = "10.1.1.21", .peer_ip = "10.1.1.22"},
		 ADMIT_NOT_ITS_KEY},
		{"unless we issued it for this host",
		 {.bound_to = "k1",
		  .key_id = "k2",
		  .host_address = "10.1.1.21",
		  .peer_ip = "10.1.1.22",
		  .is_issued_for_host = true},
		 ADMIT_YES},
		{"or an operator allows it",
		 {.bound_to = "k1",
		  .key_id = "k2",
		  .host_address = "10.1.1.21",
		  .peer_ip = "10.1.1.22",
		  .allow_weaker = true},
		 ADMIT_YES},
		{"an address that nobody knows is nobody's",
		 {.bound_to = "k1", .key_id = "k2", .peer_ip = "10.1.1.22"},
		 ADMIT_NOT_ITS_KEY},
		{"nor is a name",
		 {.bound_to = "k1", .key_id = "k2", .host_address = "kvm1", .peer_ip = "kvm1"},
		 ADMIT_NOT_ITS_KEY},
		{"without a key",
		 {.bound_to = "k1", .host_address = "10.1.1.21", .peer_ip = "10.1.1.22"},
		 ADMIT_NOT_ITS_KEY},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct admit_binding b = rows[i].b;
		struct why why = WHY_NONE;

		b.guid = GUID;
		check_row(&rows[i], admit_binding(&b, &why) == rows[i].admit);
		check_row(&rows[i], (rows[i].admit == ADMIT_YES) == !why.text[0]);
		check_row(&rows[i], admit_binding(&b, NULL) == rows[i].admit);
	}
}

static void where_a_certificate_comes_from(void **state)
{
	static const struct {
		const char *what;
		enum cert_origin origin;
		bool is_suspect;
		enum admit admit;
		const char *sentence;
	} rows[] = {
		{"issued here", CERT_ISSUED_HERE, false, ADMIT_YES, ""},
		{"issued here, by a CA whose key was stolen", CERT_ISSUED_HERE, true, ADMIT_YES, ""},
		{"a stranger's: of the operator's own CA, or taken over", CERT_STRANGER, false, ADMIT_YES, ""},
		{"a stranger's, and the key was stolen", CERT_STRANGER, true, ADMIT_STRANGER, "was not issued here"},
		{"a number of ours", CERT_FORGED, false, ADMIT_FORGED,
		 "another certificate was issued here with the number"},
		{"the same in a rotation", CERT_FORGED, true, ADMIT_FORGED, "number ab12"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct why why = WHY_NONE;

		check_row(&rows[i], admit_origin(rows[i].origin, "ab12", rows[i].is_suspect, &why) == rows[i].admit &&
					    strstr(why.text, rows[i].sentence) && !why.text[0] == !rows[i].sentence[0]);
		check_row(&rows[i], admit_origin(rows[i].origin, "ab12", rows[i].is_suspect, NULL) == rows[i].admit);
	}
}

static void strictness(void **state)
{
	static const struct row rows[] = {
		{"no certificate", NONE, .admit = ADMIT_NO_CERTIFICATE},
		{"no certificate, strictness off", NONE, .not_strict = true, .admit = ADMIT_UNSECURED,
		 .sentence = "strictness is false"},
		{"a foreign certificate with the right guid", URI, .bad_chain = true, .admit = ADMIT_NOT_OUR_CA,
		 .sentence = "CN=somebody"},
		{"a foreign certificate with the right address, which the reference takes", SAN, .bad_chain = true,
		 .admit = ADMIT_NOT_OUR_CA},
		{"the same with strictness off proves nothing", SAN, .bad_chain = true, .not_strict = true,
		 .admit = ADMIT_UNSECURED},
		{"what a foreign certificate claims is not looked at", SERVER, .bad_chain = true, .not_strict = true,
		 .admit = ADMIT_UNSECURED},
		{"a server's certificate", SERVER, .admit = ADMIT_WRONG_ROLE, .sentence = "is the one of server"},
		{"a server's certificate with strictness off", SERVER, .not_strict = true, .admit = ADMIT_WRONG_ROLE},
		{"the CA's certificate", CA, .admit = ADMIT_WRONG_ROLE, .sentence = "CA's"},
		{"a certificate that is not for clients", NOT_CLIENT, .admit = ADMIT_WRONG_ROLE,
		 .sentence = "not for clients"},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void revocation(void **state)
{
	static const struct row rows[] = {
		{"revoked", URI, .revoked = true, .admit = ADMIT_REVOKED, .sentence = "abc1 is revoked"},
		{"revoked, with addresses", SAN, .revoked = true, .admit = ADMIT_REVOKED},
		{"revoked with strictness off, where the reference only logs", URI, .revoked = true, .not_strict = true,
		 .admit = ADMIT_REVOKED},
		{"revoked by a CA that is gone, strictness off", URI, .revoked = true, .not_strict = true,
		 .bad_chain = true, .admit = ADMIT_REVOKED},
		{"a foreign certificate with a revoked serial is foreign first", URI, .revoked = true,
		 .bad_chain = true, .admit = ADMIT_NOT_OUR_CA},
		{"revoked and expired: a renewal is not what it takes", URI, .revoked = true, .at_s = 2 * DAY_S,
		 .admit = ADMIT_REVOKED},
		{"revoked and allowed to come weaker", URI, .revoked = true, .not_strict = true, .allow_weaker = true,
		 .admit = ADMIT_REVOKED},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void dates(void **state)
{
	static const struct row rows[] = {
		{"the first second", URI, .at_s = -DAY_S, .admit = ADMIT_YES},
		{"the second before", URI, .at_s = -DAY_S - 1, .admit = ADMIT_NOT_YET_VALID, .sentence = "clock"},
		{"the last second", URI, .at_s = DAY_S, .admit = ADMIT_YES},
		{"the second after", URI, .at_s = DAY_S + 1, .admit = ADMIT_EXPIRED},
		{"not yet valid with strictness off, as the reference", URI, .at_s = -DAY_S - 1, .not_strict = true,
		 .admit = ADMIT_NOT_YET_VALID},
		{"expired with strictness off, as the reference", URI, .at_s = DAY_S + 1, .not_strict = true,
		 .admit = ADMIT_EXPIRED},
		{"expired ones are allowed", URI, .at_s = DAY_S + 1, .allow_expired = true, .admit = ADMIT_YES},
		{"the last second of the limit", URI, .at_s = 31 * DAY_S, .allow_expired = true, .admit = ADMIT_YES},
		{"expired for longer than the limit", URI, .at_s = 31 * DAY_S + 1, .allow_expired = true,
		 .admit = ADMIT_EXPIRED, .sentence = "longer"},
		{"not yet valid is never allowed", URI, .at_s = -DAY_S - 1, .allow_expired = true,
		 .admit = ADMIT_NOT_YET_VALID},
		{"expired, another host's: a renewal would not help", URI_OTHER, .at_s = DAY_S + 1,
		 .admit = ADMIT_OTHER_GUID},
		{"expired, a server's", SERVER, .at_s = DAY_S + 1, .admit = ADMIT_WRONG_ROLE},
		{"expired, with addresses, allowed, still needs the address", SAN, .ip = "10.1.1.99", .at_s = DAY_S + 1,
		 .allow_expired = true, .admit = ADMIT_ADDRESS_NOT_IN_SAN},
		{"expired, with addresses, allowed", SAN, .at_s = DAY_S + 1, .allow_expired = true, .admit = ADMIT_YES},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void guids_nobody_can_keep(void **state)
{
	static const char long_guid[] = "0123456789012345678901234567890123456789012345678901234567890123"
					"0123456789012345678901234567890123456789012345678901234567890123"
					"-LibvirtComputingResource";
	static const struct row rows[] = {
		{"empty", URI, .guid = "", .admit = ADMIT_BAD_GUID},
		{"nothing but the suffix", URI, .guid = "-LibvirtComputingResource", .admit = ADMIT_BAD_GUID},
		{"128 characters", URI, .guid = long_guid, .admit = ADMIT_BAD_GUID},
		{"a newline", URI, .guid = "a\nb", .admit = ADMIT_BAD_GUID},
		{"a path", URI, .guid = "../../etc/passwd", .admit = ADMIT_BAD_GUID},
		{"a folder", URI, .guid = "..", .admit = ADMIT_BAD_GUID},
		{"without a certificate and with strictness off", NONE, .guid = "a/b", .not_strict = true,
		 .admit = ADMIT_BAD_GUID},
	};

	(void)state;
	judge(rows, ARRAY_SIZE(rows));
}

static void guids_are_stripped(void **state)
{
	static const struct {
		const char *what, *guid, *resource, *out; /* out NULL: refused */
	} rows[] = {
		{"the usual form", "g-1-LibvirtComputingResource", "LibvirtComputingResource", "g-1"},
		{"no suffix", "g-1", "LibvirtComputingResource", "g-1"},
		{"no resource name", "g-1-LibvirtComputingResource", NULL, "g-1-LibvirtComputingResource"},
		{"an empty resource name takes nothing away", "g-1-", "", "g-1-"},
		{"only once", "g-R-R", "R", "g-R"},
		{"not without the dash", "g1Resource", "Resource", "g1Resource"},
		{"the name alone is a guid, too", "Resource", "Resource", "Resource"},
		{"a resource name longer than the guid", "g", "LibvirtComputingResource", "g"},
		{"nothing left", "-Resource", "Resource", NULL},
		{"empty", "", "Resource", NULL},
		{"none", NULL, "Resource", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[GUID_MAX] = "untouched";

		check_row(&rows[i], guid_strip(out, rows[i].guid, rows[i].resource) == (rows[i].out != NULL));
		check_row(&rows[i], str_equal(out, rows[i].out ? rows[i].out : "untouched"));
	}
}

static void servers_prove_who_they_are(void **state)
{
	static const struct {
		const char *what;
		enum which cert;
		bool bad_chain, revoked;
		int64_t at_s;
		enum admit admit;
	} rows[] = {
		{"a server's certificate", SERVER, .admit = ADMIT_YES},
		{"none", NONE, .admit = ADMIT_NO_CERTIFICATE},
		{"a foreign one", SERVER, .bad_chain = true, .admit = ADMIT_NOT_OUR_CA},
		{"a revoked one", SERVER, .revoked = true, .admit = ADMIT_REVOKED},
		{"an expired one: expired ones are let in for hosts only", SERVER, .at_s = DAY_S + 1,
		 .admit = ADMIT_EXPIRED},
		{"one that is not yet valid", SERVER, .at_s = -DAY_S - 1, .admit = ADMIT_NOT_YET_VALID},
		{"an agent's", URI, .admit = ADMIT_WRONG_ROLE},
		{"one of the reference's kind", SAN, .admit = ADMIT_WRONG_ROLE},
		{"the CA's", CA, .admit = ADMIT_WRONG_ROLE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_info cert;
		struct why why = WHY_NONE;

		cert_make(&cert, rows[i].cert);
		check_row(&rows[i], admit_server(rows[i].cert != NONE, !rows[i].bad_chain, &cert, rows[i].revoked,
						 WALL_S + rows[i].at_s, &why) == rows[i].admit);
		check_row(&rows[i], (rows[i].admit == ADMIT_YES) == !why.text[0]);
		cert_info_deinit(&cert);
	}
}

static void agents_know_their_servers(void **state)
{
	static const struct {
		const char *what;
		enum which cert;
		bool cloudstack, bad_chain, ca_itself;
		enum admit admit;
	} rows[] = {
		{"a server's certificate", SERVER, .admit = ADMIT_YES},
		{"none", NONE, .admit = ADMIT_NO_CERTIFICATE},
		{"a foreign one", SERVER, .bad_chain = true, .admit = ADMIT_NOT_OUR_CA},
		{"another agent that poses as a server", URI, .admit = ADMIT_WRONG_ROLE},
		{"a leaf that says nothing of a role", SAN, .admit = ADMIT_WRONG_ROLE},
		{"the CA certificate itself", CA, .ca_itself = true, .admit = ADMIT_WRONG_ROLE},
		{"CloudStack: the CA certificate itself", CA, .cloudstack = true, .ca_itself = true,
		 .admit = ADMIT_YES},
		{"CloudStack: a leaf of the CA that says nothing of a role", SAN, .cloudstack = true,
		 .admit = ADMIT_YES},
		{"CloudStack: a muster server", SERVER, .cloudstack = true, .admit = ADMIT_YES},
		{"CloudStack: an agent that poses as a server", URI, .cloudstack = true, .admit = ADMIT_WRONG_ROLE},
		{"CloudStack: a foreign one", SAN, .cloudstack = true, .bad_chain = true, .admit = ADMIT_NOT_OUR_CA},
		{"CloudStack: none", NONE, .cloudstack = true, .admit = ADMIT_NO_CERTIFICATE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cert_info cert;
		struct why why = WHY_NONE;

		cert_make(&cert, rows[i].cert);
		check_row(&rows[i], admit_as_server(!rows[i].cloudstack, rows[i].cert != NONE, !rows[i].bad_chain,
						    rows[i].ca_itself, &cert, &why) == rows[i].admit);
		check_row(&rows[i], (rows[i].admit == ADMIT_YES) == !why.text[0]);
		cert_info_deinit(&cert);
	}
}

static void every_verdict_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < ADMIT_N; i++) {
		assert_true(strlen(admit_name((enum admit)i)) > 2);
		assert_int_equal(admit_is_yes((enum admit)i), i == ADMIT_YES || i == ADMIT_UNSECURED);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(admit_name((enum admit)i), admit_name((enum admit)k));
	}
	assert_string_equal(admit_name(ADMIT_ADDRESS_NOT_IN_SAN), "address not in certificate");
	assert_string_equal(admit_name(ADMIT_N), "unknown");
}

static void addresses_have_one_form(void **state)
{
	static const struct {
		const char *what, *text, *normal; /* NULL: it is none */
	} rows[] = {
		{"IPv4", "10.0.0.5", "10.0.0.5"},
		{"IPv4, mapped", "::ffff:10.0.0.5", "10.0.0.5"},
		{"IPv4, mapped, in hexadecimal", "::FFFF:a00:5", "10.0.0.5"},
		{"IPv6", "fd00::5", "fd00::5"},
		{"IPv6 at length", "FD00:0:0:0:0:0:0:5", "fd00::5"},
		{"in brackets", "[fd00::5]", "fd00::5"},
		{"with a zone", "fe80::1%eth0", "fe80::1"},
		{"a name", "h1", NULL},
		{"half an address", "10.0", NULL},
		{"empty", "", NULL},
		{"nothing", NULL, NULL},
		{"too long", "fd00:0000:0000:0000:0000:0000:0000:0000:0000:0000:0005", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[ADDRESS_TEXT] = "?";

		check_row(&rows[i], address_normal(out, rows[i].text) == (rows[i].normal != NULL));
		check_row(&rows[i], !rows[i].normal || str_equal(out, rows[i].normal));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_certificate_with_a_guid),
		cmocka_unit_test(a_certificate_with_addresses_only),
		cmocka_unit_test(bound_hosts_are_not_given_away),
		cmocka_unit_test(muster_agents_speak_muster),
		cmocka_unit_test(a_key_is_not_replaced_by_anybodys),
		cmocka_unit_test(where_a_certificate_comes_from),
		cmocka_unit_test(strictness),
		cmocka_unit_test(revocation),
		cmocka_unit_test(dates),
		cmocka_unit_test(guids_nobody_can_keep),
		cmocka_unit_test(guids_are_stripped),
		cmocka_unit_test(servers_prove_who_they_are),
		cmocka_unit_test(agents_know_their_servers),
		cmocka_unit_test(addresses_have_one_form),
		cmocka_unit_test(every_verdict_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
