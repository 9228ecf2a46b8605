"""The Git helper process: one job, then it ends. Started by :mod:`contextkernel.fetch.git`.

Source of the rules: BuildKit's ``source/git`` (which reference wins, what a checkout is like), gitprotocol-pack(5).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from contextkernel.fetch.git_messages import Answer, Broken, Exported, Found, Job, Progress
from contextkernel.model.fetching import GitCommit, GitSource

if TYPE_CHECKING:
    from dulwich.client import GitClient
    from dulwich.repo import Repo

_PROGRESS_SECONDS = 0.2
_HEX = frozenset("0123456789abcdef")


class Refused(Exception):
    """The job cannot be done; says why."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class Meter:
    """Counts what comes in, tells the one that waits, and stops what is too much.

    Args:
        limit: bytes.
        step: bytes after which there is something to tell.
    """

    def __init__(self, limit: int, step: int = 4096) -> None:
        self._limit = limit
        self._step = step
        self._told = 0
        self._last = 0.0
        self.received = 0

    def count(self, size: int, _kind: str = "") -> None:
        """``size`` more bytes have come."""
        self.received += size
        if self.received > self._limit:
            raise Refused(
                f"it is larger than {self._limit} bytes",
                "CONTEXTKERNEL_FETCH_LIMIT sets how much may be fetched, e.g. 50g",
            )
        if self.received - self._told >= self._step:
            self._told = self.received
            self.beat()

    def beat(self) -> None:
        """A sign of life, now and then."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            say(Progress(self.received))


def say(answer: Answer) -> None:
    """One line to the one that waits."""
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the job from standard input, do it, answer on standard output."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job.size, job.size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        say(do(job))
    except Refused as problem:
        say(Broken(problem.problem, problem.hint))
    except MemoryError:
        say(Broken(f"reading it takes more than {job.memory} bytes of memory"))
    except BaseException as problem:
        say(Broken(explained(problem)))


def do(job: Job) -> Answer:
    """Do the job."""
    if job.found is None:
        return Found(resolve(job))
    from contextkernel.fetch.git_export import export

    export(job, job.found)
    return Exported()


def explained(problem: BaseException) -> str:
    """What went wrong, in a few words that hold no secret: of the server's words only a short, printable piece."""
    name = type(problem).__name__
    if name == "NotGitRepository":
        return "there is no Git repository"
    if name in {"HTTPUnauthorized", "HTTPProxyUnauthorized"}:
        return "the server wants a login"
    text = str(problem.__cause__ or problem)
    text = text.rpartition("Caused by ")[2] or text
    text = "".join(char if char.isprintable() else " " for char in text)[:200].strip()
    return text[:1].lower() + text[1:] if text else name


# ---- connecting


def client_for(remote: str, job: Job, meter: Meter) -> tuple[GitClient, str]:
    """A client for a remote, and the path to ask it for. The job's credentials are for the job's own remote only.

    Raises:
        Refused: a kind of remote that is not spoken.
    """
    import socket
    from urllib.parse import unquote, urlsplit

    socket.setdefaulttimeout(job.quiet)
    if "://" not in remote:
        login, _, rest = remote.partition("@")
        host, _, path = rest.partition(":")
        return _ssh(host, None, login, job, meter), path
    parts = urlsplit(remote)
    host = parts.hostname or ""
    if not host and parts.scheme in {"http", "https", "git", "ssh"}:
        raise Refused(f"{remote!r} names no host")
    match parts.scheme:
        case "http" | "https":
            from contextkernel.fetch.git_http import http_client

            same = _origin(remote) == _origin(job.source.remote)
            return http_client(remote, job.authorization if same else "", job, meter.count), ""
        case "git":
            from dulwich.client import TCPGitClient

            return TCPGitClient(host, parts.port, report_activity=meter.count, quiet=True), parts.path
        case "ssh":
            user = unquote(parts.username) if parts.username else None
            return _ssh(host, parts.port, user, job, meter), parts.path
        case other:
            raise Refused(f"{other}:// is not spoken", "http, https, git and ssh are")


def _origin(remote: str) -> tuple[str, str, int | None]:
    from urllib.parse import urlsplit

    parts = urlsplit(remote) if "://" in remote else urlsplit("ssh://")
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _ssh(host: str, port: int | None, user: str | None, job: Job, meter: Meter) -> GitClient:
    import os
    import shlex
    import shutil

    from dulwich.client import SSHGitClient, SubprocessSSHVendor

    if not job.ssh:
        raise Refused("it is reached over ssh, and the build was given no SSH agent", "add --ssh default")
    if shutil.which("ssh") is None:
        raise Refused("it is reached over ssh, and there is no ssh program here", "use its https URL")
    os.environ["SSH_AUTH_SOCK"] = job.ssh
    wait = max(1, int(job.connect))
    command = f"ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout={wait}"
    if job.known_hosts:
        command += f" -o {shlex.quote('UserKnownHostsFile=' + job.known_hosts)}"
    return SSHGitClient(
        host,
        port,
        user,
        vendor=SubprocessSSHVendor(),
        ssh_command=command,
        report_activity=meter.count,
        quiet=True,
    )


# ---- what a reference leads to


def resolve(job: Job) -> GitCommit:
    """See ``Fetcher.resolve``."""
    source = job.source
    if is_commit(source.ref):
        if not source.ref.startswith(source.checksum):
            raise Refused(f"checksum {source.checksum} was asked, and the commit is {source.ref}")
        return GitCommit(object=source.ref, commit=source.ref, ref=source.ref)
    if source.by_commit:
        ref = source.ref if source.ref.startswith("refs/") or not source.ref else f"refs/heads/{source.ref}"
        return GitCommit(object=source.checksum, commit=source.checksum, ref=ref or source.checksum)
    meter = Meter(64 << 20)
    client, path = client_for(source.remote, job, meter)
    listed = client.get_refs(path.encode())
    refs = {
        _text(name): _text(value)
        for name, value in listed.refs.items()
        if value is not None and is_commit(_text(value))
    }
    symbolic = {_text(name): _text(value) for name, value in listed.symrefs.items()}
    return pick(source, refs, symbolic)


def pick(source: GitSource, refs: dict[str, str], symbolic: dict[str, str]) -> GitCommit:
    """Which object a reference names: the full name, then a branch, then a tag, as git checkout prefers.

    Raises:
        Refused: none, or one that does not have the checksum.
    """
    wanted = source.ref or symbolic.get("HEAD", "HEAD")
    candidates = [
        wanted if wanted == "HEAD" else f"refs/{wanted.removeprefix('refs/')}",
        f"refs/heads/{wanted.removeprefix('refs/heads/')}",
        f"refs/tags/{wanted.removeprefix('refs/tags/')}",
    ]
    name = next((name for name in candidates if name in refs), None)
    if name is None:
        shown = source.ref or "HEAD"
        raise Refused(f"the repository has no reference {shown!r}", _near(shown, refs))
    found, peeled = refs[name], refs.get(f"{name}^{{}}", refs[name])
    if not found.startswith(source.checksum) and not peeled.startswith(source.checksum):
        both = found if found == peeled else f"{found} or {peeled}"
        raise Refused(f"checksum {source.checksum} was asked, and {source.ref or 'HEAD'} is {both}")
    return GitCommit(object=found, commit=peeled, ref=name)


def _near(ref: str, refs: dict[str, str]) -> str | None:
    import difflib

    short = [name.split("/", 2)[2] for name in refs if name.count("/") > 1 and not name.endswith("^{}")]
    near = difflib.get_close_matches(ref, short, 1)
    return f"did you mean {near[0]}?" if near else None


def is_commit(text: str) -> bool:
    """Whether ``text`` is a full object id."""
    return len(text) in {40, 64} and set(text) <= _HEX


def _text(value: bytes) -> str:
    return bytes(value).decode("utf-8", "surrogateescape")


# ---- fetching


def fetch(remote: str, wanted: str, directory: str, job: Job, meter: Meter) -> Repo:
    """Fetch one object, with as little history as the server allows, into a new bare repository.

    Raises:
        Refused: the server does not have it.
    """
    from dulwich.errors import GitProtocolError, HangupException
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo

    repo = Repo.init_bare(directory, mkdir=True)
    client, path = client_for(remote, job, meter)

    def progress(_text: bytes) -> None:
        meter.beat()

    def one(_refs: object, depth: int | None = None) -> list[Any]:
        del depth
        return [wanted.encode()]

    def everything(refs: dict[Any, Any], depth: int | None = None) -> list[Any]:
        del depth
        return [value for name, value in refs.items() if not name.endswith(b"^{}") and value is not None]

    choices: list[tuple[Callable[..., list[Any]], int | None]] = [(one, 1), (one, None), (everything, None)]
    for index, (wants, depth) in enumerate(choices):
        try:
            client.fetch(path.encode(), repo, determine_wants=wants, progress=progress, depth=depth)
        except (GitProtocolError, HangupException, AssertionError) as problem:
            # no shallow fetches, or none of an object that is not the tip of a reference
            if index == len(choices) - 1:
                raise Refused(explained(problem)) from None
            client, path = client_for(remote, job, meter)
            continue
        if ObjectID(wanted.encode()) in repo.object_store:
            return repo
    raise Refused(f"the repository has no commit {wanted}")
