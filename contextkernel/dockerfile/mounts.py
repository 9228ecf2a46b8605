"""``RUN --mount``: the words as written, and the typed mounts they become once variables are resolved.

Any value may hold a variable, the type included (``--mount=type=cache,target=$DIR``), so the words are read into
:class:`MountWords` by the parser and turned into one of five closed types by :func:`resolve_mount`.
Source of the rules: BuildKit's Dockerfile reference, "RUN --mount", and ``instructions/commands_runmount.go``.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import msgspec

from contextkernel.dockerfile.suggest import did_you_mean
from contextkernel.dockerfile.text import csv_fields, parse_size
from contextkernel.errors import DockerfileError
from contextkernel.model.booleans import parse_bool

if TYPE_CHECKING:
    from collections.abc import Callable

    from contextkernel.errors import Span

Sharing: TypeAlias = Literal["shared", "private", "locked"]


class MountWords(msgspec.Struct, frozen=True, kw_only=True):
    """One ``--mount`` flag: its fields in order, unexpanded.

    Attributes:
        span: the flag in the text.
        text: the flag's value.
        fields: key in lower case and value (``None`` without ``=``).
    """

    span: Span
    text: str
    fields: tuple[tuple[str, str | None], ...]

    @property
    def source_stage(self) -> str | None:
        """The value of ``from``: it takes no variables, so that the stage graph is known before expansion."""
        found = [value for key, value in self.fields if key == "from" and value]
        return found[-1] if found else None


class BindMount(msgspec.Struct, frozen=True, kw_only=True):
    """``type=bind``: a directory of another stage, a named context, an image, or of the build context.

    Attributes:
        target: path inside, possibly relative to the working directory.
        source: path within the origin, ``""`` for its root.
        origin: ``from``; ``None`` for the build context.
        read_only: otherwise writes are allowed and thrown away.
    """

    target: str
    source: str = ""
    origin: str | None = None
    read_only: bool = True


class CacheMount(msgspec.Struct, frozen=True, kw_only=True):
    """``type=cache``: a directory that outlives the build.

    Attributes:
        id: name of the cache, the target by default.
        mode: of a new cache directory, 0o755 by default.
        uid, gid: owner of a new cache directory, 0 by default.
    """

    target: str
    id: str
    source: str = ""
    origin: str | None = None
    sharing: Sharing = "shared"
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class TmpfsMount(msgspec.Struct, frozen=True, kw_only=True):
    """``type=tmpfs``; ``size`` in bytes, 0 for no limit."""

    target: str
    size: int = 0
    read_only: bool = False


class SecretMount(msgspec.Struct, frozen=True, kw_only=True):
    """``type=secret``.

    Attributes:
        id: name of the secret, the target's base name by default.
        target: file to mount, ``/run/secrets/<id>`` by default; ``None`` if only the environment variable is wanted.
        env: environment variable to set, if any.
        required: fail if the secret is not given.
    """

    id: str
    target: str | None
    env: str | None = None
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


class SshMount(msgspec.Struct, frozen=True, kw_only=True):
    """``type=ssh``: an agent socket; ``target`` is ``None`` for the default ``/run/buildkit/ssh_agent.N``."""

    id: str = "default"
    target: str | None = None
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


Mount: TypeAlias = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_ALIASES = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "ro": "readonly",
    "rw": "readwrite",
}
_KEYS = (
    "type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required", "size", "mode", "uid",
    "gid", "env", *_ALIASES,
)  # fmt: skip
_NUMBERS = {
    "size": "a number of bytes, or with a unit: 64m",
    "mode": "octal digits, e.g. 0755",
    "uid": "a number, 0 or more",
    "gid": "a number, 0 or more",
}
_BARE = ("readonly", "readwrite", "required")
_MAX_UINT32 = 2**32 - 1


def read_mount_words(text: str, span: Span) -> MountWords:
    """Split a ``--mount`` value into fields.

    Args:
        text: the flag's value.
        span: where it stands.

    Raises:
        ValueError: with the reason: broken quoting, or a variable in ``from``.
    """
    fields: list[tuple[str, str | None]] = []
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if key.lower() == "from" and "$" in value[:-1]:
            raise ValueError("from takes no variables; define a stage with FROM ... AS name and use its name")
        fields.append((key.lower(), value if equals else None))
    return MountWords(span=span, text=text, fields=tuple(fields))


def resolve_mount(words: MountWords, expand: Callable[[str], str], *, source: str | None = None) -> Mount:
    """Make a typed mount of a flag's words.

    Args:
        words: from :class:`~contextkernel.dockerfile.instructions.Run`.
        expand: resolves the variables of one value, e.g. with :func:`contextkernel.dockerfile.expand.expand`.
        source: the Dockerfile's text, for the error's excerpt.

    Raises:
        DockerfileError: for an unknown key or type, a value that is none, or a combination that makes no sense.
        InvalidInput: from ``expand``.
    """
    try:
        return _Resolver(words, expand).mount()
    except _Refused as refused:
        raise DockerfileError(
            f"invalid mount {words.text!r}: {refused}", hint=refused.hint, span=words.span, source=source
        ) from None


class _Refused(ValueError):
    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(problem)
        self.hint = hint


class _Resolver:
    """Reads the fields one after the other: what ``required`` and ``size`` may mean depends on the type before them."""

    def __init__(self, words: MountWords, expand: Callable[[str], str]) -> None:
        self.kind = "bind"
        self.texts: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.read_only: bool | None = None
        self.required = False
        for key, raw in words.fields:
            name = _ALIASES.get(key, key)
            if name not in _KEYS:
                raise _Refused(f"unexpected key {key!r}", did_you_mean(key, _KEYS))
            if raw is None and name not in _BARE:
                raise _Refused(f"{key!r} has no value", f"write {key}=VALUE")
            self.take(key, name, None if raw is None else expand(raw))

    def take(self, key: str, name: str, value: str | None) -> None:
        match name:
            case "readonly" | "readwrite" | "required":
                flag = True if value is None else parse_bool(value)
                if flag is None:
                    raise _Refused(f"invalid value {value!r} for {key}", "true or false")
                if name == "required":
                    self.only_for(name, "secret", "ssh")
                    self.required = flag
                else:
                    self.read_only = flag if name == "readonly" else not flag
            case "type":
                self.kind = (value or "").lower()
                if self.kind not in _KINDS:
                    raise _Refused(f"unsupported type {value!r}", did_you_mean(self.kind, _KINDS))
            case "sharing":
                self.texts[name] = (value or "").lower()
                if self.texts[name] not in _SHARING:
                    raise _Refused(f"unsupported sharing {value!r}", did_you_mean(self.texts[name], _SHARING))
            case "size":
                self.only_for(name, "tmpfs")
                self.number(name, value, parse_size(value or ""))
            case "mode":
                self.number(name, value, _unsigned(value or "", 8))
            case "uid" | "gid":
                self.number(name, value, _unsigned(value or "", 10))
            case _:
                self.texts[name] = value or ""

    def only_for(self, name: str, *kinds: str) -> None:
        if self.kind not in kinds:
            raise _Refused(f"{name} does not go with type {self.kind!r}", f"put type={kinds[0]} before it")

    def number(self, name: str, text: str | None, value: int | None) -> None:
        if value is None:
            raise _Refused(f"invalid value {text!r} for {name}", _NUMBERS[name])
        self.numbers[name] = value

    def mount(self) -> Mount:
        """The typed mount, after the checks that concern several fields."""
        if self.kind in ("bind", "tmpfs"):
            for name in ("mode", "uid", "gid"):
                if name in self.numbers:
                    raise _Refused(f"{name} does not go with type {self.kind!r}", "it is for cache, secret and ssh")
        if "sharing" in self.texts and self.kind != "cache":
            raise _Refused(f"sharing does not go with type {self.kind!r}", "it is for type=cache")
        target, source, origin = (self.texts.get(name, "") for name in ("target", "source", "from"))
        identity = self.texts.get("id", "")
        uid, gid, mode = self.numbers.get("uid", 0), self.numbers.get("gid", 0), self.numbers.get("mode")
        match self.kind:
            case "bind":
                return BindMount(
                    target=target, source=source, origin=origin or None, read_only=self.read_only is not False
                )
            case "cache":
                return CacheMount(
                    target=target,
                    id=identity or _clean(target),
                    source=source,
                    origin=origin or None,
                    sharing=cast("Sharing", self.texts.get("sharing", "shared")),
                    read_only=bool(self.read_only),
                    mode=0o755 if mode is None else mode,
                    uid=uid,
                    gid=gid,
                )
            case "tmpfs":
                return TmpfsMount(target=target, size=self.numbers.get("size", 0), read_only=bool(self.read_only))
            case "secret":
                if origin:
                    raise _Refused("from does not go with type 'secret'")
                if not (source or target or identity):
                    raise _Refused("a secret needs an id or a target", "write type=secret,id=NAME")
                if source and identity:
                    raise _Refused("source and id are two names for the same thing", "keep id")
                identity = source or identity or posixpath.basename(target.rstrip("/")) or "/"
                env = self.texts.get("env")
                default = None if env is not None else f"/run/secrets/{posixpath.basename(identity.rstrip('/')) or '/'}"
                return SecretMount(
                    id=identity,
                    target=target or default,
                    env=env,
                    required=self.required,
                    mode=0o400 if mode is None else mode,
                    uid=uid,
                    gid=gid,
                )
            case _:
                if source:
                    raise _Refused("source does not go with type 'ssh'", "name the agent with id=NAME")
                return SshMount(
                    id=identity or "default",
                    target=target or None,
                    required=self.required,
                    mode=0o600 if mode is None else mode,
                    uid=uid,
                    gid=gid,
                )


def _clean(path: str) -> str:
    """Go's ``path.Clean``: like normpath, but two leading slashes become one."""
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


def _unsigned(text: str, base: int) -> int | None:
    digits = "01234567" if base == 8 else "0123456789"
    if not 0 < len(text) <= 32 or text.strip(digits):
        return None
    value = int(text, base)
    return value if value <= _MAX_UINT32 else None
