"""What is loaded may be removed by somebody else at once."""

from contextkernel import Engine


def test_an_image_that_is_removed_at_once_was_loaded_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("contextkernel.store.archive.load", lambda *_args, **_named: ("removed:1",))
    with Engine(tmp_path / "store") as engine:
        assert engine.load("any.tar") == ("removed:1",)
        assert engine.load("any.tar", platform="linux/arm64") == ("removed:1",)
