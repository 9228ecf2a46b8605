"""Formats of Go that history entries are written in."""

from __future__ import annotations

import pytest

from contextkernel.plan import texts

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "x"\\', '"say \\"x\\"\\\\"'),
        ("a\nb\tc\x00\x7f", '"a\\nb\\tc\\x00\\x7f"'),
        ("ü日", '"ü日"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_go_quote(text: str, quoted: str) -> None:
    assert texts.go_quote(text) == quoted


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (200_000_000, "200ms"),
        (1_500_000_000, "1.5s"),
        (30 * SECOND, "30s"),
        (90 * SECOND, "1m30s"),
        (3600 * SECOND, "1h0m0s"),
        (-5 * SECOND, "-5s"),
    ],
)
def test_go_duration(nanoseconds: int, text: str) -> None:
    assert texts.go_duration(nanoseconds) == text


def test_run_text_counts_arguments_and_takes_their_value_in_scope() -> None:
    arguments = [("A", "declared"), ("B", None), ("A", "again")]
    assert texts.run_text(("sh", "-c", "x"), arguments, {"A": "now"}) == "RUN |2 A=now B= sh -c x # buildkit"
    assert texts.run_text(("x",), (), {}) == "RUN x # buildkit"


def test_ports_are_a_sorted_set() -> None:
    assert texts.port_list(["80/tcp", "443/tcp", "80/tcp"]) == "[443/tcp 80/tcp]"


def test_shown_command_keeps_quotes_and_unknown_variables_of_run_only() -> None:
    env = {"A": "1"}
    assert texts.shown_command('run echo "$A" $B', env, escape="\\", run=True) == 'RUN echo "1" $B'
    assert texts.shown_command('copy "$A" $B/x', env, escape="\\", run=False) == "COPY 1 /x"


def test_a_line_that_cannot_be_expanded_is_shown_as_it_is() -> None:
    assert texts.shown_command("RUN echo ${", {}, escape="\\", run=True) == "RUN echo ${"


def test_heredoc_summary() -> None:
    assert texts.heredoc_summary("\none\n") == "one"
    assert texts.heredoc_summary("one\r\ntwo\r\n") == "one..."
