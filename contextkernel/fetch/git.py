"""Git repositories, read by a helper process of their own.

The process has no terminal, no configuration, no hooks and no more memory and file size than it is allowed; it is
killed when it falls silent. That keeps a hostile server, or a repository that is a bomb, away from the one that builds.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from contextkernel.errors import FetchFailed, HostUnsupported
from contextkernel.fetch.git_messages import Answer, Broken, Exported, Found, Job, Progress
from contextkernel.fetch.limits import Limits
from contextkernel.model.events import StepProgress
from contextkernel.model.fetching import Credentials, GitCommit, GitSource
from contextkernel.model.ports import Reporter
from contextkernel.model.urls import shown

_ENVIRONMENT = {"PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR"} | {
    name for proxy in ("http_proxy", "https_proxy", "no_proxy", "all_proxy") for name in (proxy, proxy.upper())
}
_MAX_LINE = 1 << 20
_GLANCE = 0.2  # seconds between looks at whether to go on


def resolve(source: GitSource, credentials: Credentials, limits: Limits, stopped: Callable[[], bool]) -> GitCommit:
    """See :class:`contextkernel.model.fetching.Fetcher`."""
    job = _job(source, credentials, limits)
    match _run(job, limits, lambda _event: None, stopped):
        case Found(commit=commit):
            return commit
        case other:
            raise FetchFailed(f"the Git helper answered {type(other).__name__}, not Found")


def export(
    source: GitSource,
    found: GitCommit,
    path: str,
    credentials: Credentials,
    limits: Limits,
    report: Reporter,
    stopped: Callable[[], bool],
) -> None:
    """See :class:`contextkernel.model.fetching.Fetcher`."""
    with _workshop(os.path.dirname(path)) as directory:
        job = msgspec.structs.replace(_job(source, credentials, limits), found=found, directory=directory, target=path)
        answer = _run(job, limits, report, stopped)
        if not isinstance(answer, Exported):
            raise FetchFailed(f"the Git helper answered {type(answer).__name__}, not Exported")


@contextmanager
def _workshop(parent: str) -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="git-", dir=parent)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _job(source: GitSource, credentials: Credentials, limits: Limits) -> Job:
    remote, authorization = source.remote, ""
    parts = urlsplit(remote) if "://" in remote else None
    if parts is not None and parts.scheme in {"http", "https"}:
        authorization = _authorization(parts.netloc.rpartition("@")[2], credentials)
        if not authorization and parts.username:
            authorization = _basic(f"{unquote(parts.username)}:{unquote(parts.password or '')}")
        host = parts.netloc.rpartition("@")[2]
        remote = urlunsplit((parts.scheme, host, parts.path, "", ""))
    return Job(
        source=msgspec.structs.replace(source, remote=remote),
        authorization=authorization,
        ssh=credentials.ssh,
        known_hosts=os.path.expanduser("~/.ssh/known_hosts"),
        size=limits.size,
        memory=limits.memory,
        quiet=limits.quiet,
        connect=limits.connect,
    )


def _authorization(host: str, credentials: Credentials) -> str:
    """The header of the first secret there is: for the host before the general one, a header before a token."""
    secrets = credentials.secrets
    for name in (f"GIT_AUTH_HEADER.{host}", f"GIT_AUTH_TOKEN.{host}", "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN"):
        secret = secrets.get(name)
        if secret is not None:
            text = secret.decode("latin-1").strip()
            if not text.isprintable():
                raise FetchFailed(f"the secret {name} has characters that a header cannot have")
            return _basic(f"x-access-token:{text}") if "TOKEN" in name else text
    return ""


def _basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode('utf-8', 'surrogateescape')).decode()}"


def _run(job: Job, limits: Limits, report: Reporter, stopped: Callable[[], bool]) -> Answer:
    """Start the helper, hand it the job, and wait for its last word.

    Raises:
        FetchFailed: it says so, or falls silent. HostUnsupported: it does not start.
    """
    name = shown(job.source.remote)
    code = (
        f"import sys; sys.path[:0] = {_paths()!r}; from contextkernel.fetch.git_process import main; main()"  # no site
    )
    environment = {key: value for key, value in os.environ.items() if key in _ENVIRONMENT}
    environment |= {
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
        cwd="/",
    )
    try:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
        for answer in _answers(process.stdout.fileno(), name, limits, stopped):
            match answer:
                case Progress(received=received):
                    report(StepProgress(0, name, received, 0))
                case Broken(problem=problem, hint=hint):
                    raise FetchFailed(f"cannot fetch {name}: {problem}", hint=hint)
                case last:
                    return last
        raise FetchFailed(
            f"cannot fetch {name}: the Git helper ended early",
            hint="the repository may need more memory or room than is allowed; CONTEXTKERNEL_FETCH_LIMIT sets the room",
        )
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # an ssh it started, too
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _answers(descriptor: int, name: str, limits: Limits, stopped: Callable[[], bool]) -> Iterator[Answer]:
    """The helper's lines, until it ends; an error as soon as it is silent, or at it for too long."""
    due, end = time.monotonic() + limits.quiet, time.monotonic() + limits.total
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = selector.select(_GLANCE)
            now = time.monotonic()
            if stopped():
                raise FetchFailed(f"cannot fetch {name}: it was stopped")
            if now > end:
                raise FetchFailed(f"cannot fetch {name}: it took longer than {limits.total:g} seconds")
            if not ready:
                if now > due:
                    raise FetchFailed(f"cannot fetch {name}: the server has fallen silent")
                continue
            due = now + limits.quiet
            block = os.read(descriptor, 1 << 16)
            if not block:
                return
            pending += block
            if len(pending) > _MAX_LINE:
                raise FetchFailed(f"cannot fetch {name}: the Git helper talks too much")
            *lines, pending = pending.split(b"\n")
            for line in lines:
                try:
                    yield msgspec.json.decode(line, type=Answer)
                except msgspec.MsgspecError:
                    raise FetchFailed(f"cannot fetch {name}: the Git helper cannot be understood") from None


def _paths() -> list[str]:
    """The directories that the helper imports from."""
    found = []
    for package in ("contextkernel", "msgspec", "dulwich", "urllib3", "typing_extensions"):
        spec = importlib.util.find_spec(package)
        if spec is None:
            if package == "typing_extensions":  # not needed by newer Pythons
                continue
            raise HostUnsupported(f"the package {package!r} is not installed", hint="reinstall contextkernel")
        locations = spec.submodule_search_locations
        place = next(iter(locations)) if locations else str(spec.origin)
        found.append(os.path.dirname(os.path.abspath(place)))
    return list(dict.fromkeys(found))
