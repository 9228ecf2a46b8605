"""What is told of containers: the list, and the document of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.engine.composition import Composition
from contextkernel.errors import ContainerNotFound, ImageNotFound, InvalidInput
from contextkernel.model.given import Filters, filter_values

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.model.digest import Digest
    from contextkernel.model.layers import Layer
    from contextkernel.model.oci import RunConfig
    from contextkernel.model.resources import Enforced
    from contextkernel.model.results import ContainerRow


class ContainerViews(Composition):
    """Looking at containers from outside."""

    def containers(
        self,
        *,
        all: bool = False,
        latest: bool = False,
        limit: int | None = None,
        filters: Filters | None = None,
        size: bool = False,
    ) -> tuple[ContainerRow, ...]:
        """Containers, newest first: those that run, or with ``all``, ``latest``, ``limit`` or a status filter any.

        Args:
            filters: docker's: ``id name label status exited ancestor before since volume network publish expose health
                is-task``; any value of a key, all keys.
            size: measure what each has written.

        Raises:
            InvalidInput: a filter that is none. ContainerNotFound: of ``before`` or ``since``.
        """
        from contextkernel.runtime.container_filters import check, chosen
        from contextkernel.runtime.container_rows import container_row

        wanted = filter_values(filters)
        check(wanted)
        containers = self._containers
        ends = {key: containers.find(wanted[key][-1]).id for key in ("before", "since") if wanted.get(key)}
        everything = all or latest or limit is not None or "status" in wanted
        images = _Images(self)
        rows = (
            container_row(spec, state, self._document(spec, state, images), image=containers.shown_image(spec))
            for spec, state in containers.known()
            if everything or state.alive or spec.id in ends.values()
        )
        ancestors = frozenset(filter(None, (images.id_of(name) for name in wanted.get("ancestor", ()))))
        found = [
            row
            for row in chosen(rows, wanted, ancestors=ancestors, **ends)
            if everything or row.state in ("running", "paused", "restarting")
        ][: 1 if latest else limit]
        return tuple(filter(None, map(self._measured, found))) if size else tuple(found)

    def _measured(self, row: ContainerRow) -> ContainerRow | None:
        """``None``: it was removed since it was listed."""
        import msgspec

        try:
            spec = self._containers.find(row.id)
            size = self._containers.written(spec)
        except ContainerNotFound:
            return None
        layers = self._store.layers_of(spec.image_id)
        return msgspec.structs.replace(row, size=size, virtual_size=size + sum(layer.size for layer in layers))

    def container_sizes(self, container: str) -> tuple[int, int]:
        """Bytes that a container has written, and the same with its image (docker's SizeRw and SizeRootFs)."""
        containers = self._containers
        spec = containers.find(container)
        size = containers.written(spec)
        return size, size + sum(layer.size for layer in self._store.layers_of(spec.image_id))

    def _inspect_container(self, spec: ContainerSpec) -> dict[str, Any]:
        return self._document(spec, self._containers.state(spec), _Images(self))

    def _document(self, spec: ContainerSpec, state: RunState, images: _Images) -> dict[str, Any]:
        from contextkernel.runtime.inspect import container_document
        from contextkernel.store.tree_record import has_tree

        directory = self._store.container_dir(spec.id)
        # one that was started once stays what it is, whatever this host has become
        copied = has_tree(directory) or (self._backing == "copy" and not state.started)
        return container_document(
            spec,
            state,
            images.config(spec.image_id),
            images.layers(spec.image_id),
            directory=directory,
            tier=self._host.report.tier,
            backing="copy" if copied else "overlay",
            kept=self._kept(spec, state),
            apart=self._apart(spec, state),
        )

    def _apart(self, spec: ContainerSpec, state: RunState) -> tuple[dict[str, str], tuple[str, ...]]:
        """What keeps a container apart, and what stands in for what; of one that was never started, what will."""
        from contextkernel.runtime.fallbacks import expected

        facts = self._container_facts()
        if state.isolation or facts is None:
            return state.isolation, state.fallbacks
        return expected(spec, facts)

    def _kept(self, spec: ContainerSpec, state: RunState) -> tuple[Enforced, ...]:
        """How a container's limits are kept, or would be."""
        from contextkernel.model.resources import Resources
        from contextkernel.runtime.enforcing import enforcement

        if state.limits or spec.resources == Resources():
            return state.limits
        return enforcement(spec.resources, self._group_facts()).report


class _Images:
    """Images of several containers, each looked up once."""

    def __init__(self, engine: ContainerViews) -> None:
        self._store = engine._store
        self._configs: dict[Digest, RunConfig] = {}
        self._layers: dict[Digest, tuple[Layer, ...]] = {}

    def config(self, image: Digest) -> RunConfig:
        """What the image says; nothing if it was removed by force since."""
        from contextkernel.model.oci import RunConfig

        if image not in self._configs:
            try:
                self._configs[image] = self._store.config(image).config
            except ImageNotFound:
                self._configs[image] = RunConfig()
        return self._configs[image]

    def layers(self, image: Digest) -> tuple[Layer, ...]:
        """Base first."""
        if image not in self._layers:
            self._layers[image] = self._store.layers_of(image)
        return self._layers[image]

    def id_of(self, name: str) -> str:
        """The id of an image; empty if there is none, which docker does not mind."""
        try:
            return str(self._store.resolve(name))
        except (ImageNotFound, InvalidInput):
            return ""
