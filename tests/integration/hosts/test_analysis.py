"""A host where no program can be run (tier ``analysis``): everything else works, as root and as an ordinary user."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge.base import write_base

from contextkernel.cli import main
from contextkernel.engine import Engine
from contextkernel.errors import HostUnsupported
from contextkernel.host.trying import WITHOUT_VARIABLE

NOTHING_RUNS = "user_namespace mount_namespace ptrace"

STAGES = """FROM ck-base AS one
WORKDIR /deep/er
COPY --chown=33:44 --chmod=750 a.txt /made/by/a.txt
ENV X=1
FROM ck-base
COPY --from=one --chown=7 /made /made
COPY --from=one /deep /deep
ADD a.txt /x/
COPY --chown=bin <<EOF /made/heredoc
here
EOF
ENV Y=2
"""
RUNS = "FROM ck-base AS unneeded\nRUN false\nFROM ck-base\nCOPY a.txt /a.txt\nRUN echo hi >/b && chown 2:3 /b\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "a.txt").write_text("hello\n")
    return tmp_path / "context"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """On a host of that tier, with ``ck-base``."""
    monkeypatch.setenv(WITHOUT_VARIABLE, NOTHING_RUNS)
    with ready(tmp_path / "store", tmp_path) as made:
        assert made.host_report().tier == "analysis"
        yield made


def ready(root: Path, folder: Path) -> Engine:
    """An engine with ``ck-base``."""
    write_base(folder / "base.tar")
    made = Engine(root)
    made.import_image(str(folder / "base.tar"), "ck-base")
    return made


def owners(engine: Engine, container: str, path: str) -> dict[str, tuple[int, int, int]]:
    """Owner, group and mode of what ``cp CONTAINER:PATH -`` gives."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        engine.get_archive(container, path, writer)
        os.close(writer)
        with tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
            return {entry.name: (entry.uid, entry.gid, entry.mode & 0o7777) for entry in archive}


def test_stages_without_run_have_the_right_owners(engine: Engine, context: Path) -> None:
    built = engine.build(str(context), text=STAGES, tags=["two"])
    assert built.warnings == ()
    engine.create("two", ["true"], name="box")
    assert owners(engine, "box", "/made") == {
        "made": (7, 7, 0o755),
        "made/by": (7, 7, 0o750),
        "made/by/a.txt": (7, 7, 0o750),
        "made/heredoc": (2, 3, 0o644),
    }
    assert owners(engine, "box", "/deep")["deep/er"] == (0, 0, 0o755)
    with pytest.raises(HostUnsupported):
        engine.start("box")
    assert [row.name for row in engine.containers(all=True)] == ["box"]


def test_files_come_and_go_and_become_images(engine: Engine, context: Path, tmp_path: Path) -> None:
    engine.build(str(context), text=STAGES, tags=["two"])
    engine.create("two", ["true"], name="box")
    engine.copy(str(context / "a.txt"), "box:/new.txt")
    assert {(change.kind, change.path) for change in engine.diff("box")} == {("A", "/new.txt")}
    engine.commit("box", "kept", changes=["ENV Q=1"])
    engine.save(["kept"], str(tmp_path / "kept.tar"))
    engine.remove_container("box")
    engine.remove_image("kept")
    engine.load(str(tmp_path / "kept.tar"))
    engine.create("kept", ["true"], name="again")
    assert owners(engine, "again", "/made/by")["by/a.txt"] == (7, 7, 0o750)
    assert owners(engine, "again", "/new.txt") == {"new.txt": (0, 0, 0o644)}
    engine.export("again", str(tmp_path / "again.tar"))
    with tarfile.open(tmp_path / "again.tar") as archive:
        assert (archive.getmember("made/heredoc").uid, archive.getmember("new.txt").size) == (2, 6)
    assert engine.history("kept")
    assert {row.image for row in engine.compare(["two", "kept"])} == {"two", "kept"}
    assert engine.check_store() == ()


def test_a_run_that_has_to_run_is_refused_before_anything_else(engine: Engine, context: Path) -> None:
    with pytest.raises(HostUnsupported, match=r"RUN echo hi .* is not in the cache, and this host runs no") as caught:
        engine.build(str(context), text=RUNS)
    assert caught.value.span is not None
    assert (caught.value.span.line, caught.value.span.column) == (5, 1)
    assert caught.value.hint == f"unset {WITHOUT_VARIABLE} (in a terminal)"
    assert not any(row.description.startswith("COPY") for row in engine.build_cache())


def test_a_run_that_was_done_elsewhere_is_taken(context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = f"type=local,%s={tmp_path / 'cache'}"
    with ready(tmp_path / "elsewhere", tmp_path) as able:
        made = able.build(str(context), text=RUNS, cache_to=[cache % "dest" + ",mode=max"])
        # what has ids of containers can only be removed with them
        able._worker().remove([f"{able.root}/layers"])
    monkeypatch.setenv(WITHOUT_VARIABLE, NOTHING_RUNS)
    with ready(tmp_path / "here", tmp_path) as unable:
        built = unable.build(str(context), text=RUNS, cache_from=[cache % "src"], tags=["ran"])
        assert built.warnings == ()
        assert [step.state for step in built.steps][-1] == "cached"
        unable.create("ran", ["true"], name="box")
        assert owners(unable, "box", "/b") == {"b": (2, 3, 0o644)}
    assert made.image


def test_what_would_run_says_why_it_does_not(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    def typed(*words: str) -> tuple[int, str]:
        code = main(["--root", engine.root, *words])
        return code, capfd.readouterr().err

    code, said = typed("run", "--rm", "ck-base", "true")
    assert code == 125
    assert "'true' cannot be run in a container: this host runs no programs: user_namespace (not wanted" in said
    assert "hint: unset" in said
    assert typed("create", "--name", "box", "ck-base", "true")[0] == 0
    code, said = typed("start", "-a", "box")
    assert code == 125
    assert "this host runs no programs" in said
    code, said = typed("start", "box")
    assert code == 1  # as docker's start, whatever the reason
    assert "this host runs no programs" in said
    assert typed("ps", "-a")[0] == typed("inspect", "box")[0] == typed("rm", "box")[0] == 0
    assert engine.containers(all=True) == ()


@pytest.mark.root
def test_as_an_ordinary_user(run_as_user: Callable[..., str]) -> None:
    run_as_user("hosts/analysis", which="not ordinary")
