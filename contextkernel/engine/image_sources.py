"""What an index is put together from: names, digests and descriptors, and the repositories they are in."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.errors import InvalidDigest, InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.model.reference import ImageRef


def placed(
    sources: Sequence[str | Descriptor], targets: Sequence[ImageRef]
) -> list[tuple[ImageRef, Descriptor | None]]:
    """Where each source is; what has no name is in the only repository that anything else names.

    Args:
        sources: names, digests, descriptors.
        targets: names of the result.

    Returns:
        The name of each, and the descriptor where the user gave one.

    Raises:
        InvalidInput: no repository is named, or several are. InvalidReference: a name is none.
    """
    read = [_read(one) for one in sources]
    names = {name.name: name for name in [*(one for one in read if isinstance(one, ImageRef)), *targets]}
    found: list[tuple[ImageRef, Descriptor | None]] = []
    for one in read:
        if isinstance(one, ImageRef):
            found.append((one, None))
            continue
        if not names:
            raise InvalidInput(
                "no repositories specified, please set a reference in tag or source", hint="write NAME@DIGEST"
            )
        if len(names) > 1:
            raise InvalidInput(
                f"multiple repositories specified, cannot infer repository for {str(one.digest)!r}",
                hint="write NAME@DIGEST",
            )
        [only] = names.values()
        said = one.media_type or one.platform or one.annotations or one.size
        found.append((ImageRef(only.registry, only.repository, None, one.digest), one if said else None))
    return found


def _read(source: str | Descriptor) -> ImageRef | Descriptor:
    if isinstance(source, Descriptor):
        return source
    try:
        return Descriptor("", Digest(source), 0)
    except InvalidDigest:
        if source.startswith(("sha256:", "sha512:")):
            raise
        return ImageRef.parse(source)
