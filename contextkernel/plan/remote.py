"""What is not a path: Git repositories and URLs as sources of ADD, as build contexts and as named contexts.

Source of the rules: BuildKit's ``dfgitutil/git_ref.go``, ``gitutil/git_url.go`` and ``dispatchCopy``.
"""

from __future__ import annotations

import posixpath
import re
from typing import TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import msgspec

from contextkernel.errors import InvalidInput

_PROTOCOL = re.compile(r"[a-zA-Z0-9]+://")
_GIT_PROTOCOLS = {"http", "https", "ssh", "git"}
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?\Z", re.DOTALL)
_COMMIT = re.compile(r"[a-f0-9]{40}(?:[a-f0-9]{24})?\Z")
_SWITCHES = {"submodules", "keep-git-dir", "fetch-by-commit"}
_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}  # Go's strconv.ParseBool
_UNNAMED = "__unnamed__"


class HttpOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """A file behind a URL; its tree holds the one file ``name``.

    Attributes:
        url: as written, with its query and, if it has one, its user information.
        name: of the file.
        checksum: ``sha256:...`` that the content must have; empty for none.
    """

    url: str
    name: str
    checksum: str = ""


class GitOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a Git repository at one commit.

    Attributes:
        remote: URL without query and fragment, or ``user@host:path``.
        ref: branch, tag, full reference or commit; empty for the remote's HEAD.
        subdir: directory whose content is taken, without leading slash; empty for all.
        checksum: commit, or the beginning of one, that ``ref`` must lead to; empty for any.
        keep_git_dir: have a ``.git`` directory too.
        submodules: fetch them as well.
        commit_time: files have the commit's time instead of the time of the build.
        by_commit: ``checksum`` is the commit to fetch, whatever ``ref`` leads to.
    """

    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    commit_time: bool = False
    by_commit: bool = False


Remote: TypeAlias = HttpOrigin | GitOrigin


def is_commit(text: str) -> bool:
    """Whether ``text`` is a full commit id (SHA-1 or SHA-256)."""
    return _COMMIT.match(text) is not None


def parse_remote(text: str, *, name: str = "") -> Remote | None:
    """A source of ADD as a remote; ``None`` for a path.

    Args:
        text: the source, expanded.
        name: of the file behind a URL; default the last part of the URL's path.

    Raises:
        InvalidInput: a Git URL with a query that means nothing.
    """
    git = parse_git(text)
    if git is not None:
        return git
    if text.startswith(("http://", "https://")):
        return HttpOrigin(url=text, name=name or url_name(text))
    return None


def is_remote(text: str) -> bool:
    """Whether a source of ADD is a URL or a Git repository rather than a path, valid or not."""
    try:
        return parse_remote(text) is not None
    except InvalidInput:
        return True


def url_name(url: str) -> str:
    """The last part of a URL's path; ``__unnamed__`` where it has none, as BuildKit calls it."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return _UNNAMED
    base = posixpath.basename(path.rstrip("/"))
    return base if base not in {"", ".", ".."} and "\0" not in base else _UNNAMED


def parse_git(text: str, *, context: bool = False) -> GitOrigin | None:
    """A Git reference: ``https://host/repo.git#ref:subdir``, ``git://``, ``ssh://``, ``git@host:repo``.

    Args:
        text: what may be one.
        context: it names a build context, where ``github.com/owner/repo`` is one too.

    Raises:
        InvalidInput: it is one, with a query that is not valid.
    """
    if text.startswith("github.com/"):
        if not context:
            return None
        text = f"https://{text}"
        parts = urlsplit(text)
    elif match := _PROTOCOL.match(text):
        scheme = match[0][:-3].lower()
        if scheme not in _GIT_PROTOCOLS:
            return None
        try:
            parts = urlsplit(text)
        except ValueError:
            return None
        if scheme in {"http", "https"} and not parts.path.endswith(".git"):
            return None
    elif scp := _SCP.match(text):
        user, host, path, query, fragment = scp.groups()
        return _with_query(GitOrigin(remote=f"{user}@{host}:{path}"), query or "", fragment or "", text)
    else:
        return None
    remote = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return _with_query(GitOrigin(remote=remote), parts.query, parts.fragment, text)


def _with_query(git: GitOrigin, query: str, fragment: str, text: str) -> GitOrigin:
    """Apply ``#ref:subdir`` and ``?ref=...&subdir=...``."""
    ref, _, subdir = unquote(fragment).partition(":")
    git = msgspec.structs.replace(git, ref=ref, subdir=_clean(subdir))
    values: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in values:
            raise _query_problem(text, f"query {key!r} has several values")
        values[key] = value
    ref, checksum = git.ref, ""
    for key, value in values.items():
        if not value and key not in _SWITCHES:
            raise _query_problem(text, f"query {key!r} has no value")
        match key:
            case "ref" | "tag" | "branch":
                prefix = {"ref": "", "tag": "refs/tags/", "branch": "refs/heads/"}[key]
                wanted = value if value.startswith(prefix) else prefix + value
                if ref and ref != wanted:
                    raise _query_problem(text, f"{ref!r} and {wanted!r} contradict each other")
                ref = wanted
            case "subdir":
                if git.subdir and git.subdir != _clean(value):
                    raise _query_problem(text, f"subdir {git.subdir!r} and {value!r} contradict each other")
                git = msgspec.structs.replace(git, subdir=_clean(value))
            case "checksum" | "commit":
                checksum = value
            case "submodules":
                git = msgspec.structs.replace(git, submodules=_switch(text, key, value))
            case "keep-git-dir":
                git = msgspec.structs.replace(git, keep_git_dir=_switch(text, key, value))
            case "fetch-by-commit":
                git = msgspec.structs.replace(git, by_commit=_switch(text, key, value))
            case "mtime":
                if value not in {"checkout", "commit"}:
                    raise _query_problem(text, f"mtime={value} is neither checkout nor commit")
                git = msgspec.structs.replace(git, commit_time=value == "commit")
            case _:
                raise _query_problem(text, f"query {key!r} is not known")
    if ref.startswith("-"):
        raise _query_problem(text, f"{ref!r} is not a Git reference")
    return msgspec.structs.replace(git, ref=ref, checksum=checksum)


def _clean(subdir: str) -> str:
    return posixpath.normpath(posixpath.join("/", subdir)).lstrip("/")


def _switch(text: str, key: str, value: str) -> bool:
    if value in _FALSE:
        return False
    if not value or value in _TRUE:
        return True
    raise _query_problem(text, f"{key}={value} is neither true nor false")


def _query_problem(text: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"{redacted(text)}: {problem}",
        hint="a Git URL may have ?ref=, tag=, branch=, subdir=, checksum=, keep-git-dir=, submodules=, mtime=",
    )


def redacted(text: str) -> str:
    """A URL, or a text with URLs in it, without passwords, and without names that may be tokens (ssh has none)."""

    def hidden(match: re.Match[str]) -> str:
        scheme, user = match[1], match[2]
        return match[0] if scheme.lower() == "ssh" and ":" not in user else f"{scheme}://xxxxx:xxxxx@"

    # up to the last @ of the host part, as whoever connects reads it: a password may have one
    return re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/?#\s]*)@", hidden, text)
