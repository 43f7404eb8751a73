"""Shows that the reference agent and server speak the protocol and keep the reference's habits.

    /usr/bin/python3 -m unittest -v

Golden vectors first, then both programs against each other over TLS on loopback,
then one test for each habit that a peer has to be careful about.
"""

import asyncio
import hashlib
import json
import random
import socket
import ssl
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

import gson
import hosts
import link as links
import pki
import properties
import wire
from driver import DEADLINE, BareTls, Program, ScriptedAgent, bare_client, body, startup_message
from gson import API, CA, LB

VECTORS = Path(__file__).resolve().parent.parent / "golden" / "vectors"
TABLES = {"framing", "connection", "parse-behaviour"}
SCALE = 0.02  # 5 s of the reference are 0.1 s here


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def vector_names():
    return sorted(p.stem for p in VECTORS.glob("*.json") if p.stem not in TABLES)


# --- (a) vectors ----------------------------------------------------------------

class VectorTest(unittest.TestCase):
    def each_vector(self):
        for name in vector_names():
            with self.subTest(vector=name):
                yield load(name), bytes.fromhex((VECTORS / f"{name}.hex").read_text("ascii"))

    def test_there_are_vectors(self):
        self.assertGreater(len(vector_names()), 50)

    def test_decoding_gives_the_recorded_facts(self):
        for facts, data in self.each_vector():
            message = wire.message_decode(data)
            kind = "request" if message.is_request else "response"
            self.assertEqual(
                (message.version, message.flags, message.seq, message.mgmt_id, message.agent_id, message.via, kind),
                (facts["version"], facts["flags"], facts["seq"], facts["mgmtId"], facts["agentId"], facts["via"],
                 facts["kind"]))
            self.assertEqual(len(message.content), facts["length"])
            self.assertEqual(gson.loads(message.content.decode()), facts["content"])

    def test_objects_have_the_recorded_classes(self):
        for facts, data in self.each_vector():
            message = wire.message_decode(data)
            items = (gson.read_commands if message.is_request else gson.read_answers)(message.content)
            self.assertEqual([item.name for item in items], facts["classes"])

    def test_encoding_again_gives_the_same_content(self):
        for facts, data in self.each_vector():
            message = wire.message_decode(data)
            message.content = gson.dumps(facts["content"]).encode()
            self.assertEqual(hashlib.sha256(message.content).hexdigest(), facts["contentSha256"])
            again = wire.message_encode(message)
            self.assertEqual(again[:40], data[:40])
            if facts["compressed"]:  # another deflater, other bytes
                self.assertEqual(wire.message_decode(again).content, message.content)
            else:
                self.assertEqual(again, data)

    def test_odd_and_malformed_input_is_read_as_recorded(self):
        for case in load("parse-behaviour"):
            with self.subTest(case=case["case"]):
                if "hex" in case:
                    self._check_case(case, bytes.fromhex(case["hex"]))

    def _check_case(self, case, data):
        if case["parse"].startswith("throws"):
            with self.assertRaises(wire.WireError):
                wire.message_decode(data)
            return
        message = wire.message_decode(data)
        kind, _, _, *facts = case["parse"].split()
        self.assertEqual(kind, "Request" if message.is_request else "Response")
        self.assertEqual(facts, [f"mgmt={message.mgmt_id}", f"agent={message.agent_id}", f"via={message.via}",
                                 f"contentLen={len(message.content)}"])
        self.assertEqual(self._objects(message), case["objects"].split(":")[0])

    def _objects(self, message):
        try:
            items = (gson.read_commands if message.is_request else gson.read_answers)(message.content)
        except gson.ObjectsLost:
            return "objects"
        if items is None:
            return "null"
        return "[" + ", ".join(item.name if item else "null" for item in items) + "]"

    def test_a_field_nested_20000_deep_is_no_error(self):
        content = b'[{"com.cloud.agent.api.CheckHealthCommand":{"x":' + b"[" * 20000 + b"]" * 20000 + b"}}]"
        self.assertEqual(gson.read_commands(content)[0].short, "CheckHealthCommand")

    def test_recorded_packets_are_cut_as_recorded(self):
        frames = [p for p in load("framing")["packets"] if p["what"] == "frame"]
        for frame in frames:
            payload = b"".join(b"\x17\x03\x03" + r["len"].to_bytes(2, "big") + bytes(r["len"])
                               for r in frame["records"])
            wire.check_whole_records(payload)
            data = wire.packet_encode(payload, frame["following"])
            self.assertEqual("0x" + data[:4].hex(), frame["header"])
            self.assertEqual(list(wire.PacketReader().feed(data)), [wire.Packet(frame["following"], payload)])

    def test_recorded_first_connection_is_understood(self):
        for message in load("connection")["messages"]:
            for element in message.get("content", []):  # made anonymous, so `length` isn't that of the content
                content = gson.dumps([element]).encode()
                read = gson.read_commands if message["kind"] == "request" else gson.read_answers
                self.assertEqual(read(content)[0].name, next(iter(element)))


class PacketTest(unittest.TestCase):
    def refuse(self, data, reason):
        with self.assertRaises(wire.WireError) as caught:
            list(wire.PacketReader().feed(bytes.fromhex(data)))
        self.assertEqual(caught.exception.reason, reason)

    def test_sizes_over_18000_and_negative_ones_are_refused(self):
        self.assertEqual(list(wire.PacketReader().feed(bytes.fromhex("00004650"))), [])  # 18000: waits for the rest
        self.refuse("00004651", "oversized-packet")
        self.refuse("00008000", "negative-packet-size")
        self.refuse("0000ffff", "negative-packet-size")

    def test_upper_bits_are_ignored(self):
        self.assertEqual(list(wire.PacketReader().feed(bytes.fromhex("fffe0001aa"))), [wire.Packet(False, b"\xaa")])

    def test_headers_may_come_in_pieces(self):
        reader = wire.PacketReader()
        pieces = [bytes([b]) for b in bytes.fromhex("00010001aa00000000")]
        packets = [p for piece in pieces for p in reader.feed(piece)]
        self.assertEqual(packets, [wire.Packet(True, b"\xaa"), wire.Packet(False, b"")])

    def test_an_unframed_alert_is_taken_for_a_packet_of_768_bytes(self):
        reader = wire.PacketReader()
        alert = bytes.fromhex("150303001a") + bytes(26)
        self.assertEqual(list(reader.feed(alert)), [])
        (packet,) = reader.feed(bytes(768 + 4 - len(alert)))
        self.assertEqual((len(packet.payload), packet.following), (768, True))

    def test_a_record_must_not_be_split(self):
        record = bytes.fromhex("1703030002aabb")
        wire.check_whole_records(record * 2)
        for cut in (record[:-1], record[:3], record + record[:4]):
            with self.assertRaises(wire.WireError):
                wire.check_whole_records(cut)


class PropertiesTest(unittest.TestCase):
    def test_reading(self):
        text = ("# comment\n! another\n\n  guid:abc\nzone default\nhost = a,b@static \r\n"
                "long=one\\\n   two\nescaped\\ key=\\u0041\\t\\q\nport=1\nport=2\nempty")
        self.assertEqual(properties.parse(text), {
            "guid": "abc", "zone": "default", "host": "a,b@static ", "long": "onetwo",
            "escaped key": "A\tq", "port": "2", "empty": ""})

    def test_writing_loses_comments_and_escapes_colons(self):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "agent.properties"
            path.write_text("# mine\nguid=g\n")
            table = properties.AgentProperties(path)
            path.write_text("# mine\nport=1\n")  # guid deleted by hand: it comes back
            table.persist(host="2001:db8::1,2001:db8::2@roundrobin")
            lines = path.read_text().splitlines()
        self.assertEqual(lines[0], "#Storage")
        self.assertEqual(sorted(lines[2:]), ["guid=g", r"host=2001\:db8\:\:1,2001\:db8\:\:2@roundrobin", "port=1"])

    def test_what_is_written_is_read_back(self):
        table = {"a b": "  leading", "k": "trailing \\ = : # ! \u00e9 \U0001f600\n", "empty": ""}
        again = properties.parse(properties.render(table))
        again["k"] = again["k"].encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        self.assertEqual(again, table)


class ListTest(unittest.TestCase):
    def test_roundrobin_example(self):
        servers = ["A", "B", "C"]
        self.assertEqual(hosts.ordered_list("roundrobin", servers, [1, 2, 5, 9], 9), ["A", "B", "C"])
        self.assertEqual(hosts.ordered_list("roundrobin", servers, [1, 5, 9], 9), ["C", "A", "B"])
        self.assertEqual(hosts.ordered_list("roundrobin", servers, [1, 2, 5, 9], None), ["B", "C", "A"])

    def test_unknown_algorithm_matters_only_with_two_servers(self):
        self.assertEqual(hosts.ordered_list("nonsense", ["A"], [], 1), ["A"])
        with self.assertRaises(ValueError):
            hosts.ordered_list("nonsense", ["A", "B"], [], 1)

    def test_comparison(self):
        rows = [("A,B@static", "static", ["A", "B"], False), ("A,B", "static", ["A", "B"], True),
                ("B,A@static", "static", ["A", "B"], True), ("B,A@shuffle", "shuffle", ["A", "B"], False),
                (None, "static", ["A"], True), ("A, B@static", "static", ["A", "B"], True)]
        for reported, algorithm, expected, outdated in rows:
            with self.subTest(reported=reported):
                self.assertEqual(hosts.is_outdated(reported, algorithm, expected), outdated)


# --- (b) the two programs ----------------------------------------------------------

class PeerTest(unittest.IsolatedAsyncioTestCase):
    """Programs run until the test ends; a CA is made once for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.ca_dir = Path(cls.directory.name) / "ca"
        cls.ca = pki.CertificateAuthority(cls.ca_dir, 2048)

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name)

    def program(self, *arguments):
        program = Program(*arguments)
        self.addCleanup(program.end)
        return program

    def start_server(self, *arguments, listen="127.0.0.1:0"):
        server = self.program("reference_server.py", "--ca-dir", self.ca_dir, "--listen", listen,
                              "--ping-interval", 5, *arguments)
        server.port = server.wait("listening")["port"]
        return server

    def start_servers(self, count, *arguments):
        """Servers on 127.0.0.1, 127.0.0.2, ... with one port, and a common host table."""
        shared = ["--db", self.path / "hosts.json", *arguments]
        first = self.start_server(*shared)
        others = [self.start_server(*shared, listen=f"127.0.0.{n}:{first.port}") for n in range(2, count + 1)]
        return [first, *others]

    def start_agent(self, server, *arguments, hosts="127.0.0.1", name="kvm1"):
        return self.program("reference_agent.py", "--properties", self.path / f"{name}.properties", "--name", name,
                            "--hosts", hosts, "--port", server.port, "--time-scale", SCALE, *arguments)

    def start_pair(self, *arguments):
        """A server and an agent that is up, both ReadyCommands answered."""
        server = self.start_server(*arguments)
        agent = self.start_agent(server)
        self.wait_up(server)
        return server, agent

    def wait_up(self, server, after=None):
        up = server.wait("host-status", after, status="Up")
        server.message("in", "ReadyAnswer", up)  # the second one: nothing more comes by itself
        return up

    def saved(self, name="kvm1"):
        return properties.parse((self.path / f"{name}.properties").read_text("latin-1"))


class FirstConnectionTest(PeerTest):
    def test_from_startup_to_stop(self):
        server, agent = self.start_pair("--host-setting", "127.0.0.1, 127.0.0.2", "--algorithm", "roundrobin")
        handshake = agent.wait("handshake")
        self.assertEqual((handshake["version"], handshake["alpn"]), ("TLSv1.2", None))

        startup = server.message("in", "StartupRoutingCommand")
        self.assertEqual((startup["flags"], startup["seq"], startup["mgmtId"], startup["agentId"]), (1, 0, -1, -1))
        self.assertEqual(body(startup)["msHostList"], "127.0.0.1")
        first = agent.message("in", "StartupAnswer", flags=0x20, via=-1)
        self.assertEqual(body(first)["hostId"], 0)

        ready1 = agent.message("in", "ReadyCommand", flags=0x27)
        self.assertNotIn("msHostList", body(ready1))
        ready2 = agent.message("in", "ReadyCommand", ready1)
        self.assertEqual(body(ready2)["msHostList"], ["127.0.0.1", "127.0.0.2"])
        self.assertEqual(self.saved()["host"], "127.0.0.1,127.0.0.2@roundrobin")
        self.assertEqual(self.saved()["LibvirtComputingResource.id"], "1")

        ping = server.message("in", "PingRoutingCommand", flags=3)
        answer = agent.message("in", "PingAnswer", flags=0x22, seq=ping["seq"])
        self.assertEqual(body(answer)["_command"], body(ping))

        agent.tell("quit")
        server.message("in", "ShutdownCommand", seq=-1, flags=7)
        server.wait("host-status", status="Disconnected")
        self.assertEqual(agent.exit_code(), 0)

    def test_listener_commands_go_before_the_first_ready(self):
        server, _ = self.start_pair()
        sent = [e["classes"][0] for e in server.events if e["event"] == "message" and e["dir"] == "out"]
        self.assertEqual(sent[:2], ["StartupAnswer", "CheckNetworkCommand"])
        self.assertLess(sent.index("SetHostParamsCommand"), sent.index("ReadyCommand"))
        server.wait("queued", classes=["ReadyCommand"])  # one in-sequence request at a time

    def test_a_list_that_is_up_to_date_is_not_sent(self):
        server = self.start_server("--interval", 60)
        agent = self.start_agent(server, hosts="127.0.0.1@static")
        self.wait_up(server)
        agent.wait("checker", interval=60)
        ready2 = agent.message("in", "ReadyCommand", agent.message("in", "ReadyCommand"))
        self.assertNotIn("msHostList", body(ready2))
        self.assertEqual((body(ready2)["avoidMsHostList"], body(ready2)["lbCheckInterval"]), ([], 60))

    def test_bad_zone_is_refused_on_an_open_link_and_the_agent_exits(self):
        server = self.start_server("--zones", "7")
        agent = self.start_agent(server)
        refusal = agent.message("in", "ReadyCommand", flags=7, seq=-1, mgmtId=-1, agentId=-1, via=-1)
        self.assertIn("bad dataCenter", body(refusal)["_details"])
        self.assertEqual(agent.exit_code(), 1)
        server.wait("ignored", what="ShutdownCommand")  # it came on an anonymous link

    def test_large_messages_take_several_packets_both_ways(self):
        server, agent = self.start_pair()
        rng = random.Random(1)
        agent.tell("vms", vms={f"{rng.getrandbits(256):064x}": "PowerOn" for _ in range(1500)})
        agent.tell("ping")
        ping = server.message("in", "PingRoutingCommand", length=lambda n: n > 100000)
        self.assertEqual(ping["flags"], 3 | wire.COMPRESSED)
        answer = agent.message("in", "PingAnswer", seq=ping["seq"])
        self.assertEqual(len(body(answer)["_command"]["_hostVmStateReport"]), 1500)


class ListAndMigrationTest(PeerTest):
    def test_propagation_is_stored(self):
        server, agent = self.start_pair()
        server.tell("propagate", host="127.0.0.1,127.0.0.9", algorithm="roundrobin", interval=30)
        sent = server.wait("list-sent")
        self.assertEqual((sent["result"], sent["answer"]), (True, "SetupMSListAnswer"))
        self.assertEqual(self.saved()["host"], "127.0.0.1,127.0.0.9@roundrobin")
        agent.wait("checker", interval=30, once=False)

    def test_a_local_interval_wins_and_garbage_is_zero(self):
        server = self.start_server("--interval", 60)
        agent = self.start_agent(server, "--set", "host.lb.check.interval=soon")
        self.wait_up(server)
        self.assertFalse(agent.find("checker", interval=60))

    def test_shuffle_checks_once(self):
        server = self.start_server("--interval", 60, "--algorithm", "shuffle", "--host-setting", "127.0.0.1,127.0.0.2")
        agent = self.start_agent(server)
        self.wait_up(server)
        agent.wait("checker", interval=60, once=True)

    def test_migration_closes_before_it_opens(self):
        one, two = self.start_servers(2, "--host-setting", "127.0.0.1,127.0.0.2")
        agent = self.start_agent(one)
        self.wait_up(one)
        one.tell("migrate", avoid=["127.0.0.1"])
        one.wait("migrate-answered", result=True)
        self.wait_up(two)
        self.assertTrue(body(two.message("in", "StartupRoutingCommand"))["connectionTransferred"])
        self.assertFalse(two.find("message", classes=["CheckNetworkCommand"]))  # no listeners when transferred
        closed = agent.wait("closed", link="link-1")
        self.assertLess(closed["index"], agent.wait("connecting", link="link-2")["index"])

    def test_a_dead_server_is_left_for_the_next_one(self):
        one, two = self.start_servers(2, "--host-setting", "127.0.0.1,127.0.0.2", "--algorithm", "roundrobin")
        agent = self.start_agent(one)
        self.wait_up(one)
        one.kill()
        self.wait_up(two)
        closed, connecting = agent.wait("closed", link="link-1"), agent.wait("connecting", link="link-2")
        self.assertGreaterEqual(connecting["t"] - closed["t"], 10 * SCALE)  # 5 s after the loss, 5 s back-off
        self.assertEqual(body(two.message("in", "StartupRoutingCommand"))["id"], 1)

    def test_the_preferred_host_is_looked_for_at_intervals(self):
        one, two = self.start_servers(2, "--host-setting", "127.0.0.2,127.0.0.1", "--interval", "2")
        agent = self.start_agent(one)
        agent.wait("preferred-check", host="127.0.0.2", result="reconnect")
        self.wait_up(two)
        # Only after the sleep that follows the reconnect: a check until then uses the old name.
        known = agent.wait("connected-host", host="127.0.0.2")
        agent.wait("preferred-check", known, result="nothing-to-do")

    def test_a_busy_agent_stays_and_an_unreachable_host_is_no_reason_to_leave(self):
        one, _ = self.start_servers(2, "--host-setting", "127.0.0.1,127.0.0.2")
        agent = self.start_agent(one)
        self.wait_up(one)
        agent.tell("hold", **{"class": "CheckHealthCommand"})
        agent.wait("done", cmd="hold")
        one.tell("send", commands=[{API + "CheckHealthCommand": {"contextMap": {}}}])
        agent.message("in", "CheckHealthCommand")
        one.tell("propagate", host="127.0.0.2,127.0.0.1", trigger=True)
        agent.wait("preferred-check", host="127.0.0.2", result="busy")
        agent.tell("release")
        one.wait("answers", classes=["CheckHealthAnswer"])
        one.tell("propagate", host="127.0.0.77,127.0.0.1", trigger=True)
        agent.wait("preferred-check", host="127.0.0.77", result="unreachable")

    def test_avoided_hosts_are_not_tried(self):
        one, two = self.start_servers(2, "--host-setting", "127.0.0.1,127.0.0.2")
        agent = self.start_agent(one)
        self.wait_up(one)
        one.tell("ms-state", address="127.0.0.2", state="Maintenance")
        agent.wait("avoid-list", hosts=["127.0.0.2"])
        agent.tell("reconnect", host="127.0.0.2")
        agent.wait("avoided", host="127.0.0.2")
        self.wait_up(one, one.wait("closed"))
        self.assertFalse(two.find("accepted"))

    def test_a_dropped_agent_comes_back_with_growing_sequence_numbers(self):
        server, _ = self.start_pair()
        server.tell("drop")
        self.wait_up(server, server.wait("closed", reason="dropped"))
        startup = server.message("in", "StartupRoutingCommand", server.wait("closed"))
        self.assertGreater(startup["seq"], 0)
        self.assertEqual(startup["agentId"], 1)

    def test_a_blocked_server_closes_before_tls(self):
        server, agent = self.start_pair()
        server.tell("block")
        server.tell("drop")
        server.wait("closed", reason="blocked")
        agent.wait("error", reason="closed-in-handshake")
        server.tell("unblock")
        self.wait_up(server, server.wait("closed", reason="blocked"))


class CommandTest(PeerTest):
    def ask(self, server, *commands, **more):
        mark = server.mark()
        server.tell("send", commands=[{API + name: {"contextMap": {}, **fields}} for name, fields in commands], **more)
        answers = server.wait("answers", mark)
        return [next(iter(a.items())) for a in answers["answers"]]

    def test_resource_commands(self):
        server, _ = self.start_pair()
        answers = self.ask(server, ("CheckHealthCommand", {}), ("GetHostStatsCommand", {"hostId": 1}),
                           ("MaintainCommand", {}), ("PingTestCommand", {}))
        self.assertEqual([name.rsplit(".", 1)[1] for name, _ in answers],
                         ["CheckHealthAnswer", "GetHostStatsAnswer", "MaintainAnswer", "Answer"])
        self.assertEqual(answers[1][1]["hostStats"]["hostId"], 1)
        server.tell("maintain")
        server.wait("maintained")

    def test_a_batch_stops_at_the_first_failure_only_if_told_to(self):
        server, _ = self.start_pair()
        batch = [("NoSuchCommand", {}), ("CheckHealthCommand", {})]
        answers = self.ask(server, *batch)
        self.assertEqual(answers[0][0], API + "UnsupportedAnswer")
        # An unknown class makes the whole request one BadCommand.
        self.assertEqual(len(answers), 1)
        failing = [("AgentControlCommand", {"contextMap": None}), ("CheckHealthCommand", {})]
        self.assertEqual(self.ask(server, *failing)[1][1]["details"], "Stopped by previous failure")
        self.assertTrue(self.ask(server, *failing, onError="continue")[1][1]["result"])

    def test_a_cron_command_is_answered_again_and_again(self):
        server, _ = self.start_pair()
        ((_, answer),) = self.ask(server, ("CleanupNetworkRulesCmd", {"interval": 5}))
        self.assertTrue(answer["result"])
        seq = server.message("out", "CleanupNetworkRulesCmd", server.wait("host-status", status="Up"))["seq"]
        again = server.wait("unmatched-response", seq=seq)
        server.wait("unmatched-response", again, seq=seq)

    def test_shutdown_stops_pings_and_reconnects_but_not_the_process(self):
        server, agent = self.start_pair()
        server.tell("delete-host", removeHost=True)
        server.wait("closed", reason="deleted")
        agent.wait("closed", link="link-1")
        self.assertEqual(self.saved()["zone"], "")
        agent.tell("status")
        self.assertIsNone(agent.wait("status")["link"])
        self.assertFalse(agent.find("reconnecting"))

    def test_the_server_answers_unknown_commands_of_agents_with_success(self):
        server, agent = self.start_pair()
        agent.tell("send", commands=[{API + "NoSuchCommand": {}}])
        answer = agent.message("in", "Answer")
        self.assertTrue(body(answer)["result"])

    def test_answers_for_a_peer_server_are_passed_on_by_mgmt_id(self):
        one = self.start_server("--msid", 101)
        two = self.start_server("--msid", 102, "--peer", f"101=127.0.0.1:{one.port}")
        third = self.start_server("--msid", 103, "--peer", f"102=127.0.0.1:{two.port}")
        agent = self.start_agent(two)
        self.wait_up(two)
        third.tell("forward", peer=102, host_id=1, seq=77, commands=[{API + "CheckHealthCommand": {"contextMap": {}}}])
        agent.message("in", "CheckHealthCommand", seq=77, mgmtId=103)
        two.wait("error", reason="unknown-peer", mgmtId=103)  # 102 doesn't know 103
        agent.tell("send", commands=[{API + "PingCommand": {"hostId": 1}}])
        agent.message("in", "PingAnswer", mgmtId=102)
        two.tell("message", flags=0x23, seq=78, mgmtId=101, body=[{API + "CheckHealthCommand": {"contextMap": {}}}])
        one.wait("unmatched-response", seq=78, agentId=1)
        third.tell("forward", peer=102, host_id=9, seq=79, commands=[{API + "CheckHealthCommand": {}}])
        two.wait("error", reason="unknown-peer", seq=79)  # the cancel for a host it doesn't have


class CertificateTest(PeerTest):
    def certificate(self, address):
        return self.ca.issue(self.path / f"{address}.crt", address)

    def secured(self, certificate, key):
        return "--ca", self.ca.certificate, "--cert", certificate, "--key", key

    def test_strict_server_takes_a_certificate_with_our_address(self):
        server = self.start_server("--strict")
        agent = self.start_agent(server, *self.secured(*self.certificate("127.0.0.5")), "--source-address", "127.0.0.5")
        self.wait_up(server)
        self.assertEqual(server.wait("handshake")["clientCertificate"]["commonName"], "127.0.0.5")
        self.assertTrue(agent.wait("handshake")["sentCertificate"])

    def test_strict_server_refuses_without_a_word(self):
        server = self.start_server("--strict")
        self.start_agent(server, *self.secured(*self.certificate("127.0.0.6")))
        server.wait("closed", reason="client-certificate-refused", detail="no SAN entry equals '127.0.0.1'")
        bare = self.start_agent(server, "--no-keystore", name="kvm2")
        server.wait("closed", reason="handshake-failed")
        bare.wait("error", reason="closed-in-handshake")  # no alert: the socket was just closed

    def test_revoked_certificates_are_refused_when_strict(self):
        certificate, key = self.certificate("127.0.0.1")
        serial = pki.openssl("x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1]
        server = self.start_server("--strict")
        server.tell("revoke", serial=serial)
        server.wait("done", cmd="revoke")
        self.start_agent(server, *self.secured(certificate, key))
        server.wait("closed", detail="serial is revoked")

    def test_an_agent_with_a_key_store_trusts_only_its_ca(self):
        other = pki.CertificateAuthority(self.path / "other", 2048)
        server = self.start_server()
        agent = self.start_agent(server, "--ca", other.certificate)
        agent.wait("error", reason="server-certificate-not-trusted")
        closed = server.wait("closed")
        self.assertEqual(closed["reason"], "closed-in-handshake")

    def test_an_ecdsa_server_is_accepted(self):
        certificate, key = self.path / "ec.crt", self.path / "ec.key"
        pki.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc",
                    "-subj", "/CN=ec", "-keyout", key, "-out", certificate)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(DEADLINE)
            agent = self.start_agent(SimpleNamespace(port=listener.getsockname()[1]), "--ca", certificate)
            sock, _ = listener.accept()
        with sock:
            context = links.server_context(SimpleNamespace(certificate=certificate, key=key), strict=False, tls13=False)
            sock.sendall(BareTls(sock, context, True).handshake_holding_last_flight())
            self.assertIn("ECDHE-ECDSA", agent.wait("handshake")["cipher"])

    def test_issuing_on_the_command_line(self):
        server = self.start_server("--strict", "--also-cert", f"{self.path / 'a.crt'}=127.0.0.1")
        issued = server.wait("issued")
        self.start_agent(server, *self.secured(issued["certificate"], issued["key"]))
        self.wait_up(server)

    def test_provisioning_over_the_link_ends_in_a_restart_with_the_new_certificate(self):
        server, agent = self.start_pair()
        self.assertIsNone(server.wait("handshake")["clientCertificate"])
        server.tell("provision")
        provisioned = server.wait("provisioned")
        again = server.wait("handshake", provisioned)
        self.assertEqual(again["clientCertificate"]["countryName"], "cloudstack")
        startup = server.message("in", "StartupRoutingCommand", provisioned)
        self.assertEqual((startup["seq"], body(startup)["hostDetails"]["secured"]), (0, "true"))
        self.wait_up(server, provisioned)  # the file isn't being rewritten any more
        self.assertIn("keystore.passphrase", self.saved())
        csr = body(agent.message("out", "SetupKeystoreAnswer"))["csr"]
        self.assertTrue(csr.startswith("-----BEGIN NEW CERTIFICATE REQUEST-----"))
        passphrase = "pass:" + self.saved()["keystore.passphrase"]
        self.assertIn("cloud", pki.openssl("pkcs12", "-in", self.path / "cloud.jks", "-passin", passphrase, "-noenc"))


# --- (c) habits ------------------------------------------------------------------------

class AgentHabitTest(PeerTest):
    def answer_to(self, server, element):
        mark = server.mark()
        server.tell("send", commands=[element])
        return next(iter(server.wait("answers", mark)["answers"][0].items()))

    def test_ready_with_details_ends_the_process_with_code_1(self):
        server, agent = self.start_pair()
        server.tell("send", commands=[{API + "ReadyCommand": {"_details": "go away", "contextMap": {}}}])
        self.assertEqual(agent.wait("error", reason="rejected")["detail"], "go away")
        server.message("in", "ShutdownCommand", seq=-1)
        self.assertEqual(agent.exit_code(), 1)

    def test_a_refusing_startup_answer_ends_the_process_with_code_1(self):
        server, agent = self.start_pair()
        server.tell("message", flags=0x20, body=[{API + "StartupAnswer": {"result": False, "details": "no"}}])
        self.assertEqual(agent.exit_code(), 1)

    def test_a_list_without_trigger_host_lb_fails_and_is_not_applied(self):
        server, _ = self.start_pair()
        before = self.saved()["host"]
        fields = {"msList": ["127.0.0.9"], "avoidMsList": [], "lbAlgorithm": "static", "lbCheckInterval": 0,
                  "contextMap": {}}
        name, answer = self.answer_to(server, {LB + "SetupMSListCommand": fields})
        self.assertEqual((name, answer["result"]), (API + "Answer", False))
        self.assertIn("NullPointerException", answer["details"])
        self.assertEqual(self.saved()["host"], before)
        name, _ = self.answer_to(server, {LB + "SetupMSListCommand": {**fields, "triggerHostLb": False}})
        self.assertEqual(name, LB + "SetupMSListAnswer")

    def test_a_missing_context_map_fails_where_no_constructor_runs(self):
        server, _ = self.start_pair()
        fields = {"msList": [], "avoidMsList": [], "triggerHostLb": False}
        name, answer = self.answer_to(server, {LB + "SetupMSListCommand": fields})
        self.assertEqual((name, answer["result"]), (API + "Answer", False))
        fields = {"certificate": "c", "privateKey": "", "caCertificates": "c", "handleByAgent": True}
        self.assertFalse(self.answer_to(server, {CA + "SetupCertificateCommand": fields})[1]["result"])
        self.assertTrue(self.answer_to(server, {API + "CheckHealthCommand": {}})[1]["result"])

    def test_a_ping_answer_without_echo_is_an_error_and_its_avoid_list_is_skipped(self):
        server, agent = self.start_pair()
        for echo in ({}, {"_command": {"hostId": 1}}):
            mark = agent.mark()
            server.tell("message", flags=0x22, body=[{API + "PingAnswer": {**echo, "avoidMsList": ["127.0.0.8"]}}])
            agent.wait("error", mark, reason="ping-answer-without-echo")
        self.assertFalse(agent.find("avoid-list", hosts=["127.0.0.8"]))

    def test_migration_without_avoid_list_is_answered_true_and_goes_nowhere(self):
        server, agent = self.start_pair()
        _, answer = self.answer_to(server, {API + "MigrateAgentConnectionCommand": {"contextMap": {}}})
        self.assertTrue(answer["result"])
        agent.wait("error", reason="migrate-without-avoid-list")

    def test_oversized_and_negative_packets_close_the_link(self):
        server, agent = self.start_pair()
        server.tell("send-raw", hex="00004651")
        closed = agent.wait("closed", reason="oversized-packet")
        self.wait_up(server, server.wait("closed"))
        server.tell("send-raw", hex="00008001")
        agent.wait("closed", closed, reason="negative-packet-size")

    def test_bytes_that_come_with_the_servers_finished_are_lost(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(DEADLINE)
            agent = self.start_agent(SimpleNamespace(port=listener.getsockname()[1]))
            sock, _ = listener.accept()
        with sock:
            tls = BareTls(sock, links.server_context(self.ca, strict=False, tls13=False), True)
            finished = tls.handshake_holding_last_flight()
            early = wire.Message(0x20, 0, gson.content_of([gson.plain_answer()]))
            sock.sendall(finished + tls.packet(early))
            handshake = agent.wait("handshake")
            self.assertGreater(handshake["lostWithFinished"], 100)

    def test_tls_13_is_never_offered(self):
        server, _ = self.start_pair("--tls13")
        handshake = server.wait("handshake")
        self.assertEqual((handshake["version"], handshake["offered"]["versions"]), ("TLSv1.2", ["0303"]))
        self.assertEqual(handshake["offered"]["alpn"], [])

    def test_send_startup_sends_it_again_on_the_same_link(self):
        server, agent = self.start_pair()
        mark = server.mark()
        server.tell("message", flags=0x22, body=[{API + "PingAnswer": {"sendStartup": True}}])
        again = server.message("in", "StartupRoutingCommand", mark)
        self.assertEqual(again["link"], "link-1")
        answers = [server.message("out", "StartupAnswer", again)]
        answers.append(server.message("out", "StartupAnswer", answers[0], seq=again["seq"]))
        self.assertEqual([body(a)["hostId"] for a in answers], [0, 1])
        server.wait("closed", link="link-1", reason="superseded")  # the server's half of the quirk
        agent.wait("closed", link="link-1")


class ServerHabitTest(PeerTest):
    async def asyncSetUp(self):
        # Starting a program holds the loop up for a moment, which isn't worth a warning.
        asyncio.get_running_loop().slow_callback_duration = DEADLINE

    async def wait(self, program, event, **fields):
        return await asyncio.to_thread(program.wait, event, **fields)

    async def scripted(self, *arguments):
        server = self.start_server(*arguments)
        agent = await ScriptedAgent.connect(server.port)
        self.addCleanup(agent.link.close, "test-over")
        return server, agent

    async def test_packets_that_close_the_link(self):
        def split(link):
            record = link.seal(b"x" * 100)
            return wire.packet_encode(record[:50], False) + wire.packet_encode(record[50:], False)

        cases = {
            "oversized-packet": lambda link: bytes.fromhex("00004651"),
            "negative-packet-size": lambda link: bytes.fromhex("0000ffff"),
            "split-record": split,
            "tls-error": lambda link: wire.packet_encode(bytes.fromhex("1703030030") + bytes(48), False),
            "tls-closed": lambda link: wire.packet_encode(link.seal_close_notify(), False),
        }
        server = self.start_server()
        for reason, make in cases.items():
            with self.subTest(reason=reason):
                agent = await ScriptedAgent.connect(server.port)
                agent.link.send_raw(make(agent.link))
                await self.wait(server, "closed", reason=reason)
                self.assertTrue(await agent.closed())

    async def test_packets_that_are_taken(self):
        server, agent = await self.scripted()
        agent.link.send_raw(bytes.fromhex("0000000000010000"))  # an empty message, then a no-op
        await self.wait(server, "error", reason="short-header")
        data = wire.message_encode(startup_message())
        two_records = agent.link.seal(data[:50]) + agent.link.seal(data[50:])
        agent.link.send_raw((0xFFFE0000 | len(two_records)).to_bytes(4, "big") + two_records)
        await agent.expect("StartupAnswer")

    async def test_bytes_that_come_with_finished_are_lost(self):
        server = self.start_server("--tls13")
        client = bare_client(server.port, ssl.TLSVersion.TLSv1_3)
        with client.sock:
            finished = await asyncio.to_thread(client.handshake_holding_last_flight)
            client.sock.sendall(finished + client.packet(startup_message()))
            lost = await self.wait(server, "error", reason="lost-with-finished")
            self.assertGreater(lost["bytes"], 300)
            # A ticket comes raw: a framed reader would take 17 03 03 for a packet header.
            self.assertEqual(client.sock.recv(3), b"\x17\x03\x03")
        await self.wait(server, "closed")
        self.assertFalse(server.find("message"))

    async def test_no_alpn_is_selected_and_no_tls_13_by_default(self):
        server = self.start_server()
        client = bare_client(server.port, ssl.TLSVersion.TLSv1_2, ["muster/1"])
        with client.sock:
            client.sock.sendall(await asyncio.to_thread(client.handshake_holding_last_flight))
            handshake = await self.wait(server, "handshake")
        self.assertEqual((handshake["alpn"], handshake["offered"]["alpn"]), (None, ["muster/1"]))
        modern = bare_client(server.port, ssl.TLSVersion.TLSv1_3)
        with modern.sock, self.assertRaises((OSError, ssl.SSLError)):
            await asyncio.to_thread(modern.handshake_holding_last_flight)

    async def test_the_server_presents_the_ca_certificate_itself(self):
        server = self.start_server()
        client = bare_client(server.port, ssl.TLSVersion.TLSv1_2)
        with client.sock:
            await asyncio.to_thread(client.handshake_holding_last_flight)
            shown = ssl.DER_cert_to_PEM_cert(client.tls.getpeercert(binary_form=True))
        self.assertEqual(shown.split(), self.ca.certificate.read_text().split())

    async def test_anything_before_the_startup_is_ignored(self):
        server, agent = await self.scripted()
        agent.request([gson.make(API + "PingCommand", hostId=1, commandInfos=[])])
        await self.wait(server, "ignored", what="PingCommand")
        await agent.become_up()

    async def test_a_wrong_answer_class_aborts_the_connect(self):
        server, agent = await self.scripted()
        agent.startup(transferred=False)
        request, _ = await agent.expect("CheckNetworkCommand")
        agent.answer(request, gson.plain_answer())
        await self.wait(server, "error", reason="class-cast", mustBe="CheckNetworkAnswer")
        await self.wait(server, "closed", reason="connect-aborted")
        self.assertTrue(await agent.closed())

    async def test_maintain_must_be_answered_by_its_own_class(self):
        server, agent = await self.scripted()
        await agent.become_up()
        server.tell("maintain")
        request, _ = await agent.expect("MaintainCommand")
        agent.answer(request, gson.plain_answer())
        await self.wait(server, "error", reason="class-cast", mustBe="MaintainAnswer")

    async def test_an_answer_of_an_unknown_class_is_lost(self):
        server, agent = await self.scripted()
        await agent.become_up()
        server.tell("send", commands=[{API + "CheckHealthCommand": {}}])
        request, _ = await agent.expect("CheckHealthCommand")
        agent.send(wire.response_to(request, b'[{"x.Y":{}}]'))
        await self.wait(server, "error", reason="message-lost")

    async def test_an_answer_without_the_in_sequence_bit_stalls_the_queue(self):
        server, agent = await self.scripted("--time-scale", SCALE)
        await agent.become_up()
        server.tell("send", commands=[{API + "MaintainCommand": {}}], wait=60)
        request, _ = await agent.expect("MaintainCommand")
        server.tell("send", commands=[{API + "ShutdownCommand": {"reason": "unknown"}}])
        await self.wait(server, "queued", classes=["ShutdownCommand"])
        agent.answer(request, gson.answer(API + "MaintainAnswer", willMigrate=True), drop_flags=wire.IN_SEQUENCE)
        await self.wait(server, "error", reason="response-without-in-sequence-bit")

    async def test_silence_ends_in_an_investigation(self):
        server, agent = await self.scripted("--time-scale", SCALE)
        await agent.become_up()
        await self.wait(server, "error", reason="ping-timeout")
        request, _ = await agent.expect("CheckHealthCommand")
        agent.answer(request, gson.answer(API + "CheckHealthAnswer", True, "resource is alive"))
        request, _ = await agent.expect("CheckHealthCommand")  # alive, but still silent: asked again
        await self.wait(server, "host-status", status="Alert")  # not answered this time
        self.assertTrue(await agent.closed())

    async def test_a_second_link_of_the_same_host_closes_the_first(self):
        server, first = await self.scripted()
        await first.become_up()
        second = await ScriptedAgent.connect(server.port)
        self.addCleanup(second.link.close, "test-over")
        await second.become_up()
        await self.wait(server, "closed", link="link-1", reason="superseded")
        self.assertTrue(await first.closed())

    async def test_a_probe_without_a_byte_is_tolerated(self):
        server = self.start_server()
        self.assertTrue(await links.probe("127.0.0.1", server.port))
        await self.wait(server, "closed", reason="closed-in-handshake")


if __name__ == "__main__":
    unittest.main()
