import bz2
import gzip
import io
import json
import lzma
import os
import tarfile

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Built, Detached, Document, Host, Nothing, Ran, Table, Text
from contextkernel.errors import (
    ContainerNotFound,
    ContextKernelError,
    ImageNotFound,
    InvalidArchive,
    InvalidInput,
    NameInUse,
    NotFound,
    RegistryUnreachable,
    SourceNotFound,
    TemplateProblem,
    UsageProblem,
)
from contextkernel.model.events import StepDone, StepStarted
from contextkernel.model.outputs import CacheOutput, ImageOutput
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import CheckFinding
from contextkernel.testing.samples import BOZO, GREET, UBUNTU, WEB, failed_step


@pytest.fixture
def do(engine, face):
    def run(line, **options):
        return execute(engine, line.split() if isinstance(line, str) else line, options.pop("face", face), **options)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


# -- the way in -----------------------------------------------------------------------------------


def test_the_engine_is_made_only_when_it_is_needed(face):
    def make():
        raise AssertionError("made")

    assert "Usage:  docker run" in execute(make, ["run", "--help"], face).value.text
    assert "Usage:  docker" in execute(make, [], face).value.text
    assert "Usage:  docker image COMMAND" in execute(make, ["image"], face).value.text
    assert execute(make, ["--version"], face).value.text.startswith("contextkernel version ")
    assert execute(make, ["help", "image", "ls"], face).value.text.startswith("Usage:  docker image ls")
    with pytest.raises(UsageProblem):
        execute(make, ["run", "--foo"], face)
    with pytest.raises(UsageProblem, match="--root is not possible here"):
        execute(make, ["--root", "/x", "ps"], face)


def test_the_engine_is_made_once(engine, face):
    made = []
    execute(lambda: made.append(1) or engine, ["system", "info"], face)
    assert made == [1]


def test_debug_before_the_command_is_accepted(do):
    assert isinstance(do("-D images").value, Table)


def test_unknown_help_topic(do):
    with pytest.raises(UsageProblem, match="unknown command"):
        do("help rnu")
    with pytest.raises(UsageProblem, match="unknown help topic"):
        do("help images foo")


def test_platform_is_this_machine_s_or_refused(do):
    from contextkernel.model.platform import Platform

    assert isinstance(do(f"run --platform {Platform.host()} greet").value, Ran)
    with pytest.raises(UsageProblem, match="is not this machine's"):
        do("run --platform linux/mips64le greet")


# -- build ----------------------------------------------------------------------------------------


def test_build_hands_everything_on(do, engine, face, tmp_path):
    outcome = do(
        "build -t a -t b:1 -f D --build-arg X=1 --build-arg Y --target t --no-cache --pull --label k=v --network none "
        f"{tmp_path}"
    )
    assert isinstance(outcome.value, Built)
    assert not outcome.value.quiet
    assert asked(engine, "build") == [
        {
            "context": str(tmp_path),
            "dockerfile": "D",
            "tags": ("a", "b:1"),
            "build_args": {"X": "1", "Y": None},
            "target": "t",
            "no_cache": True,
            "pull": True,
            "labels": {"k": "v"},
            "network": "none",
        }
    ]
    assert face.progress == ["auto", "closed"]
    assert "naming to docker.io/library/a done" in face.err


@pytest.mark.parametrize(
    ("flag", "progress", "quiet"),
    [
        ("--progress plain", "plain", False),
        ("--progress=rawjson", "json", False),
        ("--progress json", "json", False),
        ("--progress tty", "auto", False),
        ("--progress quiet", "quiet", True),
        ("-q", "quiet", True),
        ("-q --progress plain", "quiet", True),
    ],
)
def test_build_progress(do, face, tmp_path, flag, progress, quiet):
    outcome = do(f"build {flag} {tmp_path}")
    assert face.progress[0] == progress
    assert outcome.value.quiet is quiet


def test_build_iidfile(do, tmp_path):
    file = tmp_path / "iid"
    file.write_text("old")
    do(f"build --iidfile {file} {tmp_path}")
    assert file.read_text() == str(GREET)


def test_build_iidfile_of_a_failed_build_is_gone(do, engine, face, tmp_path):
    file = tmp_path / "iid"
    file.write_text("old")
    engine.failure = failed_step()
    with pytest.raises(ContextKernelError):
        do(f"build --iidfile {file} {tmp_path}")
    assert not file.exists()
    assert face.progress == ["auto"]  # the view saw the error pass
    assert "#3 ERROR: process" in face.err


def test_attack_link_under_the_name_of_the_unfinished_iidfile(do, tmp_path):
    victim, file = tmp_path / "victim", tmp_path / "iid"
    victim.write_text("mine")
    os.symlink(victim, f"{file}.{os.getpid()}.partial")
    do(f"build --iidfile {file} {tmp_path}")
    assert victim.read_text() == "mine"
    assert file.read_text() == str(GREET)


def test_build_iidfile_that_is_no_file_is_written_to(do, tmp_path):
    """To replace /dev/null or a pipe, or to remove it first, would break it for all others."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        do(f"build --iidfile {pipe} {tmp_path}")
        assert os.read(reader, 1000).decode() == str(GREET)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_build_iidfile_in_no_directory(do, engine, tmp_path):
    with pytest.raises(InvalidInput, match="no such directory"):
        do(f"build --iidfile {tmp_path}/none/iid {tmp_path}")
    assert not asked(engine, "build")


@pytest.mark.parametrize("words", ["build -", "build -f - ."])
def test_build_reads_the_dockerfile_from_standard_input(engine, make_face, words):
    execute(engine, words.split(), make_face(stdin=b"\xef\xbb\xbfFROM scratch\n"))
    (call,) = asked(engine, "build")
    assert call["text"] == "FROM scratch\n"
    assert call.get("context") == (None if words == "build -" else ".")


def test_build_reads_standard_input_from_a_descriptor(engine, make_face):
    reading, writing = os.pipe()
    os.write(writing, b"FROM scratch\n")
    os.close(writing)
    execute(engine, ["build", "-"], make_face(stdin=reading))
    os.close(reading)  # it was left open: it is the face's
    assert asked(engine, "build")[0]["text"] == "FROM scratch\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_on_standard_input_is_the_context(engine, make_face, pack):
    with tarfile.open(fileobj=(archive := io.BytesIO()), mode="w") as tar:
        tar.addfile(tarfile.TarInfo("Dockerfile"))
    data = pack(archive.getvalue())
    execute(engine, ["build", "-f", "sub/D", "-"], make_face(stdin=data))
    (call,) = asked(engine, "build")
    assert call["dockerfile"] == "sub/D"
    assert b"".join(iter(lambda: call["context"].read(1 << 20), b"")) == data


def test_standard_input_that_is_no_archive_is_the_dockerfile(engine, make_face):
    with pytest.raises(UsageProblem, match="both name the Dockerfile"):
        execute(engine, ["build", "-f", "D", "-"], make_face(stdin=b"FROM scratch"))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        execute(engine, ["build", "-"], make_face(stdin=b"FROM \xff"))


def test_build_problems(do, tmp_path):
    with pytest.raises(SourceNotFound, match="does not exist"):
        do("build /no/such/place")
    (tmp_path / "file").touch()
    with pytest.raises(SourceNotFound, match="is not a directory"):
        do(f"build {tmp_path}/file")
    with pytest.raises(InvalidInput, match="query 'x' is not known"):
        do("build https://example.org/a.git?x=1")
    with pytest.raises(UsageProblem, match="both the context and the Dockerfile"):
        do("build -f - -")
    with pytest.raises(UsageProblem, match="no standard input"):
        do("build -")


@pytest.mark.parametrize(
    "url",
    ["https://example.org/a.git#main:sub", "http://example.org/a.tgz", "git://h/x", "git@h:x", "github.com/a/b"],
)
def test_a_url_is_a_context(do, engine, url):
    do(f"build -f other {url}")
    assert [(call["context"], call["dockerfile"]) for call in asked(engine, "build")] == [(url, "other")]


def test_further_contexts(do, engine, tmp_path):
    do(f"build --build-context a=/x --build-context b=docker-image://c:1 --build-context a=/y {tmp_path}")
    assert asked(engine, "build")[0]["contexts"] == {"a": "/y", "b": "docker-image://c:1"}
    for word in ("a", "=x", "a="):
        with pytest.raises(UsageProblem, match="invalid build context"):
            do(f"build --build-context {word} {tmp_path}")


def test_a_variable_is_the_context(engine, make_face):
    face = make_face(program="%%dockerfile", namespace={"files": {"a/b": "text", "c": b"1"}, "number": 1})
    execute(engine, ["build", "--context-var", "files"], face, dockerfile="FROM scratch\n")
    assert asked(engine, "build")[0]["context"] == {"a/b": b"text", "c": b"1"}
    with pytest.raises(InvalidInput, match="there is no variable 'filse'") as problem:
        execute(engine, ["build", "--context-var", "filse"], face, dockerfile="")
    assert problem.value.hint == "did you mean files?"
    with pytest.raises(InvalidInput, match="the variable 'number' is a int, not a dict"):
        execute(engine, ["build", "--context-var", "number"], face, dockerfile="")
    with pytest.raises(UsageProblem, match="are both the build context"):
        execute(engine, ["build", "--context-var", "files", "/tmp"], face, dockerfile="")
    with pytest.raises(UsageProblem, match="only a notebook has variables"):
        execute(engine, ["build", "--context-var", "files", "."], make_face())


def test_a_cell_is_the_dockerfile(engine, make_face, tmp_path):
    face = make_face(program="%%dockerfile")
    execute(engine, ["build", "-t", "greet"], face, dockerfile="FROM scratch\n")
    execute(engine, ["build", str(tmp_path)], face, dockerfile="FROM scratch\n")
    execute(engine, ["build", "-"], face, dockerfile="FROM scratch\n")
    assert [(call["text"], call.get("context")) for call in asked(engine, "build")] == [
        ("FROM scratch\n", "."),
        ("FROM scratch\n", str(tmp_path)),
        ("FROM scratch\n", None),
    ]
    with pytest.raises(UsageProblem, match="the cell is the Dockerfile"):
        execute(engine, ["build", "-f", "x"], face, dockerfile="")
    with pytest.raises(UsageProblem, match="takes no command but build"):
        execute(engine, ["ps"], face, dockerfile="")


# -- images ---------------------------------------------------------------------------------------


def names(outcome):
    return [f"{row.repository}:{row.tag}" for row in outcome.value.rows]


def test_images_hides_dangling_ones(do):
    assert names(do("images")) == ["greeting-c:v0.1", "greet:latest", "ubuntu:20.04"]
    assert "<none>:<none>" in names(do("images -a"))
    assert names(do("images -f dangling=true")) == ["<none>:<none>"]
    assert len(names(do("images -f dangling=false"))) == 3


def test_images_by_name_and_filters(do):
    assert names(do("images greet")) == ["greet:latest"]
    assert names(do("images nothing")) == []
    assert names(do("images -f reference=greet -f reference=ubuntu")) == ["greet:latest", "ubuntu:20.04"]
    assert names(do("images -f before=greet")) == ["ubuntu:20.04"]
    assert names(do("images -f since=greet")) == ["greeting-c:v0.1"]
    assert len(names(do("images -f label=two"))) == 3
    assert names(do("images -f label=two=nope")) == []
    with pytest.raises(UsageProblem, match="invalid filter 'nmae'"):
        do("images -f nmae=x")


def test_images_quiet_and_formats(do):
    assert do("images -q").value == Text("3f1a0c5d2b7e\nda62877a7ead\n54c9d81cbb44\n")
    assert do("images -q --no-trunc greet").value == Text(f"{GREET}\n")
    assert do(["images", "--format", "{{.Repository}}\\t{{.Tag}}", "greet"]).value == Text("greet\tlatest\n")
    assert do("images --format table").value.kind == "images"
    with pytest.raises(TemplateProblem):
        do(["images", "--format", "{{.Nope}}"])


def test_history(do):
    value = do("image history greet:latest").value
    assert value.kind == "history"
    assert value.options.human
    assert not do("history -H=false greet").value.options.human
    assert do("history -q greet").value == Text("da62877a7ead\n<missing>\n<missing>\n")


def test_inspect(do, engine):
    value = do("inspect bozo greet").value
    assert isinstance(value, Document)
    assert [one["Id"] for one in value.documents] == [BOZO, str(GREET)]
    assert asked(engine, "inspect") == [{"names": ("bozo",)}, {"names": ("greet",)}]
    do("inspect --type image greet")
    do("image inspect greet")
    do("container inspect bozo")
    assert [call.get("kind") for call in asked(engine, "inspect")[2:]] == ["image", "image", "container"]


def test_inspect_goes_on_after_a_missing_name(do):
    outcome = do("inspect nope greet")
    assert [one["Id"] for one in outcome.value.documents] == [str(GREET)]
    assert outcome.exit_code == 1
    assert [type(problem) for problem in outcome.problems] == [NotFound]
    assert do(["inspect", "-f", "{{.Id}}", "nope"]).value == Text("\n")
    assert do("inspect -f json nope").value == Text("[]\n")


def test_inspect_format(do):
    assert do(["inspect", "-f", "{{json .RootFS.Layers}}", "greet"]).value.text.startswith('["sha256:0eba')
    assert do(["inspect", "-f", "{{.Name}} {{.State.ExitCode}}", "bozo"]).value == Text("/bozo 0\n")
    with pytest.raises(TemplateProblem):  # before anything is looked up
        do(["inspect", "-f", "{{.Id", "nope"])


def test_inspect_size(do):
    documents = do("inspect -s vigilant_curie greet").value.documents
    assert documents[0]["SizeRw"] == 1234
    assert "SizeRw" not in documents[1]


def test_rmi_goes_on_after_a_failure(do):
    outcome = do("rmi nope greeting-c:v0.1x ubuntu:20.04")
    assert outcome.value.text.startswith("Untagged: ubuntu:20.04\nDeleted: sha256:54c9")
    assert [type(problem) for problem in outcome.problems] == [ImageNotFound, ImageNotFound]
    assert outcome.exit_code == 1
    assert do("rmi -f nope").exit_code == 0
    assert do("rmi greet").exit_code == 1


def test_tag_compare_prune(do, engine, make_face):
    assert do("tag greet hello:1").value == Nothing()
    assert asked(engine, "tag") == [{"source": "greet", "target": "hello:1"}]
    assert [row.image for row in do("compare greet ubuntu:20.04").value.rows] == ["greet", "ubuntu:20.04"]
    assert do(["compare", "--format", "{{.Image}} {{.SizeBytes}}", "greet", "ubuntu:20.04"]).value.text.startswith(
        "greet 72776453\n"
    )
    assert do("image prune -f").value.text.startswith("Deleted Images:\nDeleted: sha256:0bad")
    no = make_face(answer=False)
    assert do("image prune -a", face=no).value == Nothing()
    assert no.questions == [
        (
            "WARNING! This will remove all images without at least one container associated to them.\n"
            "Are you sure you want to continue?"
        )
    ]
    assert len(asked(engine, "prune_images")) == 1


# -- transfer -------------------------------------------------------------------------------------


def test_save(do, engine, make_face, tmp_path):
    assert do(f"save -o {tmp_path}/a.tar greet ubuntu:20.04").value == Nothing()
    reading, writing = os.pipe()
    assert do("save greet", face=make_face(descriptors=(writing, None))).value == Nothing()
    assert [call["output"] for call in asked(engine, "save")] == [f"{tmp_path}/a.tar", writing]
    os.close(reading)
    os.close(writing)
    with pytest.raises(UsageProblem, match="not shown on a screen"):
        do("save greet")
    with pytest.raises(UsageProblem, match="is a directory"):
        do(f"save -o {tmp_path} greet")


def test_load_and_import(do, engine, make_face, tmp_path):
    file = tmp_path / "a.tar"
    file.touch()
    assert do(f"load -i {file}").value == Text("Loaded image: greet:latest\n")
    reading, writing = os.pipe()
    do("load", face=make_face(stdin=reading))
    do("import -m hello - base:1", face=make_face(stdin=reading))
    os.close(reading)
    os.close(writing)
    assert do(f"import {file} base:1").value == Text(f"{GREET}\n")
    assert asked(engine, "load") == [{"source": str(file)}, {"source": reading}]
    assert [call["source"] for call in asked(engine, "import_image")] == [reading, str(file)]
    with pytest.raises(UsageProblem, match="no archive on standard input"):
        do("load", face=make_face(stdin=b"cell"))
    with pytest.raises(InvalidArchive, match="no such file"):
        do("load -i /no/such/file")
    with pytest.raises(InvalidInput, match="lower case"):
        do(f"import {file} UPPER")


def test_the_options_of_load(do, engine, tmp_path):
    engine.load_notes = (
        "The image greet:latest already exists, renaming the old one with ID sha256:1 to empty string",
    )
    assert do(f"load -q --platform linux/arm64 -i {tmp_path}").value.text.splitlines() == [
        *engine.load_notes,
        "Loaded image: greet:latest",
    ]
    assert asked(engine, "load") == [{"source": str(tmp_path), "platform": "linux/arm64"}]


def test_the_options_of_save_and_import(do, engine, tmp_path):
    file = tmp_path / "a.tar"
    file.touch()
    do(f"save --platform linux/arm64 --platform amd64 -o {file} greet")
    assert asked(engine, "save") == [
        {"names": ("greet",), "output": str(file), "platform": ("linux/arm64", "amd64")},
    ]
    do(["import", "-c", "CMD true", "--change", "ENV A=1", "-m", "made", "--platform", "linux/arm64", str(file)])
    assert asked(engine, "import_image") == [
        {"source": str(file), "message": "made", "changes": ("CMD true", "ENV A=1"), "platform": "linux/arm64"}
    ]
    url = "http://example.org/root.tar"
    assert do(f"import {url} base").value == Text(f"Downloading from {url}\n{GREET}\n")
    assert asked(engine, "import_image")[1] == {"source": url, "name": "base"}


def test_a_pull_says_docker_s_lines_on_standard_output(do, face):
    do("pull ubuntu")
    assert face.out == (
        "Using default tag: latest\n20.04: Pulling from library/ubuntu\na1b2c3d4e5f6: Already exists\n"
        "0eba131dffd0: Pulling fs layer\n0eba131dffd0: Verifying Checksum\n0eba131dffd0: Download complete\n"
        f"0eba131dffd0: Pull complete\nDigest: {UBUNTU}\nStatus: Downloaded newer image for ubuntu\n"
    )


def test_options_of_pull(do, engine):
    assert do("pull -a --platform linux/arm64 -q localhost:5000/team/app").value == Text("localhost:5000/team/app\n")
    name, options = engine.calls[-1]
    assert name == "pull"
    assert options == {"name": "localhost:5000/team/app", "platform": "linux/arm64", "all_tags": True}
    with pytest.raises(UsageProblem, match="tag can't be used with --all-tags"):
        do("pull -a ubuntu:20.04")


def test_pull_and_ensure(do, face):
    assert do("pull ubuntu:20.04").value == Text("docker.io/library/ubuntu:20.04\n")
    assert do("pull -q ubuntu:20.04").value == Text("docker.io/library/ubuntu:20.04\n")
    table = do("base ensure ubuntu:20.04 alpine:3.15.0").value
    assert [row.image for row in table.rows] == ["ubuntu:20.04", "alpine:3.15.0"]
    assert do(["base", "ensure", "-q", "--format", "{{.StandIn}}", "a"]).value == Text("yes\n")
    assert face.progress == ["auto", "closed", "quiet", "closed", "auto", "closed", "quiet", "closed"]


# -- containers -----------------------------------------------------------------------------------


def test_run_hands_everything_on(do, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("TAKEN", "yes")
    do(
        f"run --rm --name x -e A=1 -e TAKEN -w /w -u 1:2 --entrypoint /bin/sh -h web -v {tmp_path}:/v:ro "
        "--network none --read-only --tmpfs /t:size=1m --init -l k=v --pull never --stop-signal INT "
        "--stop-timeout 3 greet -c x -d"
    )
    assert asked(engine, "run") == [
        {
            "image": "greet",
            "command": ("-c", "x", "-d"),
            "name": "x",
            "remove": True,
            "environment": ("A=1", "TAKEN=yes"),
            "working_dir": "/w",
            "user": "1:2",
            "entrypoint": ["/bin/sh"],
            "hostname": "web",
            "volumes": (f"{tmp_path}:/v:ro",),
            "network": "none",
            "read_only": True,
            "tmpfs": ("/t:size=1m",),
            "init": True,
            "labels": {"k": "v"},
            "stop_signal": "INT",
            "stop_timeout": 3,
            "forward_signals": True,
            "pull": "never",
        }
    ]


def test_run_gives_output_and_exit_code(do, engine, face):
    engine.exit_code, engine.stderr = 3, b"oops\n"
    outcome = do("run greet")
    assert outcome.exit_code == 3
    assert outcome.value.result.exit_code == 3
    assert face.output == [("stdout", b"from the container!\n"), ("stderr", b"oops\n")]
    assert face.progress == []  # nothing was pulled, so there was no view


def test_run_writes_to_descriptors(do, engine, make_face):
    do("run greet", face=make_face(descriptors=(1, 2)))
    assert {key: asked(engine, "run")[0][key] for key in ("stdout", "stderr")} == {"stdout": 1, "stderr": 2}


def test_run_detached_prints_the_id(do, engine, make_face):
    face = make_face(stdin=0, descriptors=(1, 2))
    assert do("run -di greet", face=face).value == Detached(f"{WEB}\n", WEB)
    (call,) = asked(engine, "run")
    assert call == {"image": "greet", "detach": True, "stdin_open": True}


@pytest.mark.parametrize(
    ("stdin", "words", "wanted"),
    [(5, "run greet", None), (5, "run -i greet", 5), (b"cell", "run greet", b"cell"), (None, "run -i greet", b"")],
)
def test_run_stdin(do, engine, make_face, stdin, words, wanted):
    do(words, face=make_face(stdin=stdin))
    assert asked(engine, "run")[0].get("stdin") == wanted


def test_run_empty_entrypoint_and_sig_proxy(do, engine):
    do(["run", "--entrypoint", "", "--sig-proxy=false", "--net", "host", "greet", "ls"])
    (call,) = asked(engine, "run")
    assert call["entrypoint"] == [""]
    assert call["network"] == "host"
    assert "forward_signals" not in call


def test_run_errors_are_125(do, engine):
    for line, kind in (("run nope", ImageNotFound), ("run --name bozo greet", NameInUse)):
        with pytest.raises(kind) as caught:
            do(line)
        assert caught.value.exit_code == 125
    engine.failure = RegistryUnreachable("no route")
    with pytest.raises(RegistryUnreachable) as caught:
        do("run greet")
    assert caught.value.exit_code == 125
    with pytest.raises(ContextKernelError) as caught:
        do("run greet nosuchprogram")
    assert caught.value.exit_code == 127
    assert ImageNotFound("x").exit_code == 1  # the class was left alone


def test_run_shows_a_pull_and_closes_its_view_before_the_output(engine, make_face):
    face = make_face()
    shown = []
    run = engine.run

    def pulling(*words, report, on_created, **options):
        report(StepStarted(step=1, name="pull"))
        report(StepDone(step=1, seconds=1))
        on_created(WEB)
        shown.append(list(face.progress))
        return run(*words, **options)

    engine.run = pulling
    execute(engine, ["run", "greet"], face)
    assert shown == [["auto", "closed"]]
    assert face.progress == ["auto", "closed"]


def test_run_quiet_reports_nothing(engine, face):
    seen = []
    run = engine.run

    def keep(*words, report, **options):
        seen.append(report)
        return run(*words, **options)

    engine.run = keep
    execute(engine, ["run", "-q", "greet"], face)
    assert seen == [None]


def test_ps(do, engine):
    assert [row.name for row in do("ps").value.rows] == ["vigilant_curie"]
    assert len(do("ps -a").value.rows) == 3
    assert do("ps -qa --no-trunc -n 1").value == Text(f"{WEB}\n")
    assert do("ps -s").value.options.size
    assert [row.name for row in do("ps -f status=exited -f name=bo").value.rows] == ["bozo"]
    do("ps -n -1")
    assert "limit" not in asked(engine, "containers")[-1]
    with pytest.raises(UsageProblem, match="invalid filter"):
        do("ps -f network-alias=x")


def test_logs(do, engine, face):
    assert do("logs -f -t --tail 5 bozo").value == Nothing()
    assert face.output == [("stdout", b"2026-11-23T11:59:03.000000000Z from the container!\n")]
    assert asked(engine, "logs") == [{"container": "bozo", "tail": 5, "follow": True, "timestamps": True}]
    do("logs -n -1 bozo")
    do("logs --tail all bozo")
    assert ["tail" in call for call in asked(engine, "logs")] == [True, False, False]
    do("logs --tail many bozo")
    assert "tail" not in asked(engine, "logs")[-1]
    with pytest.raises(ContainerNotFound):
        do("logs nope")


@pytest.mark.parametrize(
    ("line", "method", "arguments"),
    [
        ("stop -t 3 bozo", "stop", {"container": "bozo", "timeout": 3}),
        ("stop --time 4 bozo", "stop", {"container": "bozo", "timeout": 4}),
        ("stop -t 0 bozo", "stop", {"container": "bozo", "timeout": 0}),
        ("kill bozo", "kill", {"container": "bozo", "signal": "KILL"}),
        ("kill -s HUP bozo", "kill", {"container": "bozo", "signal": "HUP"}),
        ("rm bozo", "remove_container", {"container": "bozo"}),
        ("rm -f bozo", "remove_container", {"container": "bozo", "force": True}),
        ("start bozo", "start", {"container": "bozo"}),
    ],
)
def test_verbs_on_several_containers(do, engine, line, method, arguments):
    outcome = do(line)
    assert outcome.value == Text("bozo\n")
    (call,) = asked(engine, method)
    assert call == arguments
    engine.calls.clear()
    outcome = do(f"{line.split()[0]} nope gallant_mendeleev")
    assert outcome.value == Text("gallant_mendeleev\n")
    assert [type(problem) for problem in outcome.problems] == [ContainerNotFound]
    assert outcome.exit_code == 1


def test_rm_force_forgives_what_is_not_there(do):
    assert do("rm -f nope bozo").value == Text("bozo\n")
    assert do("rm -f nope").exit_code == 0
    assert do("rm /bozo2 nope").exit_code == 1


def test_wait(do):
    assert do("wait bozo gallant_mendeleev").value == Text("0\n3\n")


def test_start_attached(do, engine, face):
    engine.exit_code = 4
    outcome = do("start -a bozo")
    assert outcome.exit_code == 4
    assert face.output == [("stdout", b"from the container!\n")]
    with pytest.raises(UsageProblem, match="several containers"):
        do("start -a bozo gallant_mendeleev")


def test_container_prune(do, engine, make_face):
    no = make_face(answer=False)
    assert do("container prune", face=no).value == Nothing()
    assert len(engine.container_rows) == 3
    text = do("container prune -f").value.text
    assert text.startswith(f"Deleted Containers:\n{BOZO}\n")
    assert text.endswith("\n\nTotal reclaimed space: 0B\n")
    assert [row.name for row in engine.container_rows] == ["vigilant_curie"]
    assert do("container prune -f").value == Text("Total reclaimed space: 0B\n")


# -- system ---------------------------------------------------------------------------------------


def test_check(do, engine):
    assert do("system check").exit_code == 0
    engine.findings = (CheckFinding(what="digest differs", where="/x"),)
    assert do("system check").exit_code == 1
    assert do("system check --repair").exit_code == 0


def test_version_info_doctor(do):
    import json

    assert json.loads(do("version --format json").value.text)["Os"] == "linux"
    assert do(["info", "--format", "{{.ContainersRunning}} {{.Images}} {{.Tier}}"]).value == Text("1 4 rootless\n")
    assert "Root Dir: /var/lib/contextkernel\n" in do("system info").value.text
    size = "Store Size: 3.1GB of 5GB (CONTEXTKERNEL_MAX_SIZE), 20GB of 100GB free on its disk\n"
    assert size in do("system info").value.text
    assert do("info --format {{.StoreSize}}/{{.StoreBound}}/{{.StoreFree}}").value.text == (
        "3100000000/5000000000/20000000000\n"
    )
    assert isinstance(do("doctor").value, Host)
    assert json.loads(do("doctor --json").value.text)["tier"] == "rootless"


def test_the_metadata_of_a_build_goes_to_a_file(do, tmp_path):
    path = tmp_path / "metadata.json"
    do(f"build --metadata-file {path} {tmp_path}")
    found = json.loads(path.read_text())
    assert found["containerimage.config.digest"].startswith("sha256:")
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("words", "outputs"),
    [
        ("--push", (ImageOutput(push=True),)),
        ("--push -o type=image,name=a", (ImageOutput(push=True, names=(ImageRef.parse("a"),)),)),
        ("--push -o type=cacheonly", (CacheOutput(), ImageOutput(push=True))),
        ("--push --load", (ImageOutput(push=True),)),
    ],
)
def test_a_push_is_an_output(do, engine, tmp_path, words, outputs):
    do(f"build {words} {tmp_path}")
    assert asked(engine, "build")[0]["outputs"] == outputs
