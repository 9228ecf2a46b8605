"""Reports made of what the probe said in real environments; for all tests that need some."""

from __future__ import annotations

from pathlib import Path

from contextkernel.host.attempt import collect
from contextkernel.host.explain import explain
from contextkernel.model.results import HostReport

RECORDED = Path(__file__).parent / "recorded"
ENVIRONMENTS = tuple(sorted(path.stem for path in RECORDED.glob("*.jsonl")))


def recorded(environment: str) -> HostReport:
    """The report of an environment; ``recorded/README.md`` says which there are."""
    return explain(collect((RECORDED / f"{environment}.jsonl").read_bytes(), "", complete=True), 31.4)
