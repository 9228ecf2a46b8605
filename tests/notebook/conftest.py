"""A store with the course's base images, and what executes notebooks on it."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from course import Ran
from course_bases import base_archive, empty
from nbclient import NotebookClient

from contextkernel import Engine

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def archive(cache_dir):
    """A tar with the base images."""
    return base_archive(cache_dir)


@pytest.fixture(scope="session")
def store(archive, tmp_path_factory):
    """Root of a store that has nothing but the base images."""
    root = tmp_path_factory.mktemp("store")
    with Engine(root) as engine:
        engine.load(str(archive))
    yield root
    with Engine(root) as engine:
        empty(engine)


#: run by a kernel before anything else: a busy machine takes longer to serve a published port
STARTUP = "from contextkernel.notebook import published\npublished.PATIENCE = 60.0\n"


@pytest.fixture
def execute(store, tmp_path):
    """Runs a notebook from its first to its last cell on the real engine; a cell that fails fails the test."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "patience.py").write_text(STARTUP)

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
