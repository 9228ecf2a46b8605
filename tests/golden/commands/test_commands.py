"""Whole commands on canned rows: what is printed, where, and the exit code.

A case is a file in ``cases/``: ``$ words`` on a line, then the output; several commands may follow each other. Lines of
standard error begin with ``! ``, a code other than 0 is a last line ``[exit N]``, and trailing blanks end in ``$``.
``CONTEXTKERNEL_UPDATE_GOLDEN=1`` rewrites the output below the commands; look at the difference before you keep it.
"""

import os
import shlex
import time
from pathlib import Path

import pytest

from contextkernel.cli import main
from contextkernel.commands import tables
from contextkernel.model.results import CheckFinding
from contextkernel.testing.fake_engine import FakeEngine
from contextkernel.testing.samples import NOW

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))
UPDATE = os.environ.get("CONTEXTKERNEL_UPDATE_GOLDEN") == "1"


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch):
    monkeypatch.setattr(tables, "utc_now", lambda: NOW)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(Path(__file__).parent)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _run(line, capsys):
    engine = FakeEngine()
    if "--root damaged" in line:
        engine.findings = (CheckFinding(what="layer directory missing", where="layers/3f"),)
    code = main(shlex.split(line), make_engine=lambda _root: engine)
    out, err = capsys.readouterr()
    lines = out.splitlines() + [f"! {text}" for text in err.splitlines()] + ([f"[exit {code}]"] if code else [])
    return "".join(f"{text}$\n" if text.endswith(" ") else f"{text}\n" for text in lines)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case(case, capsys):
    content = case.read_text()
    lines = [line[2:] for line in content.splitlines() if line.startswith("$ ")]
    assert lines
    made = "\n".join(f"$ {line}\n{_run(line, capsys)}" for line in lines)
    if UPDATE:
        case.write_text(made)
    assert made == content


def test_there_are_cases():
    assert len(CASES) >= 8
