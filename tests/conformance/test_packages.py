"""Packages, archives, users and a wheel, installed without a network: files, modes and owners are docker's.

On a single id too, where the host cannot hold any owner. The owners in packages.json were recorded from docker:
`python tests/conformance/run.py packages`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest
from judge import packages

from contextkernel import Engine
from contextkernel.host import inspect
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.results import RunResult

RECORDED = Path(__file__).with_name("packages.json")


def single(root: Path) -> Engine:
    """An engine that uses no more than one id, whatever this host allows."""
    found = inspect(str(root))
    one = IdMap((IdRange(0, os.geteuid(), 1),), (IdRange(0, os.getegid(), 1),))
    report = msgspec.structs.replace(found.report, tier="rootless-single")
    return Engine(root, host=msgspec.structs.replace(found, idmap=one, report=report))


@pytest.mark.parametrize("ids", ["as they are", "one id"])
def test_what_is_installed_has_dockers_owners(ids: str, tmp_path: Path) -> None:
    root, base = tmp_path / "store", str(packages.prepare(tmp_path))
    if inspect(str(root)).report.tier not in ("rootful", "rootless", "rootless-single"):
        pytest.skip("this host allows no user namespaces")
    with single(root) if ids == "one id" else Engine(root) as engine:
        engine.import_image(base, packages.BASE)
        done = engine.run(
            packages.BASE,
            ["/bin/sh", "-c", packages.SCRIPT],
            name="installer",
            network="none",
            volumes=["/usr:/usr:ro", f"{tmp_path}/w:/w:ro"],
        )
        assert isinstance(done, RunResult)
        assert done.exit_code == 0, done.stderr.decode()
        engine.commit("installer", "packages")
        engine.save(["packages"], str(tmp_path / "image.tar"))
    expected = json.loads(RECORDED.read_text(encoding="utf-8"))
    if ids == "one id" or inspect(str(root)).idmap.single:
        # sed gives its new file the owner that it sees the old one have
        expected["opt/made/moved"] = "file 0640 0:0"
    assert packages.left(tmp_path / "image.tar") == expected
