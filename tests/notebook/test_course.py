"""The course notebooks on the real engine, as `jupyter execute` runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = pytest.mark.timeout(1200)
BUILD = "%docker build -t greet ."
SAYS = "from the container!\n"
HELLO = "I'm running in a container!\n"


def test_the_first_image(execute):
    for _ in range(2):  # a notebook can be run again on what it left
        first_image(execute("01-first-image.ipynb"))


def first_image(shown):
    bases = shown.text("base ensure")
    assert "ubuntu:20.04" in bases
    assert "alpine:3.15.0" in bases

    for nth in (0, 1):
        assert "naming to docker.io/library/greet" in shown.text(BUILD, nth=nth)
        assert "built greet:latest" in shown.text(BUILD, nth=nth)
    assert "all steps cached" in shown.html(BUILD, nth=1)
    assert "all cached" in shown.text("%%dockerfile -t greet")

    images = shown.text("%docker images").splitlines()
    assert images[0].split()[:5] == ["repository", "tag", "image_id", "created", "size"]
    assert re.search(r"^greet +latest +[0-9a-f]{12} .* ago +[0-9.]+[kMG]?B +build ", "\n".join(images), re.MULTILINE)
    assert "datetime64[ns, UTC]" in shown.text("images.dtypes")

    [document] = json.loads(shown.text("%docker inspect greet"))
    assert document["RepoTags"] == ["greet:latest"]
    assert document["Config"]["Entrypoint"] == ["echo", "from the container!"]
    assert document["Config"]["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert (document["Os"], len(document["RootFS"]["Layers"])) == ("linux", 1)
    assert document["Id"].partition(":")[2][:12] in "\n".join(images)
    assert shown.text("--format '{{.Config.Env}}'").startswith("[PATH=")

    history = shown.text("%docker image history").splitlines()
    assert re.search(r'ENTRYPOINT \["echo" "from the container!"\] +0B', history[1])
    assert history[2].startswith("<missing>")

    assert shown.text("%docker run greet") == SAYS
    assert shown.text("%docker ps").splitlines() == [
        "container_id   image   command   created   status   ports   names"
    ]
    once = shown.text("%docker ps -a").splitlines()
    assert re.search(r"echo 'from the cont… .* Exited \(0\) .* ago +[a-z]+_[a-z0-9]+$", once[1])
    assert len(once) == 2
    assert shown.text("%docker run --name bozo greet") == SAYS
    assert shown.text("%docker ps -a", nth=1).splitlines()[1].endswith("bozo")
    name, message = shown.error("%docker run --name bozo greet", nth=1)
    assert name == "NameInUse"
    assert 'the container name "/bozo" is already in use by container' in message
    assert shown.text("%docker rm bozo") == "bozo\n"
    assert shown.text("%docker run --rm greet") == SAYS
    assert shown.text("%%container run --rm -i").startswith("my process id is 1\nbin\n")
    name, message = shown.error("%docker rmi greet:latest")
    assert name == "ImageInUse"
    assert once[1].split()[-1] in message
    assert shown.text("%docker rmi greet:latest", nth=1).startswith("Untagged: greet:latest\nDeleted: sha256:")


@pytest.mark.network
def test_a_c_program(execute):
    shown = execute("02-a-c-program.ipynb")
    first = shown.text("%docker build -t greeting-c:v0.1 .")
    assert "[3/6] RUN apt-get install -y build-essential" in first
    assert "naming to docker.io/library/greeting-c:v0.1" in first
    assert "all steps cached" in shown.html("%docker build -f")
    changed = shown.text("%docker build -t greeting-c:v0.1 .", nth=1)
    assert re.search(r"RUN apt-get install -y build-essential\n#\d+ CACHED", changed)
    assert re.search(r"RUN gcc -o hello hello.c\n#\d+ DONE", changed)
    assert shown.text("%docker run --rm greeting-c:v0.1") == HELLO
    assert shown.text('len(document["RootFS"]["Layers"])') == "6"
    [document] = json.loads(shown.text("%docker inspect greeting-c:v0.1"))
    assert (document["Config"]["Entrypoint"], document["Config"]["WorkingDir"]) == (["/app/hello"], "/app")
    history = shown.text("%docker image history greeting-c:v0.1")
    assert history.count("buildkit.dockerfile.v0") == 6


@pytest.mark.network
def test_multi_stage_and_scratch(execute):
    shown = execute("03-multi-stage-and-scratch.ipynb")
    assert "[final 3/3] COPY --from=build /app/hello ./" in shown.text("%docker build -t greeting-ms-c:v0.1 .")
    for name in ("greeting-ms-c", "greeting-scratch"):
        assert shown.text(f"%docker run --rm {name}:v0.1") == HELLO
    scratch = shown.text("%docker build -t greeting-scratch:v0.1 .")
    assert re.search(r"RUN gcc -o hello -static hello.c\n#\d+ CACHED", scratch)
    assert shown.error("--entrypoint sh greeting-scratch:v0.1")[0] == "CommandNotFound"
    table = shown.text("%container image compare").splitlines()
    assert [line.split()[0] for line in table] == [
        "image",
        "greet",
        "greeting-c:v0.1",
        "greeting-ms-c:v0.1",
        "greeting-scratch:v0.1",
    ]
    assert table[0].split() == ["image", "size", "layers", "shared", "unique", "factor"]
    assert [line.split()[2] for line in table[1:]] == ["1", "6", "3", "2"]
    assert table[2].split()[-1] == "1.0x"
    assert float(table[4].split()[-1].rstrip("x")) > float(table[3].split()[-1].rstrip("x")) > 5
    assert "ck-bar-shared" in shown.html("%container image compare")
    assert [line.split()[0] for line in shown.text("sizes.sort_values").splitlines()] == [
        "image",
        "greeting-scratch:v0.1",
        "greeting-ms-c:v0.1",
        "greet",
        "greeting-c:v0.1",
    ]


def test_advanced_builds(execute):
    shown = execute("builder/advanced-builds.ipynb")
    assert shown.text("%container run --rm tour-heredoc") == "Hello, I know 4 words\n"
    assert shown.text("%container run --rm tour-copy") == "Hello!\nBonjour !\n"
    assert "-rwxr-xr-x    1 root     root" in shown.text("-t tour-copy --context-var")
    assert re.search(r"#\d+ 1\n#\d+ 2\n#\d+ 3\n", shown.text("-t tour-contexts"))
    for nth in (0, 1):
        assert f"this step has run {nth + 1} times" in shown.text("build --no-cache -t tour-cache", nth=nth)
    # two streams: which comes first is not said
    assert set(shown.text("ls -d /counter").splitlines()[:2]) == {"/srv", "ls: /counter: No such file or directory"}
    secret = shown.text("-t tour-secret")
    assert "the token has 28 characters" in secret
    assert "nothing is left of it" in secret
    assert [line.split()[0] for line in shown.text("steps.instruction.str").splitlines()] == [
        "docs",
        "program",
        "tests",
    ]

    why = shown.text("build -q --explain").splitlines()
    assert why[0].split() == ["step", "name", "line", "cache", "reason", "why", "changes"]
    assert re.search(r"COPY site site +4 +miss +changed +file site/fr/hello.txt changed +1\Z", why[4])
    assert len(shown.text('why.cache == "miss"').splitlines()) == 3
    check = shown.text("%%dockerfile --check")
    assert "Usage of undefined variable '$VERSOIN' (did you mean $VERSION?)" in check
    assert shown.html("%%dockerfile --check").count('class="ck-warn">▶') == 5
    assert len(shown.text("findings = _").splitlines()) == 6
    assert "WorkdirRelativePath" in shown.text("-t tour-warnings")

    name, message = shown.error("%%dockerfile -t tour-broken")
    assert name == "StepFailed"
    assert "> 5 | RUN echo" in message
    assert "| /bin/sh: srot: not found" in message
    assert "hint: did you mean sort?" in message
    assert "`%container debug " in message
    assert "table.csv" in shown.text("%container debug ls -l")
    assert shown.text("%%container debug") == "/work\n1,Ada\nid,name\n"
    builds = shown.text("builds = %container builds").splitlines()
    assert "error" in builds[0].split()
    assert "srot table.csv" in builds[2]

    assert "numbers ['1', '2', '3', '4', '5']" in shown.text('Path("result")')
    assert "oci-layout" in shown.text("os.listdir")
    assert shown.text("SOURCE_DATE_EPOCH").endswith("True")
    assert "exec.cachemount" in shown.text("builder du")
    assert "Total:" in shown.text("builder prune")


@pytest.mark.network
def test_networks_volumes_and_limits(execute):
    shown = execute("04-networks-volumes-limits.ipynb")
    page = "<h1>Hello from a container!</h1>\n"
    assert re.search(r"80/tcp .*http\S+ +ready", shown.text("%docker run -d --name web"))
    assert re.search(r"127\.0\.0\.1:\d+->80/tcp +web$", shown.text("%docker ps"), re.MULTILINE)
    assert shown.text("urlopen") == f"{page}\n"
    name = shown.text("%%container exec -i web sh").strip()
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert f"Hello from {name}, changed from inside." in shown.text("urlopen", nth=1)
    assert shown.text("%docker diff web").split() == ["change", "path", "C", "/www", "C", "/www/index.html"]
    assert shown.text("%docker network create course").endswith(page)
    assert '"Name":"shop"' in shown.text("%docker network inspect course")
    namespaces = shown.text("%container namespaces web shop")
    assert re.search(r"^ *web +net +\d+ +own", namespaces, re.MULTILINE)
    assert shown.text("redis-cli -h db ping").endswith("OK\n")
    assert shown.text("redis-cli -h db2 get lesson").endswith("volumes outlive containers\n")
    assert "memory" in shown.text("%docker volume ls")
    assert shown.text("sort numbers.txt") == "1\n2\n3\n\n"
    kind, message = shown.error("echo 4 >> numbers.txt")
    assert (kind, "exited with code" in message) == ("ProgramFailed", True)
    assert "Read-only file system" in shown.text("echo 4 >> numbers.txt")
    assert shown.text("-e GREETING=hello") == "hello, a student\n"
    assert shown.error("--name hungry")[0] == "ProgramFailed"
    limits = shown.text("[document] = %docker inspect hungry")
    if "'EnforcedBy': 'cgroup" in limits:
        assert "exit code 137 - out of memory: True" in limits
    else:  # no control group here: an allowance per process, or none, and inspect says which
        assert "--memory" in limits
        assert re.search(r"'Remedy': '.+", limits)
    assert shown.text("counted = pd.DataFrame").splitlines()[-1].split()[0] == "1.00"
    assert any("image/png" in output.get("data", {}) for output in shown._cell("counted.plot", 0).outputs)
    assert shown.text("%docker rm -f -v web").split() == ["web", "shop", "db2", "hungry", "course", "memory"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.rglob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_valid_and_has_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source.startswith("%load_ext contextkernel\n%container base ensure ubuntu:20.04")
    assert first.outputs, "run `make notebooks`"
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "text/html" in output.get("data", {}):
                assert output.data["text/plain"], "every rich view has a plain twin"
