"""Says at the end what came out of each environment, and how long it took."""

from __future__ import annotations

import pytest

SUMMARY = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SUMMARY] = []


@pytest.fixture(scope="session")
def summary(pytestconfig: pytest.Config) -> list[str]:
    """Lines for the end of the report."""
    return pytestconfig.stash[SUMMARY]


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    if config.stash[SUMMARY]:
        terminalreporter.section("outer environments")
        for line in config.stash[SUMMARY]:
            terminalreporter.write_line(line)
