"""Platforms: how they are written, and which will do for which."""

from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.platform import Platform


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("armhf", "linux/arm/v7"),
        ("LINUX/ARM/V6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_names(text, shown):
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d", "/"])
def test_what_is_no_platform(text):
    with pytest.raises(InvalidInput):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm/v6", ["linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm64", ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/s390x", ["linux/s390x"]),
    ],
)
def test_what_will_do(wanted, order):
    assert [str(one) for one in Platform.parse(wanted).acceptable()] == order


@pytest.mark.parametrize(
    ("wanted", "has", "does"),
    [
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v5", "linux/arm/v7", False),
        ("linux/arm", "linux/arm/v8", False),
        ("linux/arm64", "linux/arm/v7", True),
        ("linux/arm/v7", "linux/arm64", False),
        ("linux/amd64/v2", "linux/amd64/v3", False),
        ("linux/amd64", "linux/amd64/v3", True),  # what this machine's processor is, nobody has asked
        ("linux/arm/v7", "linux/arm/hf", True),
        ("linux/s390x", "linux/s390x/z15", True),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_what_is_taken(wanted, has, does):
    assert Platform.parse(wanted).takes(Platform.parse(has)) is does


def test_of_an_image_that_says_little():
    assert Platform.of("", "", "") == Platform("linux", "amd64")
    assert Platform.of("linux", "arm64", "v8") == Platform("linux", "arm64")
