"""What the golden folders do not show: values that are made of a file, limits, triggers, mounts, suggestions."""

from __future__ import annotations

import pytest

from contextkernel.dockerfile import (
    Arg,
    CacheMount,
    Copy,
    ExecForm,
    FileScript,
    Heredoc,
    Run,
    SecretMount,
    ShellForm,
    ShellScript,
    Workdir,
    expand,
    expand_document,
    parse,
    parse_trigger,
    render,
    resolve_mount,
)
from contextkernel.dockerfile.suggest import closest, did_you_mean, nearest
from contextkernel.dockerfile.text import csv_fields, parse_duration, parse_size
from contextkernel.errors import DockerfileError
from contextkernel.model.booleans import parse_bool


def run(text: str) -> Run:
    (instruction,) = parse(f"FROM x\n{text}").stages[0].instructions
    assert isinstance(instruction, Run)
    return instruction


def test_values_are_frozen_and_know_their_place() -> None:
    parsed = parse("FROM a\n\n  WORKDIR /x \\\n  /y\n", file="sub/Dockerfile")
    (workdir,) = parsed.stages[0].instructions
    assert isinstance(workdir, Workdir)
    assert str(workdir.span) == "sub/Dockerfile:3:3"
    assert (workdir.span.end_line, workdir.span.end_column) == (4, 5)
    assert workdir.original == "WORKDIR /x   /y"
    with pytest.raises(AttributeError):
        workdir.path = "/z"  # type: ignore[misc]


def test_text_and_bytes_give_the_same() -> None:
    text = "# escape=`\nFROM ü\nRUN a `\n b\n"
    assert parse(text) == parse(text.encode()) == parse(("\ufeff" + text).encode())


def test_stages_are_numbered_and_global_arguments_apart() -> None:
    parsed = parse("ARG A\nFROM a AS One\nARG B\nFROM b\nARG C\n")
    assert [(stage.index, stage.name, stage.base.image) for stage in parsed.stages] == [(0, "one", "a"), (1, None, "b")]
    assert [arg.items[0].name for arg in parsed.global_args] == ["A"]
    assert isinstance(parsed.stages[1].instructions[0], Arg)


def test_line_length_limit_is_buildkits() -> None:
    assert parse("FROM a\nRUN " + "x" * (65535 - 4))
    with pytest.raises(DockerfileError, match="longer than 65535 bytes"):
        parse("FROM a\nRUN " + "x" * (65535 - 3))
    with pytest.raises(DockerfileError, match="longer than 65535 bytes"):
        parse("# " + "ü" * 32767 + "\nFROM a\n")


def test_error_lines_are_counted_as_the_file_has_them() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\nRUN one\u2028two\x0cthree\x85\rfour\nNOPE\n")
    assert caught.value.span is not None
    assert caught.value.span.line == 3
    assert "> 3 | NOPE" in caught.value.lines()


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("RUN a b", ShellScript("a b")),
        ('RUN ["a", "b"]', ExecForm(("a", "b"))),
        ("RUN <<-E\n\tx\nE", ShellScript("x\n")),
        ("RUN <<E\n#!/bin/x\nE", FileScript("E", "#!/bin/x\n")),
        ("RUN <<-E\n\t#!/bin/x\nE", FileScript("E", "#!/bin/x\n")),
        ("RUN cat <<-'E'\n\tx\nE", ShellScript("cat <<-'E'\n\tx\nE")),
        ("RUN --network=none <<E\nx\nE", ShellScript("x\n")),
    ],
)
def test_script_of_run(text: str, script: object) -> None:
    assert run(text).script() == script


def test_trigger_is_one_instruction_read_with_the_default_escape() -> None:
    (onbuild,) = parse("# escape=`\nFROM a\nONBUILD RUN <<E `\n cat\nx\nE\n").stages[0].instructions
    trigger = parse_trigger(onbuild.expression)  # type: ignore[union-attr]
    assert isinstance(trigger, Run)
    assert trigger.heredocs == (Heredoc(name="E", content="x\n"),)
    for expression, reason in (
        ("RUN a\nRUN b", "one instruction"),
        ("# nothing", "empty"),
        ("FROM x", "not allowed"),
        ("NOPE", "unknown instruction"),
    ):
        with pytest.raises(DockerfileError, match=reason):
            parse_trigger(expression)


def test_mounts_resolve_when_variables_are_known() -> None:
    (words,) = run("RUN --mount=type=$KIND,target=$DIR/x,uid=${ID:-7} true").mounts
    env = {"KIND": "cache", "DIR": "/var"}
    mount = resolve_mount(words, lambda word: expand(word, env))
    assert mount == CacheMount(target="/var/x", id="/var/x", uid=7)
    with pytest.raises(DockerfileError, match="invalid value 'me' for uid") as caught:
        resolve_mount(words, lambda word: expand(word, {**env, "ID": "me"}), source="FROM x\nRUN ...")
    assert caught.value.span == words.span


def test_mount_order_and_source() -> None:
    (words,) = run("RUN --mount=type=bind,from=tools,target=/t true").mounts
    assert words.source_stage == "tools"
    (late,) = run("RUN --mount=required,type=secret,id=a true").mounts
    with pytest.raises(DockerfileError, match="required does not go with type 'bind'"):
        resolve_mount(late, str)
    (secret,) = run("RUN --mount=type=secret,id=dir/a,env=A true").mounts
    assert resolve_mount(secret, str) == SecretMount(id="dir/a", target=None, env="A")


def test_heredoc_sources_know_their_content() -> None:
    (copy,) = parse("FROM a\nCOPY <<-a <<b /c/\n\t1\n\ta\n\t2\nb\n").stages[0].instructions
    assert isinstance(copy, Copy)
    assert [doc.text for doc in copy.files] == ["1\n", "\t2\n"]


def test_json_is_gos() -> None:
    assert run('RUN ["\\ud800"]').command == ExecForm(("\ufffd",))
    for text in ("[NaN]", "[1e999]", "[" + "9" * 400 + "]", '["a\tb"]'):
        assert run(f"RUN {text}").command == ShellForm(text)
    for text in ("[null]", "[1]", '[{"a": 1}]', "[" * 3000 + "]" * 3000):
        with pytest.raises(DockerfileError, match="strings only"):
            run(f"RUN {text}")


def test_render_keeps_flags_together() -> None:
    text = 'COPY --from=a --chown=1:2 --exclude="a b" x y'
    (copy,) = parse(f"FROM a\n{text}").stages[0].instructions
    assert render(copy) == text


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("-1ms", -1_000_000),
        ("+2us", 2_000),
        ("2\u00b5s", 2_000),
        ("0", 0),
        ("1.0000000005s", 1_000_000_000),
        ("", None),
        ("5", None),
        ("5 s", None),
        (".s", None),
        ("1d", None),
        ("9999999h", None),
        ("1s\n", None),
    ],
)
def test_durations(text: str, nanoseconds: int | None) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64m", 64 << 20),
        ("1.5GiB", 3 << 29),
        ("10", 10),
        ("10 kb", 10240),
        ("1b", 1),
        ("", None),
        (".", None),
        ("-1", None),
        ("1x", None),
        ("1ib", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


def test_small_readers() -> None:
    assert [parse_bool(text) for text in ("1", "T", "False", "yes", "")] == [True, True, False, None, None]
    assert csv_fields('a,"b,""c""",') == ("a", 'b,"c"', "")
    for text in ("", 'a"b', '"a', '"a"b'):
        with pytest.raises(ValueError):
            csv_fields(text)


def test_suggestions() -> None:
    assert nearest("wrokdir", ["WORKDIR", "USER"]) == "workdir"
    assert nearest("zzz", ["WORKDIR"]) is None
    assert did_you_mean("chonw", ["chown", "chmod"], prefix="--") == "did you mean --chown?"
    assert did_you_mean("zzz", ["b", "a"]) == "one of a, b"
    assert did_you_mean("zzz", map(str, range(20))) is None


def test_words_that_are_not_utf8_are_read_as_buildkit_does() -> None:
    text = b'FROM x\nLABEL maintainer="Jos\xe9"\nENV N=\xff\xfe\nRUN true\n'
    parsed = parse(text)
    assert [one.original for one in parsed.stages[0].instructions] == [
        'LABEL maintainer="Jos\ufffd"',
        "ENV N=\ufffd\ufffd",
        "RUN true",
    ]
    with pytest.raises(DockerfileError, match="text is not UTF-8"):
        parse(b"FROM x\n  RuN echo caf\xe9\n")


def test_documents_that_become_files_may_have_any_bytes() -> None:
    parsed = parse(b"FROM x\nCOPY <<a <<'b' /x/\ncaf\xe9\0$A\na\ncaf\xe9\0$A\nb\n")
    (copy,) = parsed.stages[0].instructions
    assert isinstance(copy, Copy)
    expanded, kept = copy.files
    assert expand_document(expanded.text, {"A": "1"}) == "caf\ufffd\0" + "1\n"
    assert kept.text.encode("utf-8", "surrogateescape") == b"caf\xe9\0$A\n"


def test_a_near_instruction_is_named_however_short() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM x\nfoo bar\n")
    assert caught.value.hint == "did you mean FROM?"


@pytest.mark.parametrize(("written", "meant"), [("RNU", "RUN"), ("evn", "ENV"), ("FORM", "FROM")])
def test_letters_in_another_order_name_their_instruction(written: str, meant: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM x\n{written} a b\n")
    assert caught.value.hint == f"did you mean {meant}?"


def test_closest() -> None:
    assert closest("DIR_ASSET", ["DIR", "DIR_ASSETS", "DIR_ASSETZ"]) == "DIR_ASSETS"
    assert closest("a", ["abc"]) == "abc"
    assert closest("a", ["abcd", "xyzw"]) is None
    assert closest("PATH", ["PATHS", "PATH"]) is None
