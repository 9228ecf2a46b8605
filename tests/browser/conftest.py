"""JupyterLab, a browser, and the store of the notebook tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_course = _load("contextkernel_course_store", HERE.parent / "notebook" / "conftest.py")
archive, store = _course.archive, _course.store


@pytest.fixture(scope="session")
def lab():
    """The helpers of lab.py."""
    return _load("contextkernel_lab", HERE / "lab.py")


@pytest.fixture
def pictures(tmp_path):
    """Where pictures go: the folder in CONTEXTKERNEL_SCREENSHOTS, else one that the next runs remove."""
    folder = Path(os.environ.get("CONTEXTKERNEL_SCREENSHOTS") or tmp_path / "pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
