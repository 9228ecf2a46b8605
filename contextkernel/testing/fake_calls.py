"""What all parts of the fake engine share: rows, recorded calls, canned output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contextkernel.errors import ContainerNotFound, ImageNotFound
from contextkernel.model.results import ContainerRow, ImageRow, RunResult
from contextkernel.testing.samples import cache_rows, container_rows, image_rows

_DEFAULTS: tuple[Any, ...] = (None, False, (), {}, "")


def _same(left: object, right: object) -> bool:
    """Equal and of one type: descriptor 0 is not ``False``."""
    return type(left) is type(right) and left == right


class FakeCalls:
    """The base of every part of :class:`contextkernel.testing.fake_engine.FakeEngine`, which says what these are."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.image_rows = image_rows()
        self.container_rows = container_rows()
        self.cache_rows = cache_rows()
        self.stdout = b"from the container!\n"
        self.stderr = b""
        self.exit_code = 0
        self.failure: BaseException | None = None

    def _note(self, method: str, **arguments: Any) -> None:
        given = {key: value for key, value in arguments.items() if not any(_same(value, other) for other in _DEFAULTS)}
        self.calls.append((method, given))

    def _fail(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _image(self, name: str) -> ImageRow:
        wanted = name.removeprefix("sha256:")
        for row in self.image_rows:
            names = {f"{row.repository}:{row.tag}"} | ({row.repository} if row.tag == "latest" else set())
            if name in names or (len(wanted) > 3 and row.id.hex.startswith(wanted)):
                return row
        raise ImageNotFound(f"no such image: {name}")

    def _container(self, name: str) -> ContainerRow:
        for row in self.container_rows:
            if row.name == name or (len(name) > 1 and row.id.startswith(name)):
                return row
        raise ContainerNotFound(f"no such container: {name}")

    def _output(
        self,
        container: str,
        name: str,
        stdout: int | None,
        stderr: int | None,
        on_output: Callable[[str, bytes], None] | None,
    ) -> RunResult:
        out = self.stdout if stdout is None else b""
        err = self.stderr if stderr is None else b""
        for stream, data in (("stdout", out), ("stderr", err)):
            if data and on_output is not None:
                on_output(stream, data)
        return RunResult(id=container, name=name, exit_code=self.exit_code, stdout=out, stderr=err)
