import subprocess
import sys

import pytest

from contextkernel.cli import TerminalFace, main
from contextkernel.errors import DockerfileError, Span
from contextkernel.testing.samples import failed_step


@pytest.fixture
def call(engine):
    def run(*words):
        return main(words, make_engine=lambda _root: engine)

    return run


def test_output_errors_and_exit_codes(call, capsys):
    assert call("rm", "bozo", "nope") == 1
    assert tuple(capsys.readouterr()) == ("bozo\n", "contextkernel: no such container: nope\n")
    assert call("run", "--foo") == 125
    assert capsys.readouterr().err == "contextkernel: unknown flag: --foo\nhint: see contextkernel run --help\n"
    assert call("inspect", "nope") == 1
    assert tuple(capsys.readouterr()) == ("[]\n", "contextkernel: no such object: nope\n")
    assert call("inspect", "-f", "{{", "greet") == 64


def test_the_container_s_exit_code(call, engine, capsys):
    engine.exit_code = 42
    assert call("run", "greet") == 42
    assert call("run", "greet", "nosuchprogram") == 127
    assert call("run", "nope") == 125
    assert "no such image: nope" in capsys.readouterr().err


def test_run_gives_its_own_descriptors(call, engine):
    call("run", "-i", "greet")
    call("run", "greet")
    first, second = (given for name, given in engine.calls if name == "run")
    assert (first["stdin"], first["stdout"], first["stderr"]) == (0, 1, 2)
    assert "stdin" not in second


def test_the_engine_is_closed(call, engine):
    call("ps")
    assert engine.closed
    engine.closed = False
    call("--help")
    assert not engine.closed  # it was never made


def test_root_reaches_the_engine(engine):
    roots = []
    assert main(["--root", "/x", "ps"], make_engine=lambda root: roots.append(root) or engine) == 0
    assert main(["ps"], make_engine=lambda root: roots.append(root) or engine) == 0
    assert roots == ["/x", None]


def test_interrupt_is_130(call, engine):
    engine.failure = KeyboardInterrupt()
    assert call("run", "greet") == 130
    assert engine.closed


def test_an_excerpt_is_drawn(call, engine, capsys, tmp_path):
    engine.failure = DockerfileError(
        "unknown instruction: FORM",
        span=Span(file="Dockerfile", line=1, column=1, end_line=1, end_column=5),
        source="FORM scratch",
        hint="did you mean FROM?",
    )
    assert call("build", "--progress", "quiet", str(tmp_path)) == 1
    assert capsys.readouterr().err == (
        "contextkernel: Dockerfile:1:1: unknown instruction: FORM\n"
        "> 1 | FORM scratch\n      ^^^^\nhint: did you mean FROM?\n".replace("      ^", "    | ^")
    )


def test_a_failed_step_shows_its_last_lines(call, engine, capsys, tmp_path):
    engine.failure = failed_step()
    assert call("build", "-q", str(tmp_path)) == 1
    err = capsys.readouterr().err
    assert "exit code: 100\n  | E: Unable to locate package nosuch\n" in err


def test_our_own_mistakes_are_one_line_without_debug(call, engine, capsys):
    engine.failure = ValueError("oops")
    assert call("run", "greet") == 125
    assert capsys.readouterr().err == (
        "contextkernel: internal error: ValueError: oops\nhint: contextkernel --debug shows where it happened\n"
    )
    engine.failure = OSError(28, "No space left on device")
    assert call("run", "greet") == 125
    assert "No space left" in capsys.readouterr().err
    engine.failure = ValueError("oops")
    with pytest.raises(ValueError, match="oops"):
        call("--debug", "run", "greet")


def test_a_closed_pipe_is_quiet():
    code = (
        "import sys; from contextkernel.cli import main; from contextkernel.testing.fake_engine import FakeEngine;"
        "e = FakeEngine(); e.image_rows = e.image_rows * 5000;"
        "sys.exit(main(['images', '-a', '--format', 'json'], make_engine=lambda root: e))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_importing_the_command_line_imports_little():
    code = (
        "import sys; import contextkernel.cli;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('contextkernel', 'msgspec', 'pandas', 'IPython')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['contextkernel', 'contextkernel.cli']"


def test_help_needs_no_engine():
    code = (
        "import sys; from contextkernel.cli import main; main(['run', '--help']);"
        "print([m for m in sys.modules if m in ('contextkernel.engine', 'subprocess', 'sqlite3', 'pandas', 'asyncio')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_module_and_version():
    done = subprocess.run(
        [sys.executable, "-m", "contextkernel", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("contextkernel version ")


def test_confirm_reads_a_line(monkeypatch, capsys):
    import io

    for answer, wanted in (("y\n", True), ("Yes\n", True), ("n\n", False), ("", False)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        assert TerminalFace().confirm("Sure?") is wanted
    assert "Sure? [y/N] " in capsys.readouterr().out


def test_raw_bytes_of_logs_are_not_changed(engine, capfdbinary):
    engine.stdout = b"\xff\x00\n"
    assert main(["logs", "bozo"], make_engine=lambda _root: engine) == 0
    assert capfdbinary.readouterr().out == b"\xff\x00\n"


def test_terminal_view_is_used_on_a_terminal(monkeypatch):
    class Terminal:
        def __init__(self):
            self.text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with TerminalFace().reporter("auto") as report:
        assert type(report).__name__ == "TerminalView"
    with TerminalFace().reporter("plain") as report:
        assert type(report).__name__ == "PlainView"
    monkeypatch.setenv("TERM", "dumb")
    with TerminalFace().reporter("auto") as report:
        assert type(report).__name__ == "PlainView"


def test_stdin_may_be_closed():
    code = (
        "import os; os.close(0); from contextkernel.cli import TerminalFace; import sys;"
        "sys.exit(TerminalFace().stdin is not None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
