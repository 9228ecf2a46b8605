"""The name server of containers: what it answers itself, what it passes on, and what hostile packets get."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from dnslib import OPCODE, QTYPE, RCODE, RR, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from contextkernel.network import dns_packets
from contextkernel.network.dial import DirectDialer
from contextkernel.network.dns import NameServer, Resolver
from contextkernel.network.dns_packets import BadQuery, read_query
from contextkernel.network.names import Names, Server, View
from contextkernel.network.upstream import HostServers, Upstream
from tests.unit.network.conftest import PATIENCE

NETWORKS = (("n1", "front"),)


class Other:
    """A name server elsewhere, over UDP and TCP: answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Callable[[DNSRecord], bytes | None]) -> None:
        self.answer = answer
        self.asked: list[DNSRecord] = []
        self.udp, self.tcp = two_of_one_port()
        self.port: int = self.udp.getsockname()[1]
        self._threads = [threading.Thread(target=self._datagrams), threading.Thread(target=self._streams)]
        for thread in self._threads:
            thread.start()

    @property
    def server(self) -> Server:
        return Server("127.0.0.1", port=self.port)

    def _answer(self, data: bytes) -> bytes | None:
        query = DNSRecord.parse(data)
        self.asked.append(query)
        return self.answer(query)

    def _datagrams(self) -> None:
        while True:
            data, sender = self.udp.recvfrom(65535)
            if data == b"stop":
                return
            answer = self._answer(data)
            if answer is not None:
                self.udp.sendto(answer, sender)

    def _streams(self) -> None:
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            client.settimeout(PATIENCE)
            with client, contextlib.suppress(OSError):
                head = client.recv(2, socket.MSG_WAITALL)
                if len(head) == 2:
                    data = client.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)
                    answer = self._answer(data)
                    if answer is not None:
                        client.sendall(struct.pack(">H", len(answer)) + answer)

    def close(self) -> None:
        self.udp.sendto(b"stop", self.udp.getsockname())
        self.tcp.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self.udp.close()
        self.tcp.close()


def two_of_one_port() -> tuple[socket.socket, socket.socket]:
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()


def outside(query: DNSRecord) -> bytes:
    """What a good server says."""
    answer = query.reply()
    answer.add_answer(RR(query.q.qname, QTYPE.A, rdata=A("192.0.2.7"), ttl=60))
    return bytes(answer.pack())


def saying(code: str) -> Callable[[DNSRecord], bytes]:
    def answer(query: DNSRecord) -> bytes:
        reply = query.reply()
        reply.header.rcode = getattr(RCODE, code)
        return bytes(reply.pack())

    return answer


@pytest.fixture
def other() -> Iterator[Callable[..., Other]]:
    made: list[Other] = []

    def make(answer: Callable[[DNSRecord], bytes | None] = outside) -> Other:
        made.append(Other(answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Inside:
    """A container's name server on this machine, and a client."""

    def __init__(self, turning, *, patience: float = PATIENCE, most: int = 1024) -> None:
        self.turning = turning
        self.names = Names()
        self.upstream = Upstream(turning.loop, DirectDialer(turning.loop), patience=patience, most=most)
        self.server = NameServer(turning.loop, self.names, self.upstream, HostServers(os.devnull))
        self.udp, self.tcp = two_of_one_port()
        self.address: tuple[str, int] = self.udp.getsockname()
        self.resolver: Resolver | None = None

    def serve(self, *servers: Server, **changes) -> Inside:
        view = View(**{"networks": NETWORKS, "servers": servers, **changes})
        if self.resolver is None:
            self.resolver = self.turning.do(lambda: self.server.serve(view, self.udp, self.tcp))
        else:
            self.turning.do(lambda: self.resolver.look(view))
        return self

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False, edns: int = 0) -> DNSRecord:
        query = DNSRecord(DNSHeader(id=4711, rd=1), q=DNSQuestion(name, getattr(QTYPE, kind)))
        if edns:
            from dnslib import EDNS0

            query.add_ar(EDNS0(udp_len=edns))
        data = self.ask_tcp(bytes(query.pack())) if tcp else self.ask_udp(bytes(query.pack()))
        answer = DNSRecord.parse(data)
        assert answer.header.id == 4711
        assert answer.header.qr == answer.header.ra == answer.header.rd == 1
        assert str(answer.q.qname) == str(query.q.qname)
        return answer

    def ask_udp(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(self.address)
            client.send(data)
            return client.recv(65535)

    def ask_tcp(self, *packets: bytes) -> bytes:
        with self.connect() as client:
            client.sendall(b"".join(struct.pack(">H", len(packet)) + packet for packet in packets))
            answer = b""
            for _ in packets:
                answer = receive(client)
            return answer

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def close(self) -> None:
        if self.resolver is None:
            self.udp.close()
            self.tcp.close()
        else:
            self.turning.do(self.resolver.close)
        self.turning.do(self.upstream.close)
        assert self.turning.loop.descriptors == {self.turning._read}


def receive(client: socket.socket) -> bytes:
    head = client.recv(2, socket.MSG_WAITALL)
    return client.recv(struct.unpack(">H", head)[0], socket.MSG_WAITALL)


@pytest.fixture
def inside(turning):
    made: list[Inside] = []

    def make(**changes) -> Inside:
        made.append(Inside(turning, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def records(answer: DNSRecord) -> list[tuple[str, str, int]]:
    return sorted((QTYPE[record.rtype], str(record.rdata), record.ttl) for record in answer.rr)


@pytest.mark.parametrize("tcp", [False, True])
def test_a_container_by_its_name(inside, tcp):
    here = inside().serve()
    here.names.add("n1", "e1", ["Web", "0123456789ab"], ipv4="10.0.0.2", ipv6="fd00::2")
    for name in ("web", "WEB", "0123456789ab", "web.front"):
        answer = here.ask(name, tcp=tcp)
        assert records(answer) == [("A", "10.0.0.2", 600)]
        assert str(answer.rr[0].rname) == f"{name}."
        assert RCODE[answer.header.rcode] == "NOERROR"
    assert records(here.ask("web", "AAAA", tcp=tcp)) == [("AAAA", "fd00::2", 600)]


def test_a_name_without_an_address_of_the_family_is_asked_of_nobody_else(inside, other):
    elsewhere = other()
    here = inside().serve(elsewhere.server)
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    for kind in ("AAAA", "MX", "TXT", "HTTPS"):
        answer = here.ask("web", kind)
        assert (records(answer), RCODE[answer.header.rcode]) == ([], "NOERROR")
    assert elsewhere.asked == []


def test_several_containers_of_one_name(inside):
    here = inside().serve()
    for number in range(5):
        here.names.add("n1", f"e{number}", [f"c{number}", "all"], ipv4=f"10.0.0.{number}")
    orders = set()
    for _ in range(50):
        answer = here.ask("all")
        orders.add(tuple(str(record.rdata) for record in answer.rr))
        assert {record[1] for record in records(answer)} == {f"10.0.0.{number}" for number in range(5)}
    assert len(orders) > 1


def test_an_answer_that_is_too_long_for_a_datagram_says_so(inside):
    here = inside().serve()
    for number in range(200):
        here.names.add("n1", f"e{number}", ["all"], ipv4=f"10.0.1.{number}")
    short = here.ask("all")
    assert short.header.tc == 1
    assert 10 < len(short.rr) < 40
    assert len(bytes(short.pack())) <= 512
    longer = here.ask("all", edns=1232)
    assert longer.header.tc == 1
    assert len(short.rr) < len(longer.rr) < 200
    whole = here.ask("all", tcp=True)
    assert (whole.header.tc, len(whole.rr)) == (0, 200)
    assert len(here.ask("all", edns=4096).rr) == 200


def test_the_name_of_an_address(inside, other):
    elsewhere = other(saying("NXDOMAIN"))
    here = inside().serve(elsewhere.server)
    here.names.add("n1", "e1", ["web", "alias"], ipv4="10.0.0.2", ipv6="fd00::2")
    assert records(here.ask("2.0.0.10.in-addr.arpa", "PTR")) == [("PTR", "web.front.", 600)]
    six = "2" + ".0" * 27 + ".0.0.d.f.ip6.arpa"
    assert records(here.ask(six, "PTR")) == [("PTR", "web.front.", 600)]
    assert RCODE[here.ask("3.0.0.10.in-addr.arpa", "PTR").header.rcode] == "NXDOMAIN"
    assert len(elsewhere.asked) == 1


@pytest.mark.parametrize("tcp", [False, True])
def test_everything_else_is_asked_of_others(inside, other, tcp):
    elsewhere = other()
    here = inside().serve(elsewhere.server)
    assert records(here.ask("example.com", tcp=tcp)) == [("A", "192.0.2.7", 60)]
    assert str(elsewhere.asked[0].q.qname) == "example.com."
    assert elsewhere.asked[0].header.id != 4711 or here.ask("example.org", tcp=tcp)  # a number of its own


def test_a_name_that_there_is_not(inside, other):
    here = inside().serve(other(saying("NXDOMAIN")).server)
    assert RCODE[here.ask("nowhere").header.rcode] == "NXDOMAIN"


@pytest.mark.parametrize("tcp", [False, True])
def test_servers_that_fail_or_refuse_are_passed_over(inside, other, tcp):
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = Server("127.0.0.1", port=free.getsockname()[1])
    here = inside().serve(nobody, other(saying("SERVFAIL")).server, other().server)
    assert records(here.ask("example.com", tcp=tcp)) == [("A", "192.0.2.7", 60)]
    here.serve(other(saying("REFUSED")).server, other(saying("SERVFAIL")).server)
    assert RCODE[here.ask("example.com", tcp=tcp).header.rcode] == "SERVFAIL"


@pytest.mark.parametrize("tcp", [False, True])
def test_servers_that_do_not_answer(inside, other, tcp):
    here = inside(patience=0.05).serve(other(lambda _query: None).server, other().server)
    assert records(here.ask("example.com", tcp=tcp)) == [("A", "192.0.2.7", 60)]
    here.serve(other(lambda _query: None).server)
    assert RCODE[here.ask("example.com", tcp=tcp).header.rcode] == "SERVFAIL"
    assert here.upstream.under_way == 0


def test_no_more_than_three_servers_are_asked(inside, other):
    fourth = other()
    here = inside().serve(*(other(saying("REFUSED")).server for _ in range(3)), fourth.server)
    assert RCODE[here.ask("example.com").header.rcode] == "SERVFAIL"
    assert fourth.asked == []


def test_answers_to_other_questions_are_not_believed(inside, other):
    """Another number, another name, a question: an attacker who guesses; the right one comes later."""

    def answer(query: DNSRecord) -> bytes:
        reply = outside(query)
        wrong = [
            b"",
            b"\0" * 5,
            struct.pack(">H", (query.header.id + 1) % 65536) + reply[2:],
            outside(DNSRecord(DNSHeader(id=query.header.id), q=DNSQuestion("evil.test"))),
            bytes(query.pack()),
        ]
        for packet in wrong:
            elsewhere.udp.sendto(packet, client[0])
        return reply

    elsewhere = other(answer)
    client: list[tuple[str, int]] = []
    here = inside()

    class Remembering(DirectDialer):
        def dial(self, kind, host, port, done):
            def dialled(made):
                client.append(made.getsockname())
                done(made)

            super().dial(kind, host, port, dialled)

    here.upstream._outside = Remembering(here.turning.loop)
    here.serve(elsewhere.server)
    assert records(here.ask("example.com")) == [("A", "192.0.2.7", 60)]


def test_the_answer_of_a_server_is_passed_on_to_the_byte(inside, other):
    """What is not decoded cannot be spoilt: unknown types, extensions."""
    tail = bytes(range(256))
    here = inside().serve(other(lambda query: outside(query) + tail).server)
    query = bytes(DNSRecord(DNSHeader(id=7, rd=1), q=DNSQuestion("eXample.com", 65280)).pack())
    assert here.ask_udp(query).endswith(tail)


def test_a_network_without_a_way_out(inside, other):
    elsewhere = other()
    here = inside().serve(elsewhere.server, forwards=False)
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    assert records(here.ask("web")) == [("A", "10.0.0.2", 600)]
    assert RCODE[here.ask("example.com").header.rcode] == "SERVFAIL"
    assert elsewhere.asked == []


def test_a_server_that_is_on_the_network_itself(inside, other, turning):
    elsewhere = other()
    here = inside()
    here.upstream._inside = DirectDialer(turning.loop)
    here.serve(Server("127.0.0.1", inside=True, port=elsewhere.port), forwards=False)
    assert records(here.ask("example.com")) == [("A", "192.0.2.7", 60)]


def test_names_without_a_dot_are_left_to_the_search_list_where_that_is_asked_for(inside, other):
    elsewhere = other()
    here = inside().serve(elsewhere.server, dotted=True)
    answer = here.ask("host")
    assert (RCODE[answer.header.rcode], answer.rr) == ("NOERROR", [])
    assert elsewhere.asked == []
    assert records(here.ask("host.example")) == [("A", "192.0.2.7", 60)]


def test_what_a_container_sees_can_change(inside, other):
    elsewhere = other(saying("NXDOMAIN"))
    here = inside().serve(elsewhere.server)
    here.names.add("n2", "e1", ["web"], ipv4="10.0.0.2")
    assert RCODE[here.ask("web").header.rcode] == "NXDOMAIN"
    here.serve(elsewhere.server, networks=(*NETWORKS, ("n2", "back")))
    assert records(here.ask("web.back")) == [("A", "10.0.0.2", 600)]


def test_several_containers_by_one_socket(inside, turning):
    here = inside()
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    view = View(networks=NETWORKS, servers=())
    here.resolver = turning.do(
        lambda: here.server.serve_many(lambda asker: view if asker == "127.0.0.1" else None, here.udp, here.tcp)
    )
    assert records(here.ask("web")) == [("A", "10.0.0.2", 600)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.9", 0))
        stranger.settimeout(0.2)
        stranger.sendto(bytes(DNSRecord.question("web").pack()), here.address)
        with pytest.raises(TimeoutError):
            stranger.recv(100)


def test_many_questions_over_one_connection(inside):
    here = inside().serve()
    for number in range(100):
        here.names.add("n1", f"e{number}", [f"c{number}"], ipv4=f"10.0.0.{number}")
    with here.connect() as client:
        for number in range(100):
            packet = bytes(DNSRecord(DNSHeader(id=number), q=DNSQuestion(f"c{number}")).pack())
            client.sendall(struct.pack(">H", len(packet)) + packet)
        client.shutdown(socket.SHUT_WR)
        answers = [DNSRecord.parse(receive(client)) for _ in range(100)]
        assert client.recv(1) == b""
    assert {answer.header.id: str(answer.rr[0].rdata) for answer in answers} == {
        number: f"10.0.0.{number}" for number in range(100)
    }


def test_a_question_that_comes_byte_by_byte(inside):
    here = inside().serve()
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    packet = bytes(DNSRecord.question("web").pack())
    with here.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in struct.pack(">H", len(packet)) + packet:
            client.sendall(bytes([byte]))
        assert len(DNSRecord.parse(receive(client)).rr) == 1


def test_connections_without_end_do_not_shut_others_out(inside):
    here = inside().serve()
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    idle = [here.connect() for _ in range(50)]
    assert records(here.ask("web", tcp=True)) == [("A", "10.0.0.2", 600)]
    assert here.resolver is not None
    assert here.resolver.clients <= 32
    for one in idle:
        one.close()


def test_a_client_that_takes_no_answers_is_cut_off(inside):
    here = inside().serve()
    for number in range(250):
        here.names.add("n1", f"e{number}", ["all"], ipv4=f"10.0.0.{number}")
    packet = bytes(DNSRecord.question("all").pack())
    asked = (struct.pack(">H", len(packet)) + packet) * 50

    def ask_on_and_on(client: socket.socket) -> None:
        for _ in range(100_000):
            client.sendall(asked)

    with here.connect() as client, pytest.raises(ConnectionError):
        ask_on_and_on(client)


def test_too_many_questions_under_way_are_refused(inside, other):
    silent = other(lambda _query: None)
    here = inside(most=3).serve(silent.server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(here.address)
        for number in range(5):
            client.send(bytes(DNSRecord(DNSHeader(id=number), q=DNSQuestion("example.com")).pack()))
        answers = [DNSRecord.parse(client.recv(1000)) for _ in range(2)]
    assert [RCODE[answer.header.rcode] for answer in answers] == ["REFUSED", "REFUSED"]


def test_the_servers_of_the_host(tmp_path):
    file = tmp_path / "resolv.conf"
    servers = HostServers(str(file))
    assert servers() == (Server("127.0.0.1"),)
    file.write_text("nameserver 10.0.0.1\n")
    assert servers() == (Server("10.0.0.1"),)
    file.write_text("nameserver 10.0.0.1\nnameserver 10.0.0.22\n")
    assert servers() == (Server("10.0.0.1"), Server("10.0.0.22"))
    file.unlink()
    assert servers() == (Server("127.0.0.1"),)


QUERY = bytes(DNSRecord(DNSHeader(id=1, rd=1), q=DNSQuestion("web.front")).pack())


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (QUERY[:2] + b"\x81\x00" + QUERY[4:], None),  # an answer
        (QUERY[:2] + bytes([OPCODE.UPDATE << 3, 0]) + QUERY[4:], "NOTIMP"),
        (QUERY[:4] + b"\0\2" + QUERY[6:], "FORMERR"),  # two questions
        (QUERY[:4] + b"\0\0" + QUERY[6:], "FORMERR"),
        (QUERY[:6] + b"\0\1" + QUERY[8:], "FORMERR"),  # a question with an answer
        (QUERY[:12], "FORMERR"),
        (QUERY[:-1], "FORMERR"),
        (QUERY[:12] + b"\xc0\x0c\0\1\0\1", "FORMERR"),  # a name that points at itself
        (QUERY[:12] + b"\1a\xc0\x0c\0\1\0\1", "FORMERR"),
        (QUERY[:12] + b"\x3f" + b"a" * 63 + b"\0", "FORMERR"),
        (QUERY[:12] + b"\1\xff\0\0\1\0\1", "FORMERR"),  # not text
    ],
)
def test_packets_that_are_no_questions(packet, code):
    with pytest.raises(BadQuery) as caught:
        read_query(packet)
    answer = caught.value.answer
    assert (None if answer is None else RCODE[dns_packets.code_of(answer)]) == code


def view() -> View:
    return View(networks=NETWORKS, servers=())


def answered(packet: bytes) -> bytes | None:
    """What the server says to a packet by itself."""
    names = Names()
    names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    server = NameServer.__new__(NameServer)
    server._names = names
    try:
        question = read_query(packet)
    except BadQuery as bad:
        return bad.answer
    return server.answer(question, view(), limit=question.size)


@settings(max_examples=600)
@given(st.binary(max_size=600))
def test_any_bytes_at_all(packet):
    answer = answered(packet)
    assert answer is None or (answer[:2] == packet[:2] and answer[2] & 0x80)


@settings(max_examples=600)
@given(st.binary(max_size=60), st.integers(0, len(QUERY)), st.integers(0, 3))
def test_a_question_that_was_changed_anywhere(noise, where, additional):
    packet = QUERY[:where] + noise + QUERY[where + len(noise) :]
    packet = packet[:10] + struct.pack(">H", additional) + packet[12:]
    answer = answered(packet)
    assert answer is None or len(answer) <= 65535
    assert dns_packets.is_answer(packet, 1, read_query(QUERY)) is (
        len(packet) >= 12
        and packet[:2] == b"\0\1"
        and bool(packet[2] & 0x80)
        and (
            (packet[4:6] == b"\0\0" and bool(packet[3] & 15))
            or (packet[4:6] == b"\0\1" and packet[12:].lower().startswith(QUERY[12:].lower()))
        )
    )


def test_hostile_packets_do_not_stop_the_server(inside):
    here = inside().serve()
    here.names.add("n1", "e1", ["web"], ipv4="10.0.0.2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(here.address)
        for packet in (b"", b"x", b"\0" * 12, b"\xff" * 500, QUERY[:14], os.urandom(1400)):
            client.send(packet)
    for junk in (b"\0", b"\0\0", b"\0\3abc", b"\xff" * 4000, struct.pack(">H", 12) + b"\x80" * 12):
        with here.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(junk)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1000):
                pass
    assert records(here.ask("web")) == [("A", "10.0.0.2", 600)]
