"""Opening what a build is fed with when it is not a directory: repositories, URLs, archives, files in memory.

Source of the rules: BuildKit's ``dockerui/context.go``: ignore files do not count for what is not a directory.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import ExitStack

import msgspec

from contextkernel.build.board import StackLayer
from contextkernel.build.epoch import means_context
from contextkernel.build.fetching import Fetching, time_of
from contextkernel.build.layer_index import read_index
from contextkernel.build.reporting import BuildReport, StepReport
from contextkernel.build.request import ArchiveContext, BuildRequest, FilesContext, RemoteContext
from contextkernel.build.secrets import read_secret
from contextkernel.build.ssh_agents import agent_socket
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.layer import merge as merging
from contextkernel.model.fetching import Credentials
from contextkernel.plan.remote import HttpOrigin, parse_git, redacted

MAX_DOCKERFILE = 16 << 20
_DEFAULT = "Dockerfile"
_FILE = "context"  # what BuildKit calls the file behind the URL of a context
_STARTS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_USTAR = 257
_FOR_SERVERS = ("HTTP_AUTH_HEADER_", "HTTP_AUTH_TOKEN_", "GIT_AUTH_HEADER", "GIT_AUTH_TOKEN")
_HEAD = 1024


def credentials_of(request: BuildRequest, path: str, stack: ExitStack) -> Credentials:
    """What of the build's secrets may be shown to servers, and its SSH agent.

    Args:
        request: has them.
        path: for a socket, which is made where keys were given instead of an agent.
        stack: ends the agent that is started for them.
    """
    sources = request.steps.secrets
    secrets = {name: read_secret(sources, name) for name in sources if name.startswith(_FOR_SERVERS)}
    agent = request.steps.agents.get("default")
    if agent is not None:
        stack.enter_context(agent_socket("default", agent, path))
    found = {name: value for name, value in secrets.items() if value is not None}
    return Credentials(found, path if agent is not None else "")


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so is a tar archive, plain or compressed."""
    return head.startswith(_STARTS) or head[_USTAR : _USTAR + 5] == b"ustar" or _old_tar(head)


def _old_tar(head: bytes) -> bool:
    """A header of the first tar, which has nothing but its checksum to be known by."""
    block = head[:512]
    if len(block) < 512 or not block[0]:
        return False
    try:
        stated = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return stated == sum(block[:148]) + 8 * 32 + sum(block[156:])


def open_source(
    request: BuildRequest, fetching: Fetching, report: BuildReport, stack: ExitStack
) -> tuple[BuildRequest, StackLayer | None]:
    """Bring the build context here, and read the Dockerfile from it where it is not given.

    Args:
        request: what is asked for.
        fetching: makes layers.
        report: receives a step.
        stack: what is made goes when it is closed.

    Returns:
        The request with the Dockerfile's text, and with a directory for files in memory; and the context's layer, if
        it consists of one.

    Raises:
        FetchFailed, InvalidArchive, SourceNotFound, InvalidInput: it cannot be had.
    """
    git = None
    match request.source:
        case None:
            if request.dockerfile is None:
                raise InvalidInput("there is neither a Dockerfile nor a build context", hint="name one with -f")
            return request, None
        case FilesContext(files=files):
            path = fetching.new_directory(stack)
            write_files(files, path)
            return _with_dockerfile_of_directory(msgspec.structs.replace(request, context=path, source=None)), None
        case ArchiveContext(path=path):
            with report.step("[internal] load remote build context"):
                layer = fetching.archive(path)
        case RemoteContext(url=url):
            git = parse_git(url, context=True)
            if git is not None:
                if request.given_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "").lower() in {"1", "t", "true"}:
                    git = msgspec.structs.replace(git, keep_git_dir=True)
                if request.given_args.get("SOURCE_DATE_EPOCH"):  # the time of the build must not count then
                    git = msgspec.structs.replace(git, commit_time=True)
                with report.step(f"[internal] load git source {redacted(url)}") as step:
                    layer = fetching.fetch(git, step.nested)
            else:
                with report.step("[internal] load remote build context") as step:
                    layer, text, modified = _download(url, fetching, step)
                request = msgspec.structs.replace(request, context_epoch=modified)
                if text is not None and request.dockerfile is None:
                    request = msgspec.structs.replace(request, dockerfile=text)
    if request.dockerfile is None:
        text, name = _dockerfile_of_layer(layer, request.dockerfile_name, fetching)
        request = msgspec.structs.replace(request, dockerfile=text, dockerfile_name=name)
    if means_context(request.given_args, request.dockerfile) and request.context_epoch is None:
        timed = layer
        if git is not None and not git.commit_time:
            timed = fetching.fetch(msgspec.structs.replace(git, commit_time=True), lambda _event: None)
        request = msgspec.structs.replace(request, context_epoch=time_of(timed))
    return msgspec.structs.replace(request, context=None, source=None), layer


def _download(url: str, fetching: Fetching, step: StepReport) -> tuple[StackLayer, bytes | None, int | None]:
    """The archive behind a URL, unpacked; or the file behind it, alone in a context and a Dockerfile.

    The last value is the server's Last-Modified, if it sent one.
    """
    layer = fetching.fetch(HttpOrigin(url=url, name=_FILE), step.nested)
    modified = time_of(layer)
    text = fetching.read(layer, _FILE, MAX_DOCKERFILE + 1)
    if is_archive(text[:_HEAD]):
        return fetching.archive(f"{layer.directory}/diff/{_FILE}"), None, modified
    if len(text) > MAX_DOCKERFILE:
        raise InvalidInput(f"{redacted(url)} is neither a tar archive nor a Dockerfile")
    return layer, text, modified


def _dockerfile_of_layer(layer: StackLayer, name: str, fetching: Fetching) -> tuple[bytes, str]:
    entries = merging.merge([read_index(f"{layer.directory}/index")])
    wanted = posixpath.normpath("/" + name).lstrip("/")
    candidates = [wanted]
    if posixpath.basename(wanted) == _DEFAULT:
        candidates.append(posixpath.join(posixpath.dirname(wanted), _DEFAULT.lower()))
    for candidate in candidates:
        found = merging.resolve(entries, candidate)
        entry = entries.get(found) if found is not None else None
        while entry is not None and entry.kind == "hardlink":
            entry = entries.get(entry.link)
        if entry is None:
            continue
        if entry.kind != "file":
            raise InvalidInput(f"{candidate} of the build context is a {entry.kind}, not a file")
        if entry.size > MAX_DOCKERFILE:
            raise InvalidInput(f"{candidate} is larger than {MAX_DOCKERFILE} bytes", hint="is it a Dockerfile?")
        return fetching.read(layer, entry.path, MAX_DOCKERFILE), candidate
    raise SourceNotFound(f"there is no {name} in the build context", hint="name the Dockerfile with -f")


def _with_dockerfile_of_directory(request: BuildRequest) -> BuildRequest:
    if request.dockerfile is not None:
        return request
    path = os.path.join(str(request.context), request.dockerfile_name)
    try:
        with open(path, "rb") as file:
            return msgspec.structs.replace(request, dockerfile=file.read(MAX_DOCKERFILE))
    except OSError:
        raise SourceNotFound(
            f"there is no {request.dockerfile_name} in the build context", hint="name the Dockerfile with -f"
        ) from None


# ---- files in memory


def checked_files(files: object, what: str) -> dict[str, bytes]:
    """The files of an in-memory context, if that is what it is.

    Args:
        files: to be a mapping of relative path to text or bytes.
        what: what to call it in messages.

    Raises:
        InvalidInput: naming the first thing that is wrong.
    """
    from collections.abc import Mapping

    if not isinstance(files, Mapping):
        raise InvalidInput(
            f"{what} is a {type(files).__name__}, not a dict", hint="a dict of file name to text or bytes"
        )
    found: dict[str, bytes] = {}
    for name, content in files.items():
        if not isinstance(name, str):
            raise InvalidInput(f"{what} has the key {name!r}, which is not a file name", hint="keys are strings")
        path = _checked_name(name, what)
        if path in found:
            raise InvalidInput(f"{what} has {path!r} twice")
        match content:
            case str():
                found[path] = content.encode("utf-8", "surrogateescape")
            case bytes() | bytearray() | memoryview():
                found[path] = bytes(content)
            case _:
                raise InvalidInput(
                    f"{what}[{name!r}] is a {type(content).__name__}, not text or bytes",
                    hint="encode it first, e.g. with json.dumps or .encode()",
                )
    for path in found:
        above = posixpath.dirname(path)
        while above:
            if above in found:
                raise InvalidInput(f"{what} has the file {above!r}, and {path!r} in a directory of that name")
            above = posixpath.dirname(above)
    return found


def _checked_name(name: str, what: str) -> str:
    parts = name.split("/")
    if name.startswith("/"):
        raise InvalidInput(f"{what}: the file name {name!r} is absolute", hint="names are relative to the context")
    if ".." in parts:
        raise InvalidInput(f"{what}: the file name {name!r} leads out of the context", hint="leave .. out")
    if "\0" in name or not parts[-1] or parts[-1] == ".":
        raise InvalidInput(f"{what}: {name!r} is not a file name")
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise InvalidInput(f"{what}: the file name {name[:40]!r}... is too long")
    return posixpath.normpath(name)


def write_files(files: object, root: str) -> None:
    """Write checked files below ``root``, so that equal files give equal layers.

    Args:
        files: see :func:`checked_files`; they get mode 644, directories 755, all the time 0.
        root: an empty directory.
    """
    made = {root}
    for path, content in checked_files(files, "the context").items():
        target = os.path.join(root, path)
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        with open(target, "xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        os.utime(target, (0, 0))
        above = os.path.dirname(target)
        while above not in made:
            made.add(above)
            above = os.path.dirname(above)
    for directory in sorted(made, reverse=True):
        os.chmod(directory, 0o755)  # noqa: S103 - a build context, whatever the umask
        os.utime(directory, (0, 0))
