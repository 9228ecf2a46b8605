"""Rows as tuples in the order of their table's columns (:mod:`contextkernel.notebook.columns`).

Times are ``datetime``, or nanoseconds since 1970; digests become text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.container_fields import status_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from contextkernel.model.builds import BuildRow, BuildStepRow
    from contextkernel.model.cache import CacheRow, UsageRow
    from contextkernel.model.engine_events import EngineEvent
    from contextkernel.model.explanation import StepExplanation
    from contextkernel.model.measurements import NamespaceRow, StatsRow
    from contextkernel.model.networks import NetworkRow
    from contextkernel.model.remote import LayerRow, PlatformRow, RemoteHistoryRow
    from contextkernel.model.results import (
        BaseRow,
        CheckFinding,
        CompareRow,
        ContainerRow,
        Fact,
        HistoryRow,
        ImageRow,
    )
    from contextkernel.model.serving import RegistryImageRow, RegistryRow
    from contextkernel.model.volumes import VolumeRow


def _image(row: ImageRow) -> tuple[Any, ...]:
    return (row.repository, row.tag, str(row.id), row.created, row.size, row.origin, row.layers, row.digest)


def _history(row: HistoryRow | RemoteHistoryRow) -> tuple[Any, ...]:
    return (None if row.id is None else str(row.id), row.created, row.created_by, row.size, row.comment)


def _platform(row: PlatformRow) -> tuple[Any, ...]:
    return (
        row.platform,
        str(row.digest),
        row.media_type,
        row.layers,
        row.size,
        row.shared,
        row.created,
        row.attested,
        row.chosen,
    )


def _layer(row: LayerRow) -> tuple[Any, ...]:
    return (
        row.layer,
        None if row.diff_id is None else str(row.diff_id),
        row.size,
        row.download_size,
        None if row.digest is None else str(row.digest),
        row.media_type,
        row.created,
        row.created_by,
    )


def _container(row: ContainerRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.image,
        row.command,
        row.created,
        status_text(row),
        row.ports,
        row.name,
        row.state,
        row.exit_code,
        row.started,
        row.finished,
        row.size,
        row.network,
        row.health,
        row.labels,
    )


def _compare(row: CompareRow) -> tuple[Any, ...]:
    return (row.image, row.size, row.layers, row.shared, row.unique, row.factor)


def _base(row: BaseRow) -> tuple[Any, ...]:
    return (row.image, row.action, row.stand_in, row.size, row.detail)


def _finding(row: CheckFinding) -> tuple[Any, ...]:
    return (row.what, row.where, row.repaired)


def _explanation(row: StepExplanation) -> tuple[Any, ...]:
    changes = len(row.changes) + row.more
    return (row.step, row.name, row.line, row.state, row.reason, row.detail if row.reason else "", changes)


def _cache(row: CacheRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.reclaimable,
        row.size,
        row.used,
        row.type,
        row.description,
        row.created,
        row.uses,
        row.shared,
    )


def _usage(row: UsageRow) -> tuple[Any, ...]:
    return (row.type, row.total, row.active, row.size, row.reclaimable)


def _build(row: BuildRow) -> tuple[Any, ...]:
    image = None if row.image is None else str(row.image)
    return (
        row.id,
        row.name,
        row.status,
        row.created,
        row.seconds,
        row.steps,
        row.cached,
        image,
        row.problem,
    )


def _build_step(row: BuildStepRow) -> tuple[Any, ...]:
    return (
        row.number,
        row.name,
        row.state,
        row.seconds,
        row.cpu_seconds,
        row.peak_memory,
        row.written,
        row.line,
        row.instruction,
        row.started,
        None if row.layer is None else str(row.layer),
        row.problem,
    )


def _event(row: EngineEvent) -> tuple[Any, ...]:
    name = row.attributes.get("name", row.id)
    return (row.time, row.type, row.action, name, row.id, row.attributes)


def _network(row: NetworkRow) -> tuple[Any, ...]:
    network = row.network
    return (
        network.id,
        network.name,
        network.driver,
        "local",
        ", ".join(pool.subnet for pool in network.pools),
        ", ".join(pool.gateway for pool in network.pools),
        len(row.containers),
        network.internal,
        network.ipv6,
        network.created,
        network.labels,
        network.options,
    )


def _volume(row: VolumeRow) -> tuple[Any, ...]:
    volume = row.volume
    return (
        "local",
        volume.name,
        row.mountpoint,
        volume.created,
        len(row.containers),
        volume.anonymous,
        volume.labels,
        volume.options,
    )


def _stats(row: StatsRow) -> tuple[Any, ...]:
    return (
        row.id,
        row.name,
        row.cpu_percent,
        row.memory,
        row.memory_limit,
        row.memory_percent,
        row.received,
        row.sent,
        row.read,
        row.written,
        row.pids,
        row.whole,
    )


def _namespace(row: NamespaceRow) -> tuple[Any, ...]:
    return (row.name, row.type, row.inode, row.whose, row.sees, row.id)


def _registry(row: RegistryRow) -> tuple[Any, ...]:
    return (
        row.name,
        row.address,
        row.running,
        row.read_only,
        row.tags,
        row.size,
        row.reach,
        row.created,
    )


def _registry_image(row: RegistryImageRow) -> tuple[Any, ...]:
    return (row.repository, row.tag, row.digest or None, row.kind, row.size, row.pushed or None)


def fact_record(row: Fact) -> tuple[Any, ...]:
    """A fact about the host as a record of kind ``facts``."""
    found = (row.name, row.verdict, row.reason, row.remedy, row.milliseconds)
    return (*found, row.errno, row.cause, row.who, row.group)


RECORDS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "images": _image,
    "history": _history,
    "platforms": _platform,
    "layers": _layer,
    "remote_history": _history,
    "containers": _container,
    "compare": _compare,
    "bases": _base,
    "findings": _finding,
    "explanation": _explanation,
    "cache": _cache,
    "usage": _usage,
    "events": _event,
    "networks": _network,
    "volumes": _volume,
    "changes": lambda row: (row.kind, row.path),
    "builds": _build,
    "build_steps": _build_step,
    "stats": _stats,
    "namespaces": _namespace,
    "registries": _registry,
    "registry_images": _registry_image,
    "search": lambda row: (row.name, row.description, row.stars, row.official),
}
"""What turns a row into such a tuple, by the kind of its table."""
