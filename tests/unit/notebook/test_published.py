"""Links to published ports: where they lead, how they look, and when they are ready."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from contextkernel.errors import ContainerNotFound
from contextkernel.notebook import published
from contextkernel.notebook.published import PortLink, answers, links_html, links_text, port_links, server_base, watch

ALL = [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]  # noqa: S104


def test_one_link_for_a_port_of_both_families():
    (link,) = port_links({"80/tcp": ALL, "443/tcp": None}, None)
    assert (link.container_port, link.address, link.url) == ("80/tcp", "0.0.0.0:8080", "http://localhost:8080/")
    assert link.reach == "127.0.0.1"


def test_through_the_server_of_the_notebook():
    (link,) = port_links({"80/tcp": ALL}, "/user/ada/")
    assert link.url == "/user/ada/proxy/8080/"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "/base/proxy/90/"),
        ("::1", "/base/proxy/90/"),
        ("192.0.2.7", "http://192.0.2.7:90/"),  # the proxy reaches only this machine's loopback
        ("2001:db8::1", "http://[2001:db8::1]:90/"),
    ],
)
def test_one_address_only(host, url):
    (link,) = port_links({"80/tcp": [{"HostIp": host, "HostPort": "90"}]}, "/base/")
    assert link.url == url


def test_what_is_no_tcp_has_no_link_and_is_not_waited_for():
    links = port_links({"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}], "9/tcp": ALL, "53/tcp": ALL}, None)
    assert [link.container_port for link in links] == ["9/tcp", "53/udp", "53/tcp"]
    assert (links[1].url, links[1].state) == ("", "unknown")
    assert links_text(links).splitlines()[1] == "53/udp  127.0.0.1:5353"


def link(state: str = "waiting", **changes) -> PortLink:
    values = {
        "container_port": "80/tcp",
        "address": "127.0.0.1:90",
        "port": 90,
        "reach": "127.0.0.1",
        "url": "http://localhost:90/",
    }
    return PortLink(**{**values, **changes}, state=state)


def test_text():
    text = links_text([link("ready"), link("silent", container_port="8443/tcp", url="/user/x/proxy/9000/")])
    first, second = text.splitlines()
    assert first == "80/tcp    http://localhost:90/  ready"
    assert second.startswith("8443/tcp  /user/x/proxy/9000/   does not answer yet")


def test_html():
    html = links_html([link("ready"), link("ended", url='/user/"><script>/proxy/1/')])
    assert '<a href="http://localhost:90/" target="_blank" rel="noopener">http://localhost:90/</a>' in html
    assert 'class="ck-ok">ready' in html
    assert 'class="ck-bad">the container has ended' in html
    assert "<script>" not in html


def test_a_program_that_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert answers("127.0.0.1", server.getsockname()[1])


def test_a_program_that_speaks_first():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0")

        thread = threading.Thread(target=greet)
        thread.start()
        assert answers("127.0.0.1", server.getsockname()[1])
        thread.join()


def test_nobody_behind_the_relay():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert not answers("127.0.0.1", server.getsockname()[1])
        thread.join()
    assert not answers("127.0.0.1", server.getsockname()[1] if server.fileno() >= 0 else 1)


def states(shown: list[list[PortLink]]) -> list[list[str]]:
    return [[one.state for one in links] for links in shown]


def test_waiting_until_all_are_ready():
    shown: list[list[PortLink]] = []
    asked: list[int] = []

    def probe(_host: str, port: int) -> bool:
        asked.append(port)
        return port == 1 or len(asked) > 4

    links = [link(port=1), link(port=2), link("unknown", port=3)]
    last = watch(links, lambda known: shown.append(list(known)), lambda: True, probe=probe)
    assert states(shown) == [
        ["waiting", "waiting", "unknown"],
        ["ready", "waiting", "unknown"],
        ["ready", "ready", "unknown"],
    ]
    assert [one.state for one in last] == ["ready", "ready", "unknown"]
    assert 3 not in asked


def test_the_wait_has_an_end():
    shown: list[list[PortLink]] = []
    watch([link()], lambda known: shown.append(list(known)), lambda: True, patience=0, probe=lambda *_: False)
    assert states(shown) == [["waiting"], ["silent"]]


def test_a_container_that_has_ended_is_not_waited_for():
    shown: list[list[PortLink]] = []
    watch([link()], lambda known: shown.append(list(known)), lambda: False, patience=600, probe=lambda *_: False)
    assert states(shown) == [["waiting"], ["ended"]]


@pytest.fixture
def proxy(monkeypatch):
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda _name: object())


@pytest.mark.usefixtures("proxy")
def test_the_server_of_a_hub():
    assert server_base({"JUPYTERHUB_SERVICE_PREFIX": "/user/ada"}) == "/user/ada/"


@pytest.mark.usefixtures("proxy")
def test_the_server_that_started_this_kernel(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "jpserver-77.json").write_text(json.dumps({"base_url": "/lab-here/"}))
    (tmp_path / "jpserver-78.json").write_text("{")
    assert server_base({"JPY_PARENT_PID": "77"}) == "/lab-here/"
    assert server_base({"JPY_PARENT_PID": "78"}) is None
    assert server_base({"JPY_PARENT_PID": "79"}) is None
    assert server_base({"JPY_PARENT_PID": "../77"}) is None
    assert server_base({}) is None


def test_without_the_proxy_there_is_no_way_through_the_server(monkeypatch):
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda _name: None)
    assert server_base({"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}) is None


class Engine:
    def __init__(self, ports: dict) -> None:
        self._ports = ports

    def ports(self, container: str) -> dict:
        if container != "c1":
            raise ContainerNotFound(f"no container {container}")
        return self._ports

    def containers(self) -> tuple:
        return ()


def test_shown_in_one_display():
    bundles: list[tuple[dict[str, str], bool]] = []
    engine = Engine({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "1"}]})
    published.show_links(lambda bundle, update: bundles.append((bundle, update)), engine, "c1")
    assert [update for _, update in bundles] == [False, True]
    assert set(bundles[0][0]) == {"text/html", "text/plain"}
    assert "the container has ended" in bundles[1][0]["text/plain"]


@pytest.mark.parametrize(("ports", "container"), [({}, "c1"), ({"80/tcp": None}, "c1"), ({}, "gone")])
def test_nothing_is_shown_where_there_is_nothing_to_show(ports, container):
    bundles: list[object] = []
    published.show_links(lambda *bundle: bundles.append(bundle), Engine(ports), container)
    assert bundles == []
