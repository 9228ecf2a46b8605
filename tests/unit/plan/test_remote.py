"""Git repositories and URLs told from paths, and what an ADD of them plans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.dockerfile.parse import parse
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan.named import parse_contexts
from contextkernel.plan.remote import GitOrigin, HttpOrigin, parse_git, parse_remote, redacted, url_name
from contextkernel.plan.stage import Facts, StagePlan, from_scratch, plan_stage
from contextkernel.plan.stages import StageGraph, build_graph
from contextkernel.plan.steps import ContextOrigin, CopyStep, ImageOrigin, ScratchOrigin, SeveralOrigins, StageOrigin

COMMIT = "826408b36a86ac6d9da36ed094f5b0ed75393007"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/o/r.git", GitOrigin(remote="https://h/o/r.git")),
        ("https://h/o/r.git#main", GitOrigin(remote="https://h/o/r.git", ref="main")),
        ("https://h/r.git#a/b:c/../d", GitOrigin(remote="https://h/r.git", ref="a/b", subdir="d")),
        ("https://h/r.git#:sub", GitOrigin(remote="https://h/r.git", subdir="sub")),
        ("https://h/r.git#m:../../x", GitOrigin(remote="https://h/r.git", ref="m", subdir="x")),
        ("https://h/r.git?branch=b&subdir=s", GitOrigin(remote="https://h/r.git", ref="refs/heads/b", subdir="s")),
        ("https://h/r.git?tag=v1#refs/tags/v1", GitOrigin(remote="https://h/r.git", ref="refs/tags/v1")),
        (f"https://h/r.git?checksum={COMMIT}", GitOrigin(remote="https://h/r.git", checksum=COMMIT)),
        ("https://h/r.git?commit=ab", GitOrigin(remote="https://h/r.git", checksum="ab")),
        ("https://h/r.git?keep-git-dir", GitOrigin(remote="https://h/r.git", keep_git_dir=True)),
        ("https://h/r.git?keep-git-dir=0", GitOrigin(remote="https://h/r.git")),
        ("https://h/r.git?submodules=false", GitOrigin(remote="https://h/r.git", submodules=False)),
        ("https://h/r.git?mtime=commit", GitOrigin(remote="https://h/r.git", commit_time=True)),
        ("git://h/x#r", GitOrigin(remote="git://h/x", ref="r")),
        ("ssh://git@h:22/x", GitOrigin(remote="ssh://git@h:22/x")),
        ("git@h:o/r.git?ref=q#:s", GitOrigin(remote="git@h:o/r.git", ref="q", subdir="s")),
        ("https://h/r.git/info", None),
        ("https://h/x", None),
        ("file:///x.git", None),
        ("./a.git", None),
        ("../x@y:z", None),
        ("github.com/a/b", None),
    ],
)
def test_git_references(text: str, expected: GitOrigin | None) -> None:
    assert parse_git(text) == expected


def test_a_context_may_leave_the_scheme_of_github_out() -> None:
    assert parse_git("github.com/a/b#c:d", context=True) == GitOrigin(
        remote="https://github.com/a/b", ref="c", subdir="d"
    )


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("?x=1", "query 'x' is not known"),
        ("?ref=a&ref=b", "query 'ref' has several values"),
        ("?ref=", "query 'ref' has no value"),
        ("?ref=a#b", "'b' and 'a' contradict each other"),
        ("?tag=a&branch=a", "'refs/tags/a' and 'refs/heads/a' contradict each other"),
        ("?subdir=a#:b", "contradict each other"),
        ("?submodules=maybe", "neither true nor false"),
        ("?mtime=now", "neither checkout nor commit"),
        ("#-x", "'-x' is not a Git reference"),
    ],
)
def test_bad_queries_are_refused_without_the_password(query: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_git(f"https://me:secret@h/r.git{query}")
    assert problem in raised.value.problem
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.txt?x=y#z", "b.txt"),
        ("http://h/a/", "a"),
        ("http://h/", "__unnamed__"),
        ("http://h", "__unnamed__"),
        ("http://h/a%20b", "a b"),
        ("http://h/x/..", "__unnamed__"),
        ("http://[bad", "__unnamed__"),
    ],
)
def test_the_name_comes_from_the_url(url: str, name: str) -> None:
    assert url_name(url) == name


def test_passwords_are_taken_out() -> None:
    assert redacted("ADD https://u:p@h/x https://token@h ssh://git@h/y ssh://git:p@h/y git@h:z /") == (
        "ADD https://xxxxx:xxxxx@h/x https://xxxxx:xxxxx@h ssh://git@h/y ssh://xxxxx:xxxxx@h/y git@h:z /"
    )
    assert parse_remote("http://u:p@h/x") == HttpOrigin(url="http://u:p@h/x", name="x")


# ---- ADD


def plan(text: str, **contexts: str) -> tuple[StageGraph, StagePlan]:
    dockerfile = parse(text)
    graph = build_graph(dockerfile, scope={}, contexts=parse_contexts(contexts).origins)
    node = graph.stages[graph.target]
    return graph, plan_stage(node, from_scratch(), Facts(dockerfile=dockerfile, scope={}))


def add(line: str) -> CopyStep:
    (step,) = plan(f"FROM scratch\n{line}\n")[1].layer_steps
    assert isinstance(step, CopyStep)
    return step


def test_add_of_a_url() -> None:
    digest = "sha256:" + "a" * 64
    step = add(f"ADD --checksum={digest} --chown=1:2 --chmod=600 http://h/x.tgz /to/")
    assert step.origin == HttpOrigin(url="http://h/x.tgz", name="x.tgz", checksum=digest)
    assert (step.sources, step.unpack, step.directory, step.chown) == (("/x.tgz",), False, True, "1:2")
    assert step.created_by == "ADD --chown=1:2 --chmod=600 http://h/x.tgz /to/ # buildkit"
    assert add("ADD --unpack=true http://h/x.tgz /").unpack
    assert add("ADD http://h/a[1]*.txt /").sources == ("/a[[]1][*].txt",)


def test_add_of_a_repository() -> None:
    step = add(f"ADD --keep-git-dir=true --checksum={COMMIT} https://h/r.git#v1:s /to")
    assert step.origin == GitOrigin(remote="https://h/r.git", ref="v1", subdir="s", checksum=COMMIT, keep_git_dir=True)
    assert (step.sources, step.unpack) == (("/",), False)


def test_add_from_several_places_is_one_step_of_several_copies() -> None:
    step = add("ADD a b http://h/x c git://h/r /to/")
    assert isinstance(step.origin, SeveralOrigins)
    assert [(type(part.origin), part.sources) for part in step.origin.parts] == [
        (ContextOrigin, ("/a", "/b")),
        (HttpOrigin, ("/x",)),
        (ContextOrigin, ("/c",)),
        (GitOrigin, ("/",)),
    ]
    assert step.created_by == "ADD a b http://h/x c git://h/r /to/ # buildkit"
    assert [part.unpack for part in step.origin.parts] == [True, False, True, False]


def test_no_password_in_titles_and_history() -> None:
    step = add("ADD https://me:secret@h/x /")
    assert "secret" not in step.title + step.created_by + step.original
    assert isinstance(step.origin, HttpOrigin)
    assert "secret" in step.origin.url


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ADD --checksum=sha256:ab http://h/x /", "is not a digest"),
        ("ADD --checksum=zz http://h/r.git /", "is not a commit"),
        ("ADD --checksum=ab a /", "is for URLs and Git repositories"),
        ("ADD --checksum=ab http://h/x http://h/y /", "is for one source"),
        ("ADD --checksum=ab http://h/r.git?checksum=cd /", "contradicts"),
        ("ADD http://h/r.git?fetch-by-commit=1 /", "needs a full commit"),
        ("ADD http://h/r.git?nope=1 /", "query 'nope' is not known"),
        ("COPY http://h/x /", "a URL cannot be copied"),
        ("COPY https://u:secret@h/r.git /", "COPY https://xxxxx:xxxxx@h/r.git: a Git repository cannot be copied"),
    ],
)
def test_what_cannot_be_added(line: str, problem: str) -> None:
    with pytest.raises(DockerfileError) as raised:
        add(line)
    assert problem in raised.value.problem
    assert raised.value.span is not None
    assert raised.value.span.line == 2


# ---- named contexts


def test_kinds_of_named_contexts() -> None:
    named = parse_contexts(
        {
            "dir": "../x",
            "img": "docker-image://alpine:3",
            "none": "docker-image://scratch",
            "lay": "oci-layout:///l:t",
            "url": "https://h/x",
            "repo": "https://h/r.git#m",
            "docker.io/library/alpine:latest": "y",
        },
        Platform.parse("linux/arm64"),
    )
    arm = Platform.parse("linux/arm64")
    assert named.origins == {
        "dir": ContextOrigin("dir"),
        "img": ImageOrigin(ImageRef.parse("alpine:3"), arm),
        "none": ScratchOrigin(),
        "lay": ImageOrigin(ImageRef.parse("lay"), arm, "/l:t"),
        "url": HttpOrigin(url="https://h/x", name="context"),
        "repo": GitOrigin(remote="https://h/r.git", ref="m"),
        "alpine": ContextOrigin("alpine"),
    }
    assert named.directories == {ContextOrigin("dir"): "../x", ContextOrigin("alpine"): "y"}


@pytest.mark.parametrize(
    "word", [("A", "x"), ("a", ""), ("a", "ftp://h/x"), ("a", "docker-image://A"), ("a", "oci-layout://")]
)
def test_what_is_no_named_context(word: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput):
        parse_contexts({word[0]: word[1]})


def test_a_context_stands_for_an_image_wherever_it_is_used() -> None:
    text = "FROM base:1 AS a\nFROM a\nCOPY --from=other x y\nRUN --mount=from=third,target=/m true\n"
    graph = build_graph(
        parse(text),
        scope={},
        contexts=parse_contexts({"base:1": "docker-image://b", "other": "o", "third": "https://h/r.git"}).origins,
    )
    first, second = graph.stages
    assert first.base == ImageOrigin(ImageRef.parse("b"))
    assert second.base == StageOrigin(0)
    assert [command.origins for command in second.commands] == [
        (ContextOrigin("other"),),
        (GitOrigin(remote="https://h/r.git"),),
    ]


def test_a_context_takes_the_place_of_the_stage_of_its_name() -> None:
    text = "FROM base AS a\nRUN false\nFROM a\nCOPY --from=a x y\n"
    graph, _ = plan(text, a="somewhere", base="docker-image://not-asked")
    assert (graph.stages[0].base, graph.stages[0].commands) == (ContextOrigin("a"), ())
    assert graph.images == ()


def test_an_earlier_stage_comes_before_a_context() -> None:
    graph, _ = plan("FROM scratch AS a\nFROM a\n", scratch="docker-image://x")
    assert [stage.base for stage in graph.stages] == [ScratchOrigin(), StageOrigin(0)]


@given(
    st.one_of(
        st.text(),
        st.builds(
            "{}{}{}{}".format,
            st.sampled_from(["http://", "https://", "git://", "ssh://", "git@", "github.com/", "://", ""]),
            st.text(max_size=20),
            st.sampled_from([".git", "", ":", "#", "?", ".git#a:b", ".git?ref=", "[", "]"]),
            st.text(max_size=20),
        ),
    )
)
def test_any_text_is_a_remote_or_a_path_or_refused(text: str) -> None:
    try:
        found = parse_remote(text), parse_git(text, context=True)
    except InvalidInput:
        return
    for remote in found:
        if isinstance(remote, GitOrigin):
            assert not remote.ref.startswith("-")
            assert ".." not in remote.subdir.split("/")
            assert not remote.subdir.startswith("/")
        elif isinstance(remote, HttpOrigin):
            assert "/" not in remote.name
            assert remote.name not in {"", ".", ".."}


@pytest.mark.parametrize("url", ["https://ann:p@hidden@h/x", "https://ann:@hidden@h", "git://a@b@hidden@h/r.git#main"])
def test_attack_at_sign_in_a_password(url: str) -> None:
    """Who connects takes all up to the last one for the password."""
    assert "hidden" not in redacted(f"ADD {url} /")
    assert "@h" in redacted(f"ADD {url} /")
