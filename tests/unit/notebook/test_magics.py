"""The magics in a real shell, over a fake engine."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from contextkernel.errors import (
    DockerfileError,
    HostUnsupported,
    ImageInUse,
    ImageNotFound,
    InvalidInput,
    NameInUse,
    NotFound,
    StepFailed,
    UsageProblem,
)
from contextkernel.model.results import BuildResult, RunResult
from contextkernel.notebook import load, load_docker_alias, unload, unload_docker_alias
from contextkernel.notebook.document import Documents
from contextkernel.notebook.outcomes import Interrupted, ProgramFailed
from contextkernel.testing.samples import GREET, failed_step


def last_call(engine):
    return engine.calls[-1]


def test_a_table_is_the_cell_s_value_and_is_humanised(cells):
    shown = cells("%container images")
    assert shown.out == ""
    assert "72.8MB" in shown.bundle["text/plain"]
    assert "72.8MB" in shown.bundle["text/html"]
    assert list(shown.value["size"][:2]) == [292_000_000, 72_776_453]


def test_a_table_can_be_assigned(cells):
    cells("df = %container ps -a")
    assert list(cells.shell.user_ns["df"].names) == ["vigilant_curie", "bozo", "gallant_mendeleev"]


def test_inspect_is_a_list_of_dicts_that_shows_as_json(cells):
    shown = cells("%container inspect greet")
    assert isinstance(shown.value, Documents)
    assert shown.value[0]["Id"] == str(GREET)
    assert shown.bundle["text/plain"].startswith('[\n    {\n        "Id": "sha256:da62877a7ead')
    assert "<details" in shown.bundle["text/html"]


def test_a_template_keeps_its_braces(cells):
    assert cells("%container inspect --format '{{.Config.Env}}' greet").out == (
        "[PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8]\n"
    )


def test_the_address_of_a_registry_can_stand_before_names(cells):
    shown = cells("address = %container registry start")
    assert shown.out == "127.0.0.1:5000\n"
    cells("%container tag greet $address/team/greet:v1")
    assert last_call(cells.engine) == ("tag", {"source": "greet", "target": "127.0.0.1:5000/team/greet:v1"})


def test_run_prints_the_output_and_returns_the_result_without_showing_it(cells):
    shown = cells("result = %container run greet\nresult")
    assert shown.out == "from the container!\n"
    shown = cells("%container run --name other greet")
    assert shown.out == "from the container!\n"
    assert shown.bundle is None
    assert isinstance(shown.value, RunResult)
    assert last_call(cells.engine) == ("run", {"image": "greet", "name": "other"})


def test_a_result_shows_itself_when_it_is_asked_for_later(cells):
    cells("result = %container run greet")
    assert "from the container!" in cells("result").bundle["text/plain"]
    cells("%container run greet")
    assert "RunResult" in cells("_").bundle["text/plain"]


def test_standard_error_goes_to_standard_error(cells):
    cells.engine.stdout, cells.engine.stderr = b"out\n", "gr\u00fc\u00dfe\n".encode()
    shown = cells("%container run greet")
    assert (shown.out, shown.err) == ("out\n", "gr\u00fc\u00dfe\n")


def test_a_character_that_is_cut_in_two_is_put_together(cells, monkeypatch):
    def run(*_args, on_output, **_options):
        for piece in (b"gr\xc3", b"\xbc\xff", b"\xe2\x82"):
            on_output("stdout", piece)
        return RunResult(id="x", name="x", exit_code=0)

    monkeypatch.setattr(cells.engine, "run", run)
    assert cells("%container run greet").out == "gr\u00fc\ufffd\ufffd"


def test_a_failing_program_fails_the_cell_shortly(cells):
    cells.engine.exit_code = 3
    shown = cells("%container run --name boom greet")
    assert isinstance(shown.error, ProgramFailed)
    assert shown.error.exit_code == 3
    assert shown.error.result.stdout_text == "from the container!\n"
    assert shown.out == "from the container!\n"
    assert shown.trace == ("ProgramFailed: the program in container 'boom' exited with code 3",)


def test_a_signal_is_named(cells):
    cells.engine.exit_code = 137
    assert cells("%container run greet").trace[0].endswith("exited with code 137 (SIGKILL)")


def test_a_detached_container_is_its_id(cells):
    cells("id = %container run -d greet")
    assert cells.shell.user_ns["id"].strip().startswith("5b6c7d8e9f0a")
    shown = cells("%container run -d greet")
    assert shown.out.startswith("5b6c7d8e9f0a")
    assert shown.bundle is None


def test_published_ports_of_a_detached_container_are_links(cells, monkeypatch):
    from contextkernel.notebook import published

    monkeypatch.setattr(published, "answers", lambda _host, port: port == 8080)
    monkeypatch.setattr(published, "server_base", lambda: None)
    monkeypatch.setattr(cells.shell, "kernel", object(), raising=False)
    shown = cells("%container run -d -p 8080:80 greet")
    assert shown.out.startswith("5b6c7d8e9f0a")
    waiting, ready = shown.displays
    assert "waiting" in waiting["data"]["text/plain"]
    assert ready["data"]["text/plain"].splitlines()[-1] == "80/tcp  http://localhost:8080/  ready"
    assert ready["update"]


def test_published_ports_are_a_table(cells):
    cells("%container run -d greet")
    cells("table = %container port bozo")
    table = cells.shell.user_ns["table"]
    assert list(table.columns) == ["container_port", "protocol", "host_ip", "host_port"]
    assert table[["container_port", "protocol", "host_port"]].values.tolist() == [
        [9, "udp", 9],
        [80, "tcp", 8080],
        [80, "tcp", 8080],
    ]
    assert table.dtypes["host_port"] == "int64"
    cells("place = %container port bozo 9/udp")
    assert cells.shell.user_ns["place"] == "127.0.0.1:9\n"


def test_the_cell_is_standard_input_taken_literally(cells):
    cells("name = 'python'")
    cells("%%container run greet sh\necho $name {name} `pwd`\n")
    call, arguments = last_call(cells.engine)
    assert (call, arguments["stdin"]) == ("run", b"echo $name {name} `pwd`\n")


def test_names_in_the_line_are_the_notebook_s_variables(cells):
    cells("image = 'greet'")
    cells("%container run $image '$image' {image}")
    assert last_call(cells.engine)[1] == {"image": "greet", "command": ("$image", "{image}")}


def test_a_build_is_drawn_as_text_where_displays_cannot_be_updated(cells):
    shown = cells("%container build -t greet .")
    assert "#3 [2/2] RUN apt-get update" in shown.out
    assert "naming to docker.io/library/greet" in shown.out
    assert isinstance(shown.value, BuildResult)
    assert shown.bundle is None
    assert shown.displays == []


def live(cells):
    """Let the shell pass for a kernel's."""
    cells.shell.kernel = SimpleNamespace()


def test_a_build_is_one_display_that_is_updated_in_a_notebook(cells):
    live(cells)
    shown = cells("%container build -t greet .")
    assert shown.out == ""
    assert len({output["transient"]["display_id"] for output in shown.displays}) == 1
    assert [output["update"] for output in shown.displays] == [False] + [True] * (len(shown.displays) - 1)
    last = shown.displays[-1]["data"]
    assert set(last) == {"text/html", "text/plain"}
    assert last["text/plain"].endswith("built docker.io/library/greet (2 steps, 1.5s)")
    assert shown.bundle is None


def test_a_failed_build_is_drawn_and_fails_the_cell(cells):
    live(cells)
    cells.engine.failure = failed_step()
    shown = cells("%container build -t greet .")
    assert isinstance(shown.error, StepFailed)
    assert "Build failed" in shown.displays[-1]["data"]["text/html"]
    assert shown.trace[0].startswith("StepFailed: process")
    assert "build failed" in shown.displays[-1]["data"]["text/plain"]


def test_an_interrupted_build_is_drawn_and_said_in_a_line(cells):
    live(cells)
    cells.engine.failure = KeyboardInterrupt()
    shown = cells("%container build -t greet .")
    assert isinstance(shown.error, KeyboardInterrupt)
    assert isinstance(shown.error, Interrupted)
    assert shown.trace == ("Interrupted: %container build was stopped and cleaned up",)


def test_a_quiet_build_prints_the_id(cells):
    live(cells)
    shown = cells("%container build -q -t greet .")
    assert (shown.out, shown.displays, shown.bundle) == (f"{GREET}\n", [], None)


def test_progress_can_be_plain_in_a_notebook(cells):
    live(cells)
    shown = cells("%container build --progress plain -t greet .")
    assert "#3 [2/2] RUN apt-get update" in shown.out
    assert shown.displays == []


def test_base_ensure_is_drawn_and_tells_what_it_did(cells):
    live(cells)
    shown = cells("%container base ensure ubuntu:20.04 alpine:3.15.0")
    assert "Got</b> <code>ubuntu:20.04, alpine:3.15.0</code>" in shown.displays[-1]["data"]["text/html"]
    assert list(shown.value.action) == ["bootstrapped", "bootstrapped"]
    assert "bootstrapped" in shown.bundle["text/html"]


CELL = """%%dockerfile -t greet --build-arg A=1 {context}
FROM ubuntu:20.04
ENV X=$HOME Y={{z}}
RUN echo {{name}} $name `pwd`
ENTRYPOINT ["echo", "from the container!"]
"""


@pytest.mark.parametrize(("word", "context"), [("", "."), ("sub", "sub")])
def test_a_cell_is_a_dockerfile_taken_literally(cells, tmp_path, word, context):
    (tmp_path / "sub").mkdir()
    cells("name = 'python'")
    shown = cells(CELL.format(context=word))
    assert shown.error is None
    name, arguments = last_call(cells.engine)
    assert name == "build"
    assert arguments["text"] == CELL.format(context=word).partition("\n")[2]
    assert (arguments["context"], arguments["tags"], arguments["build_args"]) == (context, ("greet",), {"A": "1"})


def test_a_cell_can_be_checked(cells, tmp_path):
    shown = cells("%%dockerfile --check\nFROM scratch as a\nCOPY $x /\n")
    assert shown.error is None
    assert list(shown.value.rule) == ["FromAsCasing", "UndefinedVar"]
    assert "<b>Dockerfile</b>" in shown.bundle["text/html"]
    assert last_call(cells.engine)[0] == "check"
    (tmp_path / "Dockerfile").write_text("FROM scratch as a\n")
    assert cells(f"df = %container build --check {tmp_path}").error is None
    assert cells("df.line[0]").value == 1
    broken = cells("%%dockerfile --check\nFROM scratch as a\nNOPE\n")
    assert isinstance(broken.error, DockerfileError)
    assert "FromAsCasing" in broken.displays[0]["data"]["text/plain"]


def test_a_cell_s_targets_and_outline(cells):
    assert list(cells("%%dockerfile --call targets\nFROM scratch AS a\n").value.name) == ["a"]
    assert list(cells("%%dockerfile --call outline\nFROM scratch\nARG A=1\n").value.value) == ["1"]


def test_a_variable_is_the_build_context(cells):
    cells("files = {'a/b.txt': 'text', 'c': b'1'}; number = 7")
    assert cells("%%dockerfile --context-var files\nFROM scratch\n").error is None
    assert last_call(cells.engine)[1]["context"] == {"a/b.txt": b"text", "c": b"1"}
    missing = cells("%%dockerfile --context-var flies\nFROM scratch\n").error
    assert isinstance(missing, InvalidInput)
    assert "did you mean files?" in str(missing)
    wrong = cells("%%dockerfile --context-var number\nFROM scratch\n").error
    assert "the variable 'number' is a int, not a dict" in str(wrong)


def test_a_function_s_own_variables_are_known_in_it(cells):
    cells("image, files = 'of-the-notebook', {'a': 'notebook'}")
    cells("def tag(image, name):\n    %container tag $image $name\ntag('of-the-function', 'x')")
    assert last_call(cells.engine) == ("tag", {"source": "of-the-function", "target": "x"})
    cells("def tag(name):\n    %container tag $image $name\ntag('y')")
    assert last_call(cells.engine) == ("tag", {"source": "of-the-notebook", "target": "y"})
    cells("async def tag(name):\n    %container tag $image $name\nawait tag('z')")
    assert last_call(cells.engine)[1]["target"] == "z"
    cells(
        "def build(files):\n    %container build -t greet --context-var files .\nbuild({'Dockerfile': 'FROM scratch'})"
    )
    assert last_call(cells.engine)[1]["context"] == {"Dockerfile": b"FROM scratch"}


def test_a_function_s_variable_hides_the_notebook_s_even_where_it_cannot_be_in_a_line(cells):
    cells("image = 'of-the-notebook'")
    cells("def tag(image):\n    %container tag $image x\ntag(None)")
    assert last_call(cells.engine)[1]["source"] == "$image"


def test_a_dockerfile_on_standard_input(cells):
    cells("%%container build -t greet -\nFROM scratch\n")
    name, arguments = last_call(cells.engine)
    assert (name, arguments["text"]) == ("build", "FROM scratch\n")
    assert "context" not in arguments


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        ("%container frobnicate", UsageProblem, "frobnicate"),
        ("%container run --nosuch greet", UsageProblem, "--nosuch"),
        ("%container run nosuch", ImageNotFound, "nosuch"),
        ("%container run --name bozo greet", NameInUse, "bozo"),
        ("%container rmi greet:latest", ImageInUse, "bozo"),
        ("%container inspect nosuch", NotFound, "nosuch"),
        ("%container images | head", UsageProblem, "|"),
    ],
)
def test_an_error_is_one_short_message(cells, line, kind, text):
    shown = cells(line)
    assert isinstance(shown.error, kind)
    assert text in shown.trace[0]
    assert len(shown.trace) <= 4
    assert "Traceback" not in "".join(shown.trace)


def test_what_was_found_is_shown_before_the_problem(cells):
    shown = cells("%container inspect greet nosuch")
    assert isinstance(shown.error, NotFound)
    assert [output["data"]["text/plain"][:18] for output in shown.displays] == ['[\n    {\n        "I']


def test_further_problems_are_printed(cells):
    shown = cells("%container inspect nosuch1 nosuch2")
    assert "nosuch1" in shown.trace[0]
    assert "nosuch2" in shown.err


def test_names_that_were_removed_are_printed_before_the_problem(cells):
    shown = cells("%container rm gallant_mendeleev nosuch")
    assert shown.out == "gallant_mendeleev\n"
    assert "nosuch" in shown.trace[0]


def test_a_dockerfile_error_draws_the_place(cells, monkeypatch):
    from contextkernel.errors import Span

    def build(*_args, **_options):
        raise DockerfileError(
            "unknown instruction 'FORM'",
            span=Span(file="Dockerfile", line=1, column=1, end_line=1, end_column=5),
            source="FORM x\n",
        )

    monkeypatch.setattr(cells.engine, "build", build)
    shown = cells("%%dockerfile\nFORM x\n")
    assert shown.trace[0] == "DockerfileError: Dockerfile:1:1: unknown instruction 'FORM'"
    assert "> 1 | FORM x" in shown.trace


def test_help_needs_no_engine(cells):
    assert "run" in cells("%container --help").out
    assert "%container" in cells("%container run --help").out
    assert cells.made == []


def test_doctor_is_a_table_of_facts(cells):
    shown = cells("%container doctor")
    assert repr(shown.value).startswith("tier: ")
    assert list(shown.value.columns[:2]) == ["name", "verdict"]


def test_the_engine_is_made_once_and_at_the_first_command(cells):
    assert cells.made == []
    cells("%container images")
    cells("%container ps")
    assert len(cells.made) == 1


def test_an_engine_that_cannot_be_made_says_what_to_use_instead(shell):
    def refuse():
        raise HostUnsupported("containers need Linux", hint="use WSL 2, a hub or Binder")

    load(shell, refuse)
    shell.run_cell("%container images")
    assert shell.trace == ("HostUnsupported: containers need Linux", "hint: use WSL 2, a hub or Binder")


def test_unloading_takes_everything_back_and_closes_the_engine(cells):
    before = len(cells.shell.Completer.custom_matchers)
    load(cells.shell)  # again: changes nothing
    assert len(cells.shell.Completer.custom_matchers) == before
    cells("%container images")
    load_docker_alias(cells.shell)
    unload(cells.shell)
    unload(cells.shell)
    assert cells.engine.closed
    names = {name for kind in cells.shell.magics_manager.magics.values() for name in kind}
    assert not names & {"container", "dockerfile", "docker"}
    assert len(cells.shell.Completer.custom_matchers) == before - 1
    load(cells.shell, cells.make_engine)
    assert cells("%container images").error is None


def test_docker_is_another_name_when_it_is_switched_on(cells):
    assert cells("%docker images").error is not None or "not found" in cells("%docker images").err
    load_docker_alias(cells.shell)
    assert "72.8MB" in cells("%docker images").bundle["text/plain"]
    cells("%%docker run greet sh\nls\n")
    assert last_call(cells.engine)[1]["stdin"] == b"ls\n"
    assert "%docker" in cells("%docker frobnicate").trace[0] + "".join(cells("%docker frobnicate").trace)
    assert cells("%docker inspect --format '{{.Os}}' greet").out == "linux\n"
    unload_docker_alias(cells.shell)
    assert "docker" not in cells.shell.magics_manager.magics["line"]
    assert "container" in cells.shell.magics_manager.magics["line"]


def test_docker_can_be_a_setting(cells):
    cells("%config ContainerMagics.docker_alias = True")
    assert "72.8MB" in cells("%docker images").bundle["text/plain"]
    cells("%config ContainerMagics.docker_alias = False")
    assert "docker" not in cells.shell.magics_manager.magics["line"]


def test_docker_can_be_switched_on_by_the_environment(shell, engine, monkeypatch):
    monkeypatch.setenv("CONTEXTKERNEL_DOCKER_ALIAS", "1")
    load(shell, lambda: engine)
    assert "docker" in shell.magics_manager.magics["line"]


def test_the_extension_loads_by_name(shell):
    shell.run_cell("%load_ext contextkernel.docker")
    assert shell.trace == ()
    assert {"container", "docker"} <= set(shell.magics_manager.magics["line"])
    assert {"container", "docker", "dockerfile"} <= set(shell.magics_manager.magics["cell"])
    shell.run_cell("%unload_ext contextkernel.docker")
    assert "docker" not in shell.magics_manager.magics["line"]


def test_every_magic_is_documented(cells):
    magics = cells.shell.magics_manager.magics
    load_docker_alias(cells.shell)
    for kind, name in [("line", "container"), ("cell", "container"), ("cell", "dockerfile"), ("line", "docker")]:
        assert magics[kind][name].__doc__


def test_loading_imports_neither_pandas_nor_the_engine():
    program = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\n"
        "config = Config(); config.HistoryManager.enabled = False\n"
        "shell = InteractiveShell(config=config); before = set(sys.modules)\n"
        "import contextkernel; contextkernel.load_ipython_extension(shell)\n"
        "heavy = {'pandas', 'numpy', 'sqlite3', 'contextkernel.engine', 'contextkernel.store', 'urllib3'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_a_cell_says_how_the_cell_is_called(cells):
    shown = cells("%%dockerfile --help\nFROM scratch").out
    assert shown.startswith("Usage:  %%dockerfile [OPTIONS] [PATH | URL | -]\n")
    assert "%%dockerfile build" not in shown
    assert "--context-var" in shown


def test_a_misspelt_flag_of_a_cell(cells):
    problem = cells("%%dockerfile --context-vra x\nFROM scratch").error
    assert str(problem) == "unknown flag: --context-vra\nhint: did you mean --context-var? see %%dockerfile --help"


def test_a_kept_step_names_the_command_as_a_notebook_has_it():
    problem = StepFailed("no luck", status=1)
    assert len(problem._render_traceback_()) == 1
    problem.kept = "abcdefghijkl"
    assert problem._render_traceback_()[-1] == (
        "debug: `%container debug abcdefghijkl` looks around in it as it is, "
        "`%container debug --before abcdefghijkl` as it was"
    )
    assert "%" not in str(problem)


@pytest.mark.parametrize("problem", [NotImplementedError, EOFError])
@pytest.mark.parametrize("command", ["image prune", "system prune", "builder prune", "volume prune"])
def test_where_nobody_can_be_asked_nothing_is_removed_and_the_cell_says_so(cells, monkeypatch, command, problem):
    def ask(_question):
        raise problem

    monkeypatch.setattr("builtins.input", ask)
    before = list(cells.engine.calls)
    shown = cells(f"%container {command}")
    assert shown.error is None
    assert "Are you sure you want to continue?" in shown.err
    assert "nothing was done: nobody can be asked here; with --force nobody is" in shown.err
    assert cells.engine.calls == before
