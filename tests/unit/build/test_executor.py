"""Whole builds on fakes: order, cache, failure, interruption, events."""

from __future__ import annotations

import json
import os
import tarfile
from typing import Any

import pytest

from contextkernel.build import Builder, BuildRequest
from contextkernel.errors import (
    CommandNotFound,
    DockerfileError,
    ImageNotFound,
    InvalidInput,
    SourceNotFound,
    StepFailed,
)
from contextkernel.model.events import BuildFinished, BuildWarning, StepNote, StepOutput, StepProgress, StepStarted
from contextkernel.model.oci import RunConfig
from contextkernel.testing.build_fakes import ToldRuntime, leave_trace

C_PROGRAM = """\
FROM base
RUN apt-get update
RUN apt-get install -y build-essential
WORKDIR /app
COPY src/hello.c /app/
RUN gcc -o hello hello.c
ENTRYPOINT ["/app/hello"]
"""


def test_the_course_journey_has_six_layers_and_docker_s_steps(bench: Any) -> None:
    bench.write({"src/hello.c": "int main;"})
    result = bench.build(C_PROGRAM, "greeting-c:v0.1")
    assert [name for name, _ in bench.states()] == [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load metadata for docker.io/library/base:latest",
        "[internal] load build context",
        "[1/6] FROM docker.io/library/base:latest",
        "[2/6] RUN apt-get update",
        "[3/6] RUN apt-get install -y build-essential",
        "[4/6] WORKDIR /app",
        "[5/6] COPY src/hello.c /app/",
        "[6/6] RUN gcc -o hello hello.c",
        "exporting to image",
    ]
    image = json.loads(bench.store.images[result.image])
    assert len(image["rootfs"]["diff_ids"]) == 6
    assert image["config"]["WorkingDir"] == "/app"
    assert image["config"]["Entrypoint"] == ["/app/hello"]
    assert "Cmd" not in image["config"]
    assert bench.store.names["docker.io/library/greeting-c:v0.1"] == result.image
    assert [step.line for step in result.steps] == [1, 2, 3, 4, 5, 6]


def test_the_last_words_name_the_image_as_docker_does(bench: Any) -> None:
    result = bench.build("FROM base\n", "greet", "other:v1")
    notes = [event.text for event in bench.events if isinstance(event, StepNote)]
    assert notes[-4:] == [
        "exporting layers",
        f"writing image {result.image}",
        "naming to docker.io/library/greet",
        "naming to docker.io/library/other:v1",
    ]
    assert isinstance(bench.events[-1], BuildFinished)
    assert bench.events[-1].names == result.names == ("greet:latest", "other:v1")


def test_building_again_runs_nothing_and_gives_the_same_image(bench: Any) -> None:
    bench.write({"src/hello.c": "int main;"})
    first = bench.build(C_PROGRAM)
    bench.runtime = ToldRuntime()
    second = bench.build(C_PROGRAM)
    assert set(bench.outcome().values()) == {"cached"}
    assert bench.runtime.launched == []
    assert second.image == first.image


def test_a_changed_file_runs_its_copy_and_what_follows(bench: Any) -> None:
    bench.write({"src/hello.c": "1", "unrelated": "1"})
    bench.build(C_PROGRAM)
    bench.write({"src/hello.c": "22", "unrelated": "22"})
    bench.build(C_PROGRAM)
    assert list(bench.outcome().values()) == ["cached", "cached", "cached", "cached", "done", "done"]


def test_touching_a_file_changes_nothing(bench: Any) -> None:
    bench.write({"a": "1"})
    bench.build("FROM base\nCOPY a /\n")
    os.utime(bench.context / "a", (1, 1))
    bench.build("FROM base\nCOPY a /\n")
    assert set(bench.outcome().values()) == {"cached"}


def test_no_cache_runs_everything_and_still_records(bench: Any) -> None:
    text = "FROM base\nRUN a\nRUN b\n"
    bench.build(text)
    bench.build(text, no_cache=True)
    assert list(bench.outcome().values()) == ["cached", "done", "done"]
    bench.build(text)
    assert set(bench.outcome().values()) == {"cached"}


def test_environment_counts_only_where_it_is_used(bench: Any) -> None:
    bench.write({"a": "1"})
    bench.build("FROM base\nENV A=1\nCOPY a /\nRUN x\n")
    bench.build("FROM base\nENV A=2\nCOPY a /\nRUN x\n")
    assert list(bench.outcome().values()) == ["cached", "cached", "done"]


def test_build_args_reach_run_and_its_key(bench: Any) -> None:
    text = "FROM base\nARG V\nRUN x\n"
    bench.build(text, build_args={"V": "1"})
    assert "V=1" in bench.runtime.launched[-1].env
    bench.build(text, build_args={"V": "2"})
    assert bench.outcome()["[2/2] RUN x"] == "done"
    bench.build(text, build_args={"V": "1"})
    assert bench.outcome()["[2/2] RUN x"] == "cached"


def test_the_launch_request_says_it_all(bench: Any) -> None:
    bench.build(
        "FROM base\nWORKDIR /w\nUSER nobody\nENV A=1\n"
        "RUN --network=none --mount=type=tmpfs,target=/scratch,size=1m x\n",
        build_args={"HTTPS_PROXY": "http://p"},
    )
    (request,) = bench.runtime.launched
    assert request.argv == ("/bin/sh", "-c", "x")
    assert request.working_dir == "/w"
    assert request.user == "nobody"
    assert request.network == "none"
    assert request.hostname == "buildkitsandbox"
    assert request.die_with_client
    assert "A=1" in request.env
    assert "HTTPS_PROXY=http://p" in request.env
    assert [(mount.target, mount.options) for mount in request.tmpfs] == [("/scratch", "exec,size=1048576")]
    assert len(request.lowers) == 2
    assert request.upper.endswith("/diff")


@pytest.mark.parametrize(("asked", "given"), [("default", "host"), ("host", "host"), ("none", "none")])
def test_network_of_the_build(bench: Any, asked: str, given: str) -> None:
    bench.build("FROM base\nRUN x\n", network=asked)
    assert bench.runtime.launched[-1].network == given


def test_an_unknown_network(bench: Any) -> None:
    with pytest.raises(InvalidInput, match="mybridge"):
        bench.build("FROM base\n", network="mybridge")


def test_output_comes_as_events(bench: Any) -> None:
    def program(request: Any, out: Any, err: Any) -> int:
        out("héllo\n")
        err("warn\n")
        return leave_trace(request, lambda _: None, err)

    bench.programs(program)
    bench.build("FROM base\nRUN x\n")
    output = [(event.stream, event.text) for event in bench.events if isinstance(event, StepOutput)]
    assert sorted(output) == [("stderr", "warn\n"), ("stdout", "héllo\n")]


def test_a_failing_step_says_where_and_keeps_what_came_before(bench: Any) -> None:
    def program(request: Any, out: Any, err: Any) -> int:
        if request.argv[-1] != "fails":
            return leave_trace(request, out, err)
        out("".join(f"line {number}\n" for number in range(30)))
        err("the end")
        return 3

    bench.programs(program)
    text = "FROM base\nRUN works\nRUN fails\nRUN never\n"
    with pytest.raises(StepFailed) as caught:
        bench.build(text, "name")
    problem = caught.value
    assert problem.status == 3
    assert len(problem.tail) == 10
    assert set(problem.tail) >= {"line 29", "the end"}
    assert problem.span is not None
    assert problem.span.line == 3
    assert "[3/4] RUN fails" in problem.problem
    assert "> 3 | RUN fails" in str(problem)
    assert bench.states()[-1] == ("[3/4] RUN fails", "broke")
    assert "docker.io/library/name:latest" not in bench.store.names
    assert bench.store.held == []
    # the failed step's directory is kept for a look, the one before is found again
    assert bench.store.discarded == []
    assert [step.line for step, _ in bench.store.failed] == [3]
    bench.runtime = ToldRuntime()
    bench.build(text)
    assert bench.outcome()["[2/4] RUN works"] == "cached"


def test_layers_are_leased_until_the_image_has_them(bench: Any) -> None:
    result = bench.build("FROM base\nRUN x\n")
    (_, layer) = bench.store.config(result.image).rootfs.diff_ids
    assert bench.store.released == [layer]
    assert bench.store.held == []


@pytest.mark.parametrize(("status", "word"), [(127, "not found"), (137, "memory"), (126, "executable")])
def test_exit_codes_with_a_meaning_have_a_hint(bench: Any, failing: Any, status: int, word: str) -> None:
    bench.programs(failing(status, ""))
    with pytest.raises(StepFailed) as caught:
        bench.build("FROM base\nRUN x\n")
    assert word in (caught.value.hint or "")


def test_a_program_that_does_not_exist_is_a_failed_step(bench: Any) -> None:
    def program(*_: object) -> int:
        raise CommandNotFound("no such program: 'nope'")

    bench.programs(program)
    with pytest.raises(StepFailed) as caught:
        bench.build('FROM base\nRUN ["nope"]\n')
    assert caught.value.status == 127
    assert caught.value.tail == ("no such program: 'nope'",)


def test_interrupting_leaves_nothing_half_done(bench: Any) -> None:
    def program(request: Any, out: Any, err: Any) -> int:
        if request.argv[-1] == "second":
            out("about to be interrupted\n")
        return leave_trace(request, out, err)

    bench.programs(program)

    def interrupt(event: object) -> None:
        bench.events.append(event)
        if isinstance(event, StepOutput) and "about to be" in event.text:
            raise KeyboardInterrupt

    builder = Builder(bench.store, bench.worker, bench.runtime, bench.store.resolve_base)
    request = BuildRequest(context=str(bench.context), dockerfile="FROM base\nRUN first\nRUN second\n")
    with pytest.raises(KeyboardInterrupt):
        builder.build(request, interrupt)
    process = bench.runtime.processes[-1]
    assert process.signals == [9]
    assert process.closed
    assert len(bench.store.discarded) == 1
    assert len(bench.store.images) == 1  # the base
    assert bench.store.held == []
    bench.build("FROM base\nRUN first\n")
    assert bench.outcome()["[2/2] RUN first"] == "cached"


def test_unused_stages_are_not_built(bench: Any) -> None:
    bench.build("FROM nothere AS unused\nRUN a\nFROM base AS wanted\nRUN b\nFROM base\nRUN c\n", target="wanted")
    assert [request.argv[-1] for request in bench.runtime.launched] == ["b"]


def test_copy_from_a_stage_is_found_again_by_content(bench: Any) -> None:
    def program(request: Any, out: Any, err: Any) -> int:
        del out, err
        with open(os.path.join(request.upper, "result"), "w") as stream:
            stream.write("always the same")
        if request.argv[-1] == "two":
            os.makedirs(os.path.join(request.upper, "other"))
        return 0

    bench.programs(program)
    bench.build("FROM base AS build\nRUN one\nFROM scratch\nCOPY --from=build /result /\n")
    bench.build("FROM base AS build\nRUN two\nFROM scratch\nCOPY --from=build /result /\n")
    assert bench.outcome()["[build 2/2] RUN two"] == "done"
    assert bench.outcome()["[stage-1 1/1] COPY --from=build /result /"] == "cached"


def test_copy_from_an_image(bench: Any) -> None:
    bench.store.add_base(bench.worker, "tools:1", {"bin/tool": "tool"})
    bench.build("FROM scratch\nCOPY --from=tools:1 /bin/tool /t\n")
    (request,) = bench.worker.copies
    assert request.source_root is None
    assert len(request.source_lowers) == 1
    assert (request.items[0].source, request.items[0].name) == ("bin/tool", "tool")


def test_equal_layers_are_stacked_once(bench: Any) -> None:
    bench.programs(lambda *_: 0)
    bench.build("FROM base\nRUN changes nothing\nRUN nothing either\n")
    bench.build("FROM base\nRUN changes nothing\nRUN nothing either\nRUN third\n")
    lowers = bench.runtime.launched[-1].lowers
    assert len(set(lowers)) == len(lowers) == 2


def test_the_worker_is_told_what_lies_below(bench: Any) -> None:
    bench.build("FROM base\nRUN a\nRUN b\n")
    assert [len(lowers) for lowers in bench.worker.lowers[-2:]] == [1, 2]


def test_with_one_id_the_indexes_below_are_there_when_files_are_made(bench: Any) -> None:
    complete: list[bool] = []

    class Watching(type(bench.worker)):  # type: ignore[misc]
        def make_dir(self, request: Any) -> tuple[str, ...]:
            complete.append(all(os.path.exists(f"{lower}/../index") for lower in request.lowers))
            return super().make_dir(request)

    bench.worker = Watching()
    bench.build("FROM base\nRUN a\nWORKDIR /one\nWORKDIR /two\n", fake_ids=True)
    assert complete == [True, True]
    assert bench.runtime.launched[0].fake_ids


def test_context_problems_are_told_before_anything_runs(bench: Any) -> None:
    bench.write({"src/main.c": "x"})
    with pytest.raises(SourceNotFound) as caught:
        bench.build("FROM base\nRUN slow\nCOPY src/mian.c /\n")
    assert bench.runtime.launched == []
    assert caught.value.span is not None
    assert caught.value.span.line == 3
    assert caught.value.hint == "did you mean src/main.c?"


def test_what_is_not_supported_is_told_before_anything_runs(bench: Any) -> None:
    with pytest.raises(DockerfileError, match=r"security\.insecure is not allowed"):
        bench.build("FROM base\nRUN slow\nRUN --security=insecure x\n")
    assert bench.runtime.launched == []


def test_a_missing_base_is_told_at_its_from_with_the_stage_it_may_have_meant(bench: Any) -> None:
    with pytest.raises(ImageNotFound) as caught:
        bench.build("FROM base AS builder\nFROM base\nCOPY --from=bilder / /\n")
    assert caught.value.span is not None
    assert caught.value.span.line == 3
    assert caught.value.hint == "did you mean the stage 'builder'?"


def test_a_wildcard_without_matches_copies_nothing_and_says_so(bench: Any) -> None:
    bench.build("FROM base\nCOPY *.nope /x/\n")
    assert [event.text for event in bench.events if isinstance(event, BuildWarning)] == [
        "COPY: nothing matches '*.nope'"
    ]


def test_a_user_that_stays_root_is_a_warning_once(bench: Any) -> None:
    text = "FROM base\nRUN a\nUSER 0\nRUN b\nUSER 7:8\nRUN c\nRUN d\n"
    result = bench.build(text, fake_ids=True)
    assert [warning.partition(":")[0] for warning in result.warnings] == [
        "this host lets no supervisor answer system calls",  # the runtime here has none
        "this host maps a single id",
    ]
    assert not bench.build(text, no_cache=True).warnings


def test_unconsumed_build_args_are_a_warning(bench: Any) -> None:
    result = bench.build("FROM base\n", build_args={"zz": "1", "unset": None})
    assert result.warnings == ("[Warning] One or more build-args [zz] were not consumed",)


def test_without_a_context_heredocs_work_and_files_do_not(bench: Any) -> None:
    bench.build("FROM base\nCOPY <<a /a\nx\na\n", context=None)
    assert bench.worker.copies[-1].items[0].data == b"x\n"
    with pytest.raises(InvalidInput, match="no context"):
        bench.build("FROM base\nCOPY a /\n", context=None)


def test_a_heredoc_with_a_shebang_is_mounted_as_a_program(bench: Any) -> None:
    seen: list[tuple[str, str, int]] = []

    def program(request: Any, out: Any, err: Any) -> int:
        (bind,) = request.binds
        path = os.path.join(bind.source, "EOF")
        with open(path) as stream:
            seen.append((bind.target, stream.read(), os.stat(path).st_mode & 0o777))
        assert request.argv == ("/bin/sh", "-c", "/dev/pipes/EOF")
        return leave_trace(request, out, err)

    bench.programs(program)
    bench.build("FROM base\nRUN <<EOF\n#!/bin/sh\necho hi\nEOF\n")
    assert seen == [("/dev/pipes", "#!/bin/sh\necho hi\n", 0o755)]
    assert os.listdir(bench.root / "store" / "tmp") == []


def test_labels_and_inherited_configuration(bench: Any) -> None:
    bench.store.add_base(bench.worker, "rich", {"x": "y"}, RunConfig(env=("A=1",), labels={"from": "base"}))
    result = bench.build("FROM rich\n", labels={"given": "1"})
    config = bench.store.config(result.image).config
    assert config.labels == {"from": "base", "given": "1"}
    assert config.env == ("A=1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")


def test_pull_and_progress_of_a_base_reach_the_step_that_loads_it(bench: Any) -> None:
    asked: list[bool] = []

    def resolve(ref: Any, *, pull: bool, platform: Any = None, report: Any = None) -> Any:
        asked.append(pull)
        report(StepProgress(99, "layer", 1, 2))
        report(StepStarted(99, "not for this build"))
        return bench.store.resolve_base(ref, pull=pull, platform=platform)

    bench.build("FROM base\n", pull=True, resolve=resolve)
    assert asked == [True]
    started = {event.name: event.step for event in bench.events if isinstance(event, StepStarted)}
    (progress,) = (event for event in bench.events if isinstance(event, StepProgress))
    assert progress.step == started["[internal] load metadata for docker.io/library/base:latest"]
    assert "not for this build" not in started
    # what had to be fetched is not shown as cached
    assert bench.outcome()["[1/1] FROM docker.io/library/base:latest"] == "done"


def test_each_image_is_resolved_once(bench: Any) -> None:
    count = 0

    def resolve(ref: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return bench.store.resolve_base(ref, **options)

    bench.build("FROM base AS a\nRUN x\nFROM base\nCOPY --from=a / /a\nCOPY --from=base / /b\n", resolve=resolve)
    assert count == 1


def test_times_of_cached_layers_are_those_of_their_making(bench: Any) -> None:
    first = bench.build("FROM base\nRUN x\n")
    bench.clock += 1000
    second = bench.build("FROM base\nRUN x\nENV A=1\n")
    assert bench.store.config(second.image).created == bench.store.config(first.image).created


def test_add_unpacks_archives_only(bench: Any) -> None:
    bench.write({"inside.txt": "x", "plain.tar": "not an archive"})
    with tarfile.open(bench.context / "a.tgz", "w:gz") as archive:
        archive.add(bench.context / "inside.txt", "inside.txt")
    bench.build("FROM base\nADD a.tgz plain.tar /x/\nCOPY a.tgz /y/\nADD --unpack=false a.tgz /z/\n")
    assert [[item.extract for item in request.items] for request in bench.worker.copies] == [
        [True, True],
        [False],
        [False],
    ]
    # which of them is an archive, the worker sees by content
    made = [
        sorted(os.listdir(os.path.join(request.upper, name)))
        for request, name in zip(bench.worker.copies, "xyz", strict=True)
    ]
    assert made == [["inside.txt", "plain.tar"], ["a.tgz"], ["a.tgz"]]


def test_an_unreadable_ignore_pattern_names_its_file(bench: Any) -> None:
    bench.write({".dockerignore": "[\n"})
    with pytest.raises(InvalidInput, match=r"\.dockerignore"):
        bench.build("FROM base\n")


def test_a_failing_commit_fails_the_build(bench: Any) -> None:
    class Broken(type(bench.worker)):  # type: ignore[misc]
        def commit(self, directory: str, *, lowers: Any = ()) -> Any:
            raise InvalidInput(f"cannot hash {directory} on {lowers}")

    bench.worker = Broken()
    with pytest.raises(InvalidInput, match="cannot hash"):
        bench.build("FROM base\nRUN x\n")
    assert len(bench.store.discarded) == 1


def test_a_cache_entry_whose_layer_is_gone_is_no_hit(bench: Any) -> None:
    bench.build("FROM base\nRUN x\n")
    (record,) = bench.store.steps.values()
    del bench.store._layers[record.diff_id]
    bench.build("FROM base\nRUN x\n")
    assert bench.outcome()["[2/2] RUN x"] == "done"
