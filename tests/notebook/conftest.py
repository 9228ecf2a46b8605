"""A store with the course's base images, made once and kept between runs; everything else is built anew."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from contextkernel import Engine

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
BASES = ("ubuntu:20.04", "alpine:3.15.0")


@pytest.fixture(scope="session")
def base_archive(cache_dir, tmp_path_factory):
    """A tar with the base images: pulled, bootstrapped or assembled, whatever this machine allows."""
    archive = cache_dir / "course-bases.tar"
    if not archive.exists():
        root = tmp_path_factory.mktemp("bases")
        fresh = archive.with_name(f"{archive.name}.{os.getpid()}")
        with Engine(root) as engine:
            engine.ensure_bases(BASES)
            engine.save(BASES, str(fresh))
            empty(engine)
        fresh.rename(archive)
    return archive


@pytest.fixture(scope="session")
def store(base_archive, tmp_path_factory):
    """Root of a store that has nothing but the base images."""
    root = tmp_path_factory.mktemp("store")
    with Engine(root) as engine:
        engine.load(str(base_archive))
    yield root
    with Engine(root) as engine:
        empty(engine)


def empty(engine):
    """Remove the layers with the ids that made them: an ordinary user may not remove them otherwise."""
    engine._worker().remove([os.path.join(engine.root, name) for name in ("layers", "containers")])


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


@pytest.fixture
def execute(store, tmp_path):
    """Runs a notebook from its first to its last cell on the real engine; a cell that fails fails the test."""

    def run(name):
        notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        environment = {**os.environ, "CONTEXTKERNEL_ROOT": str(store), "IPYTHONDIR": str(tmp_path / "ipython")}
        client = NotebookClient(
            notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        )
        client.create_kernel_manager()
        client.km.transport = "ipc"
        client.km.ip = str(tmp_path / "kernel")
        client.execute(env=environment)
        return Ran(notebook)

    return run
