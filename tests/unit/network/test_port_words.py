"""Ports in words, as docker 28 reads them."""

from __future__ import annotations

import pytest

from contextkernel.engine.asked.port_words import parse_exposed, parse_ports, ports_from
from contextkernel.errors import InvalidInput
from contextkernel.model.networking import PortBinding


def binding(inside: int, outside: int = 0, *, ip: str = "", protocol="tcp", end: int | None = None) -> PortBinding:
    return PortBinding(
        container_port=inside,
        protocol=protocol,
        host_ip=ip,
        host_port=outside,
        host_port_end=outside if end is None else end,
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("80", [binding(80)]),
        (":80", [binding(80)]),
        ("8080:80", [binding(80, 8080)]),
        ("8080:80/udp", [binding(80, 8080, protocol="udp")]),
        ("8080:80/UDP", [binding(80, 8080, protocol="udp")]),
        ("127.0.0.1:8080:80", [binding(80, 8080, ip="127.0.0.1")]),
        ("127.0.0.1::80", [binding(80, ip="127.0.0.1")]),
        ("[::1]:8080:80", [binding(80, 8080, ip="::1")]),
        ("::1:8080:80", [binding(80, 8080, ip="::1")]),
        ("8000-8001:80-81", [binding(80, 8000), binding(81, 8001)]),
        ("80-81", [binding(80), binding(81)]),
        ("8000-8010:80", [binding(80, 8000, end=8010)]),
        ("published=8080,target=80", [binding(80, 8080)]),
        ("published=53,target=53,protocol=udp", [binding(53, 53, protocol="udp")]),
    ],
)
def test_publish(word, expected):
    assert parse_ports([word]) == tuple(expected)


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("x", "Invalid containerPort: x"),
        ("80:x", "Invalid containerPort: x"),
        ("x:80", "Invalid hostPort: x"),
        ("70000", "Invalid containerPort: 70000"),
        ("80/foo", "Invalid proto: foo"),
        ("1.2.3.4.5:80:80", "Invalid ip address: 1.2.3.4.5"),
        ("80-82:90-91", "Invalid ranges specified for container and host Ports: 90-91 and 80-82"),
        ("82-80", "Invalid containerPort: 82-80"),
        ("::", "No port specified: ::<empty>"),
        ("", "No port specified: <empty>"),
        ("a=b", "No port specified: :/tcp<empty>"),
        ("a=b,c", "invalid publish opts format (should be name=value but got 'c')"),
        ("80:80/tcp,90", "Invalid proto: tcp,90"),
    ],
)
def test_publish_refuses(word, problem):
    with pytest.raises(InvalidInput) as caught:
        parse_ports([word])
    assert caught.value.problem == problem


def test_ports_as_docker_py_has_them():
    assert ports_from({"80/tcp": 8080, "81": None, "82/udp": ("127.0.0.1", 8082), "83": [8083, 8084]}) == (
        binding(80, 8080),
        binding(81),
        binding(82, 8082, ip="127.0.0.1", protocol="udp"),
        binding(83, 8083),
        binding(83, 8084),
    )
    assert ports_from({"80": ("::1", None)}) == (binding(80, ip="::1"),)


def test_expose():
    assert parse_exposed(["80", "90-91/udp", "80", "5/foo"]) == ("80/tcp", "90/udp", "91/udp", "5/foo")


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("x", 'invalid range format for --expose: x, error: strconv.ParseUint: parsing "x": invalid syntax'),
        ("80-70", "invalid range format for --expose: 80-70, error: Invalid range specified for the Port: 80-70"),
        ("1:2", "invalid port format for --expose: 1:2"),
    ],
)
def test_expose_refuses(word, problem):
    with pytest.raises(InvalidInput) as caught:
        parse_exposed([word])
    assert caught.value.problem == problem
