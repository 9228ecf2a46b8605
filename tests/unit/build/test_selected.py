"""--parents and --exclude through a whole build, on fakes."""

from __future__ import annotations

import os
from typing import Any


def test_what_is_copied_and_what_changes_it(bench: Any) -> None:
    bench.write({"s/a.c": "1", "s/a.h": "2", "s/t/b.c": "3", "s/u/c.h": "4"})
    text = "FROM scratch\nCOPY --parents --exclude=**/b.c s/./**/*.c /x/\nCOPY --exclude=t s /y/\n"
    built = bench.build(text)
    files = set()
    for layer in bench.store.layers_of(built.image):
        for directory, _, names in os.walk(f"{layer.directory}/diff"):
            files |= {os.path.relpath(os.path.join(directory, name), f"{layer.directory}/diff") for name in names}
    assert files == {"x/a.c", "y/a.c", "y/a.h", "y/u/c.h"}
    bench.write({"s/t/b.c": "other"})
    bench.build(text)
    assert set(bench.outcome().values()) == {"cached"}
    bench.write({"s/u/c.h": "other"})
    bench.build(text)
    assert [state for _, state in sorted(bench.outcome().items())] == ["cached", "done"]
