"""Room for a builder's steps, as much as a test says."""

from __future__ import annotations

from contextkernel.errors import StoreFull
from contextkernel.model.room import Growth


class FakeRoom:
    """A ``build.ports.StepRoom``.

    Attributes:
        most: bytes that a step's directory may have; ``None``: any number.
    """

    def __init__(self) -> None:
        self.most: int | None = None

    def growth(self, directory: str) -> Growth | None:
        """See ``build.ports.StepRoom``."""
        return None if self.most is None else Growth(root="/", directory=directory, size=0, most=self.most)

    def problem(self) -> StoreFull:
        """See ``build.ports.StepRoom``."""
        return StoreFull(f"the store may take {self.most}B")
