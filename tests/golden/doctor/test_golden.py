"""The report of ``doctor`` as text and as HTML, for recorded environments.

``CONTEXTKERNEL_UPDATE_GOLDEN=1`` rewrites the files; look at the difference before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.commands.host_text import host_text
from contextkernel.notebook.doctor import report_html
from contextkernel.notebook.style import STYLE
from tests.unit.host.recorded_reports import recorded

HERE = Path(__file__).parent
UPDATE = os.environ.get("CONTEXTKERNEL_UPDATE_GOLDEN") == "1"
ENVIRONMENTS = ("docker-default", "no-proot", "seccomp-unconfined", "machine-user-without-ids", "machine-root")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_text(environment: str) -> None:
    check(HERE / f"{environment}.txt", host_text(recorded(environment)))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_html(environment: str) -> None:
    html = report_html(recorded(environment))
    assert html.startswith(STYLE)
    # an element a line
    check(HERE / f"{environment}.html", html.removeprefix(STYLE).replace("><", ">\n<") + "\n")


def check(path: Path, text: str) -> None:
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
