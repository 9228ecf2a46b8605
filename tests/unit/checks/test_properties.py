"""Whatever a Dockerfile says: checks end with findings that point into it, and leave out what they are told to."""

from __future__ import annotations

import contextlib

import hypothesis.strategies as st
from hypothesis import given, settings

from contextkernel.commands.looking import looked_text
from contextkernel.commands.outcome import Looked
from contextkernel.dockerfile.parse import assemble, read_instructions
from contextkernel.errors import ContextKernelError
from contextkernel.model.checks import CheckReport
from contextkernel.notebook.looking import report_html
from contextkernel.plan.checks import Found, Subject, check, list_targets, outline
from tests.unit.checks.looking import AMD64

few = settings(max_examples=80, deadline=None)
NAMES = "FROM RUN COPY ADD ENV ARG LABEL EXPOSE USER WORKDIR VOLUME CMD ENTRYPOINT HEALTHCHECK ONBUILD MAINTAINER"
WORDS = """scratch a AS as B $x ${y:-z} ${x:?no} PATH K=V token=$PATH 80/TCP 1:2 /a ["a"] "$x" --from=0 --chown=$x
--platform=$TARGETPLATFORM --platform=linux/amd64 \\ <<E ' é CMD NONE * ."""
pieces = st.sampled_from(WORDS.split())
lines = st.one_of(
    st.builds(
        lambda name, words: " ".join([name, *words]),
        st.sampled_from([*NAMES.split(), *NAMES.lower().split(), "Run"]),
        st.lists(pieces, max_size=4),
    ),
    st.sampled_from(["", "# a comment", "#", "# check=skip=all", "# check=skip=UndefinedVar // so", "E", "# x y"]),
)
files = st.lists(lines, max_size=12).map(lambda found: "FROM scratch AS first\n" + "\n".join(found))
ignores = st.sampled_from([(), ("a",), ("*",), ("**", "!a"), ("b/*c",)])


def look(text: str, ignore: tuple[str, ...] = (), **build_args: str) -> Found:
    return check(
        read_instructions(text),
        Subject(build_platform=AMD64, platform=AMD64, ignore=ignore, build_args=build_args),
    )


@few
@given(files, ignores)
def test_findings_point_into_the_file(text: str, ignore: tuple[str, ...]) -> None:
    found = look(text, ignore)
    count = len(text.split("\n"))
    for finding in found.findings:
        assert 1 <= finding.span.line <= finding.span.end_line <= count
        assert "\n" not in finding.message
    report = CheckReport(file="Dockerfile", source=text, findings=found.findings, problem=found.problem)
    for as_json in (False, True):
        assert isinstance(looked_text(Looked(report, as_json)), str)
    assert report_html(report).count('<span class="ck-warn">warning</span>') == len(found.findings)


@few
@given(files, ignores)
def test_what_is_left_out_is_not_found(text: str, ignore: tuple[str, ...]) -> None:
    rules = {finding.rule for finding in look(text, ignore).findings}
    assert look(text, ignore, BUILDKIT_DOCKERFILE_CHECK="skip=all").findings == ()
    for rule in rules:
        left = look(text, ignore, BUILDKIT_DOCKERFILE_CHECK=f"skip={rule}")
        assert {finding.rule for finding in left.findings} == rules - {rule}


@few
@given(files)
def test_outline_and_targets_end_with_our_own_errors(text: str) -> None:
    with contextlib.suppress(ContextKernelError):
        dockerfile = assemble(read_instructions(text))
        rows = list_targets(dockerfile)
        assert [row.default for row in rows] == [False] * (len(rows) - 1) + [True]
        names = [one.name for one in outline(dockerfile, Subject(build_platform=AMD64, platform=AMD64)).arguments]
        assert len(set(names)) == len(names)
