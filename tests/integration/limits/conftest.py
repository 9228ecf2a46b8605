"""An engine with an image of a static busybox, and what its containers leave in the control groups."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from judge.base import write_base

from contextkernel import Engine
from contextkernel.model.results import RunResult
from contextkernel.runtime.cgroup_base import Base, find_base

IMAGE = "limited"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for the tests of a module."""
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed")
    folder = tmp_path_factory.mktemp("limits")
    write_base(folder / "image.tar")
    with Engine(folder / "store") as made:
        made.import_image(str(folder / "image.tar"), IMAGE)
        yield made
        for row in made.containers(all=True):
            made.remove_container(row.id, force=True)


class Here:
    """Running things on this host.

    Attributes:
        engine: with one image.
        base: where the engine makes control groups here, if it can.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.base: Base = find_base()
        assert self.base.places or not os.environ.get("CONTEXTKERNEL_TEST_GROUPS"), self.base.reason

    def run(self, script: str, **wanted: Any) -> RunResult:
        """A container that runs a shell script to its end."""
        done = self.engine.run(IMAGE, ["sh", "-c", script], network="none", **wanted)
        assert isinstance(done, RunResult)
        return done

    def said(self, script: str, **wanted: Any) -> str:
        """What a successful script wrote."""
        done = self.run(script, remove=True, **wanted)
        assert done.exit_code == 0, done.stderr
        return done.stdout.decode()

    def start(self, name: str, script: str = "sleep 1000", **wanted: Any) -> str:
        """A container that goes on; its id."""
        identity = self.engine.run(IMAGE, ["sh", "-c", script], name=name, detach=True, network="none", **wanted)
        assert isinstance(identity, str)
        return identity

    def document(self, name: str) -> dict[str, Any]:
        """What inspect says."""
        (document,) = self.engine.inspect([name], "container")
        return document

    def kept(self, name: str) -> dict[str, str]:
        """What keeps each of a container's limits."""
        return {one["Option"]: one["EnforcedBy"] for one in self.document(name)["ContextKernel"]["Limits"]}

    def file(self, identity: str, controller: str, name: str) -> str:
        """Content of a file of a container's control group."""
        return Path(self.base.places[controller], identity, name).read_text().strip()

    def groups(self, identity: str) -> list[str]:
        """Directories of a container's control group that are there."""
        places = {f"{place}/{identity}" for place in self.base.places.values()}
        return sorted(place for place in places if os.path.exists(place))

    def until(self, condition: Callable[[], object], patience: float = 60.0) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def here(engine: Engine) -> Here:
    """This host, and an engine on it."""
    return Here(engine)
