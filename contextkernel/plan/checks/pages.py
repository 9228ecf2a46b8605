"""The page of each rule, made from its value and from what the checks say of its examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from contextkernel.dockerfile.ignore import parse_ignore
from contextkernel.dockerfile.instructions import From
from contextkernel.dockerfile.parse import read_instructions
from contextkernel.model.checks import RuleFinding
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.checks.look import Subject, check
from contextkernel.plan.checks.rule import Example, Rule
from contextkernel.plan.checks.rules import RULES

_INDEX = """\
# Build checks

Rules that a Dockerfile is looked through for, the same ones as docker's. A build reports what it finds as warnings;
they never change the image. `contextkernel build --check` (`%container build --check`, `%%dockerfile --check`) looks
without building.

| rule | what it asks for |
|---|---|
"""

_OPTIONS = """
## Options

At the top of the Dockerfile, or as value of the build argument `BUILDKIT_DOCKERFILE_CHECK`, which then counts instead:

```dockerfile
# check=skip=StageNameCasing,FromAsCasing;error=true;experimental=InvalidDefinitionDescription
```

`skip` leaves rules out, `experimental` adds those that are off by default, both take `all`; with `error=true` a finding
fails the build before anything runs. Before one instruction, `# check=skip=NAME` counts for that instruction alone.

These pages are made from the rules: `python -m contextkernel.commands.rule_pages docs/rules`.
"""


def all_pages() -> Mapping[str, str]:
    """File name to content: a page for each rule, and the list of them."""
    rows = "".join(
        f"| [{rule.name}]({rule.name}.md){' (experimental)' if rule.experimental else ''} | {_line(rule)} |\n"
        for rule in RULES
    )
    return {"README.md": _INDEX + rows + _OPTIONS, **{f"{rule.name}.md": rule_page(rule) for rule in RULES}}


def rule_page(rule: Rule) -> str:
    """The page of one rule, in Markdown."""
    return "\n".join(_parts(rule)) + "\n"


def findings_in(example: Example) -> tuple[RuleFinding, ...]:
    """What the checks say of an example; base images that it does not name are not known."""
    reading = read_instructions(example.dockerfile)
    platforms = dict(example.bases)
    names = [one.image for one in reading.instructions if isinstance(one, From)]
    bases = {index: _image(platforms[name]) for index, name in enumerate(names) if name in platforms}
    platform = Platform.parse(example.platform)
    subject = Subject(build_platform=platform, platform=platform, bases=bases, ignore=parse_ignore(example.ignore))
    return check(reading, subject).findings


def _image(platform: str) -> ImageConfig:
    parsed = Platform.parse(platform)
    return ImageConfig(os=parsed.os, architecture=parsed.architecture, variant=parsed.variant or "")


def _line(rule: Rule) -> str:
    return rule.description.partition(". ")[0].removesuffix(".").replace("|", "\\|")


def _parts(rule: Rule) -> Iterator[str]:
    yield f"# {rule.name}\n"
    yield f"{rule.description}\n"
    if rule.experimental:
        yield f"Experimental: looked for only with `# check=experimental={rule.name}`.\n"
    yield f"{rule.why}\n"
    yield "## Found in\n"
    for example in rule.bad:
        yield from _shown(example)
        for finding in findings_in(example):
            yield f"Line {finding.span.line}: {finding.message}\n"
    yield "## Not found in\n"
    for example in rule.good:
        yield from _shown(example)
    yield "## Leave it out\n"
    if rule.experimental:
        yield "It is left out unless it is asked for."
    else:
        yield f"`# check=skip={rule.name}` at the top of the Dockerfile, or right before the instruction."
    if rule.url:
        yield f"\nDocker's page: <{rule.url}>"


def _shown(example: Example) -> Iterator[str]:
    for name, platform in example.bases:
        yield f"Built for {example.platform}, where `{name}` is there for {platform}:\n"
    if example.ignore:
        yield f"With this `.dockerignore`:\n\n```\n{example.ignore}```\n"
    yield f"```dockerfile\n{example.dockerfile}```\n"
