"""The report of ``doctor`` in a notebook."""

from __future__ import annotations

from html.parser import HTMLParser

import msgspec
import pytest

from contextkernel.model.results import Fact, HostReport, Remedy
from contextkernel.notebook.doctor import DoctorFrame, report_html, show
from tests.unit.host.recorded_reports import ENVIRONMENTS, recorded

EVIL = HostReport(
    tier="<b>",
    facts=(Fact(name="<i>", verdict="refused", reason="<u>", cause="<s>", errno="E<X>", about='"<q>', group="<g>"),),
    remedies=(Remedy(fact="<i>", who="you", where="<w>", text="<pre>", gives="<em>"),),
    build=("<br1>",),
    run=("<br2>",),
)


class Tags(HTMLParser):
    """Every element that is opened is closed again, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.words = [], []

    def handle_starttag(self, tag, _):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_view_is_whole_and_has_every_fact(environment):
    report = recorded(environment)
    page = Tags()
    page.feed(report_html(report))
    assert page.open == []
    words = "\n".join(page.words)
    for text in (report.tier, *report.build, *report.run, *(fact.name for fact in report.facts)):
        assert text in words
    for remedy in report.remedies:
        assert remedy.text in words


def test_what_hosts_and_people_wrote_is_text():
    html = report_html(EVIL).split("</style>")[1]
    for tag in ("<i>", "<u>", "<s>", "<q>", "<g>", "<w>", "<pre>", "<em>", "<br1>", "<br2>"):
        assert tag not in html
    assert "E&lt;X&gt;: &lt;s&gt;" in html
    assert html.count("&lt;b&gt;") == 1


def test_colours_come_from_the_theme_alone():
    html = report_html(recorded("seccomp-unconfined"))
    body = html.split("</style>")[1]
    assert "style=" not in body
    assert "color" not in body
    for kind in ("ok", "warn", "bad"):
        assert f'class="ck-{kind}"' in body


def test_it_is_a_frame_of_facts():
    frame = show(recorded("docker-default"))
    assert isinstance(frame, DoctorFrame)
    refused = frame[frame.verdict == "refused"]
    assert "user_namespace" in set(refused.name)
    assert refused.set_index("name").loc["user_namespace", "errno"] == "EPERM"
    assert not isinstance(refused, DoctorFrame)
    assert "to allow more" not in repr(refused)
    assert "to allow more" in repr(frame)
    assert "to allow more" in frame._repr_html_()
    assert repr(frame).startswith("tier: ptrace (")


def test_a_host_where_all_is_well_has_nothing_to_say():
    report = msgspec.structs.replace(recorded("machine-root"), remedies=())
    assert "to allow more" not in report_html(report)
    assert "ck-done" in report_html(report)
    assert "ck-failed" in report_html(recorded("no-proot"))
