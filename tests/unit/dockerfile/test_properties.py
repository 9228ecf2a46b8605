"""Properties: rendering and parsing are inverse; nothing but our own errors comes out of any text."""

from __future__ import annotations

import contextlib
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import given, settings

from contextkernel.dockerfile import (
    Add,
    Arg,
    ArgItem,
    Cmd,
    Copy,
    Device,
    Dockerfile,
    Entrypoint,
    Env,
    ExecForm,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    IgnoreMatcher,
    Instruction,
    KeyValue,
    Label,
    MountWords,
    Onbuild,
    Run,
    Shell,
    ShellForm,
    Stopsignal,
    User,
    Volume,
    Workdir,
    expand,
    expand_words,
    match_glob,
    parse,
    parse_ignore,
    render,
)
from contextkernel.dockerfile.glob import Glob
from contextkernel.errors import DockerfileError, InvalidInput, Span

few = settings(max_examples=60, deadline=None)
PLACE: dict[str, Any] = {
    "span": Span(file="Dockerfile", line=1, end_line=1, end_column=1),
    "original": "",
}

words = st.from_regex(r"[a-z0-9$./:_{}é-]{1,8}", fullmatch=True).filter(lambda word: not word.startswith("--"))
names = st.from_regex(r"[a-z][a-z0-9_.-]{0,6}", fullmatch=True)
keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
values = st.one_of(words, st.just(""), words.map(lambda word: f'"{word} {word}"'), words.map(lambda word: f"'{word}'"))
printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
flag_values = st.one_of(st.none(), st.from_regex(r"[a-z0-9:$ '\"\\]{1,8}", fullmatch=True))
lines = st.lists(words, max_size=3).map(" ".join)
arguments = st.text(st.characters(exclude_categories=("C",)))
vectors = st.lists(arguments, max_size=3).map(tuple)
commands = st.one_of(lines.map(ShellForm), vectors.map(ExecForm))
pairs = st.lists(st.builds(KeyValue, keys, values), min_size=1, max_size=3).map(tuple)
documents = st.builds(
    Heredoc,
    name=st.from_regex(r"[A-Z]{1,5}", fullmatch=True),
    content=st.lists(printable.map(lambda text: text.lower() + "\n"), max_size=2).map("".join),
    expand=st.booleans(),
    chomp=st.booleans(),
)
milliseconds = st.integers(0, 10**6).map(lambda number: number * 1_000_000)


def make(kind: type, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda **given_fields: kind(**PLACE, **given_fields), **fields)


def mount(text: str) -> MountWords:
    fields = tuple((key, value) for key, _, value in (field.partition("=") for field in text.split(",")))
    return MountWords(span=PLACE["span"], text=text, fields=fields)


transfer = {
    "sources": st.lists(words.filter(lambda word: "[" not in word), min_size=1, max_size=3).map(tuple),
    "files": st.one_of(st.just(()), documents.map(lambda doc: (doc,))),
    "destination": words,
    "chown": flag_values,
    "chmod": flag_values,
    "link": st.booleans(),
    "exclude": st.lists(words, max_size=2).map(tuple),
}
items = st.lists(st.builds(ArgItem, keys, st.one_of(st.none(), values)), min_size=1, max_size=3).map(tuple)


def with_document(doc: Heredoc) -> Run:
    announced = f"<<{'-' * doc.chomp}{doc.name if doc.expand else repr(doc.name)}"
    return Run(**PLACE, command=ShellForm(f"cat {announced}"), heredocs=(doc,))


three_ways = st.sampled_from([None, True, False])
instructions = st.one_of(
    make(
        Run,
        command=commands,
        mounts=st.lists(words.map(lambda word: mount(f"type=cache,target={word}")), max_size=2).map(tuple),
        network=st.sampled_from(["default", "none", "host"]),
        security=st.sampled_from(["sandbox", "insecure"]),
        devices=st.lists(st.builds(Device, name=names, required=st.booleans()), max_size=2).map(tuple),
    ),
    documents.map(with_document),
    make(Cmd, command=commands),
    make(Entrypoint, command=commands),
    make(Env, pairs=pairs),
    make(Label, pairs=pairs),
    st.builds(lambda key, value: Env(**PLACE, pairs=(KeyValue(key, value),), legacy=True), keys, words),
    make(Expose, ports=st.lists(words, min_size=1, max_size=3).map(lambda ports: tuple(sorted(ports)))),
    make(Copy, **transfer, source=st.one_of(st.none(), names), parents=st.booleans()),
    make(Add, **transfer, checksum=flag_values, keep_git_dir=three_ways, unpack=three_ways),
    make(Volume, paths=st.lists(printable, min_size=1, max_size=3).map(tuple)),
    make(User, user=words),
    make(Workdir, path=words),
    make(Arg, items=items),
    make(Stopsignal, signal=words),
    make(Shell, argv=st.lists(printable, min_size=1, max_size=3).map(tuple)),
    make(
        Healthcheck,
        command=st.one_of(words.map(ShellForm), vectors.filter(bool).map(ExecForm)),
        interval=milliseconds,
        timeout=milliseconds,
        start_period=milliseconds,
        start_interval=milliseconds,
        retries=st.integers(0, 9),
    ),
    st.just(Healthcheck(**PLACE, command=None)),
)


def bare(instruction: Any) -> Any:
    """Without its place."""
    cleared = msgspec.structs.replace(instruction, **PLACE)
    if isinstance(cleared, Run):
        mounts = tuple(msgspec.structs.replace(words, span=PLACE["span"]) for words in cleared.mounts)
        cleared = msgspec.structs.replace(cleared, mounts=mounts)
    return cleared


def reread(instruction: Instruction) -> Dockerfile:
    return parse("FROM scratch\n" + render(instruction) + "\n")


@given(instructions)
@few
def test_parse_render(instruction: Any) -> None:
    (found,) = reread(instruction).stages[0].instructions
    assert bare(found) == bare(instruction)


@given(instructions)
@few
def test_parse_render_of_a_trigger(instruction: Any) -> None:
    (found,) = parse(f"FROM scratch\nONBUILD {render(instruction)}\n").stages[0].instructions
    assert isinstance(found, Onbuild)
    assert bare(found.instruction) == bare(instruction)
    (again,) = reread(found).stages[0].instructions
    assert isinstance(again, Onbuild)
    assert again.expression == found.expression


@given(words, st.one_of(st.none(), names), st.one_of(st.none(), words))
@few
def test_parse_render_of_from(image: str, name: str | None, platform: str | None) -> None:
    instruction = From(**PLACE, image=image, name=name, platform=platform)
    assert bare(parse(render(instruction)).stages[0].base) == instruction


_PIECES = [
    *("FROM a", "RUN ", "COPY ", "ENV ", "ONBUILD ", "HEALTHCHECK ", "ARG ", "SHELL ", "CMD "),
    *("\n", "\r\n", "\\\n", "`\n", "#", "<<", "<<-", "EOF", "EOF\n", "--", "--mount=", "--from=", "type=cache", "="),
    *('"', "'", "[", "]", '["a"]', "$", "${", "}", ":-", "/", "\\", " ", "\t", "\ufeff"),
    *("escape=", "check=skip", "syntax="),
]
soup = st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=4)), max_size=25).map("".join)


@given(soup, st.booleans())
@settings(max_examples=250, deadline=None)
def test_parse_never_crashes(text: str, started: bool) -> None:
    refused: DockerfileError | None = None
    try:
        parse("FROM a\n" + text if started else text)
    except DockerfileError as problem:
        refused = problem
    if refused:
        assert refused.span is not None
        assert refused.source is not None
        assert refused.lines()


@given(st.binary(max_size=60))
@few
def test_parse_of_bytes_never_crashes(data: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        parse(b"FROM a\n# " + data)


@given(soup, st.sampled_from("\\`"))
@settings(max_examples=250, deadline=None)
def test_expand_never_crashes(text: str, escape: str) -> None:
    env = {"A": "a b", "E": "", "D": "$A*"}
    for reader in (expand, expand_words):
        with contextlib.suppress(InvalidInput):
            reader(text, env, escape=escape)


@given(st.text("ab*?[]^-!\\/.\n", max_size=10), st.from_regex(r"[ab.-]{1,2}a(/[ab]{1,2}){0,2}", fullmatch=True))
@settings(max_examples=300, deadline=None)
def test_matchers_never_crash(pattern: str, path: str) -> None:
    with contextlib.suppress(InvalidInput):
        match_glob(pattern, path)
    with contextlib.suppress(InvalidInput):
        matcher = IgnoreMatcher(parse_ignore(pattern))
        if matcher.excludes(path) and not matcher.may_contain_exceptions(path):
            # what may be pruned holds nothing that is taken back
            assert matcher.excludes(path + "/a")


@given(st.text("ab*?", max_size=6), st.text("ab", max_size=8))
@settings(max_examples=300, deadline=None)
def test_globs_agree_with_regular_expressions(pattern: str, value: str) -> None:
    import re

    glob = Glob.parse(pattern)
    for longest in (False, True):
        expression = "".join({"*": ".*" if longest else ".*?", "?": "."}.get(char, char) for char in pattern)
        found = re.match(expression, value)
        assert glob.trim_start(value, longest=longest) == (value[found.end() :] if found else value)
    greedy = pattern.replace("*", ".*").replace("?", ".")
    assert glob.replace(value, "X", everywhere=False) == re.sub(greedy, "X", value, count=1)
