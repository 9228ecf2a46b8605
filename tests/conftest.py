"""Shared by all tests: strict skips, selection by user, and where the base images are kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.register_assert_rewrite("course")
# where .ci/test wants the failed tests named; not for the pytest that a test starts
FAILED_TESTS = os.environ.pop("CONTEXTKERNEL_FAILED_TESTS", "")


def pytest_configure() -> None:
    """Signals must arrive: a runner in the background of a shell, or below nohup, was started with some ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect (not skip) what belongs to the other user: `root` tests as a user, `rootless` ones as root."""
    other = "rootless" if os.geteuid() == 0 else "root"
    gone = [item for item in items if item.get_closest_marker(other)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def] # noqa: ARG001
    """In CI an unexpected skip is a failure; a test that may skip says so with ``may_skip``."""
    report = yield
    strict = os.environ.get("CONTEXTKERNEL_STRICT_SKIPS")
    if strict and report.skipped and not hasattr(report, "wasxfail") and not item.get_closest_marker("may_skip"):
        report.outcome = "failed"
        report.longrepr = f"unexpected skip in CI: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Name the failed tests in a file, one a line, if that is all that went wrong."""
    if FAILED_TESTS and exitstatus == pytest.ExitCode.TESTS_FAILED:
        reports = (report for outcome in ("failed", "error") for report in terminalreporter.stats.get(outcome, ()))
        names = dict.fromkeys(report.nodeid for report in reports)
        Path(FAILED_TESTS).write_text("".join(f"{name}\n" for name in names))


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """A directory that lives longer than one run, for what is slow to make (base images)."""
    path = Path(os.environ.get("CONTEXTKERNEL_TEST_CACHE") or Path.home() / ".cache" / "contextkernel-tests")
    path.mkdir(parents=True, exist_ok=True)
    return path
