"""What a target takes, and which targets there are."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.dockerfile.parse import parse
from contextkernel.errors import InvalidInput
from contextkernel.model.checks import Outline, OutlineMount
from contextkernel.plan.checks import Subject, list_targets, outline
from tests.unit.checks.looking import AMD64, image

ARGUMENTS = """\
ARG inherited=box
ARG inherited2=box2
ARG unused=abc${inherited2}
# sfx is a suffix
ARG sfx="usy${inherited}"

FROM b${sfx} AS first
# this is not assigned to anything
ARG FOO=123
# BAR is a number
ARG BAR=456
RUN true

FROM alpine${unused} AS second
ARG BAZ
RUN true

FROM scratch AS third
ARG ABC=a
# check=skip=all
ARG password
# other_password will show up in the outline
# check=skip=all
ARG other_password

# target defines build target
FROM third AS target
COPY --from=first /etc/passwd /

FROM second
"""


def outlined(text: str, **subject: Any) -> Outline:
    return outline(parse(text), Subject(build_platform=AMD64, platform=AMD64, **subject))


def test_arguments_of_the_target_and_of_what_it_needs() -> None:
    found = outlined(ARGUMENTS, target="target", build_args={"BAR": "678"})
    assert (found.target, found.description) == ("target", "defines build target")
    assert [(one.name, one.value, one.description, one.line) for one in found.arguments] == [
        ("inherited", "box", "", 1),
        ("sfx", "usybox", "is a suffix", 5),
        ("FOO", "123", "", 9),
        ("BAR", "678", "is a number", 11),
        ("ABC", "a", "", 19),
        ("password", "", "", 21),
        ("other_password", "", "will show up in the outline", 24),
    ]


def test_the_default_target_has_no_name() -> None:
    found = outlined(ARGUMENTS)
    assert (found.target, found.description) == ("", "")
    assert [one.name for one in found.arguments] == ["inherited2", "unused", "BAZ"]


def test_arguments_made_of_themselves() -> None:
    text = (
        "ARG FOO=123\nARG ABC=abc\nARG DEF=def\nARG FOO=${FOO}${ABC}\nARG BAR=${FOO}456\nARG FOO=${FOO}456${BAR}\n"
        "FROM scratch\nARG FOO\nARG INFOO=123\nARG INBAR=${INFOO}456\nARG INFOO=${INFOO}456${INBAR}\n"
    )
    assert [(one.name, one.value) for one in outlined(text).arguments] == [
        ("ABC", "abc"),
        ("BAR", "123abc456"),
        ("FOO", "123abc456123abc456"),
        ("INBAR", "123456"),
        ("INFOO", "123456123456"),
    ]


def test_mounts() -> None:
    text = (
        "FROM busybox AS first\nRUN --mount=type=secret,target=/etc/passwd,required=true --mount=type=ssh true\n\n"
        "FROM alpine AS second\nRUN --mount=type=secret,id=unused --mount=type=ssh,id=ssh2 true\n\n"
        "FROM scratch AS third\nARG BAR\nRUN --mount=type=secret,id=second${BAR} true\n\n"
        "FROM third AS target\nCOPY --from=first /foo /\nRUN --mount=type=ssh,id=ssh3,required true\n"
        "RUN --mount=type=cache,target=/root/.cache true\n\nFROM second\n"
    )
    found = outlined(text, target="target", build_args={"BAR": "678"})
    assert found.secrets == (
        OutlineMount(id="passwd", required=True, line=2),
        OutlineMount(id="second678", line=9),
    )
    assert found.ssh == (OutlineMount(id="default", line=2), OutlineMount(id="ssh3", required=True, line=13))
    assert found.caches == (OutlineMount(id="/root/.cache", line=14),)


def test_a_stage_that_is_only_mounted_from_is_needed_too() -> None:
    text = "FROM a AS tools\nARG WHICH=1\nRUN true\n\nFROM b\nRUN --mount=from=tools,target=/t true\n"
    assert [one.name for one in outlined(text).arguments] == ["WHICH"]


def test_triggers_take_part() -> None:
    found = outlined("FROM base\n", bases={0: image(on_build=("ARG WHERE=here",))})
    assert [(one.name, one.value) for one in found.arguments] == [("WHERE", "here")]


def test_there_must_be_such_a_target() -> None:
    with pytest.raises(InvalidInput) as caught:
        outlined("FROM scratch AS build\n", target="bild")
    assert caught.value.problem == "target stage 'bild' is not in Dockerfile"


def test_targets() -> None:
    text = (
        "# build defines stage for compiling the binary\nFROM --platform=$BUILDPLATFORM alpine AS build\nRUN true\n\n"
        "FROM busybox as Second\n\nFROM alpine\n\n# binary returns the compiled binary\nFROM second AS binary\n"
    )
    rows = list_targets(parse(text))
    assert [(row.name, row.description, row.base, row.platform, row.line, row.default) for row in rows] == [
        ("build", "defines stage for compiling the binary", "alpine", "$BUILDPLATFORM", 2, False),
        ("second", "", "busybox", "", 5, False),
        ("", "", "alpine", "", 7, False),
        ("binary", "returns the compiled binary", "second", "", 10, True),
    ]
