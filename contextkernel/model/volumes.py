"""Volumes as values."""

from __future__ import annotations

import re

import msgspec

from contextkernel.errors import InvalidInput

#: docker's label of volumes that nobody gave a name (moby, volume/service)
ANONYMOUS_LABEL = "com.docker.volume.anonymous"
DRIVER = "local"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*\Z")
_LONGEST = 255  # bytes of a file name


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume: a directory that outlives containers.

    Attributes:
        name: unique in the store.
        created: nanoseconds since the epoch.
        labels: for people and filters.
        options: of the local driver, ``type``, ``o`` and ``device`` as in mount(8); empty for a plain directory.
        anonymous: nobody gave it a name: it goes with its container on ``rm -v`` and ``--rm``.
    """

    name: str
    created: int
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    anonymous: bool = False


class VolumeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as it is listed.

    Attributes:
        volume: itself.
        mountpoint: where its files are; absolute.
        containers: ids of the containers that refer to it, newest first.
        size: bytes of its files where they were counted, else -1.
    """

    volume: Volume
    mountpoint: str
    containers: tuple[str, ...] = ()
    size: int = -1


def check_volume_name(name: str) -> str:
    """``name``, if it may name a volume (moby, volume/local).

    Raises:
        InvalidInput: otherwise.
    """
    if len(name) == 1 and name.isalnum():
        raise InvalidInput(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.match(name) or len(name) > _LONGEST:
        raise InvalidInput(
            f"create {name}: {name!r} includes invalid characters for a local volume name, only "
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed',
            hint="if you intended to pass a host directory, use an absolute path",
        )
    return name


def check_driver(name: str, driver: str) -> None:
    """Refuse any driver but docker's ``local``.

    Raises:
        InvalidInput: this engine has no plugins.
    """
    if driver not in ("", DRIVER):
        raise InvalidInput(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found',
            hint="the only driver is local",
        )


def check_options(name: str, options: dict[str, str]) -> None:
    """Check the options of the local driver (moby, volume/local/local_unix.go).

    Raises:
        InvalidInput: an unknown one, one that is missing, or a size.
    """
    for key in options:
        if key == "size":
            raise InvalidInput(
                f"create {name}: quota size requested but no quota support",
                hint="the size of a directory cannot be limited here; use type=tmpfs with o=size=...",
            )
        if key not in ("type", "o", "device"):
            raise InvalidInput(f'create {name}: invalid option: "{key}"', hint="type, o and device")
    words = options.get("o", "").split(",")
    bound = "bind" in words or "rbind" in words
    if not options:
        return
    for key in ("device",) if bound else ("device", "type"):
        if not options.get(key):
            raise InvalidInput(f'create {name}: missing required option: "{key}"')


def bound_directory(options: dict[str, str]) -> str | None:
    """The directory of the host that a volume stands for (``o=bind``), else ``None``."""
    words = options.get("o", "").split(",")
    return options["device"] if options.get("device") and ("bind" in words or "rbind" in words) else None
