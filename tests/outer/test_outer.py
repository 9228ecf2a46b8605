"""In every environment: installed from the wheel, doctor, first steps and the course notebooks, as written down."""

from __future__ import annotations

import course
import pytest
from course_bases import base_archive
from pods import compare, daemon
from pods.environments import ENVIRONMENTS
from pods.session import session, side_by_side

pytestmark = [pytest.mark.root, pytest.mark.timeout(1500)]
BY_NAME = {environment.name: environment for environment in ENVIRONMENTS}


@pytest.fixture(scope="session")
def days(request, cache_dir, summary):
    """A future of each environment's day: all that were asked for are started at once."""
    if problem := daemon.why_not():
        pytest.skip(problem)
    asked = {
        item.callspec.params["name"] for item in request.session.items if "name" in getattr(item, "fixturenames", ())
    }
    with session(cache_dir, lambda: base_archive(cache_dir)) as made:
        futures = side_by_side(made.run, tuple(one for one in ENVIRONMENTS if one.name in asked))
        yield futures
        for future in futures.values():
            future.cancel()
        summary.append(f"made: {made.seconds}; downloads: {made.proxy.fetched}")
        summary.extend(line_of(name, future) for name, future in futures.items())


def line_of(name, future):
    """One environment in a line."""
    if future.cancelled() or future.exception() is not None:
        return f"{name}: did not come to its end"
    day = future.result()
    peak = f"{day.result['memory']['programs'] >> 20} MiB" if "limit" in day.result["memory"] else "?"
    return f"{name}: {day.result['doctor']['tier']}, {day.seconds} s {day.result['seconds']}, programs {peak}"


@pytest.mark.parametrize("name", BY_NAME)
def test_a_day(name, days):
    day = days[name].result()
    expected = compare.expected()[name]
    rows = compare.differences(expected, compare.observed(day, BY_NAME[name].notebooks))
    assert not rows, f"{name} differs from expected.toml\n{compare.table_of(rows)}"
    for notebook, failed in expected["notebooks"].items():
        if not failed:
            check(
                course.Ran(day.notebook(notebook)), notebook, alone=expected["inspect"]["Isolation"].get("Pid") == "own"
            )


def check(shown, notebook, *, alone):
    """A notebook that passes shows what it shows elsewhere."""
    match notebook[:2]:
        case "01":
            course.first_image(shown, alone=alone)
        case "02":
            course.c_program(shown)
        case "03":
            course.multi_stage(shown)


@pytest.mark.parametrize("name", ["unconfined"])
def test_a_small_pod_is_enough_for_a_compiler(name, days):
    """One gigabyte without swap: caches fill it, programs must not."""
    memory = days[name].result().result["memory"]
    assert memory["limit"] == 1 << 30
    assert memory["killed"] == 0
    assert 0 < memory["programs"] < 700 << 20
