"""One name where several may be: a string is never taken for its characters."""

import inspect
import re

import pytest

from contextkernel.engine import Engine
from contextkernel.engine.asked.basics import basics
from contextkernel.engine.asked.network import network_from
from contextkernel.errors import ContainerNotFound, InvalidInput, NotFound
from contextkernel.model.given import filter_values, several, words_of
from contextkernel.testing.fake_engine import FakeEngine
from contextkernel.testing.samples import GREET


def test_names_words_and_filters():
    assert several("web") == ("web",)
    assert several(["web", "db"]) == ("web", "db")
    assert several(()) == ()
    assert words_of("sh -c 'echo a b'") == ("sh", "-c", "echo a b")
    assert words_of(["echo", "a b"]) == ("echo", "a b")
    with pytest.raises(InvalidInput, match=r"cannot split the command \"echo 'a\" into words"):
        words_of("echo 'a")
    given = {"label": "a=b", "dangling": True, "all": False, "status": ["exited", "dead"]}
    assert filter_values(given) == {
        "label": ("a=b",),
        "dangling": ("true",),
        "all": ("false",),
        "status": ("exited", "dead"),
    }
    assert filter_values({"exited": 0, "dangling": [False]}) == {"exited": ("0",), "dangling": ("false",)}
    assert filter_values(None) == {}


@pytest.mark.parametrize("kind", [Engine, FakeEngine])
def test_whatever_takes_names_takes_one(kind):
    """``Sequence[str]`` alone would take a string for its characters."""
    found = [
        f"{name}({argument})"
        for name, verb in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        for argument, annotation in inspect.get_annotations(verb).items()
        if argument != "return" and re.search(r"(?<!str \| )Sequence\[str\b", str(annotation))
    ]
    assert found == []


def test_the_engine_and_its_fake_inspect_one_name(tmp_path):
    with Engine(tmp_path / "store") as engine:
        with pytest.raises(NotFound, match="no such object: nosuch"):
            engine.inspect("nosuch")
        with pytest.raises(ContainerNotFound, match="nosuch"):
            engine.stats("nosuch")
        engine.create_network("course", labels={"a": "b"})
        assert [one["Name"] for one in engine.inspect("course")] == ["course"]
        assert [row.network.name for row in engine.networks(filters={"label": "a", "dangling": True})] == ["course"]
        assert engine.networks(filters={"label": "nosuch"}) == ()
    fake = FakeEngine()
    assert [one["Id"] for one in fake.inspect("greet")] == [str(GREET)]
    fake.run("greet", "echo 'a b'")
    assert fake.calls[0] == ("inspect", {"names": ("greet",)})
    assert [asked["command"] for name, asked in fake.calls if name == "run"] == [("echo", "a b")]


def test_options_of_run_take_one():
    assert basics({"entrypoint": "sh -c", "environment": "A=b"})["entrypoint"] == ("sh", "-c")
    assert basics({"environment": "A=b"})["environment"] == ("A=b",)
    asked = network_from({"dns": "9.9.9.9", "extra_hosts": "db:10.0.0.1", "ports": "127.0.0.1:8080:80"})
    assert asked.servers == ("9.9.9.9",)
    assert len(asked.ports) == 1
    assert len(asked.hosts) == 1
