"""A real IPython shell with the magics over a fake engine."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from contextkernel.notebook import load, unload
from contextkernel.testing.fake_engine import FakeEngine


class RecordingHook(DisplayHook):
    """Out[] as a kernel sends it: a bundle, or nothing for a value that showed itself."""

    def write_output_prompt(self):
        self.bundle = None

    def write_format_data(self, format_dict, _metadata=None):
        self.bundle = format_dict

    def finish_displayhook(self):
        self._is_active = False


class RecordingShell(InteractiveShell):
    """Keeps what a notebook would show."""

    displayhook_class = Type(RecordingHook)
    display_pub_class = Type(CapturingDisplayPublisher)
    trace: tuple[str, ...] = ()

    def _showtraceback(self, _kind, _value, lines):
        self.trace = tuple(lines)


class Cells:
    """Runs cells as a notebook does: ``cells(text)``.

    Attributes:
        made: the engines that were made.
    """

    def __init__(self, shell, engine):
        self.shell = shell
        self.engine = engine
        self.made = []

    def make_engine(self):
        self.made.append(self.engine)
        return self.engine

    def __call__(self, text):
        """Run one cell; an error is kept, as in a notebook."""
        out, err = io.StringIO(), io.StringIO()
        self.shell.displayhook.bundle, self.shell.trace = None, ()
        self.shell.display_pub.outputs.clear()
        with redirect_stdout(out), redirect_stderr(err):
            result = self.shell.run_cell(text, store_history=True)
        return SimpleNamespace(
            value=result.result,
            error=result.error_in_exec or result.error_before_exec,
            out=out.getvalue(),
            err=err.getvalue(),
            displays=list(self.shell.display_pub.outputs),
            bundle=self.shell.displayhook.bundle,
            trace=self.shell.trace,
        )


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    config = Config()
    config.HistoryManager.enabled = False
    shell = RecordingShell(config=config)
    yield shell
    unload(shell)


@pytest.fixture
def cells(shell, engine):
    cells = Cells(shell, engine)
    load(shell, cells.make_engine)
    return cells
