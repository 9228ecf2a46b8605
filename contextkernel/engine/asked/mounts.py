"""Keyword arguments of ``run`` and ``create`` about volumes and mounts, and what they come to.

The rules for ``-v`` and ``--mount`` are those of docker's daemon (moby, volume/mounts/linux_parser.go and validate.go).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

import msgspec

from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.model.container import Bind, Tmpfs
from contextkernel.model.given import several
from contextkernel.model.mounts import Mount, Mounts
from contextkernel.model.volumes import check_driver

PROPAGATIONS = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
_MODES = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),
    PROPAGATIONS,
    frozenset(("nocopy",)),
    frozenset(("consistent", "cached", "delegated")),
)
_PARTS = 3  # of source:target:mode


class MountKeywords(TypedDict, total=False):
    """Names follow docker-py.

    Attributes:
        volumes: docker-py's ``{source: {"bind": target, "mode": "ro"}}`` or words of ``-v``.
        mounts: as of ``--mount``.
        tmpfs: ``{target: options}`` or words of ``--tmpfs``.
        volumes_from: containers, each with ``:ro`` or ``:rw`` after it.
        volume_driver: ``local`` is the only one.
        storage_opt: refused: the size of a container's files cannot be limited.
    """

    volumes: Mapping[str, Mapping[str, str]] | str | Sequence[str | Bind]
    mounts: Sequence[Mount]
    tmpfs: Mapping[str, str] | str | Sequence[str | Tmpfs]
    volumes_from: str | Sequence[str]
    volume_driver: str
    storage_opt: Mapping[str, str] | Sequence[str]


def mounts_from(keywords: MountKeywords) -> Mounts:
    """What the keywords ask for.

    Raises:
        InvalidInput: a mount that cannot be, or two at one place.
        HostUnsupported: a storage option.
    """
    if keywords.get("storage_opt"):
        raise HostUnsupported(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            hint="what a container writes cannot be limited here; --read-only with --tmpfs PATH:size=... can",
        )
    driver = keywords.get("volume_driver", "")
    tmpfs = {mount.target: mount for mount in map(_tmpfs, _tmpfs_words(keywords.get("tmpfs", ())))}
    binds, anonymous = [], []
    for word in dict.fromkeys(_volume_words(keywords.get("volumes", ()))):  # docker's client drops what it has
        if ":" in word:
            binds.append(parse_bind(word, driver))
        else:
            anonymous.append(anonymous_target(word))
    taken = set(tmpfs)
    for mount in binds:
        _take(mount, taken)
    taken = {mount.target for mount in binds}
    asked = [checked(mount) for mount in keywords.get("mounts", ())]
    for mount in asked:
        _take(mount, taken)
    if anonymous or binds:
        check_driver("volume", driver)
    return Mounts(
        points=(*binds, *asked, *(mount for mount in tmpfs.values() if mount.target not in taken)),
        anonymous=tuple(dict.fromkeys(anonymous)),
        volumes_from=tuple(map(_checked_from, several(keywords.get("volumes_from", ())))),
        volume_driver=driver,
    )


def _take(mount: Mount, taken: set[str]) -> None:
    if mount.target in taken:
        raise InvalidInput(f"duplicate mount point: {mount.target}", hint="mount one thing at each place")
    taken.add(mount.target)


def _volume_words(volumes: Mapping[str, Mapping[str, str]] | str | Sequence[str | Bind]) -> Iterator[str]:
    if isinstance(volumes, Mapping):
        for source, what in volumes.items():
            yield f"{source}:{what['bind']}:{what.get('mode') or 'rw'}"
        return
    for volume in several(volumes):
        if isinstance(volume, Bind):
            yield f"{volume.source}:{volume.target}:{'ro' if volume.read_only else 'rw'}"
        else:
            yield volume


def parse_bind(text: str, driver: str = "") -> Mount:
    """A word of ``-v`` with a source.

    Args:
        text: ``SOURCE:TARGET[:MODE]``; a source that starts with ``.`` counts from the working directory.
        driver: of ``--volume-driver``.

    Raises:
        InvalidInput: it is none.
    """
    parts = text.split(":")
    if len(parts) > _PARTS or not all(parts):
        raise InvalidInput(f"invalid volume specification: {text!r}", hint="-v SOURCE:TARGET[:MODE]")
    source, target = parts[0], parts[1]
    modes = parts[2] if len(parts) == _PARTS else ""
    if len(parts) == _PARTS - 1 and _valid(target):
        raise InvalidInput(f"invalid volume specification: {text!r}", hint="-v SOURCE:TARGET:MODE")
    if not _valid(modes):
        raise InvalidInput(f"invalid mode: {modes}", hint="ro, rw, z, Z, nocopy, a propagation such as rslave")
    if source.startswith("."):
        source = os.path.join(os.getcwd(), source)
    words = set(modes.split(","))
    bound = source.startswith("/")
    mount = Mount(
        type="bind" if bound else "volume",
        source=os.path.normpath(source) if bound else source,
        target=target,
        read_only="ro" in words,
        origin="volume",
        mode=modes,
        propagation=next(iter(words & PROPAGATIONS), ""),
        no_copy="nocopy" in words,
        create_source=bound,
        driver="" if bound else driver,
    )
    try:
        mount = checked(mount)
    except InvalidInput as problem:
        raise InvalidInput(f"invalid volume specification: {text!r}: {problem.problem}", hint=problem.hint) from None
    return msgspec.structs.replace(mount, text=":".join(filter(None, (mount.source, target, modes))))


def _valid(modes: str) -> bool:
    """Whether it is a mode: of each kind one word at most."""
    words = modes.split(",") if modes else []
    known = frozenset[str]().union(*_MODES)
    return all(word in known for word in words) and all(sum(word in kind for word in words) <= 1 for kind in _MODES)


def anonymous_target(text: str) -> str:
    """The target of ``-v /path``.

    Raises:
        InvalidInput: it is empty, or the root.
    """
    if not text:
        raise InvalidInput("invalid empty volume spec", hint="-v SOURCE:TARGET[:MODE] or -v TARGET")
    target = posixpath.normpath(f"/{text}").replace("//", "/")
    if target == "/":
        raise InvalidInput(f"invalid volume specification: {text!r}: invalid specification: destination can't be '/'")
    return target


def _tmpfs_words(tmpfs: Mapping[str, str] | str | Sequence[str | Tmpfs]) -> Iterable[tuple[str, str]]:
    if isinstance(tmpfs, Mapping):
        yield from tmpfs.items()
        return
    for word in several(tmpfs):
        if isinstance(word, Tmpfs):
            yield word.target, word.options
        else:
            target, _, options = word.partition(":")
            yield target, options


def _tmpfs(words: tuple[str, str]) -> Mount:
    target, options = words
    clean = _check_target(target)
    from contextkernel.runtime.plan_mounts import plan_tmpfs

    plan_tmpfs(clean, options)  # its options can be
    return Mount(type="tmpfs", target=clean, origin="tmpfs", tmpfs=options)


def _check_target(target: str) -> str:
    if not target:
        raise InvalidInput("field Target must not be empty", hint="say where to mount it")
    clean = posixpath.normpath(target).replace("//", "/")
    if clean == "/":
        raise InvalidInput("invalid specification: destination can't be '/'", hint="choose a directory below it")
    if not target.startswith("/"):
        raise InvalidInput(f"invalid mount path: {target!r} mount path must be absolute", hint="let it start with /")
    if clean.split("/")[1] == "proc":
        raise InvalidInput(f"{target!r} cannot be mounted because it is inside /proc", hint="choose another place")
    return clean


def checked(mount: Mount) -> Mount:
    """A mount whose parts fit together, with a clean target.

    Raises:
        InvalidInput: it cannot be.
    """
    try:
        return _checked(mount)
    except InvalidInput as problem:
        text = f'invalid mount config for type "{mount.type}": {problem.problem}'
        raise InvalidInput(text, hint=problem.hint) from None


def _checked(mount: Mount) -> Mount:
    target = _check_target(mount.target)
    volume = mount.no_copy or mount.labels or mount.options or mount.driver or mount.subpath
    bind = mount.propagation or mount.recursive != "enabled"
    memory = mount.size or mount.permissions
    for wrong, what in (
        (volume and mount.type != "volume", "VolumeOptions"),
        (bind and mount.type != "bind", "BindOptions"),
        (memory and mount.type != "tmpfs", "TmpfsOptions"),
    ):
        if wrong:
            raise InvalidInput(f"field {what} must not be specified", hint="it belongs to another type of mount")
    source = mount.source
    if mount.type == "tmpfs" and source:
        raise InvalidInput("field Source must not be specified", hint="a tmpfs starts empty")
    if mount.type == "bind":
        source = _bind_source(mount)
    if mount.type == "volume":
        _check_volume(mount)
    return msgspec.structs.replace(mount, source=source, target=target)


def _bind_source(mount: Mount) -> str:
    if not mount.source:
        raise InvalidInput("field Source must not be empty", hint="src=PATH")
    source = os.path.join(os.getcwd(), mount.source) if mount.source.startswith(".") else mount.source
    if not source.startswith("/"):
        raise InvalidInput(f"invalid mount path: {source!r} mount path must be absolute", hint=f"./{source}?")
    if mount.propagation and mount.propagation not in PROPAGATIONS:
        raise InvalidInput(f"invalid propagation mode: {mount.propagation}", hint="one of private, rslave, rshared ...")
    source = os.path.normpath(source)
    if not mount.create_source and not os.path.exists(source):
        raise InvalidInput(f"bind source path does not exist: {source}", hint="make it first, or use -v, which does")
    return source


def _check_volume(mount: Mount) -> None:
    if mount.source:
        check_driver(mount.source, mount.driver)
    elif mount.read_only:
        raise InvalidInput("must not set ReadOnly mode when using anonymous volumes", hint="give it a name: src=NAME")
    elif mount.subpath:
        raise InvalidInput("must not set Subpath when using anonymous volumes", hint="give it a name: src=NAME")
    if mount.subpath and (mount.subpath.startswith("/") or ".." in posixpath.normpath(mount.subpath).split("/")):
        raise InvalidInput("subpath must be a relative path within the volume", hint="no / at its start and no ..")


def _checked_from(text: str) -> str:
    name, _, modes = text.partition(":")
    if not text:
        raise InvalidInput("volumes-from specification cannot be an empty string", hint="--volumes-from CONTAINER[:ro]")
    words = modes.split(",") if modes else []
    if not _valid(modes) or any(word in PROPAGATIONS or word == "nocopy" for word in words):
        raise InvalidInput(f"invalid mode: {modes}", hint="ro or rw")
    if not name:
        raise InvalidInput('invalid name or ID supplied: ""', hint="--volumes-from CONTAINER[:ro]")
    return text
