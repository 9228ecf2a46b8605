"""Verbs about images that are in registries: looking at them, and putting indexes together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.engine.composition import Composition, silent
from contextkernel.errors import Conflict, ContextKernelError, ImageNotFound, InvalidInput, NotFound
from contextkernel.model.given import several
from contextkernel.model.manifest_lists import ListedManifest, ManifestList, PlatformChanges
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.indexes import Assembled
    from contextkernel.model.oci import Descriptor
    from contextkernel.model.outputs import Annotation
    from contextkernel.model.ports import Reporter
    from contextkernel.model.remote import LayerRow, RemoteImage
    from contextkernel.registry.remote import Find


class Remote(Composition):
    """Images in registries."""

    def remote(
        self, name: str, *, platform: str | None = None, every: bool = True, insecure: bool = False
    ) -> RemoteImage:
        """What a registry has under a name, without pulling it.

        Args:
            name: tag or digest.
            platform: look at the image for this one alone.
            every: look at the images of all platforms; else at the one that this machine takes.
            insecure: the registry's certificate is not checked, and plain HTTP will do.

        Returns:
            Platforms, layers, history, configuration; in a notebook it is a picture of them.

        Raises:
            ImageNotFound: no such name, or no image for the platform. RegistryProblem: the registry's answer.
        """
        from contextkernel.registry.remote import look

        wanted = Platform.parse(platform) if platform else None
        return look(_find(insecure=insecure), ImageRef.parse(name), platform=wanted, every=every and wanted is None)

    def remote_platforms(self, name: str) -> tuple[str, ...]:
        """The platforms that a name has images for, with one request to the registry.

        Raises:
            ImageNotFound, RegistryProblem: see :meth:`remote`.
        """
        from contextkernel.registry.remote import listed_platforms

        return listed_platforms(_find(), ImageRef.parse(name))

    def inspect_remote(self, name: str, *, platform: str | None = None) -> dict[str, Any]:
        """Docker's document of an image that a registry has; ``ContextKernel`` says what is known besides.

        Args:
            name: tag or digest.
            platform: of an index; default the one this machine takes.

        Raises:
            ImageNotFound, RegistryProblem: see :meth:`remote`.
        """
        from contextkernel.engine.remote_document import remote_document

        return remote_document(self.remote(name, platform=platform, every=False), platform)

    def remote_statements(self, name: str) -> dict[str, dict[str, Any]]:
        """What is stated of the images of an index: provenance (``SLSA``) and lists of packages (``SPDX``).

        Args:
            name: of the index.

        Returns:
            By platform, by kind: the predicate of the statement.

        Raises:
            ImageNotFound, RegistryProblem: see :meth:`remote`.
        """
        from contextkernel.registry.remote import statements

        return statements(_find(), ImageRef.parse(name))

    def layers(self, name: str) -> tuple[LayerRow, ...]:
        """The layers of an image in the store, base first.

        Raises:
            ImageNotFound: no such image.
        """
        from contextkernel.model.remote import LayerRow, moment

        image = self._store.resolve(name)
        steps = [step for step in self._store.config(image).history if not step.empty_layer]
        rows = []
        for number, layer in enumerate(self._store.layers_of(image), 1):
            packed = next(iter(self._store.distribution.packed_forms(layer.diff_id)), None)
            step = steps[number - 1] if number <= len(steps) else None
            rows.append(
                LayerRow(
                    layer=number,
                    diff_id=layer.diff_id,
                    size=layer.size,
                    download_size=packed.size if packed else None,
                    digest=packed.digest if packed else None,
                    media_type=packed.media_type if packed else "",
                    created=moment(step.created) if step else None,
                    created_by=step.created_by if step else "",
                )
            )
        return tuple(rows)

    # ---- docker's manifest lists

    def create_manifest(
        self, name: str, images: str | Sequence[str], *, amend: bool = False, insecure: bool = False
    ) -> ImageRef:
        """Put a manifest list together, or add images to one; nothing is pushed.

        Args:
            name: of the list.
            images: that a registry has, each of one platform.
            amend: add to a list that there is.
            insecure: see :meth:`remote`.

        Returns:
            The list's name.

        Raises:
            Conflict: there is one of that name. ImageNotFound: a registry does not have an image.
            InvalidInput: an image is an index itself.
        """
        reference = ImageRef.parse(name)
        records = self._store.distribution
        try:
            listed = ManifestList.read(records.saved_list(reference))
        except NotFound:
            listed = ManifestList()
        else:
            if not amend:
                raise Conflict(
                    "refusing to amend an existing manifest list with no --amend flag",
                    hint=f"add --amend, or remove it: manifest rm {name}",
                )
        for image in several(images):
            wanted = ImageRef.parse(image)
            if listed.found(wanted) is None:
                listed = listed.with_manifest(self._listed(image, wanted, insecure=insecure))
                records.save_list(reference, listed.saved())
        return reference

    def _listed(self, name: str, reference: ImageRef, *, insecure: bool) -> ListedManifest:
        from contextkernel.model.oci import MEDIA_INDEXES
        from contextkernel.registry.remote import config_platform, manifest_of

        try:
            descriptor, document, config = manifest_of(_find(insecure=insecure), reference)
        except ImageNotFound as problem:
            raise ImageNotFound(f"no such manifest: {name}", hint=self._push_first(name) or problem.hint) from None
        if descriptor.media_type in MEDIA_INDEXES:
            raise InvalidInput(
                f"{name} is a manifest list",
                hint="name its images by digest (image platforms lists them), or use buildx imagetools create",
            )
        import msgspec

        descriptor = msgspec.structs.replace(descriptor, platform=config_platform(config))
        return ListedManifest(str(reference), descriptor, document)

    def _push_first(self, name: str) -> str | None:
        """A hint where the image is here but not in the registry."""
        try:
            self._store.resolve(name)
        except ContextKernelError:
            return None
        return f"it is in the store, not in the registry: push {name}"

    def annotate_manifest(
        self,
        name: str,
        image: str,
        *,
        os: str = "",
        arch: str = "",
        variant: str = "",
        os_version: str = "",
        os_features: str | Sequence[str] = (),
    ) -> None:
        """Say what platform an image of a list is for.

        Args:
            name: of the list.
            image: as it was named to :meth:`create_manifest`.
            os, arch, variant, os_version: what is empty stays as it is.
            os_features: are added.

        Raises:
            ImageNotFound: no such list, or no such image in it. InvalidInput: not a platform docker knows.
        """
        reference, wanted = ImageRef.parse(name), ImageRef.parse(image)
        try:
            listed = ManifestList.read(self._store.distribution.saved_list(reference))
        except NotFound as problem:
            raise ImageNotFound(
                f"manifest for image {image} does not exist in {name}", hint=problem.hint or "manifest create makes it"
            ) from None
        changes = PlatformChanges(
            os=os, architecture=arch, variant=variant, os_version=os_version, os_features=several(os_features)
        )
        changed = listed.annotated(image, wanted, changes, name)
        self._store.distribution.save_list(reference, changed.saved())

    def inspect_manifest(
        self, name: str, *, within: str | None = None, verbose: bool = False, insecure: bool = False
    ) -> bytes:
        """A manifest or list as ``docker manifest inspect`` shows it.

        Args:
            name: an image or list; lists that are being put together come first.
            within: look for the image in this list.
            verbose: with platforms and the raw documents.
            insecure: see :meth:`remote`.

        Returns:
            JSON.

        Raises:
            ImageNotFound, RegistryProblem: see :meth:`remote`.
        """
        from contextkernel.engine.manifest_texts import list_text, listed_text, remote_text

        reference = ImageRef.parse(name)
        if within is not None:
            listed = ManifestList.read(self._store.distribution.saved_list(ImageRef.parse(within)))
            found = listed.found(reference)
            if found is None:
                raise ImageNotFound(f"no such manifest: {name}", hint=f"{within} does not have it")
            return listed_text(found, verbose=verbose)
        try:
            listed = ManifestList.read(self._store.distribution.saved_list(reference))
        except NotFound:
            try:
                return remote_text(_find(insecure=insecure), reference, verbose=verbose)
            except ImageNotFound as problem:
                raise ImageNotFound(
                    f"no such manifest: {reference.familiar}", hint=self._push_first(name) or problem.hint
                ) from None
        return list_text(reference, listed, verbose=verbose)

    def push_manifest(
        self,
        name: str,
        *,
        purge: bool = False,
        insecure: bool = False,
        tell: Callable[[str], None] = lambda _line: None,
        report: Reporter | None = None,
    ) -> Digest:
        """Push a list; images of other repositories of the registry are mounted into the list's.

        Args:
            name: of the list.
            purge: forget the list afterwards.
            insecure: see :meth:`remote`.
            tell: is told docker's line for each image that was pushed into the repository.
            report: receives ``LayerProgress`` for each layer.

        Returns:
            The digest of the list.

        Raises:
            NotFound: no such list. InvalidInput: an image is in another registry, or has no platform.
            RegistryProblem: the registry's answer.
        """
        from contextkernel.model.manifest_lists import pushable
        from contextkernel.model.oci import Descriptor
        from contextkernel.registry.copying import Copier

        reference = ImageRef.parse(name)
        listed = ManifestList.read(self._store.distribution.saved_list(reference))
        media, document = pushable(reference, listed)
        copier = Copier(_find(insecure=insecure), reference, report=report or silent)
        for one in listed.manifests:
            source = ImageRef.parse(one.reference)
            copier.copy(one.descriptor, source)
            if source.repository != reference.repository:
                digest = one.descriptor.digest
                tell(f"Pushed ref {reference.familiar_name}@{digest} with digest: {digest}")
        descriptor = Descriptor(media, _digest(document), len(document))
        pushed = copier.publish(str(reference.digest or reference.tag), descriptor, document)
        if purge:
            self._store.distribution.remove_list(reference)
        return pushed

    def remove_manifest(self, name: str) -> None:
        """Forget a list that is being put together.

        Raises:
            NotFound: there is none of that name.
        """
        reference = ImageRef.parse(name)
        if not self._store.distribution.remove_list(reference):
            self._store.distribution.saved_list(reference)  # says that there is none

    # ---- buildx imagetools

    def assemble(
        self,
        sources: str | Sequence[str | Descriptor],
        *,
        tags: str | Sequence[str] = (),
        annotations: str | Sequence[str | Annotation] = (),
        platforms: str | Sequence[str] = (),
        append: bool = False,
        prefer_index: bool = True,
        push: bool = True,
        tell: Callable[[str], None] = lambda _line: None,
        report: Reporter | None = None,
    ) -> Assembled:
        """Put an index together from images of any registries, and push it.

        Args:
            sources: names, digests, or descriptors, of images and indexes.
            tags: names for the result; images of other repositories and registries are copied there.
            annotations: as of ``build``; for the index and the descriptors in it.
            platforms: keep only these.
            append: begin with what the first tag stands for now.
            prefer_index: an index even of a single image; else that image itself.
            push: push the result; else it is only made.
            tell: is told what is done, in lines.
            report: receives ``LayerProgress`` for each layer that is copied.

        Returns:
            The document and what it is made of.

        Raises:
            InvalidInput: no source, no tag to push to, or a platform that is not there.
            ImageNotFound, RegistryProblem: a registry's answer.
        """
        from contextkernel.engine.image_sources import placed
        from contextkernel.model.indexes import combine, select
        from contextkernel.model.outputs import parse_annotation
        from contextkernel.registry.copying import Copier
        from contextkernel.registry.remote import source_of

        tags = several(tags)
        if not sources:
            raise InvalidInput("no sources specified", hint="name images, or give --file")
        if push and not tags:
            raise InvalidInput("can't push with no tags specified, please set --tag or --dry-run")
        targets = [ImageRef.parse(tag) for tag in tags]
        asked: list[str | Descriptor] = [*([tags[0]] if append and tags else []), *several(sources)]
        notes = [
            note for one in several(annotations) for note in (parse_annotation(one) if isinstance(one, str) else (one,))
        ]
        find = _find()
        found = [source_of(find, reference, given) for reference, given in placed(asked, targets)]
        result = select(
            combine(found, notes, prefer_index=prefer_index), [Platform.parse(one) for one in several(platforms)]
        )
        for note in result.notes:
            self._warn(note)
        if not push:
            return result
        copiers: dict[str, Copier] = {}
        for target in targets:
            if target.name not in copiers:
                copiers[target.name] = Copier(find, target, tell, report or silent)
                for one in result.manifests:
                    copiers[target.name].copy(one.descriptor, one.source)
            tell(f"pushing {result.descriptor.digest} to {target.familiar}")
            copiers[target.name].publish(str(target.digest or target.tag), result.descriptor, result.document)
        return result


def _find(*, insecure: bool = False) -> Find:
    from contextkernel.registry.remote import finder

    return finder(insecure=insecure)


def _digest(document: bytes) -> Digest:
    from contextkernel.model.digest import Digest

    return Digest.of(document)
