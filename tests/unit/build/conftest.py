"""A builder on fakes, with a base image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contextkernel.build import Builder, BuildRequest
from contextkernel.build.admission import PROGRAMS
from contextkernel.host.emulation import cannot_run
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import BuildResult
from contextkernel.testing.build_fakes import MemoryStore, Program, ToldRuntime, TreeWorker
from contextkernel.testing.fetching import MemoryFetcher


class Bench:
    """Everything a test looks at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = MemoryStore(str(root / "store"))
        self.worker = TreeWorker()
        self.runtime = ToldRuntime()
        self.events: list[Any] = []
        self.context = root / "context"
        self.context.mkdir()
        self.store.add_base(self.worker, "base", {"etc/passwd": "root:x:0:0::/:/bin/sh\n", "bin/sh": "shell"})
        self.clock = 1_700_000_000
        self.fetcher = MemoryFetcher()

    def programs(self, program: Program) -> None:
        """From now on, programs do this."""
        self.runtime = ToldRuntime(program)

    def write(self, files: Mapping[str, str]) -> None:
        """Put files into the context."""
        for name, content in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def now(self) -> int:
        """A clock that goes on by a second at every look."""
        self.clock += 1
        return self.clock * 10**9

    def build(self, text: str | None, *tags: str, **options: Any) -> BuildResult:
        """Build a Dockerfile; ``seen`` gets every event after it has been kept."""
        self.events = []
        seen = options.pop("seen", lambda _event: None)

        def report(event: object) -> None:
            self.events.append(event)
            seen(event)

        builder = Builder(
            self.store,
            self.worker,
            self.runtime,
            options.pop("resolve", self.store.resolve_base),
            fake_ids=options.pop("fake_ids", False),
            platform=Platform("linux", "amd64"),
            cannot_run=partial(cannot_run, root=str(self.context) + "/no-emulators"),  # whatever this host has
            programs=options.pop("programs", PROGRAMS),
            now=self.now,
            fetcher=self.fetcher,
            resolve_layout=options.pop("layout", None),
        )
        context = options.pop("context", str(self.context))
        request = BuildRequest(
            context=context, dockerfile=text, tags=tuple(ImageRef.parse(tag) for tag in tags), **options
        )
        return builder.build(request, report)

    def states(self) -> list[tuple[str, str]]:
        """Title and outcome of the steps of the last build, in order of their end."""
        names = {event.step: event.name for event in self.events if type(event).__name__ == "StepStarted"}
        words = {"StepDone": "done", "StepCached": "cached", "StepBroke": "broke", "StepCanceled": "canceled"}
        return [
            (names[event.step], words[type(event).__name__]) for event in self.events if type(event).__name__ in words
        ]

    def outcome(self) -> dict[str, str]:
        """Outcome of each Dockerfile step of the last build."""
        return {name: state for name, state in self.states() if name.startswith("[") and "internal" not in name}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def failing() -> Callable[[int, str], Program]:
    """Makes a program that prints and fails."""

    def make(status: int, text: str) -> Program:
        def program(_request: object, out: Callable[[str], None], _err: Callable[[str], None]) -> int:
            out(text)
            return status

        return program

    return make
