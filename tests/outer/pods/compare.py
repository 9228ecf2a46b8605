"""What was found beside what is written down."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pods.session import Day

TABLE = Path(__file__).parents[1] / "expected.toml"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def observed(day: Day, notebooks: tuple[str, ...]) -> dict[str, Any]:
    """What is compared, in the form of ``expected.toml``.

    Args:
        day: of an environment.
        notebooks: that ran.
    """
    result = day.result
    return {
        "tier": result["doctor"]["tier"],
        "facts": {fact["name"]: fact["verdict"] for fact in result["doctor"]["facts"]},
        "remedies": [f"{remedy['fact']}: {remedy['where']}" for remedy in result["doctor"]["remedies"]],
        "build": _outcome(result["build"]),
        "run": _outcome(result["run"]),
        "inspect": result["inspect"] or {},
        "notebooks": {name: failures(day.notebook(name)) for name in notebooks},
    }


def _outcome(command: dict[str, Any]) -> dict[str, Any]:
    says = _COLOURS.sub("", command["says"]).splitlines()
    wanted = re.compile(r"(?:#\d+ )?(warning|WARN\w*|contextkernel|hint)\b:?", re.IGNORECASE)
    return {"exit": command["exit"], "says": [line for line in says if wanted.match(line)]}


def failures(notebook: Any) -> dict[str, str]:
    """Cells that failed and were not meant to: the first line of each, with the error."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type != "code" or "raises-exception" in cell.metadata.get("tags", ()):
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                found[cell.source.splitlines()[0]] = f"{output.ename}: {output.evalue.splitlines()[0]}"
    return found


def expected() -> dict[str, dict[str, Any]]:
    """``expected.toml`` by environment; what an environment does not say is as in the one it is ``like``."""
    table = tomllib.loads(TABLE.read_text())

    def whole(name: str) -> dict[str, Any]:
        own = dict(table[name])
        base = own.pop("like", None)
        # notebooks are those that run, in no other environment
        return (
            merged(whole(base), own) | {"notebooks": own.get("notebooks") or whole(base)["notebooks"]} if base else own
        )

    return {name: whole(name) for name in table}


def merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """``base`` with what ``own`` says instead."""
    result = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Places where the two differ: path, what is expected, what was found; a list of ``"any of"`` matches its members.

    Keys of ``inspect`` are compared if they are expected; everywhere else nothing may be there that is not expected.
    """
    return list(_differences("", wanted, found))


def _differences(path: str, wanted: Any, found: Any):
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [*wanted, *(key for key in found if key not in wanted and path.partition(".")[0] != "inspect")]
        for key in keys:
            below = f"{path}.{key}" if path else str(key)
            if isinstance(wanted.get(key), dict) and wanted[key].keys() == {"any_of"}:
                if found.get(key) not in wanted[key]["any_of"]:
                    yield below, wanted[key], found.get(key)
            else:
                yield from _differences(below, wanted.get(key, "(nothing)"), found.get(key, "(nothing)"))
    elif wanted != found:
        yield path, wanted, found


def table_of(rows: list[tuple[str, Any, Any]]) -> str:
    """Differences as text, expected and found one above the other."""
    return "\n".join(f"{path}\n  expected  {wanted!r}\n  found     {found!r}" for path, wanted, found in rows)


def as_toml(name: str, found: dict[str, Any]) -> str:
    """What was found, to be looked at and put into ``expected.toml``."""
    import json

    lines = [f"[{name}]"]
    tables = []
    for key, value in found.items():
        if isinstance(value, dict):
            tables.append((key, value))
        else:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in tables:
        lines.append(f"[{name}.{key}]")
        for inner, content in value.items():
            if isinstance(content, dict):
                pairs = ", ".join(f"{json.dumps(a, ensure_ascii=False)} = {json.dumps(b, ensure_ascii=False)}"
                                  for a, b in content.items())  # fmt: skip
                lines.append(f"{json.dumps(inner)} = {{ {pairs} }}" if pairs else f"{json.dumps(inner)} = {{}}")
            else:
                lines.append(f"{inner} = {json.dumps(content, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
