"""The build cache on the command line: explanations, prune, du, system df."""

from __future__ import annotations

import json

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.tables import text_of
from contextkernel.commands.verbs_cache import cache_filter
from contextkernel.errors import InvalidInput, UsageProblem
from contextkernel.model.cache import CacheFilter, CacheLimits, parse_size
from contextkernel.testing.samples import cache_rows

HOUR = 3600 * 10**9


def run(engine, face, *words):
    return text_of(execute(lambda: engine, words, face).value)


def test_explain_is_a_table_with_each_change_on_a_line(engine, face):
    assert run(engine, face, "build", "--explain", ".").splitlines() == [
        "STEP   CACHE   NAME                       WHY",
        "2      hit     [1/2] FROM ubuntu:20.04",
        "3      miss    [2/2] RUN apt-get update   2 inputs changed:",
        "                                            ARG VERSION: 1 -> 2",
        "                                            ENV MODE added: a",
    ]


def test_explain_as_json_has_everything(engine, face):
    rows = [json.loads(line) for line in run(engine, face, "build", "--explain", "--format", "json", ".").splitlines()]
    assert rows[1]["Result"] == "miss"
    assert rows[1]["Reason"] == "changed"
    assert rows[1]["Changes"][0] == {
        "Change": "changed",
        "Input": "ARG",
        "Name": "VERSION",
        "New": "2",
        "Old": "1",
    }


def test_explain_with_a_template(engine, face):
    assert run(engine, face, "build", "--explain", "--format", "{{.Step}}:{{.Result}}", ".") == "2:hit\n3:miss\n"


def test_explain_goes_with_quiet(engine, face):
    assert run(engine, face, "build", "-q", "--explain", ".").startswith("STEP")
    assert face.progress[0] == "quiet"


def test_explain_is_not_for_check(engine, face):
    with pytest.raises(UsageProblem, match="--check builds nothing"):
        run(engine, face, "build", "--explain", "--check", ".")


def test_du_has_docker_s_columns(engine, face):
    lines = run(engine, face, "builder", "du").splitlines()
    assert lines[0].split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]
    assert lines[1].split()[:3] == ["a" * 25, "true", "5MB"]
    assert lines[2].split()[:3] == ["b" * 25, "true", "300B*"]
    assert lines[3].split()[:3] == ["c" * 14 + "*", "false", "700B"]
    assert run(engine, face, "buildx", "du", "--filter", "type=regular").count("\n") == 3


def test_du_verbose_adds_up(engine, face):
    text = run(engine, face, "builder", "du", "--verbose")
    assert "Description:  [2/3] RUN make" in text
    assert text.endswith("Shared:         300B\nPrivate:        5MB\nReclaimable:    5MB\nTotal:          5MB\n")


def test_prune_asks_first(engine, face):
    face.answer = False
    assert run(engine, face, "builder", "prune") == ""
    assert engine.calls == []
    assert "all dangling build cache" in face.questions[0]


def test_prune_lists_what_went_and_the_total(engine, face):
    text = run(engine, face, "builder", "prune", "-f")
    assert text.splitlines()[1].startswith("a" * 25)
    assert "b" * 25 not in text
    assert text.endswith("Total:\t5MB\n")
    assert run(engine, face, "builder", "prune", "-f") == "Total:\t0B\n"


def test_prune_all_and_limits_reach_the_engine(engine, face):
    run(engine, face, "buildx", "prune", "-af", "--max-used-space", "1gb", "--reserved-space=5MB")
    assert engine.calls[0] == (
        "prune_build_cache",
        {"limits": CacheLimits(max_used=10**9, reserved=5 * 10**6), "all": True},
    )
    run(engine, face, "builder", "prune", "-f", "--keep-storage=2k")
    assert engine.calls[2][1]["limits"] == CacheLimits(reserved=2000)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--max-used-space=lots",), "'lots' is not a size"),
        (("--filter", "colour=red"), "invalid filter 'colour'"),
        (("--filter", "until=yesterday"), "invalid filter until=yesterday"),
    ],
)
def test_bad_values_are_told(engine, face, words, text):
    with pytest.raises(UsageProblem, match=text):
        run(engine, face, "builder", "prune", "-f", *words)


def test_filters():
    assert cache_filter(["until=1h30m"], 10 * HOUR) == CacheFilter(used_before=int(8.5 * HOUR))
    assert cache_filter(["until=24h", "unused-for=1h"], 100 * HOUR).used_before == 76 * HOUR
    assert cache_filter(["until=1700000000"], 0).used_before == 1_700_000_000 * 10**9
    assert cache_filter(["until=2026-01-02T03:04:05+00:00"], 0).used_before == 1_767_323_045 * 10**9
    assert cache_filter(["shared", "inuse=false", "type=regular"], 0) == CacheFilter(
        shared=True, in_use=False, types=("regular",)
    )
    assert cache_filter(["private"], 0).shared is False
    rows = cache_rows()
    assert [row.id[0] for row in rows if CacheFilter(ids=("a", "c")).fits(row)] == ["a", "c"]
    assert [row.id[0] for row in rows if CacheFilter(mutable=True).fits(row)] == ["c"]
    assert [row.id[0] for row in rows if CacheFilter(in_use=True).fits(row)] == ["c"]
    assert [row.id[0] for row in rows if CacheFilter(description=("make",)).fits(row)] == ["a"]
    moment = int(rows[0].used.timestamp()) * 10**9
    assert not any(CacheFilter(used_before=moment).fits(row) for row in rows)
    assert all(CacheFilter(used_before=moment + 1).fits(row) for row in rows)


@pytest.mark.parametrize(
    ("limits", "free", "kept"),
    [
        (CacheLimits(), 0, None),
        (CacheLimits(max_used=60), 0, 60),
        (CacheLimits(reserved=60), 0, 60),
        (CacheLimits(max_used=60, reserved=80), 0, 80),
        (CacheLimits(min_free=50), 50, 100),
        (CacheLimits(min_free=50), 20, 70),
        (CacheLimits(min_free=500), 20, 0),
        (CacheLimits(max_used=90, min_free=50), 20, 70),
        (CacheLimits(max_used=10, min_free=50), 20, 10),
        (CacheLimits(min_free=500, reserved=30), 20, 30),
    ],
)
def test_limits_are_buildkit_s(limits, free, kept):
    assert limits.keep(100, free) == kept


def test_sizes():
    assert [parse_size(text) for text in ("7", "1k", "20GB", "1.5gib", "3 MB")] == [
        7,
        1000,
        20 * 10**9,
        3 << 29,
        3 * 10**6,
    ]
    for text in ("", "GB", "-1", "1x"):
        with pytest.raises(InvalidInput, match="is not a size"):
            parse_size(text)


def test_system_df(engine, face):
    lines = run(engine, face, "system", "df").splitlines()
    assert lines[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert lines[1].split() == ["Images", "3", "1", "72.8MB", "36MB", "(49%)"]
    assert lines[2].split() == ["Build", "Cache", "2", "0", "5MB", "5MB"]
