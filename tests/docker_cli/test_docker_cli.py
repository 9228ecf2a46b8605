"""Every command line does what docker did with it, but for what is listed with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dockercli.cases import Case, cases, command_lines
from dockercli.normal import TREATMENTS
from dockercli.playing import play
from dockercli.tools import Ours
from dockercli.verdicts import TIERS, different, not_yet, recorded, tier, verdict

ALL = cases()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """All cases, two at a time, in one store; nothing is left of them."""
    folder = Path(tmp_path_factory.mktemp("docker-cli"))
    tool = Ours(folder)
    try:
        tool.prepare()
        with ThreadPoolExecutor(4) as pool:
            results = pool.map(lambda case: play(case, tool), ALL)
            found = {case.full_name: result for case, result in zip(ALL, results, strict=True)}
        yield found
    finally:
        left = tool.close()
    assert left == []


def test_the_cases_are_sound() -> None:
    names = [case.name for case in ALL]
    assert len(names) == len(set(names)), "names are prefixes of containers: unique among all groups"
    assert sum(map(command_lines, ALL)) >= 150
    for case in ALL:
        of_docker = recorded(case.group)[case.name]
        assert [result["line"] for result in of_docker] == [line.text for line in case.lines], case.full_name
        for line, result in zip(case.lines, of_docker, strict=True):
            assert set(line.treatments) <= TREATMENTS, line
            for words in line.says:
                assert words.lower() in result["err"].lower(), line


def test_what_differs_is_of_cases() -> None:
    lines = {(case.full_name, line.number) for case in ALL for line in case.lines}
    assert set(different()) <= lines
    for entry in different().values():
        assert entry["why"]
        assert set(entry.get("tiers", TIERS)) <= set(TIERS)
    for names in not_yet().values():
        assert names <= {case.full_name for case in ALL}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.full_name.replace("/", "-"))
def test_it_does_what_docker_does(case: Case, played: dict[str, list[dict[str, Any]]]) -> None:
    problems = verdict(case, played[case.full_name], recorded(case.group)[case.name], tier())
    if case.full_name in not_yet()[tier()]:
        assert problems, "it agrees now: take it out of not_yet.toml"
    else:
        assert problems == []
