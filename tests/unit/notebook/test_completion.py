"""Completion of magic lines, through the shell's own completer."""

from __future__ import annotations

import pytest

from contextkernel.notebook import load
from contextkernel.notebook.completion import candidates


def complete(cells, text):
    """Candidates as a front end gets them: the text that each one makes of the cell."""
    completer = cells.shell.Completer
    completer.use_jedi = False
    return [
        text[: found.start] + found.text + text[found.end :]
        for found in completer.completions(text, len(text))
        if found.type == "container"
    ]


@pytest.mark.filterwarnings("ignore:.*provisional.*")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%container imag", ["%container image", "%container images"]),
        ("%container image hist", ["%container image history"]),
        ("rows = %container ima", ["rows = %container image", "rows = %container images"]),
        ("x = 1\n%docker run --re", ["x = 1\n%docker run --read-only"]),
        ("%container run gree", ["%container run greet", "%container run greeting-c:v0.1"]),
        ("%container run greeting-c:v", ["%container run greeting-c:v0.1"]),
        ("%container rm ga", ["%container rm gallant_mendeleev"]),
        ("%%container run --rm ub", ["%%container run --rm ubuntu:20.04"]),
        ("%%dockerfile --no-", ["%%dockerfile --no-cache"]),
        ("%%dockerfile -t x\nFROM ub", ["%%dockerfile -t x\nFROM ubuntu:20.04"]),
        ("%%dockerfile -t x\nFROM x\nENT", ["%%dockerfile -t x\nFROM x\nENTRYPOINT"]),
        ("%%dockerfile -t x\nwork", ["%%dockerfile -t x\nWORKDIR"]),
    ],
)
def test_completion(cells, text, expected):
    found = complete(cells, text)
    assert [word for word in found if word in expected] == expected
    assert all(word.startswith(text[:12]) for word in found)


@pytest.mark.parametrize(
    "text",
    [
        "container ima",
        "print('%container ima",
        "%%dockerfile -t x\nRUN apt-get ",
        "%%bash\n%%container ru",
        "%timeit x",
    ],
)
def test_other_text_is_not_ours(cells, text):
    assert candidates(text, cells.make_engine) is None


def test_variables_that_may_be_a_context(cells):
    variables = {"files": {}, "folder": "/tmp", "_": {}, "count": 3, "fine": {"a": "b"}}
    for text in ("%%dockerfile -t x --context-var f", "%container build --context-var=f"):
        assert candidates(text, cells.make_engine, variables) == ("f", ["files", "fine"])
    assert candidates("%%dockerfile --context-var \nRUN --context-var f", cells.make_engine, variables) is None


def test_commands_need_no_engine(cells):
    assert candidates("%container ima", cells.make_engine)[1]
    assert cells.made == []


@pytest.mark.filterwarnings("ignore:.*provisional.*")
def test_a_completion_never_fails(shell):
    def broken():
        raise RuntimeError

    load(shell, broken)
    shell.Completer.use_jedi = False
    assert [
        found.text for found in shell.Completer.completions("%container run ", 15) if found.type == "container"
    ] == []
