"""Attacks on real servers: each is a row that says what is tried, which reason is given, and what counts it.

The attacker holds what the row says: usually a certificate made with the cluster's own CA key, which is the test's, so
that everything about it is right except for one thing. `victim` is a good agent that is connected all the time and may
not notice anything. docs/security.md lists the rows by name; a test compares.
"""
import base64
import contextlib
import dataclasses
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import typing
import unittest
import urllib.parse

import attacker
from attacker import API, CA, DEADLINE, REQUEST, SUFFIX, Peer, become_up, context, join_request, startup
from evil import (CA_USAGE, CLIENT, CODE, SERVER, Ca, Workshop, basic_constraints, der, dns, extension, identity, ip, key_usage, names, openssl,
                  only_below, purposes, request, uri)
from harness import ApiError, Cluster, Server, program, until

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DAY = 86400
FROM_SERVER = attacker.wire.FROM_SERVER
DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "security.md")

# Counters of getMusterStatus, `refusals`.
UNTRUSTED, TLS, BIG, MALFORMED, LATE = ("certificate not trusted", "TLS failed", "over the agreed limit", "not well formed",
                                        "took too long")
JOIN, POLICY = "join refused", "refused by policy"
# Who comes in the moment in which the server hears of it is cut off in the middle of the startup.
REVOKED = "is revoked|connection refused .*certificate revoked"


@dataclasses.dataclass
class Attack:
    name: str
    act: typing.Callable
    reason: str  # searched in what the server logs during the attack (events are logged, too) ...
    counter: str  # ... and this counter of the server grows; None: nothing is refused that is counted
    heard: str = ""  # searched in what the attacker is told
    is_open: bool = False  # with strictness off


ATTACKS = []


def attack(name, reason, counter, **more):
    def keep(act):
        ATTACKS.append(Attack(name, act, reason, counter, **more))
        return act
    return keep


class House:
    """The cluster, the attacker's workshop, and an address of its own for each attack."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.m1, self.m2 = cluster.servers
        self.shop = Workshop(os.path.join(cluster.dir, "attacker"))
        self.ca = Ca("cluster of the test", self.shop.key(role="ca"))
        self.foreign = Ca("somebody else", self.shop.key(role="foreign"))
        self.number, self.victim, self.stack = 10, None, contextlib.ExitStack()

    # ---- what the attacker has ----

    @property
    def source(self):
        return f"{self.cluster.net}.{self.number}"

    def certificate(self, guid, *extra, ca=None, common_name="evil", san=None, eku=(CLIENT,), n_bits=0, **fields):
        """A good client certificate for a guid, but for what is said."""
        extensions = [*([names(uri(f"muster:agent:{guid}"), *extra)] if san is None else san), *([purposes(*eku)] if eku else [])]
        return (ca or self.ca).certificate(common_name, self.shop.key(n_bits), extensions, **fields)

    def context(self, *chain, n_bits=0, key=None, **tls):
        return context(chain=self.shop.write(*chain), key=key or self.shop.key(n_bits).path, **tls)

    def peer(self, ctx=None, **more):
        return self.stack.enter_context(Peer(self.m1.address, self.source, ctx, **more))

    # ---- what he does with it ----

    def come(self, *chain, guid=None, n_bits=0, boot="a", items=None, **tls):
        """Connects with these certificates and says that he is the victim."""
        with Peer(self.m1.address, self.source, self.context(*chain, n_bits=n_bits, **tls)) as peer:
            peer.message(REQUEST, items or startup((self.victim if guid is None else guid) + SUFFIX, boot=boot))
            return peer.until_closed()

    def send(self, data):
        with Peer(self.m1.address, self.source) as peer:
            peer.raw(data)
            return peer.until_closed()

    def framed(self, data, version=None):
        """Raw bytes behind a good handshake."""
        with Peer(self.m1.address, self.source, self.context(self.certificate("framed"), version=version)) as peer:
            peer.raw(data)
            return peer.until_closed()

    def guest(self, guid, ctx=None):
        """A host of the attacker's own, attached and Up."""
        peer = self.peer(ctx or self.context(self.certificate(guid)))
        peer.host_id = become_up(peer, guid, boot=guid)
        until(lambda: self.guest_row(guid)["state"] == "Up", what=f"{guid} is Up")
        return peer

    def guest_row(self, guid):
        return next((h for h in self.cluster.hosts().values() if h["name"] == guid), {"state": "unknown"})

    def remove(self, guid):
        row = self.guest_row(guid)
        if "id" in row:
            self.m1.api("deleteHost", id=row["id"], forced="true")

    # ---- joining ----

    def token(self, **params):
        """Id and secret, as in docs/protocol.md."""
        return self.parts(self.m1.api("createJoinToken", **params)["jointoken"]["token"])

    @staticmethod
    def parts(text):
        packed = text.split(".", 1)[1]
        packed = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        n = packed[1]
        return packed[2:2 + n].decode(), packed[2 + n:2 + n + 24].hex()

    def csr(self, *extensions, **more):
        return request(self.shop.key(), extensions=extensions, **more)

    def join(self, token, csr=None, guid=None, source=None, **fields):
        ctx = context(alpn=("muster-join/1",), version=TLS13)
        with Peer(self.m1.address, source or self.source, ctx) as peer:
            peer.message(REQUEST, join_request(token, csr or self.csr(), guid or f"evil-{self.number}", **fields))
            return peer.until_closed()


# ---- certificates: who signed ------------------------------------------------

@attack("foreign self-signed certificate with the right identity", "not signed by a trusted CA", UNTRUSTED)
def _(h):
    own = Ca("victim", h.shop.key(), extensions=[identity(h.victim), purposes(CLIENT)])
    return h.come(own.der)


@attack("foreign CA, right identity", "not signed by a trusted CA", UNTRUSTED)
def _(h):
    return h.come(h.certificate(h.victim, ca=h.foreign), h.foreign.der)


@attack("right issuer name, foreign key", "signature is wrong|not signed by a trusted CA", UNTRUSTED)
def _(h):
    return h.come(h.certificate(h.victim, signer=h.foreign.key))


@attack("a CA of the same name, in the chain", "signature is wrong|not signed by a trusted CA", UNTRUSTED)
def _(h):
    twin = Ca("cluster of the test", h.foreign.key)
    return h.come(h.certificate(h.victim, ca=twin), twin.der)


@attack("signed by an agent's certificate", "signer is not a CA|not signed by a trusted CA", UNTRUSTED)
def _(h):
    agent = Ca("agent", h.shop.key(), h.ca, [identity("stolen"), purposes(CLIENT)])
    return h.come(h.certificate(h.victim, ca=agent), agent.der)


@attack("intermediate of version 1", "signer is not a CA|not signed by a trusted CA", UNTRUSTED)
def _(h):
    middle = Ca("middle", h.shop.key(role="middle"), h.ca, [], version=0)
    return h.come(h.certificate(h.victim, ca=middle), middle.der)


@attack("intermediate that may not sign certificates", "constraints of its CA forbid", UNTRUSTED)
def _(h):
    middle = Ca("middle", h.shop.key(role="middle"), h.ca, [basic_constraints(True), extension("2.5.29.15", der(3, b"\x07\x80"), True)])
    return h.come(h.certificate(h.victim, ca=middle), middle.der)


@attack("a chain longer than its CA allows", "constraints of its CA forbid|not signed by a trusted CA", UNTRUSTED)
def _(h):
    upper = Ca("upper", h.shop.key(role="upper"), h.ca, [basic_constraints(True, 0), CA_USAGE])
    lower = Ca("lower", h.shop.key(role="middle"), upper)
    return h.come(h.certificate(h.victim, ca=lower), lower.der, upper.der)


@attack("a name outside of its CA's constraints", "constraints", UNTRUSTED)
def _(h):
    middle = Ca("middle", h.shop.key(role="middle"), h.ca, [basic_constraints(True), CA_USAGE, only_below("example.org")])
    return h.come(h.certificate(h.victim, dns("victim.invalid"), ca=middle), middle.der)


@attack("a chain that goes round in circles", "not signed by a trusted CA", UNTRUSTED)
def _(h):
    a, b = (Ca(n, h.shop.key(role=n)) for n in ("circle a", "circle b"))
    a_by_b = Ca("circle a", a.key, b).der
    b_by_a = Ca("circle b", b.key, a).der
    return h.come(h.certificate(h.victim, ca=a), a_by_b, b_by_a, a_by_b, b_by_a)


@attack("a chain of 100 certificates", "certificates were presented|TLS handshake", "(over the agreed limit|TLS failed)")
def _(h):
    return h.come(h.certificate(h.victim), *[h.ca.der] * 99)


@attack("certificate of a weak RSA key (1024)", "insecure|weak", UNTRUSTED)
def _(h):
    return h.come(h.certificate(h.victim, n_bits=1024), n_bits=1024)


@attack("certificate of a toy RSA key (512)", "insecure|weak|TLS handshake", f"({UNTRUSTED}|{TLS})")
def _(h):
    return h.come(h.certificate(h.victim, n_bits=512), n_bits=512, version=TLS12)


@attack("signature by SHA-1", "insecure", UNTRUSTED)
def _(h):
    return h.come(h.certificate(h.victim, digest="sha1"))


@attack("signature by MD5", "insecure", UNTRUSTED)
def _(h):
    middle = Ca("rsa middle", h.shop.key(2048, role="middle"), h.ca)
    return h.come(h.certificate(h.victim, ca=middle, digest="md5"), middle.der)


@attack("weak intermediate (RSA 1024)", "insecure|weak", UNTRUSTED)
def _(h):
    middle = Ca("weak middle", h.shop.key(1024, role="middle"), h.ca)
    return h.come(h.certificate(h.victim, ca=middle), middle.der)


# ---- certificates: of whom, for what, when -----------------------------------

@attack("certificate of another host", "is for host thief, but the startup says", "certificate of another host",
        heard="is for host thief")
def _(h):
    return h.come(h.certificate("thief"))


@attack("certificate of another host, as CloudStack's agent", "is for host thief, but the startup says|muster/1",
        "(certificate of another host|muster certificate without muster/1)")
def _(h):
    return h.come(h.certificate("thief"), alpn=None, version=TLS12, boot=None)


@attack("number of a certificate that was issued here", "another certificate was issued here with the number", "forged certificate")
def _(h):
    issued = h.m1.api("listCertificates", role="server")["certificate"][0]["serial"]
    return h.come(h.certificate("forger", serial=int(issued, 16)), guid="forger")


@attack("guid that grows out of the suffix", "is for host victim-Tail, but the startup says victim", "certificate of another host")
def _(h):
    return h.come(h.certificate("victim-Tail"), items=startup("victim-Tail", resourceName="Tail"))


@attack("guid whose suffix is not stripped", "is for host .*, but the startup says", "certificate of another host")
def _(h):
    return h.come(h.certificate(h.victim), items=startup(h.victim + "-Tail", resourceName="Other"))


@attack("expired for longer than 30 days", "expired", "expired")
def _(h):
    return h.come(h.certificate(h.victim, start=-400 * DAY, days=-31))


@attack("expired yesterday, of another host", "is for host thief, but the startup says", "certificate of another host")
def _(h):
    return h.come(h.certificate("thief", start=-400 * DAY, days=-1))


@attack("expired yesterday where that is not allowed", "expired", "expired")
def _(h):
    h.cluster.config("ca.plugin.root.allow.expired.cert", "false")
    try:
        return h.come(h.certificate(h.victim, start=-400 * DAY, days=-1))
    finally:
        h.cluster.config("ca.plugin.root.allow.expired.cert", "true")


@attack("expired intermediate", "an intermediate certificate has expired", "expired")
def _(h):
    middle = Ca("old middle", h.shop.key(role="middle"), h.ca, start=-400 * DAY, days=-1)
    return h.come(h.certificate(h.victim, ca=middle), middle.der)


@attack("not yet valid", "not valid yet", UNTRUSTED)
def _(h):
    return h.come(h.certificate(h.victim, start=DAY))


@attack("for servers only (serverAuth)", "is not for clients", "certificate for another role", heard="is not for clients")
def _(h):
    return h.come(h.certificate(h.victim, eku=(SERVER,)))


@attack("for signing code (codeSigning)", "is not for clients", "certificate for another role")
def _(h):
    return h.come(h.certificate(h.victim, eku=(CODE,)))


@attack("the CA's own certificate as an agent's", "Key usage violation", TLS)
def _(h):
    return ca_as_agent(h, h.ca)


def ca_as_agent(h, ca, *chain):
    with Peer(h.m1.address, h.source, h.context(ca.der, *chain, key=ca.key.path)) as peer:
        peer.message(REQUEST, startup(h.victim + SUFFIX))
        return peer.until_closed()


@attack("an intermediate's certificate as an agent's", "is a CA's, not an agent's", "certificate for another role")
def _(h):
    return ca_as_agent(h, Ca("middle", h.shop.key(role="middle"), h.ca,
                             [basic_constraints(True), key_usage(0, 5, 6), identity(h.victim), purposes(CLIENT)]))


def stolen_server(h, **tls):
    return context(chain=os.path.join(h.m2.dir, "server.crt"), key=os.path.join(h.m2.dir, "server.key"), **tls)


@attack("a server's certificate as an agent's", "startup with the certificate of a server", "certificate for another role")
def _(h):
    peer = h.peer(stolen_server(h))
    peer.message(REQUEST, startup(h.victim + SUFFIX))
    return peer.until_closed()


@attack("a server's certificate as a CloudStack agent's", "is the one of server", "certificate for another role")
def _(h):
    peer = h.peer(stolen_server(h, alpn=None, version=TLS12))
    peer.message(REQUEST, startup(h.victim + SUFFIX, boot=None))
    return peer.until_closed()


def peer_hello(msid):
    return [{"muster.PeerHelloCommand": {"msId": msid, "runId": 1, "name": "m2", "version": "0"}}]


@attack("an agent's certificate as a server's", "hello of a management server, without a server's certificate",
        "certificate for another role")
def _(h):
    peer = h.peer(h.context(h.certificate("thief")))
    peer.message(REQUEST | FROM_SERVER, peer_hello(1))
    peer.message(REQUEST, peer_hello(1))
    return peer.until_closed()


@attack("a server says that it is another one", "hello for another server", UNTRUSTED)
def _(h):
    guest = h.guest("guest-asks")  # a server's messages have its number
    guest.sock.close()
    peer = h.peer(stolen_server(h))
    peer.message(REQUEST | FROM_SERVER, peer_hello(guest.heard[0].mgmt_id))
    return peer.until_closed()


@attack("a server that gives orders before it says who it is", "does not say first which one it is", POLICY)
def _(h):
    peer = h.peer(stolen_server(h))
    peer.message(REQUEST | FROM_SERVER, [{API + "ChangeAgentCommand": {"agentId": 1, "event": "ShutdownRequested"}}])
    return peer.until_closed()


@attack("a server's identity, but for servers only (serverAuth)", "is not a management server's", "certificate for another role")
def _(h):
    own = h.ca.certificate("m9", h.shop.key(), [names(uri("muster:server:m9")), purposes(SERVER)])
    return h.come(own)


# ---- certificates: names -----------------------------------------------------

def named(what, identity_or_name, reason, counter=UNTRUSTED, **more):
    """A certificate whose names are the attack."""
    @attack(what, reason, counter, **more)
    def _(h):
        return h.come(identity_or_name(h))


named("two identities", lambda h: h.certificate(h.victim, uri("muster:agent:thief")), "more than one muster identity")
named("an agent's identity and a server's", lambda h: h.certificate(h.victim, uri("muster:server:m9")), "more than one muster identity")
for _what, _tail in {"a path": b"../../etc/shadow", "two dots": b"..", "a newline": b"victim\nevil", "a NUL": b"victim\0evil",
                     "nothing": b"", "10,000 characters": b"v" * 10000, "a terminal's escape": b"\x1b[2Jvictim",
                     "another role": b"../server:m1"}.items():
    named(f"identity with {_what}", lambda h, tail=_tail: h.certificate("", san=[names(uri(b"muster:agent:" + tail))]),
          "muster identity|alternative name|URI")
named("identity in capitals", lambda h: h.certificate("", san=[names(uri(f"MUSTER:AGENT:{h.victim}"))]), "muster identity")
named("identity of no known role", lambda h: h.certificate("", san=[names(uri(f"muster:root:{h.victim}"))]), "muster identity")
named("common name with a newline", lambda h: h.certificate(h.victim, common_name="evil\nlevel=ERROR all is lost"), "control characters")
named("common name with a NUL", lambda h: h.certificate(h.victim, common_name=b"victim\0evil"), "control characters")
named("common name with a terminal's escape", lambda h: h.certificate(h.victim, common_name=b"\x1b]0;evil\x07"), "control characters")
named("common name that is no UTF-8", lambda h: h.certificate(h.victim, common_name=b"\xff\xfe"), "UTF-8|common name")
named("1,000 names", lambda h: h.certificate(h.victim, *(dns(f"n{i}.invalid") for i in range(1000))), "more than 256 alternative names")
named("10,000 names", lambda h: h.certificate(h.victim, *(dns(f"n{i}.invalid") for i in range(10000))),
      "alternative names|TLS handshake|over the agreed limit", f"({UNTRUSTED}|{TLS}|{BIG})")
named("an extension that nobody knows, critical", lambda h: h.certificate(h.victim, san=[identity(h.victim), extension(
    "1.2.3.4.5", der(5), True)]), "critical|can't be verified")
named("no identity, address of somebody else", lambda h: h.certificate("", san=[names(ip("192.0.2.1"))]),
      "is not in certificate", "address not in certificate")
named("no identity, right address, host with an identity", lambda h: h.certificate("", san=[names(ip(h.source))]),
      "once showed a certificate with its guid", "weaker identity than before")
named("version 1, no names at all", lambda h: h.certificate("", san=[], eku=(), version=0), "is not in certificate",
      "address not in certificate")


# ---- revoked -----------------------------------------------------------------

@attack("host removed while connected", "removed", None)
def _(h):
    peer = h.guest("guest-cut")
    h.remove("guest-cut")
    return peer.until_closed()


@attack("revoked while connected", "certificate revoked", "revoked")
def _(h):
    own = h.certificate("guest-live", serial=0x5EC0DE000001)
    peer = h.guest("guest-live", h.context(own))
    h.m1.api("revokeCertificate", serial="5ec0de000001")
    return peer.until_closed()


@attack("revoked", REVOKED, "(certificate revoked|revoked)")
def _(h):
    ctx = h.context(h.certificate("guest-revoked"))
    with h.guest("guest-revoked", ctx):
        h.remove("guest-revoked")
    with Peer(h.m1.address, h.source, ctx) as peer:
        peer.message(REQUEST, startup("guest-revoked" + SUFFIX, boot="b"))
        return peer.until_closed()


@attack("revoked, then resumed with a ticket", REVOKED, "(certificate revoked|revoked)")
def _(h):
    ctx = h.context(h.certificate("guest-ticket"), version=TLS13)
    with h.guest("guest-ticket", ctx) as peer:
        ticket = peer.tls.session
        if not ticket or not ticket.has_ticket:
            raise AssertionError("no ticket was given")
        with Peer(h.m1.address, h.source, ctx, session=ticket) as again:
            become_up(again, "guest-ticket", boot="guest-ticket", link=2)
            if not again.tls.session_reused:
                raise AssertionError("a good ticket was not taken")
            ticket = again.tls.session
        h.remove("guest-ticket")
    with Peer(h.m1.address, h.source, ctx, session=ticket) as peer:
        peer.message(REQUEST, startup("guest-ticket" + SUFFIX, boot="guest-ticket", link=3))
        return peer.until_closed()


@attack("ticket of another cluster", "not signed by a trusted CA", UNTRUSTED)
def _(h):
    """The other cluster's server gives the ticket; its agent shows it to us."""
    with Cluster(1) as other:
        m9 = other.servers[0]
        import_ca(m9, h.shop, h.foreign)
        other.start_servers()
        ctx = h.context(h.certificate(h.victim, ca=h.foreign), version=TLS13)
        with Peer(m9.address, f"{other.net}.9", ctx) as good:
            become_up(good, h.victim)
            ticket = good.tls.session
        with Peer(h.m1.address, h.source, ctx, session=ticket) as peer:
            if peer.tls.session_reused:
                raise AssertionError("the ticket was taken")
            peer.message(REQUEST, startup(h.victim + SUFFIX))
            return peer.until_closed()


# ---- startups ----------------------------------------------------------------

def guid_is(what, guid, reason, counter):
    @attack(what, reason, counter)
    def _(h):
        return h.come(h.certificate("thief"), items=startup(guid))


guid_is("startup with a path for a guid", "../../victim", "guid of the startup", "guid not usable")
guid_is("startup with a newline in the guid", "victim\nevil", "guid of the startup", "guid not usable")
guid_is("startup with a terminal's escape in the guid", "\x1b[2J", "guid of the startup", "guid not usable")
guid_is("startup with an empty guid", "", "usable guid", MALFORMED)
guid_is("startup without a guid", None, "usable guid", MALFORMED)
guid_is("startup with a guid of 10 KB", "v" * 10240, "usable guid", MALFORMED)


@attack("no client certificate", "no client certificate", UNTRUSTED)
def _(h):
    peer = h.peer(context())
    peer.message(REQUEST, startup(h.victim + SUFFIX))
    return peer.until_closed()


@attack("no client certificate, TLS 1.2", "no client certificate", UNTRUSTED)
def _(h):
    return h.peer(context(alpn=None, version=TLS12)).until_closed()


@attack("a muster agent's certificate as CloudStack's agent", "muster/1", "muster certificate without muster/1")
def _(h):
    peer = h.guest("guest-downgrade")
    peer.sock.close()
    return h.come(h.certificate("guest-downgrade"), guid="guest-downgrade", alpn=None, version=TLS12, boot=None)


@attack("a claim to be a server, on an agent's link", "may not speak as a server", "agent speaks as a server")
def _(h):
    peer = h.guest("guest-speaker")
    peer.message(REQUEST | FROM_SERVER, [{API + "PingCommand": {}}])
    return peer.until_closed()


@attack("an agent gives its server a certificate", "command that only servers give", "command that only servers give",
        heard="only servers give this command")
def _(h):
    peer = h.guest("guest-giver")
    for name, fields in (("SetupCertificateCommand", {"certificate": "x", "caCertificates": "y"}), ("SetupKeyStoreCommand", {})):
        peer.message(REQUEST, [{CA + name: fields}], seq=7)
        answer, _ = peer.wait_for("Answer")
        if not answer:
            raise AssertionError("the link was closed")
    peer.sock.close()
    return peer.said()


@attack("an answer that nobody has asked for", "nobody waits for this answer", "answer that nobody waits for")
def _(h):
    peer = h.guest("guest-answers")
    peer.message(0, [{CA + "SetupKeystoreAnswer": {"result": True, "csr": h.csr()}}], seq=4242, agent_id=peer.host_id)
    until(lambda: "nobody waits for this answer" in h.m1.log(), what="the answer is dropped")
    peer.sock.close()
    return ""


def forged(h, number, agent_of):
    """While the victim's ReadyCommand waits for its answer, another agent gives one."""
    thief = h.guest(f"guest-forger-{number}")
    target = h.peer(h.context(h.certificate(f"guest-target-{number}")))
    target.message(REQUEST, startup(f"guest-target-{number}" + SUFFIX, boot="t"))
    ask, ready = target.wait_for("ReadyCommand")
    target.host_id = ready["hostId"]
    thief.message(0, [{API + "ReadyAnswer": {"result": True}}], ask.seq, mgmt_id=ask.mgmt_id, agent_id=agent_of(thief, target))
    # A ping comes behind it, so the answer has been looked at when that is answered.
    thief.message(REQUEST, [{API + "PingRoutingCommand": {"hostType": "Routing", "hostId": thief.host_id, "commandInfos": []}}], seq=9)
    thief.wait_for("PingAnswer")
    if h.guest_row(f"guest-target-{number}")["state"] == "Up":
        raise AssertionError("the forged answer was believed")
    target.answer(ask, {"result": True, "detailsMap": {}}, API + "ReadyAnswer")
    until(lambda: h.guest_row(f"guest-target-{number}")["state"] == "Up", what="the right answer counts")
    for peer in (thief, target):
        peer.sock.close()
    return ""


@attack("an answer in another agent's name", "in the name of another host", "answer in the name of another host")
def _(h):
    return forged(h, 1, lambda thief, target: target.host_id)


@attack("an answer to another agent's question", "nobody waits for this answer", "answer that nobody waits for")
def _(h):
    return forged(h, 2, lambda thief, target: thief.host_id)


# ---- TLS and framing ---------------------------------------------------------

@attack("TLS 1.0", "TLS handshake", TLS)
def _(h):
    return h.peer(context(alpn=None, version=ssl.TLSVersion.TLSv1)).until_closed()


@attack("TLS 1.1", "TLS handshake", TLS)
def _(h):
    return h.peer(context(alpn=None, version=ssl.TLSVersion.TLSv1_1)).until_closed()


@attack("TLS 1.3 without our ALPN", "TLS handshake", TLS)
def _(h):
    return h.peer(context(alpn=("h2",), version=TLS13)).until_closed()


@attack("a cipher without encryption", "TLS handshake", TLS)
def _(h):
    ctx = context(alpn=None, version=TLS12)
    ctx.set_ciphers("NULL:@SECLEVEL=0")
    return h.peer(ctx).until_closed()


@attack("a hello of SSL 2", "TLS", TLS)
def _(h):
    return h.send(attacker.hello_sslv2())


@attack("HTTP on the agent port", "TLS", TLS)
def _(h):
    return h.send(b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n")


@attack("a hello that never ends", "hello|TLS|over the agreed limit", f"({TLS}|{BIG})")
def _(h):
    return h.send(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(0x3ffc) + (b"\x16\x03\x01\x40\x00" + bytes(0x4000)) * 64)


@attack("unframed bytes behind the handshake", "packet|frame|over the agreed limit", f"({TLS}|{BIG}|{MALFORMED})")
def _(h):
    return h.framed(b"GET / HTTP/1.1\r\nHost: victim\r\n\r\n")


@attack("renegotiation", "handshake message", TLS)
def _(h):
    hello = b"\x16\x03\x03\x00\x04\x01\x00\x00\x00"
    return h.framed(attacker.wire.packet_encode(hello, False), version=TLS12)


@attack("an alert inside a packet", "alert", TLS)
def _(h):
    return h.framed(attacker.wire.packet_encode(b"\x15\x03\x03\x00\x02\x01\x00", False))


@attack("a record that nobody sealed", "TLS record", TLS)
def _(h):
    return h.framed(attacker.wire.packet_encode(b"\x17\x03\x03\x00\x20" + bytes(32), False))


@attack("a startup on a link for joining", "not a join request", MALFORMED)
def _(h):
    peer = h.peer(context(alpn=("muster-join/1",), version=TLS13))
    peer.message(REQUEST, startup(h.victim + SUFFIX))
    return peer.until_closed()


@attack("a join request on an agent's link", "on a link that is not for joining", POLICY)
def _(h):
    peer = h.peer(h.context(h.certificate("thief")))
    peer.message(REQUEST, join_request(h.token(), h.csr()))
    return peer.until_closed()


# ---- joining: tokens ---------------------------------------------------------

def joining(what, reason, counter=JOIN, heard=None, **more):
    return attack(what, reason, counter, heard=reason if heard is None else heard, **more)


@joining("token of an unknown id", "no such token")
def _(h):
    return h.join(("0123456789abcdef", "00" * 24))


@joining("token with a wrong secret", "no such token")
def _(h):
    return h.join((h.token()[0], "00" * 24))


@joining("token with half of its secret", "no such token")
def _(h):
    token = h.token()
    return h.join((token[0], token[1][:24]))


@joining("token that was revoked", "token was revoked")
def _(h):
    token = h.token()
    h.m1.api("revokeJoinToken", id=token[0])
    return h.join(token)


@joining("token that is expired", "token is expired")
def _(h):
    token = h.token(lifetime=1)
    until(lambda: any(t["id"] == token[0] for t in h.m1.api("listJoinTokens", state="expired").get("jointoken", [])),
          what="the token is expired")
    return h.join(token)


@joining("token that is used up, replayed", "used as often as it may be")
def _(h):
    token = h.token()
    if '"result":true' not in h.join(token, guid="guest-join").replace(" ", ""):
        raise AssertionError("a good join was refused")
    return h.join(token, guid="guest-join-2")


@joining("token raced from 10 links", "used as often as it may be|changed by someone else")
def _(h):
    token, heard = h.token(), []
    csr = h.csr()
    racers = [threading.Thread(target=lambda n=n: heard.append(h.join(token, csr, guid=f"guest-race-{n}", source=f"{h.cluster.net}.{200 + n}")))
              for n in range(10)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(DEADLINE)
    winners = [text for text in heard if "BEGIN CERTIFICATE" in text]
    if len(heard) != 10 or len(winners) != 1:
        raise AssertionError(f"{len(winners)} of {len(heard)} have got a certificate")
    return "\n".join(heard)


@joining("token of another host's name", "is for .* only")
def _(h):
    return h.join(h.token(name="somebody"))


@joining("token of another host's guid", "is for the host with guid .* only")
def _(h):
    return h.join(h.parts(h.m1.api("createRejoinToken", hostid=h.guest_row("H1")["id"])["jointoken"]["token"]), guidIsFixed=True)


@joining("agent's token for a server", "is for hosts")
def _(h):
    return h.join(h.token(), role="server")


@joining("server's token for an agent", "is for servers")
def _(h):
    return h.join(h.token(role="server"))


@joining("a role that there isn't", "who joins is an agent or a server")
def _(h):
    return h.join(h.token(), role="root")


@joining("token for the guid of a host that is there", "has a certificate already|there is a host with guid")
def _(h):
    return h.join(h.token(), guid=h.victim)


# ---- joining: requests -------------------------------------------------------

@joining("request without a certificate request", "without token or certificate request")
def _(h):
    return h.join(h.token(), csr=" ")


@joining("certificate request for another guid", "certificate request is for")
def _(h):
    return h.join(h.token(), h.csr(identity(h.victim)))


@joining("certificate request for a server", "certificate request is for")
def _(h):
    return h.join(h.token(), h.csr(names(uri("muster:server:m1"))))


@joining("certificate request for a CA", "asks for a CA certificate")
def _(h):
    return h.join(h.token(), h.csr(basic_constraints(True)))


@joining("certificate request with a broken signature", "sign")
def _(h):
    return h.join(h.token(), h.csr(broken=True))


@joining("certificate request for somebody else's key", "sign")
def _(h):
    return h.join(h.token(), h.csr(signer=h.foreign.key))


@joining("certificate request with a toy RSA key (512)", "bits|key")
def _(h):
    return h.join(h.token(), request(h.shop.key(512)))


@joining("certificate request with a newline in the common name", "common name")
def _(h):
    return h.join(h.token(), h.csr(common_name="evil\nevil"))


@joining("certificate request of 1 MB", "limit", BIG, heard="")
def _(h):
    return h.join(h.token(), "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.b64encode(os.urandom(780000)).decode() +
                  "\n-----END CERTIFICATE REQUEST-----\n")


for _what, _name in {"a path": "../evil", "a newline": "evil\nevil", "an escape": "\x1b[2Jevil", "300 characters": "e" * 300}.items():
    @joining(f"name with {_what}", "name of the joining machine")
    def _(h, name=_name):
        return h.join(h.token(), name=name)

for _what, _guid in {"a path": "../../evil", "a newline": "evil\nevil", "an escape": "\x1b[2Jevil"}.items():
    @joining(f"join guid with {_what}", "guid of the joining machine|guid")
    def _(h, guid=_guid):
        return h.join(h.token(), guid=guid, name="evil")


@attack("100 addresses, of which 64 get into the certificate", "joined", None)
def _(h):
    heard = h.join(h.token(), guid="guest-many", addresses=[f"10.0.0.{n}" for n in range(100)])
    own = json.loads(heard)[0]["muster.JoinAnswer"]["certificate"]
    text = openssl("x509", "-noout", "-text", data=own.encode()).decode()
    if not 2 <= text.count("IP Address:10.0.0.") <= 64:
        raise AssertionError(text)
    return heard


for _what in ("zone", "pod", "cluster", "resourceName"):
    @joining(f"control characters in the {_what}", r"can('|\\u0027)t be used")
    def _(h, field=_what):
        return h.join(h.token(), **{field: "evil\x1b[2J\n"})


@joining("a second request on one link", "not a join request", MALFORMED, heard="")
def _(h):
    peer = h.peer(context(alpn=("muster-join/1",), version=TLS13))
    csr = h.csr()
    with peer.at_once():
        for _ in range(2):
            peer.message(REQUEST, join_request(("0123456789abcdef", "00" * 24), csr))
    return peer.until_closed()


# ---- API ---------------------------------------------------------------------

def ask(h, **params):
    connection = http.client.HTTPConnection(h.m1.address, 8080, timeout=DEADLINE, source_address=(h.source, 0))
    connection.request("GET", "/client/api?" + urllib.parse.urlencode({"response": "json", **params}))
    answer = connection.getresponse()
    text = f"{answer.status} " + answer.read().decode()
    connection.close()
    return text


@attack("API request without a signature", "API request refused", None, heard="^401")
def _(h):
    return ask(h, command="listHosts")


@attack("API request with a wrong signature", "API request refused", None, heard="^401")
def _(h):
    return ask(h, command="listHosts", apiKey="x" * 86, signature="eA==")


# An administrator's own request: he is told, and nobody has to be warned of him.
@attack("certificate request for a CA, over the API", "", None, heard="CA certificate")
def _(h):
    job = h.m1.api("issueCertificate", csr=h.csr(basic_constraints(True)))["jobid"]

    def ended():
        state = h.m1.api("queryAsyncJobResult", jobid=job)
        return state if state["jobstatus"] else None

    state = until(ended, what="the job ends")
    return f"{state['jobstatus']} {state['jobresult']}"


# ---- with strictness off -----------------------------------------------------

def in_open_house(what, reason, counter, **more):
    return attack(what, reason, counter, is_open=True, **more)


@in_open_house("open house: the victim's guid without a certificate", "once showed a certificate", "weaker identity than before")
def _(h):
    peer = h.peer(context(alpn=None, version=TLS12))
    peer.message(REQUEST, startup(h.victim + SUFFIX, boot=None))
    return peer.until_closed()


@in_open_house("open house: the victim's guid with a foreign certificate", "once showed a certificate", "weaker identity than before")
def _(h):
    return h.come(h.certificate(h.victim, ca=h.foreign), h.foreign.der)


@in_open_house("open house: certificate of another host", "is for host thief, but the startup says", "certificate of another host")
def _(h):
    return h.come(h.certificate("thief"))


@in_open_house("open house: revoked", REVOKED, "certificate revoked")
def _(h):
    ctx = h.context(h.certificate("guest-open"))
    with h.guest("guest-open", ctx):
        h.remove("guest-open")
    with Peer(h.m1.address, h.source, ctx) as peer:
        peer.message(REQUEST, startup("guest-open" + SUFFIX, boot="b"))
        return peer.until_closed()


@in_open_house("open house: a foreign server's certificate", "hello of a management server, without a server's certificate",
               "certificate for another role")
def _(h):
    own = h.foreign.certificate("m9", h.shop.key(), [names(uri("muster:server:m9")), purposes(CLIENT, SERVER)])
    peer = h.peer(h.context(own, h.foreign.der))
    peer.message(REQUEST, peer_hello(1))
    return peer.until_closed()


@in_open_house("open house: no certificate as a server", "hello of a management server, without a server's certificate",
               "certificate for another role")
def _(h):
    peer = h.peer(context())
    peer.message(REQUEST, peer_hello(1))
    return peer.until_closed()


# ---- the run -----------------------------------------------------------------

def import_ca(server, shop, ca):
    done = subprocess.run([program("muster-server"), "ca", "import", "--certificate", shop.write(ca.der), "--key", ca.key.path,
                           "--dir", server.dir], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)


class Attacks(unittest.TestCase):
    def counts(self, server):
        reasons = server.api("getMusterStatus")["musterstatus"]["admission"]["refusals"]
        return {r["reason"]: r["count"] for r in reasons}

    def count(self, server, counter):
        return sum(n for reason, n in self.counts(server).items() if re.fullmatch(counter, reason))

    def try_one(self, h, row):
        m1 = h.m1
        h.number += 1
        mark = os.path.getsize(m1.log_path)
        before = self.count(m1, row.counter) if row.counter else 0
        known = set(h.cluster.hosts())

        def logged():
            with open(m1.log_path, encoding="utf-8", errors="replace") as f:
                f.seek(mark)
                return f.read()

        with contextlib.ExitStack() as h.stack:
            heard = row.act(h)
            until(lambda: re.search(row.reason, logged()), what=f"the log says: {row.reason}; but it says:\n{logged()[-3000:]}"
                  f"\nand the attacker heard: {heard[-1000:]}")
            if row.counter:
                until(lambda: self.count(m1, row.counter) > before, what=f"{row.counter} is counted: {self.counts(m1)}")
        self.assertTrue(m1.alive(), m1.log()[-2000:])
        if row.heard:
            self.assertRegex(heard, row.heard)
        self.assertNotRegex(logged(), "[\x00-\x08\x0b-\x1f\x7f]", "nothing in the log commands a terminal")
        new = {name for name in set(h.cluster.hosts()) - known if not name.startswith("guest-")}
        self.assertEqual(new, set(), "nobody has become a host")
        self.assertEqual(h.cluster.hosts()["H1"]["state"], "Up")

    def try_all(self, h, rows):
        for row in rows:
            with self.subTest(row.name):
                try:
                    self.try_one(h, row)
                except (AssertionError, OSError, ApiError) as problem:
                    print(f"\n{row.name}: {problem}", flush=True)
                    raise AssertionError(f"{type(problem).__name__}: {problem}") from problem

    def test_each_is_refused(self):
        rows = [r for r in ATTACKS if re.search(os.environ.get("MUSTER_ATTACK", ""), r.name)]
        with Cluster(0) as cluster:
            cluster.servers = [Server(cluster, 1, api_port=8080), Server(cluster, 2)]
            h = House(cluster)
            import_ca(h.m1, h.shop, h.ca)
            cluster.start_servers()
            cluster.add_agents(1)
            until(cluster.all_up, what="the good agent is Up")
            h.victim = cluster.agents[0].property("guid")

            self.try_all(h, [r for r in rows if not r.is_open])
            cluster.config("ca.plugin.root.auth.strictness", "false")
            until(lambda: cluster.status(h.m1)["strictness"] is False, what="the server is open")
            self.try_all(h, [r for r in rows if r.is_open])

            self.assertEqual(cluster.hosts()["H1"]["state"], "Up")
            lost = re.findall(r"session moved .*host=1 .*from=(?:ready to=|attached to=(?!ready)).*", h.m1.log())
            self.assertEqual(lost, [], "the good agent keeps its link")
            status = subprocess.run([program("muster"), "--socket", h.m1.socket, "status"], capture_output=True, text=True, timeout=60,
                                    check=True).stdout
            self.assertRegex(status, r"Refused +[0-9]+ by m1")
            for server in cluster.servers:
                server.kill(signal.SIGTERM)
                self.assertEqual(server.child.returncode, 0, server.log()[-2000:])

    def test_the_document_lists_them(self):
        with open(DOCUMENT, encoding="utf-8") as f:
            text = f.read()
        section = text.split("## Attacks that are tried", 1)[1].split("\n## ", 1)[0]
        self.assertEqual(re.findall(r"^- (.+)$", section, re.MULTILINE), [r.name for r in ATTACKS])
        self.assertEqual(len({r.name for r in ATTACKS}), len(ATTACKS), "each name is there once")
        self.assertGreaterEqual(len(ATTACKS), 40)


if __name__ == "__main__":
    unittest.main()
