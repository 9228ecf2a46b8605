"""Options of ``run`` and ``create`` about volumes and mounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import Option

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.mounts import MountKeywords
    from contextkernel.model.mounts import Mount

OPTIONS: tuple[Option, ...] = (
    Option(
        name="mount",
        kind="list",
        metavar="mount",
        help="Volume, host directory or memory to show inside: type=bind,src=DIR,dst=PATH",
    ),
    Option(name="storage-opt", kind="list", metavar="list", help="Refused: what is written cannot be limited here"),
    Option(name="tmpfs", kind="list", metavar="list", help="File system in memory: PATH[:OPTIONS]"),
    Option(
        name="volume",
        short="v",
        kind="list",
        metavar="list",
        help="Volume or host file to show inside: NAME|HOST:CONTAINER[:MODE], or a new volume: CONTAINER",
    ),
    Option(name="volume-driver", kind="string", metavar="string", help="Driver of volumes: local"),
    Option(name="volumes-from", kind="list", metavar="list", help="Also the volumes of another container: NAME[:ro]"),
)


def keywords(parsed: Parsed) -> MountKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    return {
        "volumes": parsed.texts("volume"),
        "mounts": _mounts(parsed.texts("mount")),
        "tmpfs": parsed.texts("tmpfs"),
        "volumes_from": parsed.texts("volumes-from"),
        "volume_driver": parsed.text("volume-driver"),
        "storage_opt": parsed.texts("storage-opt"),
    }


def _mounts(words: tuple[str, ...]) -> tuple[Mount, ...]:
    if not words:
        return ()
    from contextkernel.commands.mount_words import parse_mount

    return tuple(parse_mount(text) for text in words)
