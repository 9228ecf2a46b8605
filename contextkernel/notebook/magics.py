"""The magics: read the line, run one command, hand its value back."""

from __future__ import annotations

import atexit
import os
from collections import ChainMap
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from IPython.core import magic as _magic
from traitlets import Bool, observe

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Detached
from contextkernel.model.remote import RemoteImage
from contextkernel.model.results import BuildResult, RunResult
from contextkernel.notebook import words as words_of
from contextkernel.notebook.face import Display, NotebookFace
from contextkernel.notebook.outcomes import Interrupted, Printed, problem_of, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell

    from contextkernel.engine import Engine

    Names = Mapping[str, object]

magic: Any = _magic  # its decorators and its shell have no types that hold for all versions of IPython

_SPOKEN = (Printed, BuildResult, RunResult)
"""Values that their command has shown already when it returns them."""
_ALIAS = "docker"
_ALIAS_SWITCH = "CONTEXTKERNEL_DOCKER_ALIAS"
_DOCKERFILE = "dockerfile"


@magic.magics_class
class ContainerMagics(magic.Magics):
    """Build and run containers from cells.

    Args:
        shell: the shell to serve.
        make_engine: makes the engine at the first command that needs one.
    """

    docker_alias = Bool(default_value=False, help="let %docker and %%docker mean %container and %%container").tag(
        config=True
    )

    def __init__(self, shell: InteractiveShell, make_engine: Callable[[], Engine] | None = None) -> None:
        super().__init__(shell)
        self._make_engine = make_engine or _engine
        self._engine: Engine | None = None
        self._fresh: tuple[int, object] = (-1, None)

    # -- the magics -------------------------------------------------------------------------------

    # local_ns: the variables of the function that the magic stands in; at the top of a cell those of the notebook

    @magic.no_var_expand
    @magic.needs_local_scope
    @magic.line_magic
    def container(self, line: str, local_ns: Names | None = None) -> Any:
        """Run a container command: ``%container run --rm greet``, ``df = %container images``.

        The commands and flags are docker's; ``%container --help`` lists them, ``%container run --help`` explains one.
        ``$NAME`` is a variable of the notebook (in a function, of the function first) or of the environment; nothing
        else is expanded.
        """
        return self._run("%container", line, local_ns)

    @magic.no_var_expand
    @magic.needs_local_scope
    @magic.cell_magic("container")
    def container_cell(self, line: str, cell: str, local_ns: Names | None = None) -> Any:
        """Run a container command with the cell as its standard input: ``%%container run ubuntu:20.04 sh``."""
        return self._run("%%container", line, local_ns, stdin=cell.encode())

    @magic.no_var_expand
    @magic.needs_local_scope
    @magic.cell_magic(_DOCKERFILE)
    def dockerfile(self, line: str, cell: str, local_ns: Names | None = None) -> Any:
        """Build an image; the cell is the Dockerfile, taken literally: ``%%dockerfile -t NAME [options] [CONTEXT]``.

        The options are those of ``%container build``; the context is the current directory by default.
        """
        return self._run("%%dockerfile", line, local_ns, dockerfile=cell)

    @magic.no_var_expand
    @magic.needs_local_scope
    def _docker(self, line: str, local_ns: Names | None = None) -> Any:
        """Another name for ``%container``; see ``%container --help``."""
        return self._run("%docker", line, local_ns)

    @magic.no_var_expand
    @magic.needs_local_scope
    def _docker_cell(self, line: str, cell: str, local_ns: Names | None = None) -> Any:
        """Another name for ``%%container``."""
        return self._run("%%docker", line, local_ns, stdin=cell.encode())

    # -- one command ------------------------------------------------------------------------------

    def _run(
        self,
        program: str,
        line: str,
        local_ns: Names | None,
        *,
        stdin: bytes | None = None,
        dockerfile: str | None = None,
    ) -> Any:
        names = (
            self.shell.user_ns if local_ns is None else ChainMap(cast("dict[str, Any]", local_ns), self.shell.user_ns)
        )
        words = words_of.split(line, partial(_value, names), os.getcwd(), os.path.expanduser("~"))
        if dockerfile is not None:
            words = ["build", *words]
        in_notebook = hasattr(self.shell, "kernel")
        face = NotebookFace(program, words, stdin=stdin, shell=self.shell if in_notebook else None, namespace=names)
        try:
            outcome = execute(self.engine, _interruptible(words), face, dockerfile=dockerfile)
        except KeyboardInterrupt:
            raise Interrupted(f"{program} {' '.join(words[:1])} was stopped and cleaned up") from None
        finally:
            face.close()
        value, problem = value_of(outcome), problem_of(outcome)
        if problem is not None:
            self._show(value)
            raise problem
        if isinstance(value, _SPOKEN):
            self._fresh = (self.shell.execution_count, value)
        if in_notebook and isinstance(outcome.value, Detached):
            from contextkernel.notebook.published import show_links

            show_links(Display(self.shell), self.engine(), outcome.value.container)
        return value

    def _show(self, value: object) -> None:
        """Show what there is before the error that follows."""
        if value is None or isinstance(value, _SPOKEN) or (hasattr(value, "__len__") and not len(value)):
            return
        data, metadata = self.shell.display_formatter.format(value)
        self.shell.display_pub.publish(data=data, metadata=metadata)

    def engine(self) -> Engine:
        """The shell's engine, made at its first use and closed when the shell goes."""
        if self._engine is None:
            self._engine = self._make_engine()
            atexit.register(self.close)
        return self._engine

    def close(self) -> None:
        """Close the engine; the next command makes a new one. Idempotent."""
        engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.close)
            engine.close()

    # -- coming and going -------------------------------------------------------------------------

    def attach(self) -> None:
        """Register magics, completion and settings with the shell."""
        self.shell.register_magics(self)
        self.shell.configurables.append(self)
        formatter = self.shell.display_formatter.ipython_display_formatter
        for kind in _SPOKEN:
            formatter.for_type(kind, self._stay_silent)
        self.shell.display_formatter.formatters["text/html"].for_type(RemoteImage, _index_html)
        from contextkernel.notebook.completion import attach

        self._detach_completion = attach(self.shell, self.engine)
        if os.environ.get(_ALIAS_SWITCH, "").lower() in {"1", "true", "yes", "on"}:
            self.docker_alias = True
        elif self.docker_alias:  # switched on by a configuration file, before there was a shell to tell
            self._set_alias(on=True)

    def detach(self) -> None:
        """Take back what :meth:`attach` did, and close the engine."""
        self.docker_alias = False
        magics = self.shell.magics_manager.magics
        magics["line"].pop("container", None)
        magics["cell"].pop("container", None)
        magics["cell"].pop(_DOCKERFILE, None)
        self.shell.magics_manager.registry.pop(type(self).__name__, None)
        if self in self.shell.configurables:
            self.shell.configurables.remove(self)
        formatter = self.shell.display_formatter.ipython_display_formatter
        for kind in _SPOKEN:
            formatter.pop(kind, None)
        self.shell.display_formatter.formatters["text/html"].pop(RemoteImage, None)
        self._detach_completion()
        self.close()

    @observe("docker_alias")
    def _alias_changed(self, change: Any) -> None:
        self._set_alias(on=bool(change["new"]))

    def _set_alias(self, *, on: bool) -> None:
        if on:
            self.shell.register_magic_function(self._docker, "line", _ALIAS)
            self.shell.register_magic_function(self._docker_cell, "cell", _ALIAS)
        else:
            for kind in ("line", "cell"):
                self.shell.magics_manager.magics[kind].pop(_ALIAS, None)

    def _stay_silent(self, value: object) -> None:
        """Display a value that its command has just shown (a build's view, a program's output): not once more.

        NotImplementedError is IPython's way for a formatter to pass: later the value shows itself as any other does.
        """
        count, fresh = self._fresh
        if fresh is not value or count != self.shell.execution_count:
            raise NotImplementedError
        self._fresh = (-1, None)


def _interruptible(words: list[str]) -> list[str]:
    """Let an interrupt of the cell stop a container, instead of being passed on to a program that may ignore it."""
    for count, start in ((1, ["run"]), (2, ["container", "run"])):
        if words[:count] == start:
            return [*start, "--sig-proxy=false", *words[count:]]
    return words


def _value(names: Names, name: str) -> str | None:
    """A variable that is text, a number or a path, as text; else the environment's; else ``None``."""
    known = names.get(name)
    if isinstance(known, str | int | os.PathLike) and not isinstance(known, bool):
        return str(known)
    return os.environ.get(name)


def _engine() -> Engine:
    from contextkernel.engine import Engine

    return Engine()


def _index_html(remote: RemoteImage) -> str:
    """The picture of an ``engine.remote(...)``."""
    from contextkernel.notebook.indexview import index_html

    return index_html(remote)
