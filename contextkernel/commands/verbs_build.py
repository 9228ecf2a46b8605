"""``build``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.looking import look, wants_a_look
from contextkernel.commands.outcome import Built, Outcome
from contextkernel.commands.values import parse_build_args, parse_labels
from contextkernel.errors import ContextKernelError, InvalidInput, SourceNotFound

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.face import Progress
    from contextkernel.commands.grammar import Parsed
    from contextkernel.model.build_inputs import StepOptions

_STDIN_LIMIT = 16 << 20
_REMOTE = ("http://", "https://", "git://", "git@", "github.com/", "ssh://")
_TAR_MAGIC_AT = 257
_ARCHIVE_STARTS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_PROGRESS: dict[str, Progress] = {"json": "json", "rawjson": "json", "plain": "plain", "quiet": "quiet"}


def build(call: Call) -> Outcome:
    """Build an image; events go to the face's view, the image id to the file of ``--iidfile``."""
    parsed = call.parsed
    context, dockerfile, text = _sources(call)
    if wants_a_look(parsed):
        return look(call, context, dockerfile, text)
    iidfile = parsed.maybe("iidfile")
    if iidfile is not None:
        _check_writable(iidfile)
    labels, arguments = parse_labels(parsed.texts("label")), parse_build_args(parsed.texts("build-arg"))
    steps = _step_options(parsed)
    quiet = parsed.flag("quiet") or parsed.text("progress") == "quiet"
    try:
        with call.face.reporter("quiet" if quiet else _PROGRESS.get(parsed.text("progress"), "auto")) as report:
            result = call.engine.build(
                context,
                dockerfile=dockerfile,
                text=text,
                tags=parsed.texts("tag"),
                build_args=arguments,
                target=parsed.maybe("target"),
                no_cache=parsed.flag("no-cache"),
                no_cache_filter=_stages(parsed.texts("no-cache-filter")),
                pull=parsed.flag("pull"),
                labels=labels,
                network=parsed.text("network"),
                steps=steps,
                jobs=_jobs(parsed.number("jobs")),
                report=report,
            )
    except ContextKernelError as problem:
        problem.exit_code = 1  # docker build: whatever failed
        raise
    if iidfile is not None:
        with open(iidfile, "w", encoding="ascii") as file:
            file.write(result.image)
    return Outcome(value=Built(result, quiet))


def _step_options(parsed: Parsed) -> StepOptions:
    from contextkernel.commands import values_build as values
    from contextkernel.model.build_inputs import StepOptions

    return StepOptions(
        secrets=values.parse_secrets(parsed.texts("secret"), os.environ),
        agents=values.parse_agents(parsed.texts("ssh")),
        hosts=values.parse_hosts(parsed.texts("add-host")),
        shm_size=values.parse_bytes("shm-size", parsed.maybe("shm-size")),
        limits=values.parse_limits(parsed.texts("ulimit")),
        allow=values.parse_entitlements(parsed.texts("allow")),
        cgroup_parent=parsed.maybe("cgroup-parent") or "",
    )


def _stages(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of stages, several of them perhaps with commas in one word."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _jobs(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise usage_problem(f"--jobs {number}: at least one step must be allowed to run", more="leave --jobs out")
    return number


def _sources(call: Call) -> tuple[str | None, str | None, str | None]:
    """Context directory, Dockerfile path and Dockerfile text: at most one of the latter two."""
    file = call.parsed.maybe("file")
    path = call.parsed.arguments[0] if call.parsed.arguments else "."
    if call.dockerfile is not None:
        if file is not None:
            raise usage_problem(f"-f {file} cannot be used here: the cell is the Dockerfile", more="leave -f out")
        return (None if path == "-" else _directory(path)), None, call.dockerfile
    if path == "-":
        if file == "-":
            raise usage_problem("standard input cannot be both the context and the Dockerfile", more="use -f - .")
        return None, file, _from_stdin(call) if file is None else None
    context = _directory(path)
    return (context, None, _from_stdin(call)) if file == "-" else (context, file, None)


def _directory(path: str) -> str:
    if path.startswith(_REMOTE):
        raise usage_problem(f"the context {path!r} is not a directory of this machine", more="fetch it first")
    if not os.path.isdir(path):
        what = "is not a directory" if os.path.exists(path) else "does not exist"
        raise SourceNotFound(f"the context {path!r} {what}", hint="the context is the directory that COPY reads from")
    return path


def _from_stdin(call: Call) -> str:
    source = call.face.stdin
    if source is None:
        raise usage_problem("there is no standard input to read the Dockerfile from", more="use -f FILE")
    if isinstance(source, bytes):
        data = source
    else:
        with open(source, "rb", closefd=False) as stream:
            data = stream.read(_STDIN_LIMIT + 1)
    if len(data) > _STDIN_LIMIT:
        raise InvalidInput(f"the Dockerfile on standard input is longer than {_STDIN_LIMIT} bytes")
    if data.startswith(_ARCHIVE_STARTS) or data[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        raise InvalidInput("standard input is an archive, not a Dockerfile", hint="unpack it and give its directory")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InvalidInput(f"the Dockerfile on standard input is not UTF-8 text (byte {problem.start})") from None


def _check_writable(path: str) -> None:
    """A result nobody can write down is refused before the build; docker also removes an old file first."""
    try:
        if os.path.exists(path):
            os.remove(path)
        elif not os.path.isdir(os.path.dirname(path) or "."):
            raise InvalidInput(f"cannot write {path}: no such directory", hint="make it first, or name another file")
        elif not os.access(os.path.dirname(path) or ".", os.W_OK):
            raise InvalidInput(f"cannot write {path}: permission denied", hint="name another file")
    except OSError as problem:
        raise InvalidInput(f"cannot write {path}: {(problem.strerror or str(problem)).lower()}") from None
