"""What the package promises about itself."""

from __future__ import annotations

import subprocess
import sys

import contextkernel
from contextkernel import errors


def test_all_names_exist() -> None:
    for name in contextkernel.__all__:
        assert getattr(contextkernel, name) is not None


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, contextkernel; "
        "print([m for m in ('pandas', 'IPython', 'msgspec', 'sqlite3', 'ctypes', 'asyncio') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_error_is_named_like_a_builtin() -> None:
    import builtins

    ours = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert [name for name in ours if hasattr(builtins, name)] == []


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.ContextKernelError):
            assert name in (errors.__doc__ or ""), f"{name} is missing from the tree"


def test_an_excerpt_marks_the_place() -> None:
    source = "FROM a\nCOPPY x /y\nCMD z\n"
    span = errors.Span(file="Dockerfile", line=2, column=1, end_line=2, end_column=6)
    problem = errors.DockerfileError("unknown instruction 'COPPY'", hint="did you mean COPY?", span=span, source=source)
    assert str(problem).splitlines() == [
        "Dockerfile:2:1: unknown instruction 'COPPY'",
        "  1 | FROM a",
        "> 2 | COPPY x /y",
        "    | ^^^^^",
        "  3 | CMD z",
        "hint: did you mean COPY?",
    ]


def test_an_interrupt_while_datetime_is_imported_does_not_crash_msgspec() -> None:
    """msgspec does not notice it, and crashes when the first decoder is made."""
    program = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'datetime':\n"
        "            sys.meta_path.remove(self)\n"
        "            raise KeyboardInterrupt\n"
        "sys.modules.pop('datetime', None)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "try:\n"
        "    import contextkernel.layer.index\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "import contextkernel.layer.index\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_looking_at_containers_loads_no_room_that_it_does_not_need(tmp_path) -> None:
    """Most of a short command's time is imports."""
    code = (
        "import sys\n"
        "from contextkernel.cli import main\n"
        "main(['ps'])\n"
        "rooms = ('dockerfile', 'build', 'registry', 'fetch', 'plan', 'engine.asked', 'runtime.child')\n"
        "print([m for m in sys.modules if m.startswith(tuple(f'contextkernel.{room}' for room in rooms))])\n"
    )
    environment = {"CONTEXTKERNEL_ROOT": str(tmp_path / "store"), "PYTHONPATH": ":".join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.splitlines()[-1] == "[]"
