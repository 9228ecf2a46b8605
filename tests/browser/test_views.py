"""What this package draws, alone in a narrow window of a real browser."""

from __future__ import annotations

import pytest

from contextkernel.model.events import StepNote
from contextkernel.notebook.buildrender import to_html
from contextkernel.notebook.buildstate import BuildState, reduce, stop
from contextkernel.testing.samples import pull_events

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

NAME = f"127.0.0.1:43943/course/hello@sha256:{'7d9f' * 16}"
# JupyterLab's rule for code, which views have to get along with
PAGE = "<html><style>code {{ white-space: pre; }}</style><body>{view}</body></html>"


@pytest.mark.parametrize("status", ["running", "done", "failed"])
def test_a_name_with_a_digest_stays_in_the_box(lab, status):
    state = BuildState(title=NAME, work="transfer")
    for event in (*pull_events(), StepNote(0, f"Status: Image is up to date for {NAME}")):
        state = reduce(state, event, 1.0)
    if status != "running":
        state = stop(state, status, 2.0, f"{NAME} is nowhere" if status == "failed" else "")
    with lab.browser_page(width=500, height=600) as page:
        page.set_content(PAGE.format(view=to_html(state, 3.0)))
        box = page.locator(".ck-box")
        assert NAME in box.inner_text()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 500
