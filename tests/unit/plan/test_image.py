"""The finished document: layers, history, times."""

from __future__ import annotations

import pytest

from contextkernel.model.digest import Digest
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.image import MadeLayer, image_config, timestamp, with_times
from contextkernel.plan.stage import HistoryLine, StageState

LINUX = Platform("linux", "amd64")
OLD = "2020-01-01T00:00:00Z"
BASE = ImageConfig(
    architecture="arm64",
    variant="v8",
    os="linux",
    rootfs=RootFS("layers", (Digest.of(b"base"),)),
    history=(History(created=OLD, created_by="ADD base"), History(created=OLD, created_by="CMD", empty_layer=True)),
    created=OLD,
    author="them",
)


def lines(*marks: str) -> StageState:
    """History where ``L`` is a layer and ``m`` is metadata."""
    return StageState(
        config=RunConfig(),
        history=tuple(HistoryLine(f"{mark}{number}", mark == "L") for number, mark in enumerate(marks)),
    )


def made(*seconds: int) -> list[MadeLayer]:
    return [MadeLayer(Digest.of(str(second).encode()), second * 10**9) for second in seconds]


def test_metadata_only_keeps_the_base_time_so_a_new_image_can_be_weeks_old() -> None:
    image = image_config(lines("m", "m"), base=BASE, made=[], labels={}, platform=LINUX)
    assert image.created == OLD
    assert [entry.created for entry in image.history] == [OLD] * 4
    assert image.rootfs == BASE.rootfs


def test_metadata_before_the_first_new_layer_has_that_layers_time() -> None:
    image = image_config(lines("m", "L", "m", "L", "m"), base=BASE, made=made(100, 200), labels={}, platform=LINUX)
    times = [entry.created for entry in image.history[2:]]
    first, second = timestamp(100 * 10**9), timestamp(200 * 10**9)
    assert times == [first, first, first, second, second]
    assert image.created == second
    assert [entry.empty_layer for entry in image.history[2:]] == [True, False, True, False, True]
    assert all(entry.comment == "buildkit.dockerfile.v0" for entry in image.history[2:])


def test_platform_comes_from_the_base() -> None:
    image = image_config(lines(), base=BASE, made=[], labels={}, platform=LINUX)
    assert (image.architecture, image.variant) == ("arm64", "v8")


def test_scratch_has_the_platform_asked_for_and_no_time_without_layers() -> None:
    image = image_config(lines("m"), base=None, made=[], labels={}, platform=Platform("linux", "arm", "v7"))
    assert (image.os, image.architecture, image.variant, image.created) == ("linux", "arm", "v7", None)


def test_labels_from_the_command_line_win_and_leave_no_history() -> None:
    state = StageState(config=RunConfig(labels={"b": "2", "a": "1"}))
    image = image_config(state, base=BASE, made=[], labels={"a": "given", "z": "new"}, platform=LINUX)
    assert list((image.config.labels or {}).items()) == [("a", "given"), ("b", "2"), ("z", "new")]
    assert len(image.history) == 2


def test_a_base_with_too_little_history_gets_an_entry_for_each_layer_below_ours() -> None:
    bare = ImageConfig(
        architecture="amd64", os="linux", created=OLD, rootfs=RootFS("layers", (Digest.of(b"1"), Digest.of(b"2")))
    )
    image = image_config(lines("L"), base=bare, made=made(5), labels={}, platform=LINUX)
    assert sum(not entry.empty_layer for entry in image.history) == len(image.rootfs.diff_ids) == 3
    assert image.history[-1].created_by == "L0"


def test_a_base_with_too_much_history_keeps_the_count_right() -> None:
    odd = ImageConfig(
        architecture="amd64",
        os="linux",
        rootfs=RootFS("layers", (Digest.of(b"1"),)),
        history=(History(created=OLD, created_by="one"), History(created=OLD, created_by="two")),
    )
    image = image_config(lines("L"), base=odd, made=made(5), labels={}, platform=LINUX)
    assert [entry.empty_layer for entry in image.history] == [False, True, False]


def test_layer_without_any_time_takes_its_neighbours() -> None:
    history = (History(created_by="a"), History(created=OLD, created_by="b"))
    assert [entry.created for entry in with_times(history, [None, None])] == [OLD, OLD]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
    ],
)
def test_timestamp_is_written_as_go_does(nanoseconds: int, text: str) -> None:
    assert timestamp(nanoseconds) == text
