"""What is noted of owners and devices, as text on files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.model.recorded import Device, RecordedOwner, decode_device, decode_owner

IDS = st.none() | st.integers(0, (1 << 32) - 2)


@given(IDS, IDS)
def test_owners_come_back(uid: int | None, gid: int | None) -> None:
    owner = RecordedOwner(uid, gid)
    assert decode_owner(owner.encode("12ab")) == (owner, "12ab")


@given(st.sampled_from(["char", "block"]), st.integers(0, 4095), st.integers(0, (1 << 20) - 1))
def test_devices_come_back(kind: str, major: int, minor: int) -> None:
    device = Device(kind, major, minor)  # type: ignore[arg-type]
    assert decode_device(device.encode()) == device


@given(st.binary(max_size=40))
def test_attack_what_a_program_wrote_itself_is_never_an_error(data: bytes) -> None:
    owner, _ = decode_owner(data)
    assert all(one is None or 0 <= one < (1 << 32) - 1 for one in owner)
    device = decode_device(data)
    assert device is None or (device.major < 1 << 12 and device.minor < 1 << 20)


@pytest.mark.parametrize("text", [None, b"", b"5", b"c", b"c 1", b"x 1:2", b"c 5000:1", b"c -1:2", b"c \xc2\xb2:1"])
def test_nonsense_is_no_device(text: bytes | None) -> None:
    assert decode_device(text) is None


def test_what_is_said_later_counts_for_what_it_says() -> None:
    assert RecordedOwner(5).over(RecordedOwner(1, 2)) == (5, 2)
    assert RecordedOwner(None, 6).over(RecordedOwner(5)) == (5, 6)
    assert RecordedOwner(0, 0).over(RecordedOwner(1, 2)) == (0, 0)
