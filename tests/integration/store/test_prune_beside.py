"""Garbage is collected without end beside builds, pulls and loads of the same layers: none of them notices."""

from __future__ import annotations

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from judge.base import write_base
from judge.faulty import Faulty, Image

from contextkernel.engine import Engine

ROUNDS = 2
BUILDS = 2


@pytest.fixture
def server():
    with Faulty() as made:
        shared = {"shared": b"of two images" * 1000}
        for tag in ("one", "two"):
            Image.of(shared, {"own": tag.encode()}).publish(made, "team/app", tag)
        yield made


def test_prune_without_end_disturbs_nobody(tmp_path, server):
    root = tmp_path / "store"
    write_base(tmp_path / "base.tar")
    ended, pruned = threading.Event(), []

    def prune() -> None:
        with Engine(root) as engine:
            while not ended.is_set():
                # not the container that keeps the base
                pruned.append(len(engine.prune_images(all=True).removed) + len(engine.prune_build_cache().rows))

    with Engine(root) as engine, Engine(root) as other:
        engine.import_image(str(tmp_path / "base.tar"), "base")
        engine.create("base", ["true"], name="user")  # so that the base itself stays
        engine.build({"Dockerfile": "FROM base\nRUN echo saved > /saved\n"}, tags=["saved"])
        engine.save(["saved"], str(tmp_path / "saved.tar"))
        text = (
            "FROM base AS left\nRUN echo left > /left\nFROM base\nRUN echo right > /right\nCOPY --from=left /left /\n"
        )

        def build(number: int) -> None:
            # two of one engine, one of the other; all of them the same
            which = other if number == BUILDS else engine
            for turn in range(ROUNDS):
                which.build({"Dockerfile": text}, tags=[f"built:{number}"] if turn % 2 else [])

        def pull(which: Engine, tag: str) -> None:
            for _ in range(ROUNDS):
                which.pull(f"{server.address}/team/app:{tag}")

        def load() -> None:
            for _ in range(ROUNDS):
                assert engine.load(str(tmp_path / "saved.tar")) == ("saved:latest",)

        collector = threading.Thread(target=prune)
        collector.start()
        try:
            with ThreadPoolExecutor(8) as pool:
                work = [pool.submit(build, number) for number in range(BUILDS + 1)]
                work += [
                    pool.submit(pull, engine, "one"),
                    pool.submit(pull, engine, "two"),
                    pool.submit(pull, other, "two"),
                ]
                work.append(pool.submit(load))
            problems = ["".join(traceback.format_exception(done.exception())) for done in work if done.exception()]
        finally:
            ended.set()
            collector.join()
        assert not problems, "\n".join(problems)
        assert sum(pruned), "nothing was collected meanwhile"
        engine.prune_build_cache()
        engine.prune_images(all=True)
        assert [row.repository for row in engine.images()] == ["base"]
        assert engine.check_store() == ()
        engine.load(str(tmp_path / "saved.tar"))
        assert engine.run("saved", ["cat", "/saved"], network="none", remove=True).stdout == b"saved\n"
