"""The import contract: rooms import downwards only, third parties stay at the rim, ctypes in one place."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "contextkernel"
ORDER = (
    "errors",
    "model",
    "dockerfile",
    "plan",
    "layer",
    "linux",
    "host",
    "store",
    "registry",
    "registry_server",
    "fetch",
    "network",
    "runtime",
    "build",
    "engine",
    "commands",
    "cli",
    "notebook",
)
FACES = {"cli", "notebook"}
FACES_SEE = {"errors", "model", "engine", "commands"}
PURE = {"errors", "model", "dockerfile", "plan", "layer"}
RIM = {
    "IPython": {"notebook"},
    "ipywidgets": {"notebook"},
    "pandas": {"notebook"},
    "pyroute2": {"network"},
    "dnslib": {"network"},
    "urllib3": {"registry", "fetch"},
    "dulwich": {"fetch"},
    "ctypes": {"linux"},
    "isal": {"store", "registry"},
    "zstandard": {"store", "registry"},
    "sqlite3": {"store"},
    "tornado": {"registry_server"},
}
#: top-level modules that stand beside the rooms: they may use any face
BESIDE = {"__init__", "__main__", "docker", "testing"}
#: helper processes see only what a small, quick start allows (architecture.md, processes)
LAUNCHER = tuple(
    f"runtime/{name}.py"
    for name in [
        "launcher",
        "monitor",
        "child",
        "child_tree",
        "child_program",
        "child_report",
        "generated",
        "messages",
        "life",
        "birth",
        "channels",
        "relay",
        "links",
        "record",
        "loop",
        "execs",
        "entering",
        "freezing",
        "child_terminal",
        "plan_exec",
        "answering",
        "callers",
        "recorder",
        "recording",
        "detaching",
        "room",
    ]
)
LAUNCHER_SEES = {"errors", "model", "linux", "runtime"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Every imported module with its line, imports under TYPE_CHECKING included: types are dependencies too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "contextkernel" else []
            found += [(node.lineno, name) for name in names or [str(node.module)]]
    return found


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def offences(path: Path, source_room: str, imported: list[tuple[int, str]]) -> list[str]:
    out = []
    for line, name in imported:
        place = f"{path.name}:{line}: {source_room} imports {name}"
        top, _, rest = name.partition(".")
        if top != "contextkernel":
            if top in RIM and source_room not in RIM[top] | {"testing"}:
                out.append(f"{place}: {top} belongs to {', '.join(sorted(RIM[top]))}")
            continue
        target = rest.partition(".")[0]
        if not target or source_room in BESIDE or target in (source_room, "__version__"):
            continue
        if target not in ORDER:
            out.append(f"{place}: no such room")
        elif ORDER.index(target) > ORDER.index(source_room):
            out.append(f"{place}: upwards")
        elif source_room in FACES and target not in FACES_SEE:
            out.append(f"{place}: a face sees {', '.join(sorted(FACES_SEE))} only")
    return out


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_downwards_only(path: Path) -> None:
    assert offences(path, room_of(path), imports_of(path)) == []


@pytest.mark.parametrize(
    "path", [path for path in modules() if room_of(path) in PURE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_pure_module_uses_no_third_party_but_msgspec(path: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"contextkernel", "msgspec"}
    assert [(line, name) for line, name in imports_of(path) if name.partition(".")[0] not in allowed] == []


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launcher_stays_small(name: str) -> None:
    path = PACKAGE / name
    rooms = {module.split(".")[1] for _, module in imports_of(path) if module.startswith("contextkernel.")}
    assert rooms <= LAUNCHER_SEES


def test_the_launcher_loads_no_more_than_that() -> None:
    """What it imports imports more: all of it is loaded before the first container, and copied for each."""
    code = "import sys, msgspec; before = set(sys.modules); import contextkernel.runtime.launcher; "
    code += "print(*set(sys.modules) - before)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(result.stdout.split())
    assert {name.split(".")[1] for name in loaded if name.startswith("contextkernel.")} == LAUNCHER_SEES
    assert loaded & {"shutil", "subprocess", "tempfile", "sqlite3"} == set()


def test_offences_are_found(tmp_path: Path) -> None:
    imported = [(1, "contextkernel.engine"), (2, "pandas"), (3, "contextkernel.model.digest")]
    found = offences(tmp_path / "x.py", "plan", imported)
    assert found == [
        "x.py:1: plan imports contextkernel.engine: upwards",
        "x.py:2: plan imports pandas: pandas belongs to notebook",
    ]
    assert offences(tmp_path / "y.py", "cli", [(4, "contextkernel.store")]) == [
        "y.py:4: cli imports contextkernel.store: a face sees commands, engine, errors, model only"
    ]


def test_modules_stay_readable() -> None:
    """Hard limit of 600 lines a module (data tables excepted): a second idea gets its own room."""
    tables = {"seccomp_policy.py", "syscall_tables.py", "syscall_table.py"}
    long = {
        str(path): count
        for path in modules()
        if (count := len(path.read_text().splitlines())) > 600 and path.name not in tables
    }
    assert long == {}
