"""What the first course notebooks show when all went well, wherever they run."""

from __future__ import annotations

import json
import re

BUILD = "%docker build -t greet ."
SAYS = "from the container!\n"
HELLO = "I'm running in a container!\n"


class Ran:
    """An executed notebook.

    Attributes:
        cells: its code cells.
    """

    def __init__(self, notebook):
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    def text(self, source, *, nth=0):
        """The plain text that the ``nth`` cell with ``source`` in it shows, as a reader without HTML sees it."""
        return "".join(_text(output) for output in self._cell(source, nth).outputs)

    def html(self, source, *, nth=0):
        """All HTML of that cell."""
        return "".join(output.get("data", {}).get("text/html", "") for output in self._cell(source, nth).outputs)

    def error(self, source, *, nth=0):
        """Name and message of the error that stopped that cell."""
        (found,) = [output for output in self._cell(source, nth).outputs if output.output_type == "error"]
        return found.ename, "\n".join(found.traceback)

    def _cell(self, source, nth):
        return [cell for cell in self.cells if source in cell.source][nth]


def _text(output):
    if output.output_type == "stream":
        return output.text
    return output.get("data", {}).get("text/plain", "")


def first_image(shown, *, alone=True):
    """``alone``: containers have process ids of their own."""
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
    process = "1" if alone else r"\d+"
    assert re.match(rf"my process id is {process}\nbin\n", shown.text("%%container run --rm -i"))
    name, message = shown.error("%docker rmi greet:latest")
    assert name == "ImageInUse"
    assert once[1].split()[-1] in message
    assert shown.text("%docker rmi greet:latest", nth=1).startswith("Untagged: greet:latest\nDeleted: sha256:")


def c_program(shown):
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


def multi_stage(shown):
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
