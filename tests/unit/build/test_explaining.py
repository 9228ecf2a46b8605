"""Why a step was not in the cache: each reason, each kind of input, and what must not be said."""

from __future__ import annotations

import os
from typing import Any

import pytest

from contextkernel.errors import StepFailed
from contextkernel.model.explanation import KeyChange
from contextkernel.model.oci import RunConfig

TEXT = "FROM base\nARG VERSION=1\nENV MODE=a\nWORKDIR /app\nCOPY src/ /app/\nRUN make $VERSION\nRUN test\n"


@pytest.fixture
def project(bench: Any) -> Any:
    bench.write({"src/main.c": "int main;", "src/util.c": "int util;", "src/doc/readme": "words"})
    return bench


def told(result: Any) -> dict[str, Any]:
    """Explanations by instruction, without the numbers in front."""
    return {row.name.partition("] ")[2]: row for row in result.explanation}


def reasons(result: Any) -> list[str]:
    return [row.reason or row.state for row in result.explanation]


def test_the_first_build_has_never_been_built_before(project: Any) -> None:
    result = project.build(TEXT)
    assert reasons(result) == ["hit", "new", "new", "new", "new"]
    assert [row.step for row in result.explanation] == [step.step for step in result.steps]
    assert told(result)["RUN test"].detail == "never built before"


def test_the_second_build_is_all_hits_without_changes(project: Any) -> None:
    project.build(TEXT)
    result = project.build(TEXT)
    assert reasons(result) == ["hit"] * 5
    assert all(row.changes == () and row.detail == "found in the cache" for row in result.explanation)


def test_a_changed_file_is_named_and_what_follows_says_which_step(project: Any) -> None:
    project.build(TEXT)
    project.write({"src/main.c": "int changed;"})
    result = told(project.build(TEXT))
    copy = result["COPY src/ /app/"]
    assert (copy.reason, copy.detail) == ("changed", "file src/main.c changed")
    (change,) = copy.changes
    assert (change.input, change.name, change.change) == ("file", "src/main.c", "changed")
    assert change.old != change.new
    assert result["RUN make 1"].reason == "parent"
    assert "COPY src/ /app/" in result["RUN make 1"].detail
    assert result["RUN test"].reason == "parent"


def test_added_and_removed_files_and_modes(project: Any) -> None:
    project.build(TEXT)
    project.write({"src/new.c": "x"})
    os.remove(project.context / "src/util.c")
    os.chmod(project.context / "src/main.c", 0o600)
    copy = told(project.build(TEXT))["COPY src/ /app/"]
    assert [(change.name, change.change) for change in copy.changes] == [
        ("src/main.c", "changed"),
        ("src/new.c", "added"),
        ("src/util.c", "removed"),
    ]
    assert "644" in (copy.changes[0].old or "")
    assert "600" in (copy.changes[0].new or "")


def test_many_changed_files_are_counted(project: Any) -> None:
    project.write({f"src/f{number:02}": "old" for number in range(30)})
    project.build(TEXT)
    project.write({f"src/f{number:02}": "new" for number in range(30)})
    copy = told(project.build(TEXT))["COPY src/ /app/"]
    assert len(copy.changes) == 8
    assert copy.more == 22
    assert copy.detail.endswith("; and 22 more")


def test_a_single_file_and_a_here_document_are_named(project: Any) -> None:
    text = "FROM base\nCOPY src/main.c /a\nCOPY <<one <<two /d/\n{}\none\n2\ntwo\n"
    project.build(text.format("1"))
    project.write({"src/main.c": "other"})
    rows = project.build(text.format("changed")).explanation
    assert [change.name for change in rows[1].changes] == ["src/main.c"]
    assert [change.name for change in rows[2].changes] == ["one"]


def test_build_arguments_and_environment_are_told_apart_with_their_values(project: Any) -> None:
    project.build(TEXT, build_args={"VERSION": "1"})
    result = told(project.build(TEXT.replace("MODE=a", "MODE=b"), build_args={"VERSION": "2"}))
    assert result["WORKDIR /app"].state == "hit"
    assert result["COPY src/ /app/"].state == "hit"
    assert result["RUN make 2"].changes == (
        KeyChange(input="ENV", name="MODE", old="a", new="b"),
        KeyChange(input="ARG", name="VERSION", old="1", new="2"),
    )
    assert "ARG VERSION: 1 -> 2" in result["RUN make 2"].detail


def test_a_changed_command_shows_where_it_differs(project: Any) -> None:
    project.build(TEXT)
    result = told(project.build(TEXT.replace("RUN test", "RUN test --all")))
    assert result["RUN test --all"].detail == "command: test -> test --all"


def test_a_line_put_in_front_does_not_confuse_what_follows(project: Any) -> None:
    project.build(TEXT)
    result = told(project.build(TEXT.replace("RUN make", "RUN prepare\nRUN make")))
    # the new line stands where RUN make stood: that is what it is compared with
    assert result["RUN prepare"].reason == "changed"
    assert result["RUN make 1"].reason == "parent"
    assert "RUN prepare" in result["RUN make 1"].detail
    assert result["RUN test"].reason == "parent"


def test_a_new_base_image_is_named_with_both_digests(project: Any) -> None:
    first = project.store.names["docker.io/library/base:latest"]
    project.build(TEXT)
    second = project.store.add_base(project.worker, "base", {"bin/sh": "another"}, RunConfig(cmd=("sh",)))
    result = project.build(TEXT)
    change = KeyChange(input="base", name="base:latest", old=first, new=second)
    assert result.explanation[0].changes == (change,)
    workdir = told(result)["WORKDIR /app"]
    assert workdir.reason == "parent"
    assert workdir.changes == (change,)


def test_no_cache_says_so(project: Any) -> None:
    project.build(TEXT)
    result = project.build(TEXT, no_cache=True)
    assert reasons(result)[1:] == ["no-cache"] * 4


def test_a_pruned_result_is_told_from_one_that_never_was(project: Any) -> None:
    project.build(TEXT)
    project.store.steps.clear()
    result = project.build(TEXT)
    assert reasons(result)[1:] == ["pruned", "parent", "parent", "parent"]


def test_a_failed_step_is_not_what_the_next_is_compared_with(project: Any) -> None:
    project.build(TEXT)

    project.programs(lambda *_: 1)
    with pytest.raises(StepFailed):
        project.build(TEXT.replace("RUN test", "RUN tset"))
    project.programs(lambda *_: 0)
    result = told(project.build(TEXT.replace("RUN test", "RUN test -v")))
    assert result["RUN test -v"].detail == "command: test -> test -v"


def test_another_dockerfile_with_the_same_instruction_is_found(project: Any) -> None:
    project.build(TEXT)
    project.write({"src/main.c": "other"})
    result = project.build(TEXT, dockerfile_name="other/Dockerfile")
    assert told(result)["COPY src/ /app/"].detail == "file src/main.c changed"


def test_stages_have_places_of_their_own(project: Any) -> None:
    text = "FROM base AS one\nRUN a\nFROM base AS two\nRUN b\nCOPY --from=one /etc/passwd /x\n"
    project.build(text)
    result = told(project.build(text.replace("RUN a", "RUN aa")))
    assert result["RUN aa"].detail == "command: a -> aa"
    assert result["RUN b"].state == "hit"


def test_proxies_are_in_no_document(project: Any) -> None:
    project.build(TEXT, build_args={"HTTP_PROXY": "http://user:secret@proxy"})
    import zlib

    for made in project.store.documents.values():
        assert b"secret" not in zlib.decompress(made.document)
