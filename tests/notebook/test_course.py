"""The course notebooks on the real engine, as `jupyter execute` runs them."""

from __future__ import annotations

import re
from pathlib import Path

import course
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = pytest.mark.timeout(1200)


def test_the_first_image(execute):
    for _ in range(2):  # a notebook can be run again on what it left
        course.first_image(execute("01-first-image.ipynb"))


@pytest.mark.network
def test_a_c_program(execute):
    course.c_program(execute("02-a-c-program.ipynb"))


@pytest.mark.network
def test_multi_stage_and_scratch(execute):
    course.multi_stage(execute("03-multi-stage-and-scratch.ipynb"))


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


def test_registries_and_tags(execute):
    shown = execute("05-registries-and-tags.ipynb")
    first, second = "Hello, I am version 1.\n", "Hello, I am version 2.\n"
    assert shown.text("%docker run --rm hello") == first
    names = [line.split() for line in shown.text("%docker images hello").splitlines()[1:]]
    assert [name[1] for name in names if name[1] != "v2"] == ["latest", "v1"]
    assert names[-1][2] == names[-2][2]
    assert re.match(r"127\.0\.0\.1:\d+\n", shown.text("%container registry start"))
    pushed = shown.text("%docker push $address/course/hello:v1")
    assert pushed.count(": Pushed\n") == 2
    assert re.search(r"v1: digest: sha256:\w{64} size: \d+", pushed)
    again = shown.text("%docker push $address/course/hello:v2")
    assert (again.count(": Pushed\n"), again.count(": Layer already exists\n")) == (1, 1)
    kept = shown.text("%container registry images course").splitlines()
    assert [line.split()[:2] for line in kept[1:]] == [["course/hello", "v1"], ["course/hello", "v2"]]
    assert shown.text("colleague = Engine") == f"()\n{first}\n"
    assert shown.text("%docker pull $address/course/hello:v1").endswith(first)
    digest = shown.text("hashlib.sha256(manifest)").strip()
    assert digest in kept[1]
    assert digest in shown.text("images.digest == digest")
    assert '"tags":["v1","v2"]' in shown.text('ask("_catalog")')
    assert shown.text("%docker run --rm $address/course/hello:v1", nth=1).endswith(second)
    assert shown.text("%docker run --rm $address/course/hello@$digest").endswith(first)
    assert shown.error("other = Engine")[0] == "DigestMismatch"
    assert shown.text("layer.write_bytes(original)\n").endswith(f"{first}\n")
    assert "application/vnd.oci.image.index.v1+json" in shown.text('ask("course/where/manifests/v1")')
    platforms = shown.text("%container image platforms")
    assert "linux/amd64" in platforms
    assert "linux/arm64" in platforms
    assert shown.text("%docker pull --platform linux/arm64").endswith("linux/arm64\n")
    assert "Untagged: hello:v2\n" in shown.text("%container registry rm -f course", nth=1)


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
