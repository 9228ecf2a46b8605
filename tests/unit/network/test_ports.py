"""Published ports: what is taken, what is refused, and what goes through."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import socket
import threading
from contextlib import suppress

import pytest

from contextkernel.errors import Conflict, HostUnsupported, InvalidInput
from contextkernel.model.networking import PortBinding
from contextkernel.network import ports
from contextkernel.network.dial import DirectDialer, SuppliedDialer
from contextkernel.network.ports import Allocation, PortTable, Published, Target
from contextkernel.network.stream import abort
from tests.unit.network.conftest import PATIENCE, echo, read_all

HERE = Target("127.0.0.1")
ANY = "0.0.0.0"  # noqa: S104 # that it is listened on is what is tested


def binding(port: int = 80, **changes) -> PortBinding:
    return PortBinding(**{"container_port": port, "host_ip": "127.0.0.1", **changes})


@pytest.fixture
def table(turning):
    return PortTable(turning.loop)


@pytest.fixture
def publish(turning, table):
    """Publish a port of a server on this machine, and give the port of the host."""
    made: list[Allocation] = []

    def make(port: int, target: Target = HERE, **changes) -> int:
        def act() -> int:
            allocation = table.take("web", [binding(port, **changes)])
            made.append(allocation)
            allocation.start(DirectDialer(turning.loop), target)
            return allocation.published[0].host_port

        return turning.do(act)

    yield make
    for one in made:
        turning.do(one.close)


def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), PATIENCE)


def test_a_request_and_its_answer(publish, serving):
    port = publish(serving(echo).port)
    with dial(port) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"


def test_a_client_that_has_said_all_still_gets_the_answer(publish, serving):
    def count(client: socket.socket) -> None:
        data = read_all(client)  # ends by the half-close only
        client.sendall(b"%d" % len(data))

    port = publish(serving(count).port)
    with dial(port) as client:
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"100000"


def test_a_server_that_ends_first(publish, serving):
    heard = threading.Event()
    said = []

    def greet(client: socket.socket) -> None:
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        said.append(read_all(client))
        heard.set()

    port = publish(serving(greet).port)
    with dial(port) as client:
        assert read_all(client) == b"bye"
        client.sendall(b"one more thing")
        client.shutdown(socket.SHUT_WR)
        assert heard.wait(PATIENCE)
    assert said == [b"one more thing"]


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_every_byte_arrives_both_ways(publish, serving, size):
    """Beyond a megabyte they go through a pipe in the kernel (splice)."""
    port = publish(serving(echo).port)
    data = hashlib.shake_128(b"seed").digest(size)
    with dial(port) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        assert read_all(client) == data
        sending.join(PATIENCE)


def test_without_pipes_it_goes_on_as_before(publish, serving, monkeypatch):
    def none_left(_flags):
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pipe2", none_left)
    port = publish(serving(echo).port)
    data = b"abc" * 1_000_000
    with dial(port) as client:

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        assert read_all(client) == data
        sending.join(PATIENCE)


def test_who_does_not_read_is_not_written_for(publish, serving):
    """Backpressure: the sender stands still long before the relay has taken it all."""
    go = threading.Event()
    got = []

    def slow(client: socket.socket) -> None:
        assert go.wait(PATIENCE)
        got.append(len(read_all(client)))

    port = publish(serving(slow).port)
    with dial(port) as client:
        client.settimeout(0)
        sent, silent = 0, 0
        while silent < 5 and sent < 500_000_000:
            try:
                sent += client.send(b"x" * 65536)
                silent = 0
            except BlockingIOError:
                silent += 1
                threading.Event().wait(0.1)
        assert sent < 100_000_000
        go.set()
        client.settimeout(PATIENCE)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert got == [sent]


def test_a_reset_is_passed_on_as_a_reset(publish, serving):
    def reset(client: socket.socket) -> None:
        client.recv(1)
        abort(client)

    port = publish(serving(reset).port)
    with dial(port) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_nobody_listens_inside(publish):
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    port = publish(nobody)
    with pytest.raises(ConnectionResetError), dial(port) as client:
        client.recv(1)


def test_many_connections_at_once(publish, serving, turning):
    port = publish(serving(echo).port)
    clients = [dial(port) for _ in range(300)]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    assert [client.recv(100) for client in clients] == [b"%d" % number for number in range(300)]
    for client in clients:
        client.close()
    assert turning.problems == []


def test_no_descriptors_left_is_no_end(turning, table, serving):
    """Those who come then wait, and are served when others have gone."""
    server = serving(echo)
    allocation = turning.do(lambda: table.take("web", [binding(server.port)]))
    turning.do(lambda: allocation.start(DirectDialer(turning.loop), HERE))
    port = allocation.published[0].host_port
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket() for _ in range(40)]
    for client in clients:
        client.settimeout(PATIENCE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, hard))
        for client in clients:
            with suppress(ConnectionResetError):  # its other half could not be made
                client.connect(("127.0.0.1", port))
        threading.Event().wait(0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    served = 0
    for client in clients:
        with client, suppress(OSError):  # not connected, or reset meanwhile; what hangs is found by who is served later
            client.sendall(b"x")
            served += client.recv(1) == b"x"
    assert served > 0
    with dial(port) as client:
        client.sendall(b"later")
        assert client.recv(10) == b"later"
    turning.do(allocation.close)


def test_closing_cuts_connections_and_frees_the_port(turning, table, serving):
    server = serving(echo)
    allocation = turning.do(lambda: table.take("web", [binding(server.port)]))
    port = allocation.published[0].host_port
    turning.do(lambda: allocation.start(DirectDialer(turning.loop), HERE))
    client = dial(port)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    assert allocation.connections == 1
    before = len(os.listdir("/proc/self/fd"))
    turning.do(allocation.close)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    assert len(os.listdir("/proc/self/fd")) < before
    with pytest.raises(ConnectionRefusedError):
        dial(port)
    again = turning.do(lambda: table.take("other", [binding(host_port=port)]))
    assert again.published == (Published(container_port=80, protocol="tcp", host_ip="127.0.0.1", host_port=port),)
    turning.do(again.close)


def test_before_it_is_started_and_after_it_is_stopped_a_port_refuses(turning, table, serving):
    server = serving(echo)
    allocation = turning.do(lambda: table.take("web", [binding(server.port)]))
    port = allocation.published[0].host_port
    turning.do(lambda: allocation.start(DirectDialer(turning.loop), HERE))
    turning.do(allocation.stop)
    with pytest.raises(ConnectionResetError), dial(port) as client:
        client.recv(1)
    turning.do(allocation.close)


def test_all_addresses_of_both_families_by_default(turning, table, serving):
    six = serving(echo, "::1")
    allocation = turning.do(lambda: table.take("web", [binding(six.port, host_ip="")]))
    turning.do(lambda: allocation.start(DirectDialer(turning.loop), Target(None, "::1")))
    (four_port, six_port) = (published.host_port for published in allocation.published)
    assert four_port == six_port
    assert [published.host_ip for published in allocation.published] == [ANY, "::"]
    for host in ("127.0.0.1", "::1"):
        with dial(four_port, host) as client:
            client.sendall(host.encode())
            assert client.recv(100) == host.encode()
    turning.do(allocation.close)


def test_a_host_without_ipv6(turning, table, monkeypatch):
    whole = ports._listen

    def four_only(protocol: str, address: str, port: int) -> socket.socket:
        if ":" in address:
            raise OSError(errno.EAFNOSUPPORT, "address family not supported")
        return whole(protocol, address, port)

    monkeypatch.setattr(ports, "_listen", four_only)
    allocation = turning.do(lambda: table.take("web", [binding(host_ip="")]))
    assert [published.host_ip for published in allocation.published] == [ANY]
    turning.do(allocation.close)


def test_the_target_of_the_same_family():
    assert Target("1.2.3.4", "::5").address(ANY) == "1.2.3.4"
    assert Target("1.2.3.4", "::5").address("::") == "::5"
    assert Target("1.2.3.4").address("::") == "1.2.3.4"
    assert Target(None, "::5").address("127.0.0.1") == "::5"
    assert Target().address("::") is None


def test_a_port_that_another_container_has(turning, table):
    first = turning.do(lambda: table.take("db", [binding(host_ip="")]))
    port = first.published[0].host_port
    with pytest.raises(Conflict) as caught:
        turning.do(lambda: table.take("web", [binding(81, host_ip="", host_port=port)]))
    assert caught.value.problem == f"Bind for 0.0.0.0:{port} failed: port is already allocated"
    assert caught.value.hint == f"container db has it; publish another (-p {port + 1}:81)"
    turning.do(first.close)


def test_a_port_that_a_program_of_the_host_has(turning, table):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict) as caught:
            turning.do(lambda: table.take("web", [binding(), binding(81, host_port=port)]))
    assert caught.value.problem == f"failed to bind host port 127.0.0.1:{port}/tcp: address already in use"
    # all or none: the first one is free again
    assert table._holders == {}


def test_the_same_port_for_tcp_and_udp(turning, table):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wanted = [binding(53, host_port=port), binding(53, host_port=port, protocol="udp")]
    allocation = turning.do(lambda: table.take("dns", wanted))
    assert [published.protocol for published in allocation.published] == ["tcp", "udp"]
    with pytest.raises(Conflict, match="port is already allocated"):
        turning.do(lambda: table.take("other", [binding(host_port=port, protocol="udp")]))
    turning.do(allocation.close)


def test_the_first_free_port_of_a_range(turning, table):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        allocation = turning.do(lambda: table.take("web", [binding(host_port=port, host_port_end=port + 20)]))
        assert port < allocation.published[0].host_port <= port + 20
        turning.do(allocation.close)


def two_in_a_row() -> tuple[socket.socket, socket.socket]:
    while True:
        one = socket.create_server(("127.0.0.1", 0))
        try:
            return one, socket.create_server(("127.0.0.1", one.getsockname()[1] + 1))
        except OSError:
            one.close()


def test_a_range_that_is_all_taken(turning, table):
    one, two = two_in_a_row()
    with one, two:
        port = one.getsockname()[1]
        with pytest.raises(Conflict, match=f"all ports of {port}-{port + 1}/tcp are taken"):
            turning.do(lambda: table.take("web", [binding(host_port=port, host_port_end=port + 1)]))


def test_a_port_that_is_for_root(turning, table, monkeypatch):
    def refused(_protocol: str, _address: str, _port: int) -> socket.socket:
        raise PermissionError(errno.EACCES, "permission denied")

    monkeypatch.setattr(ports, "_listen", refused)
    with pytest.raises(HostUnsupported) as caught:
        turning.do(lambda: table.take("web", [binding(80, host_ip="", host_port=80)]))
    assert caught.value.problem == "failed to bind host port 0.0.0.0:80/tcp: permission denied"
    assert "-p 8080:80" in (caught.value.hint or "")


def test_an_address_that_this_host_does_not_have(turning, table):
    with pytest.raises(HostUnsupported, match=r"192\.0\.2\.1:\d+/tcp: cannot assign requested address"):
        turning.do(lambda: table.take("web", [binding(host_ip="192.0.2.1", host_port=18080)]))


def test_a_protocol_that_is_not_relayed(turning, table):
    with pytest.raises(InvalidInput, match="port 80/sctp cannot be published"):
        turning.do(lambda: table.take("web", [binding(protocol="sctp")]))


@pytest.fixture
def answering():
    """A UDP program that answers with what it got and who sent it."""
    made: list[socket.socket] = []

    def make(host: str = "127.0.0.1") -> int:
        one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((host, 0))
        made.append(one)

        def answer() -> None:
            while True:
                data, sender = one.recvfrom(1 << 16)
                if data == b"stop":
                    return
                one.sendto(data + b"@%d" % sender[1], sender)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return one.getsockname()[1]

    threads: list[threading.Thread] = []
    yield make
    for one, thread in zip(made, threads, strict=True):
        with socket.socket(one.family, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"stop", one.getsockname()[:2])
        thread.join(PATIENCE)
        one.close()


def asking(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(PATIENCE)
    one.connect((host, port))
    return one


def test_datagrams_and_their_answers(publish, answering):
    port = publish(answering(), protocol="udp")
    with asking("127.0.0.1", port) as one, asking("127.0.0.1", port) as two:
        seen = []
        for client, word in ((one, b"a"), (two, b"b"), (one, b"c"), (two, b"")):
            client.send(word)
            data, _, flow = client.recv(100).partition(b"@")
            assert data == word
            seen.append(flow)
    assert seen[0] == seen[2] != seen[1] == seen[3]


def test_an_answer_comes_from_the_address_that_was_asked(publish, answering):
    """A connected socket takes nothing from elsewhere, and 127.0.0.2 is not what the kernel would choose."""
    port = publish(answering(), protocol="udp", host_ip="")
    with asking("127.0.0.2", port) as one:
        one.send(b"hello")
        assert one.recv(100).startswith(b"hello@")


def test_datagrams_over_ipv6_to_ipv4(turning, table, answering):
    inside = answering()
    allocation = turning.do(lambda: table.take("dns", [binding(inside, host_ip="::1", protocol="udp")]))
    turning.do(lambda: allocation.start(DirectDialer(turning.loop), HERE))
    with asking("::1", allocation.published[0].host_port) as one:
        one.send(b"six")
        assert one.recv(100).startswith(b"six@")
    turning.do(allocation.close)


def test_datagrams_to_nobody_are_lost_without_harm(publish, answering):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    port = publish(nobody, protocol="udp")
    live = publish(answering(), protocol="udp")
    with asking("127.0.0.1", port) as one, asking("127.0.0.1", live) as two:
        for _ in range(5):
            one.send(b"x")
        two.send(b"y")
        assert two.recv(10).startswith(b"y@")


def test_silent_flows_end_and_there_are_never_too_many(turning, answering):
    from contextkernel.network.datagrams import DatagramRelay

    inside = answering()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(0)
        relay = turning.do(lambda: DatagramRelay(turning.loop, one, most=3))
        turning.do(lambda: relay.lead(DirectDialer(turning.loop), ("127.0.0.1", inside)))
        for _ in range(10):
            with asking("127.0.0.1", one.getsockname()[1]) as client:
                client.send(b"x")
                assert client.recv(100).startswith(b"x@")
        assert relay.flows == 3
        turning.do(relay.close)
        brief = turning.do(lambda: DatagramRelay(turning.loop, one, idle=0.05))
        turning.do(lambda: brief.lead(DirectDialer(turning.loop), ("127.0.0.1", inside)))
        with asking("127.0.0.1", one.getsockname()[1]) as client:
            client.send(b"x")
            assert client.recv(100).startswith(b"x@")
        gone = threading.Event()

        def look() -> None:
            if relay.flows == brief.flows == 0:
                gone.set()
            else:
                turning.loop.call_later(0.02, look)

        turning.do(look)
        assert gone.wait(PATIENCE)
        turning.do(brief.close)


class Maker:
    """Makes sockets as the process inside the containers' network namespace does, when it is told to."""

    def __init__(self, turning) -> None:
        self.turning = turning
        self.orders: list[tuple[int, int, int]] = []
        self.dialer = SuppliedDialer(turning.loop, lambda *order: self.orders.append(order), batch=4)

    def deliver(self, count: int | None = None) -> None:
        family, kind, wanted = self.orders.pop(0)
        made = [socket.socket(family, kind) for _ in range(wanted if count is None else count)]
        self.turning.do(lambda: self.dialer.supply(family, kind, made))


def test_connections_with_sockets_that_somebody_else_makes(turning, table, serving):
    server = serving(echo)
    maker = Maker(turning)
    allocation = turning.do(lambda: table.take("web", [binding(server.port)]))
    turning.do(lambda: allocation.start(maker.dialer, HERE))
    clients = [dial(allocation.published[0].host_port) for _ in range(3)]
    for client in clients:
        client.sendall(b"x")
    while not maker.orders:
        turning.do(lambda: None)
    while maker.orders:
        maker.deliver()
    assert [client.recv(1) for client in clients] == [b"x"] * 3
    for client in clients:
        client.close()
    turning.do(allocation.close)
    turning.do(maker.dialer.close)


def test_sockets_that_cannot_be_made(turning):
    maker = Maker(turning)
    answers: list[object] = []
    turning.do(lambda: maker.dialer.dial(socket.SOCK_STREAM, "127.0.0.1", 9, answers.append))
    maker.deliver(0)
    assert [type(answer) for answer in answers] == [OSError]
    turning.do(lambda: maker.dialer.dial(socket.SOCK_STREAM, "127.0.0.1", 9, answers.append))
    turning.do(maker.dialer.close)
    turning.do(lambda: maker.dialer.dial(socket.SOCK_STREAM, "127.0.0.1", 9, answers.append))
    assert len(answers) == 3
    maker.deliver()  # too late: they are closed


def test_sockets_that_do_not_come(turning):
    came = threading.Event()
    answers: list[object] = []

    def done(answer: object) -> None:
        answers.append(answer)
        came.set()

    dialer = SuppliedDialer(turning.loop, lambda *_order: None, patience=0.05)
    turning.do(lambda: dialer.dial(socket.SOCK_STREAM, "::1", 9, done))
    assert came.wait(PATIENCE)
    assert isinstance(answers[0], TimeoutError)
    turning.do(dialer.close)


@pytest.mark.parametrize("host", ["nonsense", "300.1.1.1", "::zz"])
def test_what_is_no_address(turning, host):
    answers: list[object] = []
    turning.do(lambda: DirectDialer(turning.loop).dial(socket.SOCK_STREAM, host, 9, answers.append))
    assert isinstance(answers[0], OSError)
