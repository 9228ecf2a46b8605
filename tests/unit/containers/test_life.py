"""What is asked of a container's life: health checks, log drivers, restart policies."""

from __future__ import annotations

from typing import Any

import pytest

from contextkernel.engine.asked.life import life_from
from contextkernel.engine.log_lines import lines_of
from contextkernel.errors import InvalidInput
from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.model.life import Life, LogOptions, LogRules, RestartPolicy
from contextkernel.model.oci import Healthcheck, RunConfig
from contextkernel.runtime.log_options import check, rules
from contextkernel.runtime.log_reading import LogRecord
from contextkernel.runtime.spec import merge_life

IMAGES = Healthcheck(test=("CMD", "true"), interval=5 * 10**9, timeout=10**9, retries=2)


def spec(driver: str = "json-file", **options: str) -> ContainerSpec:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return ContainerSpec(
        id="ab" * 32,
        name="web",
        image="busybox:1",
        image_id=Digest.of(b""),
        argv=("sh",),
        env=("PATH=/bin", "TIER=front"),
        labels={"team": "blue", "kind": "x y"},
        created=0,
        life=Life(logs=LogOptions(driver=driver, options=named)),
    )


@pytest.mark.parametrize(
    ("asked", "image", "merged"),
    [
        (None, None, None),
        (None, IMAGES, IMAGES),
        (
            Healthcheck(test=("NONE",)),
            IMAGES,
            Healthcheck(test=("NONE",), interval=5 * 10**9, timeout=10**9, retries=2),
        ),
        (Healthcheck(retries=9), None, Healthcheck(retries=9)),
        (
            Healthcheck(retries=9),
            IMAGES,
            Healthcheck(test=("CMD", "true"), interval=5 * 10**9, timeout=10**9, retries=9),
        ),
        (
            Healthcheck(test=("CMD-SHELL", "x"), start_period=7),
            IMAGES,
            Healthcheck(test=("CMD-SHELL", "x"), interval=5 * 10**9, timeout=10**9, retries=2, start_period=7),
        ),
    ],
)
def test_the_user_s_health_check_is_completed_by_the_image_s(asked: Any, image: Any, merged: Any) -> None:
    assert merge_life(Life(healthcheck=asked), RunConfig(healthcheck=image)).healthcheck == merged


def test_nothing_asked_is_docker_s_default() -> None:
    assert life_from({}) == Life()


def test_dictionaries_of_docker_py_are_taken() -> None:
    life = life_from(
        {
            "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "healthcheck": {"test": "wget localhost", "interval": 10**9, "start_period": 2 * 10**9},
            "log_config": {"type": "local", "config": {"max-size": "1m"}},
        }
    )
    assert life == Life(
        restart=RestartPolicy(name="on-failure", maximum_retries=2),
        healthcheck=Healthcheck(test=("CMD-SHELL", "wget localhost"), interval=10**9, start_period=2 * 10**9),
        logs=LogOptions(driver="local", options={"max-size": "1m"}),
    )
    assert life_from({"healthcheck": {"Test": ["CMD", "a", "b"], "StartPeriod": 10**9}}).healthcheck == Healthcheck(
        test=("CMD", "a", "b"), start_period=10**9
    )


@pytest.mark.parametrize(
    ("healthcheck", "problem"),
    [
        ({"test": ["CMD", "x"], "interval": 1000}, "interval of 1000 ns is less than 1 ms"),
        ({"test": ["CMD", "x"], "timeout": -1}, "timeout of -1 ns"),
        ({"test": ["CMD", "x"], "start_period": 5}, "start period of 5 ns"),
        ({"test": ["CMD", "x"], "retries": -1}, "retries cannot be negative"),
        ({"test": ["SHELL", "x"]}, "unknown kind of test 'SHELL'"),
        ({"test": ["CMD", "x"], "interval": "soon"}, "Expected `int`"),
    ],
)
def test_bad_health_checks_are_refused(healthcheck: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        life_from({"healthcheck": healthcheck})


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        (spec(), LogRules()),
        (spec("local"), LogRules(max_size=20_000_000, max_files=5)),
        (spec("local", max_size="1m", max_file="2"), LogRules(max_size=1 << 20, max_files=2)),
        (spec(max_size="10k"), LogRules(max_size=10240)),
        (spec(max_size="10k", max_file="3"), LogRules(max_size=10240, max_files=3)),
        (spec(labels="team,missing", env="TIER"), LogRules(attributes={"team": "blue", "TIER": "front"})),
        (spec(labels_regex="^ki", env_regex="IE"), LogRules(attributes={"kind": "x y", "TIER": "front"})),
        (spec(tag="{{.Name}}/{{.ID}}"), LogRules(attributes={"tag": "web/abababababab"})),
        (spec(mode="non-blocking"), LogRules()),
    ],
)
def test_how_a_log_is_written(logs: ContainerSpec, expected: LogRules) -> None:
    check(logs.life.logs)
    assert rules(logs) == expected


@pytest.mark.parametrize(
    ("logs", "problem"),
    [
        (spec("syslog"), "no log driver 'syslog'"),
        (spec("none", max_size="1m"), "log driver none takes no options, got max-size"),
        (spec(colour="red"), "unknown log option 'colour' for log driver json-file"),
        (spec("local", labels="a"), "unknown log option 'labels' for log driver local"),
        (spec(max_size="big"), "max-size: invalid size 'big'"),
        (spec(max_size="-1"), "max-size: invalid size '-1'"),
        (spec(max_size=""), "max-size: invalid size ''"),
        (spec(max_size="0"), "max-size: invalid size '0'"),
        (spec(max_file="x"), "max-file: 'x' is not a whole number"),
        (spec(max_file="0"), "max-file cannot be less than 1"),
        (spec(compress="true"), "compress cannot be true when"),
        (spec(compress="true", max_size="1m", max_file="2"), "not compressed here"),
        (spec(compress="maybe"), "neither true nor false"),
        (spec(mode="fast"), "log mode 'fast'"),
        (spec(labels_regex="("), "labels-regex: not a regular expression"),
        (spec(tag="{{.Nope}}"), "cannot be filled in"),
        (spec(tag='{{index .X "y"}}'), "cannot be filled in"),
    ],
)
def test_bad_log_options_are_refused(logs: ContainerSpec, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        check(logs.life.logs)


def test_what_logs_puts_before_a_line() -> None:
    records = [LogRecord("one\n", "stdout", "T", {"b": "x y", "a": "1/2"}), LogRecord("two", "stderr", "T")]
    assert list(lines_of(records, timestamps=False, details=False)) == [("stdout", b"one\n"), ("stderr", b"two")]
    assert list(lines_of(records, timestamps=True, details=True)) == [
        ("stdout", b"T a=1%2F2,b=x+y one\n"),
        ("stderr", b"T  two"),
    ]
