"""A case is a short script of command lines in docker's grammar; a file of cases is a group.

``cases/GROUP.toml`` holds ``[[case]]`` tables:

``name``
    unique among all groups.
``about``
    the idea, for readers.
``script``
    one command line on each line, for bash. ``docker`` is the tool that is judged; ``$N`` is the prefix of all names
    the case uses, so that cases do not meet each other; the current directory is empty and the case's own. Beside
    ``docker`` there are the programs of ``tools/``. A line may end in comments that say how it is judged:

    ``#! WORDS | WORDS``
        standard error has these words, in both tools, in any case of letters.
    ``#: TREATMENT ...``
        what is done to standard output before it is compared; see :mod:`dockercli.normal`.

``files``
    name to text: what lies in the directory before the first line.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).parent.parent
_NOTE = re.compile(r"\s+#([!:]) (.*?)(?=\s+#[!:] |$)")


@dataclass(frozen=True)
class Line:
    """One command line.

    Attributes:
        number: its place in the script, from 1.
        text: what the shell runs.
        says: words that standard error has.
        treatments: of standard output.
    """

    number: int
    text: str
    says: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A script.

    Attributes:
        group: the file's name.
        name: the case's own name.
        lines: its command lines.
        files: name to text.
        about: the idea.
    """

    group: str
    name: str
    lines: tuple[Line, ...]
    files: dict[str, str] = field(default_factory=dict)
    about: str = ""

    @property
    def full_name(self) -> str:
        """``group/name``."""
        return f"{self.group}/{self.name}"

    @property
    def prefix(self) -> str:
        """Of all names that the case uses: ``$N``."""
        return f"c-{self.name}"

    @property
    def text(self) -> str:
        """All that the case says: what stands here literally is not normalised in outputs."""
        return "\n".join((*(line.text for line in self.lines), *self.files.values())).replace("$N", self.prefix)


def command_lines(case: Case) -> int:
    """How many lines of a case give the tool a command."""
    return sum(bool(re.search(r"\bdocker\b", line.text)) for line in case.lines)


def cases(*patterns: str) -> list[Case]:
    """The cases whose names match.

    Args:
        patterns: shell patterns, ``lifecycle/*``; none for all.
    """
    found: list[Case] = []
    for path in sorted((HERE / "cases").glob("*.toml")):
        for table in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            case = Case(
                group=path.stem,
                name=table["name"],
                lines=_lines(table["script"]),
                files=table.get("files", {}),
                about=table.get("about", ""),
            )
            if not patterns or any(fnmatchcase(case.full_name, pattern) for pattern in patterns):
                found.append(case)
    return found


def _lines(script: str) -> tuple[Line, ...]:
    found: list[Line] = []
    for raw in script.strip().splitlines():
        if not raw.strip():
            continue
        says: tuple[str, ...] = ()
        treatments: tuple[str, ...] = ()
        for note in _NOTE.finditer(raw):
            if note[1] == "!":
                says = tuple(word.strip() for word in note[2].split("|"))
            else:
                treatments = tuple(note[2].split())
        found.append(Line(len(found) + 1, _NOTE.sub("", raw).strip(), says, treatments))
    return tuple(found)
