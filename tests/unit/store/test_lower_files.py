"""What lies in layers that nobody has mounted, with removals in each of their forms."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from contextkernel.model.ids import IdMap
from contextkernel.store.lower_files import LowerFiles
from contextkernel.store.worker_marks import make_opaque, white_out
from contextkernel.store.worker_tree import Ids, Tree


def refused(*_: object, **__: object) -> None:
    raise PermissionError(errno.EPERM, "not here")


@pytest.fixture(params=["device", "attribute", "name"])
def upper(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty layer; removals get the first form from this one on that the file system takes."""
    if request.param != "device":
        monkeypatch.setattr(os, "mknod", refused)
    if request.param == "name":
        monkeypatch.setattr(os, "setxattr", refused)
    path = tmp_path / "upper"
    path.mkdir()
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    for directory in ("etc", "usr/bin", "opt"):
        (path / directory).mkdir(parents=True)
    (path / "etc/passwd").write_text("base")
    (path / "etc/group").write_text("base")
    (path / "usr/bin/tool").write_text("base")
    (path / "bin").symlink_to("usr/bin")
    return path


def remove(layer: Path, path: str) -> None:
    with Tree(str(layer)) as tree:
        white_out(tree, path, Ids(IdMap()))


def found(base: Path, upper: Path, path: str) -> str | None:
    """The file at ``path``, from the folder of the test on."""
    files = LowerFiles([str(base), str(upper)])
    resolved = files.resolve(path)
    place = files.find(resolved) if resolved is not None else None
    return None if place is None else os.path.relpath(place, base.parent)


def test_the_uppermost_counts(base: Path, upper: Path) -> None:
    (upper / "etc").mkdir()
    (upper / "etc/passwd").write_text("upper")
    assert found(base, upper, "/etc/passwd") == "upper/etc/passwd"
    assert found(base, upper, "/etc/group") == "base/etc/group"
    assert LowerFiles([str(base), str(upper)]).names("/etc") == {"passwd", "group"}


def test_what_was_removed_is_not_there(base: Path, upper: Path) -> None:
    (upper / "etc").mkdir()
    remove(upper, "etc/passwd")
    assert found(base, upper, "/etc/passwd") is None
    assert found(base, upper, "/etc/group") == "base/etc/group"
    assert LowerFiles([str(base), str(upper)]).names("/etc") == {"group"}


def test_what_is_in_a_removed_directory_is_not_there(base: Path, upper: Path) -> None:
    remove(upper, "etc")
    assert found(base, upper, "/etc") is None
    assert found(base, upper, "/etc/passwd") is None
    assert LowerFiles([str(base), str(upper)]).names("/etc") == set()


def test_nothing_shows_through_a_directory_that_was_made_anew(base: Path, upper: Path) -> None:
    (upper / "etc").mkdir()
    (upper / "etc/group").write_text("upper")
    with Tree(str(upper)) as tree:
        make_opaque(tree, "etc", Ids(IdMap()))
    assert found(base, upper, "/etc/passwd") is None
    assert found(base, upper, "/etc/group") == "upper/etc/group"
    assert LowerFiles([str(base), str(upper)]).names("/etc") == {"group"}


def test_links_are_followed_across_layers_and_never_outside(base: Path, upper: Path) -> None:
    (upper / "up").symlink_to("/bin/tool")
    (upper / "out").symlink_to("../../../../../../etc/passwd")
    (upper / "loop").symlink_to("loop")
    assert found(base, upper, "/up") == "base/usr/bin/tool"
    assert found(base, upper, "/out") == "base/etc/passwd"
    assert found(base, upper, "/loop") is None


def test_attack_a_link_below_a_directory_leads_nowhere(base: Path, upper: Path, tmp_path: Path) -> None:
    """The base has a link where the upper layer has a directory: the host's folder behind it is not looked into."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host")
    (base / "srv").symlink_to(outside)
    (upper / "srv").mkdir()
    assert found(base, upper, "/srv/secret") is None
    assert LowerFiles([str(base), str(upper)]).names("/srv") == set()
