"""COPY --link: a layer on an empty directory, which stays cached whatever is below it."""

from __future__ import annotations

from typing import Any

TEXT = "FROM base\nRUN one\nCOPY --link a /x/\nRUN two\nCOPY b /y\n"


def test_the_layer_is_made_on_nothing(bench: Any) -> None:
    bench.write({"a": "1", "b": "2"})
    bench.build(TEXT)
    linked, plain = bench.worker.copies
    assert (linked.lowers, linked.link) == ((), True)
    assert (len(plain.lowers), plain.link) == (4, False)


def test_it_stays_cached_when_what_is_below_changes(bench: Any) -> None:
    bench.write({"a": "1", "b": "2"})
    first = bench.build(TEXT)
    bench.programs(lambda _request, _out, _err: 0)
    second = bench.build(TEXT.replace("RUN one", "RUN other"))
    outcome = bench.outcome()
    assert outcome["[2/5] RUN other"] == "done"
    assert outcome["[3/5] COPY --link a /x/"] == "cached"
    # what stands on it stands on something new
    assert outcome["[4/5] RUN two"] == "done"
    layers = [[layer.diff_id for layer in bench.store.layers_of(built.image)] for built in (first, second)]
    assert layers[0][2] == layers[1][2]
    assert len(layers[1]) == 5


def test_its_own_files_change_it(bench: Any) -> None:
    bench.write({"a": "1", "b": "2"})
    bench.build(TEXT)
    bench.write({"a": "other"})
    bench.build(TEXT)
    assert bench.outcome()["[3/5] COPY --link a /x/"] == "done"


def test_without_the_cache_it_is_made_again(bench: Any) -> None:
    bench.write({"a": "1", "b": "2"})
    bench.build(TEXT)
    bench.build(TEXT, no_cache=True)
    assert bench.outcome()["[3/5] COPY --link a /x/"] == "done"


def test_stages_share_it(bench: Any) -> None:
    bench.write({"a": "1"})
    link = "COPY --link a /x/\n"
    bench.build(f"FROM base AS one\nRUN first\n{link}FROM base\nRUN second\n{link}COPY --from=one /x /z\n")
    assert len([copy for copy in bench.worker.copies if copy.link]) == 1
