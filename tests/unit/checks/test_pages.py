"""The pages of the rules: made from the rules, and true."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.commands.rule_pages import write_pages
from contextkernel.plan.checks import RULES, Rule
from contextkernel.plan.checks.pages import all_pages, findings_in, rule_page

PAGES = Path(__file__).parents[3] / "docs" / "rules"


def test_the_pages_are_current() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    assert written == all_pages(), "run: python -m contextkernel.commands.rule_pages docs/rules"


def test_pages_are_written(tmp_path: Path) -> None:
    write_pages(tmp_path / "rules")
    assert sorted(path.name for path in (tmp_path / "rules").iterdir()) == sorted(all_pages())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_is_found_in_its_bad_examples_alone(rule: Rule) -> None:
    assert rule.bad
    assert rule.good
    for example in rule.bad:
        assert {finding.rule for finding in findings_in(example)} == {rule.name}, example.dockerfile
    for example in rule.good:
        assert findings_in(example) == (), example.dockerfile


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_page_says_what_a_finding_says(rule: Rule) -> None:
    page = rule_page(rule)
    for example in rule.bad:
        for finding in findings_in(example):
            assert f"Line {finding.span.line}: {finding.message}" in page
    assert rule.page == f"docs/rules/{rule.name}.md"
    assert rule.url in page
