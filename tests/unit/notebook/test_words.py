"""The line of a magic as words."""

from __future__ import annotations

import pytest

from contextkernel.errors import UsageProblem
from contextkernel.notebook.words import split


def words(line):
    return split(line, {"NAME": "greet", "TWO": "a b"}.get, "/home/me/work", "/home/me")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  build -t greet:v0.1   . ", ["build", "-t", "greet:v0.1", "."]),
        ("inspect --format '{{.Config.Env}}' greet", ["inspect", "--format", "{{.Config.Env}}", "greet"]),
        ("run greet \"two words\" '$NAME'", ["run", "greet", "two words", "$NAME"]),
        ("run $NAME", ["run", "greet"]),
        ('run -e X="${NAME}x" greet', ["run", "-e", "X=greetx", "greet"]),
        ("run -e TWO=$TWO greet", ["run", "-e", "TWO=a b", "greet"]),
        ("run -e X=$UNKNOWN_THING $ $1", ["run", "-e", "X=$UNKNOWN_THING", "$", "$1"]),
        ("run -v $(pwd):/app -v `pwd`/x:/x g", ["run", "-v", "/home/me/work:/app", "-v", "/home/me/work/x:/x", "g"]),
        ("load -i ~/a.tar a~b ~you", ["load", "-i", "/home/me/a.tar", "a~b", "~you"]),
        (r"run greet a\ b \"q\" \$NAME", ["run", "greet", "a b", '"q"', "$NAME"]),
        (r'run sh -c "echo \"hi\" \n"', ["run", "sh", "-c", r'echo "hi" \n']),
        ("run greet '' \"\"", ["run", "greet", "", ""]),
        ("run sh -c 'a | b > c; d'", ["run", "sh", "-c", "a | b > c; d"]),
        ("ps --filter name=a|b", ["ps", "--filter", "name=a|b"]),
        (
            "run --name caf\u00e9 greet # not a comment",
            ["run", "--name", "caf\u00e9", "greet", "#", "not", "a", "comment"],
        ),
    ],
)
def test_words(line, expected):
    assert words(line) == expected


@pytest.mark.parametrize("line", ["images | head", "save greet > x.tar", "ps ; ps", "run greet 2>&1", "ps && ps"])
def test_an_operator_of_a_shell_is_refused_with_a_hint(line):
    with pytest.raises(UsageProblem, match="goes to no shell") as caught:
        words(line)
    assert caught.value.hint


@pytest.mark.parametrize("line", ["run 'open", 'run "open'])
def test_an_open_quote_is_refused(line):
    with pytest.raises(UsageProblem, match="no closing"):
        words(line)
