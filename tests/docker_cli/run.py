"""The scripted comparison with docker at the terminal.

    python tests/docker_cli/run.py check [CASE...]      ours against docker's recorded results
    python tests/docker_cli/run.py compare [CASE...]    both tools now, side by side
    python tests/docker_cli/run.py record [CASE...]     write docker's results to recorded/
    python tests/docker_cli/run.py settle               check, and write this tier's list in not_yet.toml
    python tests/docker_cli/run.py table                write the table of agreement in docs/compatibility.md

CASE is a name or a pattern, such as `exec/*`. compare and record need a docker engine that you started: DOCKER names
its client, DOCKER_HOST the engine. JOBS is the number of cases that are played at the same time (2).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "conformance")]

from dockercli.agreement import table  # noqa: E402
from dockercli.cases import HERE, Case, cases, command_lines  # noqa: E402
from dockercli.playing import play  # noqa: E402
from dockercli.tools import Docker, Ours, Tool  # noqa: E402
from dockercli.verdicts import not_yet, recorded, tier, verdict  # noqa: E402

PAGE = HERE.parent.parent / "docs" / "compatibility.md"
JOBS = int(os.environ.get("JOBS", "2"))
Results = list[dict[str, Any]]


def all_played(chosen: list[Case], tool: Tool) -> Iterator[tuple[Case, Results]]:
    """Several at a time, given back in their order."""
    with ThreadPoolExecutor(JOBS) as pool:
        yield from zip(chosen, pool.map(lambda case: play(case, tool), chosen), strict=True)


def judged(chosen: list[Case], tool: Tool, docker: dict[str, Results]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    listed = not_yet()[tier()]
    for case, results in all_played(chosen, tool):
        problems = found[case.full_name] = verdict(case, results, docker[case.full_name], tier())
        word = ("not yet" if problems else "AGREES NOW") if case.full_name in listed else "DIFFERENT"
        print(f"{word if problems or case.full_name in listed else 'same':12} {case.full_name}", flush=True)
        if word != "not yet" or os.environ.get("LOUD"):
            print("\n".join(f"    {text}" for text in problems) + "\n" if problems else "", end="")
    return found


def of_records(chosen: list[Case]) -> dict[str, Results]:
    found = {case.full_name: recorded(case.group).get(case.name) for case in chosen}
    for case in chosen:
        results = found[case.full_name]
        if results is None or [result["line"] for result in results] != [line.text for line in case.lines]:
            sys.exit(f"{case.full_name} has no recorded result of its present script: record it")
    return {name: results for name, results in found.items() if results is not None}


def ours(chosen: list[Case], folder: Path, docker: dict[str, Results]) -> dict[str, list[str]]:
    tool = Ours(folder)
    try:
        tool.prepare()
        return judged(chosen, tool, docker)
    finally:
        for text in tool.close():
            print(f"LEFT BEHIND  {text}")


def check(chosen: list[Case], folder: Path) -> int:
    found = ours(chosen, folder, of_records(chosen))
    listed = not_yet()[tier()]
    bad = [name for name, problems in found.items() if bool(problems) != (name in listed)]
    lines = sum(command_lines(case) for case in chosen)
    same = sum(not problems for problems in found.values())
    print(f"{same} of {len(found)} cases agree ({lines} command lines in all), {len(bad)} unexpected")
    return len(bad)


def settle(chosen: list[Case], folder: Path) -> int:
    found = ours(chosen, folder, of_records(chosen))
    lists = {name: set(names) for name, names in not_yet().items()}
    lists[tier()] -= {case.full_name for case in chosen}
    lists[tier()] |= {name for name, problems in found.items() if problems}
    text = "# Cases that do not agree with docker yet, by tier. A case that is here and agrees fails the test.\n"
    for name, names in lists.items():
        text += f"{name} = [\n" + "".join(f'  "{entry}",\n' for entry in sorted(names)) + "]\n"
    (HERE / "not_yet.toml").write_text(text, encoding="utf-8")
    print({name: len(names) for name, names in lists.items()})
    return 0


def record(chosen: list[Case], folder: Path) -> int:
    tool = Docker(folder)
    tool.prepare()
    bad = 0
    for case, results in all_played(chosen, tool):
        tool.clean(case.prefix)
        problems = [
            f"line {line.number} is to say {words!r}: {result['err']!r}"
            for line, result in zip(case.lines, results, strict=True)
            for words in line.says
            if words.lower() not in result["err"].lower()
        ]
        problems += [
            f"line {line.number} fails, and the case does not say how: {line.text}: {result['err']!r}"
            for line, result in zip(case.lines, results, strict=True)
            if result["err"] and result["code"] not in (0, 1) and not line.says and "exit" not in line.text
        ]
        path = HERE / "recorded" / f"{case.group}.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        wanted = [known.name for known in cases(f"{case.group}/*")]
        if before.get(case.name) != results or problems:
            print(f"{'changed' if case.name in before else 'new':8} {case.full_name}", *problems, sep="\n    ")
        before[case.name] = results
        kept = {name: before[name] for name in wanted if name in before}
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        bad += bool(problems)
    tool.close()
    return bad


def compare(chosen: list[Case], folder: Path) -> int:
    for name in ("docker", "ours"):
        (folder / name).mkdir()
    tool = Docker(folder / "docker")
    tool.prepare()
    docker = {}
    for case, results in all_played(chosen, tool):
        tool.clean(case.prefix)
        docker[case.full_name] = results
    tool.close()
    found = ours(chosen, folder / "ours", docker)
    return sum(bool(problems) for problems in found.values())


def agreement(chosen: list[Case], folder: Path) -> int:  # noqa: ARG001
    print(table(chosen))
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"\| group \| scripts .*?\n\n", lambda _: f"{table(chosen)}\n\n", text, flags=re.DOTALL)
    count = f"{sum(map(command_lines, chosen)):,} command lines"
    PAGE.write_text(re.sub(r"[\d,]+ command lines", count, text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    commands = {"check": check, "compare": compare, "record": record, "settle": settle, "table": agreement}
    if sys.argv[1:2] and sys.argv[1] in commands:
        with tempfile.TemporaryDirectory(prefix="docker-cli-", ignore_cleanup_errors=True) as scratch:
            sys.exit(min(commands[sys.argv[1]](cases(*sys.argv[2:]), Path(scratch)), 1))
    sys.exit(__doc__)
