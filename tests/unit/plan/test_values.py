"""Paths, signals, modes and ports."""

from __future__ import annotations

import pytest

from contextkernel.dockerfile import parse
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.plan.exposed import exposed_ports
from contextkernel.plan.remote import is_remote
from contextkernel.plan.values import absolute, checked_signal, working_dir

FILE = parse("FROM a\n")
PLACE = FILE.stages[0].base.span


@pytest.mark.parametrize(
    ("current", "path", "found"),
    [
        ("", "app", "/app"),
        ("/app", "sub/", "/app/sub"),
        ("/app", "../x/./y", "/x/y"),
        # an absolute path is kept as it is written, as BuildKit does
        ("/app", "/x//y/../z", "/x//y/../z"),
        ("/app", "/w/", "/w/"),
        ("/a", "../../../..", "/"),
        ("/a", "", "/a"),
    ],
)
def test_working_dir(current: str, path: str, found: str) -> None:
    assert working_dir(current, path) == found


@pytest.mark.parametrize(
    ("path", "found"), [("a", "/a"), ("//a//b/", "/a/b"), ("../../etc", "/etc"), ("", "/"), ("/a/../..", "/")]
)
def test_absolute_never_leaves_the_root(path: str, found: str) -> None:
    assert absolute(path) == found


@pytest.mark.parametrize("text", ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1", "SIGRTMIN"])
def test_signals(text: str) -> None:
    assert checked_signal(text, FILE, PLACE) == text


@pytest.mark.parametrize("text", ["", "0", "SIGNOPE", "RTMIN+99", "-9"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(DockerfileError, match="no such signal"):
        checked_signal(text, FILE, PLACE)


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", ("80/tcp",)),
        ("53/UDP", ("53/udp",)),
        ("7000-7002/sctp", ("7000/sctp", "7001/sctp", "7002/sctp")),
        ("8080:80", ("80/tcp",)),
        ("127.0.0.1:8080:80/tcp", ("80/tcp",)),
        ("[::1]:8080:80", ("80/tcp",)),
        ("8000-8010:80", ("80/tcp",)),
        ("0", ("0/tcp",)),
    ],
)
def test_ports(word: str, ports: tuple[str, ...]) -> None:
    assert exposed_ports(word) == ports


@pytest.mark.parametrize("word", ["", "/tcp", "http", "80/http", "65536", "9-8", "-1", "1.2.3:1:2", "1-3:4-5", "٣"])
def test_what_is_no_port(word: str) -> None:
    with pytest.raises(InvalidInput, match="EXPOSE"):
        exposed_ports(word)


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("https://example.org/x", True),
        ("HTTP://example.org/x", False),
        ("git://example.org/x", True),
        ("git@github.com:a/b.git", True),
        ("github.com/a/b", False),
        ("a@b", False),
        ("./http", False),
    ],
)
def test_remote_sources(source: str, *, remote: bool) -> None:
    assert is_remote(source) is remote
