"""Rows as DataFrames: pinned dtypes, humanised display."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pandas as pd
import pytest

from contextkernel.commands.outcome import Table, TableOptions
from contextkernel.model.cache import UsageRow
from contextkernel.model.digest import Digest
from contextkernel.model.explanation import StepExplanation
from contextkernel.model.results import BaseRow, CheckFinding, CompareRow, ContainerRow, Fact, HistoryRow, ImageRow
from contextkernel.notebook.columns import DTYPES
from contextkernel.notebook.display import frame_html, frame_text, knows
from contextkernel.notebook.frames import ContainerFrame, make_frame, to_frame
from contextkernel.notebook.records import fact_record
from contextkernel.testing.fake_life import engine_events
from contextkernel.testing.fake_records import build_rows, build_step_rows
from contextkernel.testing.fake_registries import search_rows
from contextkernel.testing.fake_serving import registry_image_rows, registry_rows
from contextkernel.testing.samples import BOZO, GREET, cache_rows, container_rows, history_rows, image_rows

ROWS = {
    "images": image_rows(),
    "history": history_rows(),
    "containers": container_rows(),
    "compare": (
        CompareRow(image="greet", size=72_776_453, layers=1, shared=72_776_453, unique=0, factor=4.74),
        CompareRow(image="greeting-scratch", size=872_000, layers=2, shared=0, unique=872_000, factor=395.4),
    ),
    "bases": (BaseRow(image="alpine:3.15.0", action="assembled", stand_in=True, size=5_000_000, detail="no registry"),),
    "explanation": (
        StepExplanation(step=4, name="[1/2] RUN a", state="miss", reason="new", detail="never built before"),
    ),
    "cache": cache_rows(),
    "usage": (UsageRow(type="Images", total=3, active=1, size=5_000_000, reclaimable=1_000),),
    "events": engine_events(),
    "builds": build_rows(),
    "build_steps": build_step_rows(),
    "findings": (CheckFinding(what="blob without a row", where="blobs/sha256/00"),),
    "registries": registry_rows(),
    "registry_images": registry_image_rows(),
    "search": search_rows(),
}


def frame(kind):
    return to_frame(Table(kind, ROWS[kind]))


@pytest.mark.parametrize("kind", list(ROWS))
def test_dtypes_are_the_same_whether_empty_or_full(kind):
    full, empty = frame(kind), to_frame(Table(kind, ()))
    assert {name: str(dtype) for name, dtype in full.dtypes.items()} == DTYPES[kind]
    assert list(full.dtypes) == list(empty.dtypes)
    assert list(full.columns) == list(empty.columns)
    assert len(full) == len(ROWS[kind])
    assert len(empty) == 0


@pytest.mark.parametrize("kind", list(ROWS))
def test_empty_tables_show_their_headings(kind):
    empty = to_frame(Table(kind, ()))
    first = next(iter(DTYPES[kind]))
    assert repr(empty).split()[0] == first
    assert "no rows" in empty._repr_html_()


def test_docker_s_columns_come_first_and_in_its_order():
    assert list(DTYPES["images"])[:5] == ["repository", "tag", "image_id", "created", "size"]
    assert list(DTYPES["containers"])[:7] == [
        "container_id",
        "image",
        "command",
        "created",
        "status",
        "ports",
        "names",
    ]
    assert list(DTYPES["history"]) == ["image", "created", "created_by", "size", "comment"]


def test_values_are_exact():
    images = frame("images")
    row = images[images.repository == "greet"].iloc[0]
    assert (row["size"], row["image_id"], row["origin"]) == (72_776_453, str(GREET), "build")
    assert row["created"] == pd.Timestamp("2026-11-02T12:00:00Z")
    assert frame("history").image.isna().tolist() == [False, True, True]
    containers = frame("containers")
    assert containers.container_id[1] == BOZO
    assert containers.finished.isna().tolist() == [True, False, False]


def old_images(age=timedelta(weeks=3)):
    created = datetime.now(UTC) - age
    return to_frame(
        Table(
            "images",
            (
                ImageRow(
                    repository="greet",
                    tag="latest",
                    id=GREET,
                    created=created,
                    size=72_776_453,
                    origin="build",
                    layers=1,
                ),
                ImageRow(
                    repository="ubuntu",
                    tag="20.04",
                    id=GREET,
                    created=created,
                    size=999,
                    origin="stand-in: host files",
                    layers=1,
                ),
            ),
        )
    )


def test_text_is_humanised_in_docker_s_layout():
    assert repr(old_images()) == (
        "repository   tag      image_id       created         size   origin                 layers\n"
        "greet        latest   da62877a7ead   3 weeks ago   72.8MB   build                       1\n"
        "ubuntu       20.04    da62877a7ead   3 weeks ago     999B   stand-in: host files        1"
    )


def test_html_is_humanised_with_the_exact_values_in_tooltips():
    page = old_images()._repr_html_()
    assert ">72.8MB</td>" in page
    assert 'title="72776453"' in page
    assert ">3 weeks ago</td>" in page
    assert f'title="{GREET}"' in page
    assert '<span class="ck-warn">stand-in: host files</span>' in page


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[frame["size"] > 1_000],
        lambda frame: frame.sort_values("size", ascending=False).head(1),
        lambda frame: frame[["repository", "size"]].iloc[:1],
        lambda frame: frame.query("repository == 'greet'"),
        lambda frame: frame.assign(mega=frame["size"] / 1e6).iloc[:1],
        lambda frame: frame.copy().drop(columns=["origin"]).iloc[:1],
        lambda frame: pd.concat([frame, frame]).drop_duplicates().iloc[:1],
    ],
)
def test_what_pandas_makes_of_a_table_is_still_humanised(change):
    changed = change(old_images())
    assert isinstance(changed, ContainerFrame)
    assert "72.8MB" in repr(changed)
    assert "72.8MB" in changed._repr_html_()
    assert "999B" not in repr(changed)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[["repository"]],
        lambda frame: frame.set_index("repository")[["tag"]],
        lambda frame: frame.groupby("repository").agg({"size": ["sum", "max"]}),
        lambda frame: frame.T,
        lambda frame: frame.describe(),
        lambda frame: frame.assign(size=["a", "b"])[["size"]],
    ],
)
def test_what_we_do_not_know_is_pandas_to_show(change):
    changed = change(old_images())
    if "created" not in changed.columns and "image_id" not in changed.columns:
        assert repr(changed) == repr(pd.DataFrame(changed))
    changed._repr_html_()


def test_computing_uses_bytes():
    assert old_images()["size"].sum() == 72_777_452
    assert str(old_images().size) == "16"


def test_ps_hides_what_status_says_already():
    containers = frame("containers")
    heads = repr(containers).splitlines()[0].split()
    assert heads == ["container_id", "image", "command", "created", "status", "ports", "names", "size"]
    assert "state" in repr(containers[["names", "state"]])
    shown = repr(containers.assign(size=0))
    assert "size" not in shown


def test_events_fit_a_window():
    events = frame("events")
    nameless = engine_events()[0]
    shown = repr(to_frame(Table("events", (*engine_events(), msgspec.structs.replace(nameless, attributes={})))))
    head, *rows = shown.splitlines()
    assert head.split() == ["time", "type", "action", "name", "id", "attributes"]
    assert str(GREET).removeprefix("sha256:")[:12] in rows[-1]
    assert str(GREET) not in shown
    assert engine_events()[1].id not in shown
    assert "exitCode=0, image=greet, tier=front" in rows[3]
    assert re.search(r"\d\d:\d\d:\d\d\.\d\d\d   ", rows[0])
    assert events.id[0] == str(GREET)
    assert str(GREET) in events._repr_html_()  # in the tooltip


@pytest.mark.parametrize("part", ["hour", "date", "strftime"])
def test_events_are_shown_whatever_their_time_is_made_into(part):
    events = frame("events")
    made = events.time.dt.strftime("%H:%M") if part == "strftime" else getattr(events.time.dt, part)
    changed = events.assign(time=made)
    assert repr(changed).splitlines()[1].split()[0] == str(made[0])
    assert f">{made[0]}</td>" in changed._repr_html_()


@pytest.mark.parametrize("made", [["5 MB", "9 MB"], [None, 9.5]])
@pytest.mark.parametrize("column", ["size", "shared", "unique"])
def test_a_comparison_is_shown_whatever_its_sizes_are_made_into(column, made):
    compared = frame("compare")
    assert '<span class="ck-bar' in compared._repr_html_()
    changed = compared.assign(**{column: pd.Series(made)})
    assert str(made[1]) in changed._repr_html_()
    assert '<span class="ck-bar' not in changed._repr_html_()


def test_many_attributes_do_not_make_a_row_tall():
    labels = {f"org.example.label{number}": "value" for number in range(20)}
    event = msgspec.structs.replace(engine_events()[1], attributes=labels)
    events = to_frame(Table("events", (event,)))
    cell = re.search(r'<td title="[^"]*label19[^"]*">([^<]*)<', events._repr_html_())
    assert cell is not None
    assert 40 < len(cell[1]) <= 60
    assert max(map(len, repr(events).splitlines())) < 160


def test_digests_are_shown_when_asked_for():
    plain = frame("images")
    asked = to_frame(Table("images", ROWS["images"], TableOptions(digests=True)))
    assert "digest" not in repr(plain).splitlines()[0]
    for shown in (asked, asked[asked["size"] > 0].sort_values("size")):
        assert "digest" in repr(shown).splitlines()[0].split()
        assert ">digest</th>" in shown._repr_html_()
    pd.testing.assert_frame_equal(asked, plain)


def test_ids_of_networks_are_as_short_as_docker_s():
    network = "48f8f6013ad0" + 52 * "0"
    record = (network, "host", "host", "local", "", "", 0, False, False, None, {}, {})
    networks = make_frame("networks", [record])
    assert repr(networks).splitlines()[1].split()[0] == network[:12]
    assert networks.network_id[0] == network


@pytest.mark.parametrize(("known", "unknown"), [("size", "download_size"), ("download_size", "size")])
def test_layers_show_what_is_known_of_them(known, unknown):
    values = {"layer": 1, "diff_id": f"sha256:{'ab' * 32}", known: 10, "created_by": "RUN a", "media_type": ""}
    layers = make_frame("layers", [tuple(values.get(name) for name in DTYPES["layers"])])
    heads = repr(layers).splitlines()[0].split()
    assert known in heads
    assert not {unknown, "digest"} & set(heads)
    assert f"<th>{unknown}" not in layers._repr_html_()
    assert unknown in layers.columns


def test_a_build_that_failed_has_no_image():
    failed = frame("builds").assign(image_id=pd.Series([None] * len(ROWS["builds"]), dtype="string"))
    assert "missing" not in repr(failed) + failed._repr_html_()


def test_long_commands_are_cut_and_whole_in_the_tooltip():
    history = frame("history")
    assert "/bin/sh -c #(nop) ADD file:122ad323412c2e70b…" in repr(history)
    assert "in /" in history._repr_html_()
    assert repr(history).count("<missing>") == 2
    assert "&lt;missing&gt;" in history._repr_html_()


def test_compare_has_bars():
    page = frame("compare")._repr_html_()
    assert 'class="ck-bar ck-bar-shared" style="width:260px"' in page
    assert 'class="ck-bar ck-bar-unique" style="width:3px"' in page
    assert ">4.7x<" in page
    assert ">395x<" in page
    assert "ck-bar" not in frame("compare")[["image", "size"]]._repr_html_().partition("</style>")[2]
    assert "395x" in repr(frame("compare"))


def test_times_that_cannot_be_held_are_not_dated():
    row = HistoryRow(id=None, created=datetime(1, 1, 1, tzinfo=UTC), created_by="x", size=0, comment="")
    table = to_frame(Table("history", (row,)))
    assert table.created.isna().all()
    assert "N/A" in repr(table)
    epoch = to_frame(
        Table(
            "history",
            (HistoryRow(id=None, created=datetime(1970, 1, 1, tzinfo=UTC), created_by="x", size=0, comment=""),),
        )
    )
    assert epoch.created[0] == pd.Timestamp(0, tz="UTC")
    assert "N/A" in repr(epoch)


def test_text_from_images_cannot_be_markup():
    evil = "<script>alert(1)</script>\"'"
    row = HistoryRow(id=None, created=datetime(2022, 1, 1, tzinfo=UTC), created_by=evil, size=0, comment=evil)
    page = to_frame(Table("history", (row,)))._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;") == 2


def test_a_column_name_cannot_be_markup():
    assert "<b>x" not in old_images().assign(**{"<b>x": 1})._repr_html_()


def test_long_tables_show_their_ends():
    many = to_frame(Table("containers", container_rows() * 100))
    assert "… 240 rows left out" in frame_text(many)
    assert "… 240 rows left out" in frame_html(many)
    assert len(frame_text(many).splitlines()) == 62


def test_wide_letters_keep_columns_in_line():
    rows = [
        ImageRow(
            repository=name,
            tag="x",
            id=Digest.of(b"x"),
            created=datetime(2026, 1, 1, tzinfo=UTC),
            size=1,
            origin="build",
            layers=1,
        )
        for name in ("漢字", "abcd")
    ]
    lines = repr(to_frame(Table("images", tuple(rows)))).splitlines()
    assert lines[1].index("x") == lines[2].index("x") - 2


def test_facts():
    table = make_frame("facts", [fact_record(Fact(name="overlay", verdict="refused", reason="EPERM"))])
    assert '<span class="ck-bad">refused</span>' in frame_html(table[["name", "verdict", "reason"]])


def test_rows_with_no_finish_have_no_time():
    row = ContainerRow(
        id=BOZO,
        image="x",
        command="x",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        state="created",
        exit_code=0,
        started=None,
        finished=None,
        ports="",
        name="x",
    )
    table = to_frame(Table("containers", (row,)))
    assert table.status[0] == "Created"
    assert table.started.isna().all()


def test_an_explanation_says_hit_or_miss_in_colour_and_why():
    rows = (
        StepExplanation(step=2, name="[1/2] FROM a", detail="found in the cache"),
        StepExplanation(step=3, name="[2/2] RUN <b>", state="miss", reason="changed", detail="ENV A: 1 -> 2", more=2),
    )
    made = to_frame(Table("explanation", rows))
    assert list(made["why"]) == ["", "ENV A: 1 -> 2"]
    assert list(made["changes"]) == [0, 2]
    html = made._repr_html_()
    assert '<span class="ck-ok">hit</span>' in html
    assert '<span class="ck-warn">miss</span>' in html
    assert "&lt;b&gt;" in html
    assert "ENV A: 1 -&gt; 2" in html


def test_the_cache_shows_sizes_and_times_for_people():
    text = repr(frame("cache"))
    assert "5MB" in text
    assert "ago" in text


def test_builds_are_shown_for_people():
    shown = repr(frame("builds"))
    assert "1m 1s" in shown
    assert "RUN make test failed" not in shown  # the column is there, and not in the way
    assert frame("builds").error[0].startswith("[2/2] RUN make test failed")


def test_steps_of_a_build_are_shown_for_people():
    steps = frame("build_steps")
    assert "67.1MB" in repr(steps)
    assert "<NA>" not in repr(steps)
    assert steps.peak_memory.dropna().tolist() == [64 << 20]
    assert steps[steps.state == "cached"].name.tolist() == ["[1/2] FROM docker.io/library/ubuntu:20.04"]


def test_a_column_that_was_picked_is_shown():
    builds, steps = frame("builds"), frame("build_steps")
    assert "error" not in repr(builds).split("\n", 1)[0].split()
    assert repr(builds[["name", "status", "duration", "error"]]).split("\n", 1)[0].split()[-1] == "error"
    assert "instruction" not in repr(steps).split("\n", 1)[0].split()
    assert "instruction" in repr(steps[["step", "instruction", "wall_time"]])


def test_groups_keep_their_names():
    table = frame("images")
    grouped = table.groupby("repository")[["size"]].sum()
    assert table["repository"].iloc[0] in repr(grouped)
    assert table["repository"].iloc[0] in grouped._repr_html_()


def test_dollar_signs_are_no_formulas():
    assert '<div class="ck mathjax_ignore tex2jax_ignore">' in frame("images")._repr_html_()


@pytest.mark.parametrize("kind", list(DTYPES))
def test_every_table_of_ours_is_shown_without_row_numbers(kind):
    assert knows(make_frame(kind, []))
