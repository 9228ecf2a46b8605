"""Events about images, with docker's attributes (moby, daemon/images/image_events.go)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import ContextKernelError, ImageNotFound

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.runtime.events import EventLog
    from contextkernel.store import Store


class ImageTeller:
    """Tells of images.

    Args:
        store: knows their labels.
        log: where it is told.
    """

    def __init__(self, store: Store, log: EventLog) -> None:
        self._store = store
        self._log = log

    def labels(self, image: Digest) -> dict[str, str]:
        """The labels of an image; none for one that is gone."""
        try:
            return dict(self._store.config(image).config.labels or {})
        except ContextKernelError:
            return {}

    def tell(self, action: str, image: Digest, *, name: str = "", labels: dict[str, str] | None = None) -> None:
        """Note that something happened to an image.

        Args:
            action: docker's word.
            image: its id.
            name: the name it is about; default: the id.
            labels: of the image; default: looked up.
        """
        found = self.labels(image) if labels is None else labels
        self._log.write("image", action, str(image), {**found, "name": name or str(image)})

    def named(self, action: str, name: str) -> None:
        """Note that something happened to the image of a name; nothing if somebody has removed it meanwhile."""
        with suppress(ImageNotFound):
            self.tell(action, self._store.resolve(name))

    def pulled(self, name: str) -> None:
        """An image was fetched; docker names it, and has no id here."""
        self._travelled("pull", name)

    def pushed(self, name: str) -> None:
        """An image was sent to a registry; as :meth:`pulled`."""
        self._travelled("push", name)

    def _travelled(self, action: str, name: str) -> None:
        bare = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        self._log.write("image", action, name, {"name": bare})

    def removed(self, lines: Iterable[str], image: Digest, labels: dict[str, str]) -> None:
        """Tell what docker's lines of a removal say (``Untagged: ...``, ``Deleted: ...``)."""
        for line in lines:
            what, _, name = line.partition(": ")
            if what == "Untagged":
                self.tell("untag", image, labels=labels)
            elif name == image:
                self.tell("delete", image, labels={})
