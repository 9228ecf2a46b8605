"""Which addresses are outside, and how programs are asked for a way there."""

from __future__ import annotations

import pytest

from contextkernel.network.outbound import TAP, is_outside, tap_commands

OURS = ("172.17.0.0/16", "fd12::/64")


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("93.184.216.34", True),
        ("10.0.0.1", True),
        ("169.254.169.254", True),
        ("172.16.0.1", True),
        ("2001:db8::1", True),
        ("172.17.0.1", False),
        ("172.17.255.255", False),
        ("fd12::9", False),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", False),  # noqa: S104 - the kernel takes it for this machine
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:172.17.0.9", False),
        ("::ffff:9.9.9.9", True),
        ("ff02::1", False),
    ],
)
def test_what_is_outside(address, outside):
    assert is_outside(address, OURS) is outside


def test_programs_are_started_without_a_way_to_the_hosts_loopback():
    (_, pasta), (_, slirp) = tap_commands(["pasta", "slirp4netns"])
    assert pasta[0] == "pasta"
    assert "--no-map-gw" in pasta
    assert [pasta[pasta.index(f"--{kind}-{where}") + 1] for kind in ("tcp", "udp") for where in ("ports", "ns")] == [
        "none"
    ] * 4
    assert slirp[0] == "slirp4netns"
    assert "--disable-host-loopback" in slirp
    assert all("{namespace}" in words and TAP in words for words in (pasta, slirp))


def test_no_programs_no_commands():
    assert tap_commands([]) == []
