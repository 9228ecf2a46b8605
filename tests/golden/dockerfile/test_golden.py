"""Every folder is a case: ``Dockerfile`` and ``result.json``; a new folder is a new case.

``accepted/``: the parsed file, fields at their defaults left out. ``refused/``: the lines of the error.
``CONTEXTKERNEL_UPDATE_GOLDEN=1`` rewrites the results; look at the difference before you keep it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contextkernel.dockerfile import Dockerfile, Instruction, MountWords, Run, expand, parse, resolve_mount
from contextkernel.errors import DockerfileError, Span

HERE = Path(__file__).parent
UPDATE = os.environ.get("CONTEXTKERNEL_UPDATE_GOLDEN") == "1"


def _plain(value: Any) -> Any:
    """A value as JSON that a reader can check against the Dockerfile beside it."""
    if isinstance(value, Span):
        return f"{value.line}:{value.column}-{value.end_line}:{value.end_column}"
    if isinstance(value, MountWords):
        return _plain(resolve_mount(value, lambda word: expand(word, {})))
    if isinstance(value, msgspec.Struct):
        names, defaults = value.__struct_fields__, value.__struct_defaults__
        default = dict(zip(reversed(names), reversed(defaults), strict=False))
        # a COPY's source is a stage, a Dockerfile's is the text that stands in the folder
        left_out = ("source", "file") if isinstance(value, Dockerfile) else ()
        fields = {
            name: _plain(found)
            for name in names
            if name not in left_out and (found := getattr(value, name)) != default.get(name, msgspec.NODEFAULT)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, tuple):
        return [_plain(element) for element in value]
    return value


def _instructions(parsed: Dockerfile) -> list[Instruction]:
    return [*parsed.global_args, *(each for stage in parsed.stages for each in (stage.base, *stage.instructions))]


def _read(case: Path) -> Any:
    text = (case / "Dockerfile").read_bytes()
    try:
        parsed = parse(text)
        for instruction in _instructions(parsed):
            # what is only known once variables are: here there are none
            for words in instruction.mounts if isinstance(instruction, Run) else ():
                resolve_mount(words, lambda word: expand(word, {}), source=parsed.source)
    except DockerfileError as problem:
        return {"refused": problem.lines()}
    scripts = [_plain(each.script()) for each in _instructions(parsed) if isinstance(each, Run) and each.heredocs]
    return {**_plain(parsed), **({"scripts": scripts} if scripts else {})}


CASES = sorted(path.parent for path in HERE.glob("*/*/Dockerfile"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_golden(case: Path) -> None:
    result = _read(case)
    assert ("refused" in result) == (case.parent.name == "refused")
    expected = case / "result.json"
    if UPDATE:
        expected.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert result == json.loads(expected.read_text(encoding="utf-8"))


REFUSED = [case for case in CASES if case.parent.name == "refused"]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_every_refusal_has_a_place_and_a_hint(case: Path) -> None:
    first, *_, last = _read(case)["refused"]
    assert first.startswith("Dockerfile:")
    assert last.startswith("hint: ")


def test_there_are_cases() -> None:
    kinds = [case.parent.name for case in CASES]
    assert kinds.count("accepted") >= 25
    assert kinds.count("refused") >= 20
