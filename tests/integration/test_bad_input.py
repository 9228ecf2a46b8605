"""What users get wrong: one clear message with place, value and hint, docker's exit code, and an unharmed store.

Every case is a command as it is typed. The store is shared, and checked after each of them.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from judge.base import BASE, write_base

import contextkernel.registry
from contextkernel.cli import main
from contextkernel.engine import Engine
from contextkernel.errors import RegistryUnreachable


class SharedEngine(Engine):
    """An engine that outlives a command."""

    def close(self) -> None:
        return

    def end(self) -> None:
        super().close()


class Told(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The error: from the line that names the program on."""
        return self.err[self.err.rindex("contextkernel: ") :] if "contextkernel: " in self.err else ""


Command = Callable[..., Told]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[SharedEngine]:
    write_base(folder / "base.tar")
    shared = SharedEngine(folder / "store")
    try:
        shared.import_image(str(folder / "base.tar"), BASE)
        shared.build(None, text=f"FROM {BASE}\nRUN echo v > /v\n", tags=["made"])
        shared.save(["made"], str(folder / "made.tar"))
        whole = (folder / "made.tar").read_bytes()
        (folder / "cut.tar").write_bytes(whole[: len(whole) // 2])
        (folder / "garbage").write_bytes(bytes(range(256)) * 40)
        (folder / "nothing").touch()
        (folder / "environment").write_text("GOOD=1\nA B=2\n")
        (folder / "directory").mkdir()
        yield shared
    finally:
        shared.end()


@pytest.fixture
def command(
    engine: SharedEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Type a command in ``folder``; no registry is reachable."""

    def unreachable(*_: object, **__: object) -> None:
        raise RegistryUnreachable("cannot reach docker.io: no network in this test")

    def typed(*words: str) -> Told:
        capfd.readouterr()
        code = main(words, make_engine=lambda _root: engine)
        return Told(code, *capfd.readouterr())

    monkeypatch.setattr(contextkernel.registry, "pull_image", unreachable)
    monkeypatch.chdir(folder)
    yield typed
    assert engine.check_store() == ()


@pytest.fixture
def build(command: Command, tmp_path: Path) -> Command:
    """Build a Dockerfile in a context with a few files."""

    def built(text: str | bytes, *words: str) -> Told:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_bytes(text.encode() if isinstance(text, str) else text)
        (context / "hello.c").write_text("int main;\n")
        if not (context / "outside").is_symlink():
            (context / "outside").symlink_to("/etc/passwd")
        return command("build", "--progress", "plain", *words, str(context))

    return built


def assert_clear(problem: str) -> None:
    """Lower case, no full stop, no traceback, nothing that calls itself internal."""
    first = problem.splitlines()[0].removeprefix("contextkernel: ")
    first = re.sub(r"^[\w./-]+:\d+:\d+: ", "", first)
    assert not re.match(r"[A-Z][a-z]", first), first
    assert not first.endswith("."), first
    assert "Traceback" not in problem
    assert "internal error" not in problem


DOCKERFILES = {
    "unknown instruction": (f"FROM {BASE}\nRUM ls\n", "Dockerfile:2:1: unknown instruction 'RUM'", "did you mean RUN?"),
    "unknown flag": (f"FROM {BASE}\nCOPY --form=x a /b\n", "2:6: COPY: unknown flag '--form'", "did you mean --from?"),
    "unknown stage": (
        f"FROM {BASE} AS build\nFROM scratch\nCOPY --from=biuld /x /y\n", "Dockerfile:3:1: image 'biuld:latest'",
        "did you mean the stage 'build'?",
    ),
    "unknown image": ("FROM ck-bsae\n", "Dockerfile:1:1: image 'ck-bsae:latest'", f"did you mean {BASE}:latest?"),
    "unknown image, nothing near": ("FROM zzzzzz\n", "image 'zzzzzz:latest' is not in the store", "base ensure zzzzzz"),
    "missing source": (f"FROM {BASE}\nCOPY helo.c /\n", "2:1: 'helo.c' is not in the build", "did you mean hello.c?"),
    "source outside": (f"FROM {BASE}\nCOPY ../../etc/passwd /\n", "'etc/passwd' is not in", "a directory above both"),
    "link outside": (f"FROM {BASE}\nCOPY outside /\n", "2:1: 'outside' is not in", "is a link to '/etc/passwd'"),
    "invalid reference": ("FROM CK-Base\n", "1:1: invalid reference 'CK-Base'", "try 'ck-base'"),
    "invalid tag": (f"FROM {BASE}:-x\n", "Dockerfile:1:1: invalid reference", "up to 128 letters"),
    "no FROM": ("RUN ls\n", "Dockerfile:1:1: RUN before the first FROM", "start with a base image"),
    "only ARG": ("ARG X=1\n", "Dockerfile:1:1: the Dockerfile has no FROM", "start with a base image"),
    "only comments": ("# one\n# two\n", "no instructions: it is only comments", "start with a base image"),
    "empty": ("", "no instructions: it is empty", "start with a base image"),
    "not UTF-8": (b"FROM scratch\nRUN \xff\xfe\n", "Dockerfile:2:1: text is not UTF-8", "save the file in UTF-8"),
    "a NUL byte": (b"FROM scratch\nRUN a\0b\n", "Dockerfile:2:1: a NUL byte in the line", "is this a Dockerfile"),
    "unknown user": (f"FROM {BASE}\nUSER nobodyy\nRUN id\n", "Dockerfile:3:1: unable to find user nobodyy", "numeric"),
    "unknown owner": ("FROM scratch\nCOPY --chown=nobodyy hello.c /\n", "2:1: the image has no user", "a number"),
    "a file as directory": (f"FROM {BASE}\nCOPY hello.c /etc/group/x\n", "2:1: cannot make the directory", "remove it"),
    "unreachable": (f"FROM {BASE}\nADD http://127.0.0.1:9/f /\n", "2:1: cannot fetch http://127.0.0.1:9/f", "refused"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOCKERFILES)
def test_dockerfiles(build: Command, case: str) -> None:
    text, problem, hint = DOCKERFILES[case]
    told = build(text, "-t", "never")
    assert told.code == 1
    assert problem in told.problem
    assert hint in told.problem.rpartition("hint: ")[2]
    assert_clear(told.problem)
    assert not text or "\n> " in told.problem, "the line is drawn"


def test_a_failing_run_shows_step_output_and_code_and_keeps_what_was_before(build: Command) -> None:
    text = f"FROM {BASE}\nRUN echo one > /one\nRUN echo said; echo last >&2; exit 7\n"
    for turn in range(2):
        told = build(text, "-t", "never")
        assert told.code == 1
        assert "Dockerfile:3:1: [3/3] RUN echo said; echo last >&2; exit 7 failed with exit code 7" in told.problem
        assert {"  | said", "  | last"} <= set(told.problem.splitlines())
        assert_clear(told.problem)
        assert ("[2/3] RUN echo one > /one\n#5 CACHED" in told.err) is bool(turn)


@pytest.mark.parametrize(
    "text", [f"FROM {BASE}\r\nRUN echo hi \\\r\n && echo ho\r\n", f"\ufeffFROM {BASE}\nRUN true\n"]
)
def test_line_ends_and_byte_order_marks_of_other_systems(build: Command, text: str) -> None:
    assert build(text).code == 0


def test_an_argument_that_nobody_wants_is_a_warning(build: Command) -> None:
    told = build(f"FROM {BASE}\nARG WANTED\n", "--build-arg", "FOO=1", "--build-arg", "WANTED=1")
    assert told.code == 0
    assert "One or more build-args [FOO] were not consumed" in told.err


BUILD_OPTIONS = {
    "target": (("--target", "biuld"), 1, "target stage 'biuld'", "did you mean build?"),
    "tag": (("-t", "Foo:bar"), 1, "invalid reference 'Foo:bar'", "try 'foo'"),
    "tag with two": (("-t", "foo:b:c"), 1, "invalid reference 'foo:b:c'", "up to 128"),
    "flag": (("--no-chache",), 125, "unknown flag: --no-chache", "did you mean --no-cache?"),
    "network": (("--network", "foo"), 125, 'invalid argument "foo" for "--network"', "--help"),
    "progress": (("--progress", "foo"), 125, 'invalid argument "foo" for "--progress"', "--help"),
    "iidfile": (("--iidfile", "nowhere/iid"), 1, "cannot write nowhere/iid", "make it first"),
    "build-arg": (("--build-arg", "=x"), 125, "invalid build argument '=x'", "NAME=value"),
    "label": (("--label", "=x"), 125, "invalid label '=x'", "name=value"),
}


@pytest.mark.parametrize("case", BUILD_OPTIONS)
def test_options_of_build(build: Command, case: str) -> None:
    words, code, problem, hint = BUILD_OPTIONS[case]
    told = build(f"FROM {BASE} AS build\n", *words)
    assert (told.code, problem in told.problem, hint in told.problem) == (code, True, True), told.problem
    assert_clear(told.problem)


COMMANDS = {
    "build nowhere": (1, "the context 'nowhere' does not exist", "the directory that COPY reads from"),
    "build garbage": (1, "the context 'garbage' is not a directory", "the directory that COPY reads from"),
    "build -f nowhere directory": (1, "there is no nowhere in 'directory'", "name the Dockerfile with -f"),
    "build directory": (1, "there is no Dockerfile in 'directory'", "name the Dockerfile with -f"),
    "build -f directory .": (1, "cannot read directory: is a directory", "name a file with -f"),
    "build": (1, "requires exactly 1 argument", "usage:"),
    "run ck-bsae": (125, "image 'ck-bsae:latest' is not in the store", f"did you mean {BASE}:latest?"),
    "run Foo": (125, "invalid reference 'Foo'", "try 'foo'"),
    "run --rm ck-base no-such": (127, 'exec: "no-such": executable file not found', ""),
    "run --rm ck-base /etc/passwd": (126, 'exec: "/etc/passwd": permission denied', ""),
    "run --rm --entrypoint no-such ck-base": (127, '"no-such"', ""),
    "run --nmae x ck-base": (125, "unknown flag: --nmae", "did you mean --name?"),
    "run --name b@d ck-base true": (125, "invalid container name 'b@d'", "letters"),
    "run -v da/ta:/data ck-base true": (125, "includes invalid characters for a local volume name", "absolute path"),
    "run -v data:/data:rx ck-base true": (125, "invalid mode: rx", "ro, rw"),
    "run -v one:/data -v two:/data ck-base true": (125, "duplicate mount point: /data", ""),
    "run --mount type=bind,src=/nowhere,dst=/x ck-base true": (125, "bind source path does not exist: /nowhere", "-v"),
    "run --mount type=bnd,dst=/x ck-base true": (125, 'type "bnd": mount type unknown', "bind, volume, tmpfs"),
    "run --mount source=a,dts=/x ck-base true": (125, "unexpected key 'dts'", "did you mean dst?"),
    "run --volumes-from nobody ck-base true": (125, "no such container: nobody", ""),
    "run --storage-opt size=1g ck-base true": (125, "--storage-opt is supported only", "--tmpfs"),
    "run --volume-driver nfs -v data:/data ck-base true": (125, 'plugin "nfs" not found', "local"),
    "run -v data:/proc/x ck-base true": (125, "inside /proc", ""),
    "volume create a": (1, "volume name is too short", ""),
    "volume create --opt foo=bar data": (1, 'invalid option: "foo"', "type, o and device"),
    "volume create --opt size=1g data": (1, "no quota support", "tmpfs"),
    "volume rm nobody": (1, "no such volume", "volume ls"),
    "volume ls --filter color=red": (1, "invalid filter 'color'", "dangling"),
    "run -v /proc/none:/data ck-base true": (125, "cannot make the directory /proc/none", ""),
    "run -e =x ck-base true": (125, "invalid environment variable: '=x'", "-e NAME"),
    "run --env-file nowhere ck-base true": (125, "cannot read nowhere", ""),
    "run --env-file environment ck-base true": (125, "environment, line 2: variable 'A B' contains whitespace", ""),
    "run -w here ck-base true": (125, "working directory 'here' is not absolute", "start with /"),
    "run --rm -u nobodyy ck-base true": (125, "unable to find user nobodyy", "numeric id"),
    "run --network foo ck-base true": (125, "network foo not found", "network ls"),
    "run --stop-signal FOO ck-base true": (125, "invalid signal 'FOO'", "TERM"),
    "run --tmpfs x ck-base true": (125, "mount path must be absolute", ""),
    "run ck-base": (125, "no command specified", "give a command after the image name"),
    "run": (1, "requires at least 1 argument", "usage:"),
    "rm nobody": (1, "no such container: nobody", "ps -a"),
    "stop nobody": (1, "no such container: nobody", "ps -a"),
    "stop -t abc nobody": (125, 'invalid argument "abc"', "--help"),
    "kill nobody": (1, "no such container: nobody", "ps -a"),
    "logs nobody": (1, "no such container: nobody", "ps -a"),
    "wait nobody": (1, "no such container: nobody", "ps -a"),
    "start nobody": (1, "no such container: nobody", "ps -a"),
    "tag nothing x:1": (1, "no such image: nothing", "images"),
    "tag ck-base Bad:1": (1, "invalid reference 'Bad:1'", "try 'bad'"),
    "rmi ck-bsae": (1, "no such image: ck-bsae", f"did you mean {BASE}:latest?"),
    "rmi Foo": (1, "invalid reference 'Foo'", "try 'foo'"),
    "history nothing": (1, "no such image: nothing", "images"),
    "inspect nothing": (1, "no such object: nothing", ""),
    "save -o out.tar nothing": (1, "no such image: nothing", "images"),
    "save -o nowhere/out.tar ck-base": (1, "cannot write the archive to nowhere/out.tar", "-o"),
    "load -i garbage": (1, "'garbage' is not a tar archive", "docker save"),
    "load -i nothing": (1, "'nothing' is not a tar archive: empty file", "docker save"),
    "load -i cut.tar": (1, "'cut.tar' ends in the middle of", "copy it again"),
    "load -i base.tar": (1, "'base.tar' is not an image archive", "use import"),
    "load -i nowhere": (1, "cannot read nowhere", ""),
    "load -i directory": (1, "'directory' is not an image archive", "expected a file written by save"),
    "import garbage x:1": (1, "cannot import 'garbage': not a tar archive", "root file system"),
    "import nothing x:1": (1, "cannot import 'nothing': not a tar archive", "root file system"),
    "import cut.tar x:1": (1, "cannot import 'cut.tar': archive ends in the middle of", "root file system"),
    "import base.tar X:1": (1, "invalid reference 'X:1'", "try 'x'"),
    "images --format {{.Foo}}": (1, 'no field "Foo"', "there are: "),
    "images --format {{.ID": (64, "unclosed action", "}}"),
    "ps --filter foo=bar": (1, "invalid filter 'foo'", "filters: "),
    "ps --filter foo": (125, "invalid filter 'foo'", "KEY=VALUE"),
    "imges": (1, "unknown command: contextkernel imges", "did you mean images?"),
}


@pytest.mark.parametrize("words", COMMANDS)
def test_commands(command: Command, engine: SharedEngine, words: str) -> None:
    code, problem, hint = COMMANDS[words]
    images = engine.images()
    told = command(*words.split(" "))
    assert (told.code, problem in told.problem, hint in told.problem) == (code, True, True), told.problem
    assert_clear(told.problem)
    assert engine.images() == images
    assert not Path("out.tar").exists()
    for row in engine.containers(all=True):  # docker keeps one that could not be started
        assert row.state == "created"
        engine.remove_container(row.id)


@pytest.mark.rootless
@pytest.mark.parametrize("name", ["Dockerfile", "hello.c", ".dockerignore"])
def test_files_that_may_not_be_read(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY hello.c /\n")
    (tmp_path / "hello.c").touch()
    (tmp_path / ".dockerignore").touch()
    assert command("build", str(tmp_path)).code == 0
    (tmp_path / name).chmod(0)
    told = command("build", str(tmp_path))
    assert told.code == 1
    assert f"{name}" in told.problem
    assert "permission denied" in told.problem
    assert "hint: make it" in told.problem
    assert_clear(told.problem)


# -- containers ---------------------------------------------------------------------------------------


def test_a_name_is_taken_once(command: Command) -> None:
    assert command("run", "--name", "bozo", BASE, "true").code == 0
    told = command("run", "--name", "bozo", BASE, "true")
    assert told.code == 125
    assert 'the container name "/bozo" is already in use by container "' in told.problem
    assert "(rm bozo)" in told.problem
    assert command("kill", "bozo").problem.startswith("contextkernel: cannot kill container 'bozo': it is not running")
    assert command("stop", "-t", "0", "bozo").code == 0
    assert command("rm", "bozo").out == "bozo\n"


def test_two_processes_want_the_same_name(folder: Path, engine: SharedEngine) -> None:
    start = "import sys; from contextkernel.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["--root", engine.root, "run", "--name", "twin", BASE, "true"]
    both = [
        subprocess.Popen([sys.executable, "-c", start, *words], stderr=subprocess.PIPE, text=True, cwd=folder)
        for _ in range(2)
    ]
    problems = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 125], problems
    assert 'the container name "/twin" is already in use' in "".join(problems)
    engine.remove_container("twin")
    assert engine.check_store() == ()


def test_a_running_container_is_not_removed(command: Command) -> None:
    assert command("run", "-d", "--name", "runner", BASE, "sleep", "1000").code == 0
    told = command("rm", "runner")
    assert told.code == 1
    assert "cannot remove running container 'runner'" in told.problem
    assert "hint: stop it first, or remove with -f" in told.problem
    assert command("kill", "-s", "FOO", "runner").problem.startswith("contextkernel: invalid signal 'FOO'")
    assert command("stop", "-t", "0", "runner").out == "runner\n"
    assert command("wait", "runner").out == "137\n"
    assert command("rm", "-f", "runner", "runner").code == 0


def test_a_removed_container_has_no_log(command: Command) -> None:
    assert command("run", "--rm", "--name", "gone", BASE, "echo", "hi").out == "hi\n"
    assert "no such container: gone" in command("logs", "gone").problem


def test_a_missing_bind_source_becomes_a_directory(command: Command, tmp_path: Path) -> None:
    told = command("run", "--rm", "-v", f"{tmp_path}/new/one:/data", BASE, "sh", "-c", "echo x > /data/x")
    assert (told.code, (tmp_path / "new/one/x").read_text()) == (0, "x\n")


# -- images -------------------------------------------------------------------------------------------


def test_an_id_with_several_names_needs_force(command: Command, engine: SharedEngine) -> None:
    image = engine.build(None, text=f"FROM {BASE}\nENV A=1\n", tags=["several:1", "several:2"]).image
    told = command("rmi", image.removeprefix("sha256:")[:12])
    assert told.code == 1
    assert "several:1, several:2" in told.problem
    assert "use rmi -f" in told.problem
    assert command("rmi", "-f", image[7:19]).code == 0


def test_a_container_outlives_its_image(command: Command, engine: SharedEngine) -> None:
    image = engine.build(None, text=f"FROM {BASE}\nRUN echo victim > /v\n", tags=["victim"]).image
    assert command("run", "--name", "user", "victim", "cat", "/v").out == "victim\n"
    told = command("rmi", "victim")
    assert told.code == 1
    assert "(user) is using its referenced image" in told.problem
    assert "(rm user)" in told.problem
    assert command("rmi", "-f", "victim").code == 0
    assert engine.check_store() == ()
    assert command("start", "-a", "user").out == "victim\n"
    assert image[7:19] in command("ps", "-a").out
    assert command("inspect", "--format", "{{.Image}}", "user").out == f"{image}\n"
    assert command("logs", "user").out == "victim\nvictim\n"
    assert command("rm", "user").code == 0


def test_an_image_without_layers(command: Command, engine: SharedEngine) -> None:
    engine.build(None, text='FROM scratch\nCMD ["/x"]\n', tags=["bare"])
    told = command("run", "--rm", "bare")
    assert told.code == 127
    assert '"/x"' in told.problem
    assert command("rmi", "bare").code == 0


def test_equal_layers_are_mounted_once(command: Command, engine: SharedEngine) -> None:
    """The kernel refuses an overlay with a directory that is in it twice."""
    text = f"FROM {BASE}\nRUN true\nRUN echo x > /x\nRUN :\nRUN rm /x\nRUN echo x > /x\nRUN true # again\n"
    engine.build(None, text=text, tags=["equal"])
    assert command("run", "--rm", "equal", "cat", "/x").out == "x\n"
    assert command("rmi", "equal").code == 0


# -- contexts -----------------------------------------------------------------------------------------


def test_names_of_any_bytes(command: Command, build: Command, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    names = [b"new\nline", b"non\xff\xfeutf8", b"sp ace", b'quo"te', b"dol$lar", b"back\\slash", b"-dash", b"[br]"]
    for name in names:
        Path(os.fsdecode(bytes(context) + b"/" + name)).write_bytes(name)
    text = f'FROM {BASE}\nCOPY . /all\nCOPY ["sp ace", "-dash", "/some/"]\nCOPY non* new* /some/\n'
    assert build(text, "-t", "names").code == 0
    script = 'cd /all; for f in * ; do test -L "$f" || cat < "$f"; done | wc -c; ls /some | wc -l'
    told = command("run", "--rm", "names", "sh", "-c", script)
    extra = len(text.encode()) + len("int main;\n")
    assert told.out.split() == [str(sum(map(len, names)) + extra), "4"]
    assert command("rmi", "names").code == 0


def test_contexts_that_are_empty_linked_or_hold_holes(command: Command, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nCOPY . /here\nRUN test -d /here\n")
    assert command("build", "-f", str(tmp_path / "Dockerfile"), str(empty)).code == 0
    (tmp_path / "link").symlink_to("empty")
    assert command("build", "-f", str(tmp_path / "Dockerfile"), str(tmp_path / "link")).code == 0
    with open(empty / "huge", "wb") as huge:
        huge.truncate(200 << 20)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY huge /\n")
    assert command("build", "-t", "holes", "-f", str(tmp_path / "Dockerfile"), str(empty)).code == 0
    assert command("images", "--format", "{{.Size}}", "holes").out == "210MB\n"
    assert command("rmi", "holes").code == 0


# -- the store ----------------------------------------------------------------------------------------


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Engine(tmp_path / "store") as engine:
        assert engine.images() == ()
    with sqlite3.connect(tmp_path / "store" / "meta.db") as sql:
        sql.execute("UPDATE schema SET version = version + 1000")
    sql.close()
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    for words in (["images"], ["run", "x"], ["system", "check"], ["build", "."]):
        code = main(["--root", str(tmp_path / "store"), *words])
        problem = capfd.readouterr().err
        assert code == (125 if words[0] == "run" else 1)
        assert f"the store {tmp_path}/store has version 100" in problem
        assert "hint: update contextkernel" in problem
        assert_clear(problem)
    after = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    # SQLite's working files come and go
    assert before[tmp_path / "store" / "meta.db"] == after[tmp_path / "store" / "meta.db"]
    assert {path.name for path in after} <= {path.name for path in before} | {"meta.db-shm", "meta.db-wal"}


def test_a_store_that_cannot_be_used(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--root", str(tmp_path / "file"), "images"]) == 1
    problem = capfd.readouterr().err
    assert f"the store {tmp_path}/file cannot be used" in problem
    assert "hint: set CONTEXTKERNEL_ROOT" in problem
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "meta.db").write_bytes(b"not a database, by far" * 100)
    assert main(["--root", str(tmp_path / "damaged"), "images"]) == 1
    assert "meta.db is damaged" in capfd.readouterr().err


FULL = """\
set -u
mount -t tmpfs -o size=6m none "$1"
shift
exec "$@"
"""
FULL_STEPS = """\
import json, os, sys
from contextkernel.cli import main

root, folder = sys.argv[1:]
os.environ["CONTEXTKERNEL_ROOT"] = root
os.chdir(folder)

def step(name, *words):
    sys.stderr.flush()
    code = main(words)
    print(json.dumps([name, code]), file=sys.stderr, flush=True)

step("import", "import", "base.tar", "ck-base")
step("run step", "build", "--progress", "quiet", "fills")
step("check", "system", "check")
step("copy", "build", "--progress", "quiet", "big")
step("check", "system", "check")
step("program", "run", "--rm", "ck-base", "dd", "if=/dev/zero", "of=/fill", "bs=64k")
step("load", "load", "-i", "big.tar")
step("check", "system", "check")
step("save", "save", "-o", os.path.join(root, "out.tar"), "ck-base")
with open(os.path.join(root, "filler"), "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
step("import", "import", "base.tar", "again")
step("images", "images", "-q")
step("check", "system", "check")
os.unlink(os.path.join(root, "filler"))
step("run", "run", "--rm", "ck-base", "true")
step("build", "build", "--progress", "quiet", "small")
step("rmi", "rmi", "ck-base")
step("check", "system", "check")
"""


@pytest.mark.root
def test_a_full_disk(folder: Path, tmp_path: Path, engine: SharedEngine) -> None:
    """A store of 6 MB: whatever fills it says so, and afterwards all is as before."""
    for name, text in {
        "fills": f"FROM {BASE}\nRUN dd if=/dev/zero of=/fill bs=64k\n",
        "big": f"FROM {BASE}\nCOPY noise /\n",
        "small": f"FROM {BASE}\nRUN echo small > /small\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text(text)
    (tmp_path / "big" / "noise").write_bytes(os.urandom(10 << 20))
    engine.build(str(tmp_path / "big"), tags=["big"])
    engine.save(["big"], str(tmp_path / "big.tar"))
    engine.remove_image("big")
    (tmp_path / "base.tar").symlink_to(folder / "base.tar")
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", FULL, "sh", str(tmp_path / "root"),
         sys.executable, "-c", FULL_STEPS, str(tmp_path / "root"), str(tmp_path)],
        check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    steps: list[tuple[str, int, str]] = []
    said = ""
    for line in done.stderr.splitlines(keepends=True):
        if line.startswith("["):
            name, code = msgspec.json.decode(line, type=tuple[str, int])
            steps.append((name, code, said))
            said = ""
        else:
            said += line
    assert [(name, code) for name, code, _ in steps] == [
        ("import", 0), ("run step", 1), ("check", 0), ("copy", 1), ("check", 0), ("program", 1), ("load", 1),
        ("check", 0), ("save", 1), ("import", 1), ("images", 0), ("check", 0), ("run", 0), ("build", 0), ("rmi", 0),
        ("check", 0),
    ], done.stderr  # fmt: skip
    told = {name: text for name, _, text in steps}
    assert "No space left on device" in told["run step"]
    assert "No space left on device" in told["program"]
    for name in ("copy", "load", "import"):
        assert "no space left" in told[name]
        assert "`system prune`" in told[name]
    assert "cannot write the archive to" in told["save"]
