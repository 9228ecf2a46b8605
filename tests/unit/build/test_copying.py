"""Sources of COPY: wildcards, links, contents, digests, and messages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import ResolvedCopy, resolve_copy
from contextkernel.build.trees import MergedTree
from contextkernel.dockerfile.ignore import IgnoreMatcher, parse_ignore
from contextkernel.errors import InvalidInput, SourceNotFound, Span
from contextkernel.layer.merge import merge
from contextkernel.model.layers import Entry
from contextkernel.plan.steps import ContextOrigin, CopyStep, InlineFile
from contextkernel.testing.build_fakes import MemoryStore

STEP = CopyStep(
    title="COPY",
    created_by="COPY",
    span=Span(file="Dockerfile", line=1, end_line=1, end_column=2),
    original="COPY",
    origin=ContextOrigin(),
    sources=(),
    destination="/x",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    for name in ("a1.txt", "a2.txt", "b.txt", "sub/a3.txt", "sub/deep/c.txt", "Odd[1]"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    (path / "link").symlink_to("b.txt")
    (path / "linkdir").symlink_to("sub")
    return path


def resolve(root: Path, *sources: str, ignore: str = "", step: CopyStep = STEP) -> ResolvedCopy:
    tree = DirectoryContext(str(root), IgnoreMatcher(parse_ignore(ignore)), MemoryStore(str(root.parent / "store")))
    return resolve_copy(structs.replace(step, sources=tuple(f"/{source}" for source in sources)), tree)


def names(copy: ResolvedCopy) -> list[tuple[str, str, bool]]:
    return [(item.source, item.name, item.contents) for item in copy.items]


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (["b.txt"], [("b.txt", "b.txt", False)]),
        (["a?.txt"], [("a1.txt", "a1.txt", False), ("a2.txt", "a2.txt", False)]),
        (["*/a3.txt"], [("sub/a3.txt", "a3.txt", False)]),
        (["s[tu]b"], [("sub", "", True)]),
        (["sub"], [("sub", "", True)]),
        ([""], [(".", "", True)]),
        # a link is followed, and the file has the link's name
        (["link"], [("b.txt", "link", False)]),
        (["linkdir"], [("sub", "", True)]),
        (["linkdir/a3.txt"], [("sub/a3.txt", "a3.txt", False)]),
        (["linkdir/*.txt"], [("sub/a3.txt", "a3.txt", False)]),
        ([r"Odd\[1]"], [("Odd\\[1]", "", False)]),
    ],
)
def test_sources(root: Path, sources: list[str], found: list[tuple[str, str, bool]]) -> None:
    if "\\" in sources[0]:
        # BuildKit takes a source without a wildcard as it is written, the backslash too
        with pytest.raises(SourceNotFound):
            resolve(root, *sources)
        return
    assert names(resolve(root, *sources)) == found


def test_wildcards_do_not_pass_directories_or_links(root: Path) -> None:
    assert resolve(root, "**.txt").items == resolve(root, "*.txt").items
    assert "sub/deep/c.txt" not in [item.source for item in resolve(root, "*/*").items]
    copy = resolve(root, "link*/a3.txt")
    assert copy.items == ()
    assert copy.unmatched == ("link*/a3.txt",)


def test_wildcards_do_not_match_what_is_ignored(root: Path) -> None:
    assert names(resolve(root, "a*.txt", ignore="a1.txt\n")) == [("a2.txt", "a2.txt", False)]


def test_excludes_are_those_of_the_directories_copied(root: Path) -> None:
    assert resolve(root, "sub", ignore="*.txt\nsub/deep\n").excludes == ("sub/deep",)
    assert resolve(root, "", ignore="a*.txt\n").excludes == ("a1.txt", "a2.txt")
    assert resolve(root, "b.txt", ignore="a*.txt\n").excludes == ()


def test_missing_sources_have_hints(root: Path) -> None:
    for source, ignore, problem, hint in (
        ("c.txt", "", "'c.txt' is not in the build context", "did you mean"),
        ("Sub/a3.txt", "", "'Sub/a3.txt' is not in", "did you mean sub/a3.txt?"),
        ("sub/zzzzzzzz", "", "is not in the build context", "'sub' is there, 'zzzzzzzz' is not in it"),
        ("zzzzzzzz", "", "is not in the build context", "paths of COPY start at"),
        ("sub/a3.txt", "sub\n", ".dockerignore leaves out 'sub'", "!sub"),
    ):
        with pytest.raises(SourceNotFound) as caught:
            resolve(root, source, ignore=ignore)
        assert problem in caught.value.problem
        assert hint in (caught.value.hint or "")


def test_leaving_the_context_finds_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    # the planner has turned ../secret into /secret
    with pytest.raises(SourceNotFound):
        resolve(root, "secret")
    (root / "out").symlink_to("../secret")
    with pytest.raises(SourceNotFound):
        resolve(root, "out")


def test_a_malformed_pattern(root: Path) -> None:
    with pytest.raises(InvalidInput):
        resolve(root, "[")


def changed(root: Path, action: str) -> None:
    file = root / "sub" / "a3.txt"
    match action:
        case "content":
            file.write_text("other")
        case "mode":
            file.chmod(0o600)
        case "name":
            file.rename(root / "sub" / "renamed")
        case "new file":
            (root / "sub" / "new").write_text("")
        case "new directory":
            (root / "sub" / "empty").mkdir()
        case "kind":
            file.unlink()
            file.symlink_to("deep/c.txt")
        case "directory mode":
            (root / "sub").chmod(0o700)
        case "times":
            os.utime(file, (1, 1))
        case "elsewhere":
            (root / "b.txt").write_text("other")


@pytest.mark.parametrize("action", ["content", "mode", "name", "new file", "new directory", "kind", "directory mode"])
def test_content_digest_changes_with(root: Path, action: str) -> None:
    before = resolve(root, "sub").content
    changed(root, action)
    assert resolve(root, "sub").content != before


@pytest.mark.parametrize("action", ["times", "elsewhere"])
def test_content_digest_does_not_change_with(root: Path, action: str) -> None:
    before = resolve(root, "sub").content
    changed(root, action)
    assert resolve(root, "sub").content == before


def test_content_digest_is_that_of_a_directory_wherever_it_is(root: Path) -> None:
    before = resolve(root, "sub").content
    (root / "sub").rename(root / "moved")
    assert resolve(root, "moved").content == before


def test_content_digest_counts_file_names_and_order_of_sources(root: Path) -> None:
    (root / "copy.txt").write_text("b.txt")
    (root / "copy.txt").chmod((root / "b.txt").stat().st_mode & 0o777)
    assert resolve(root, "b.txt").content != resolve(root, "copy.txt").content
    assert resolve(root, "a1.txt", "b.txt").content != resolve(root, "b.txt", "a1.txt").content


def test_inline_files(root: Path) -> None:
    step = structs.replace(STEP, files=(InlineFile("name", "text"),))
    copy = resolve(root, step=step)
    assert [(item.name, item.data) for item in copy.items] == [("name", b"text")]
    other = structs.replace(STEP, files=(InlineFile("name", "other"),))
    assert resolve(root, step=other).content != copy.content


LAYERS = [
    [
        Entry(path="etc", kind="dir", mode=0o755),
        Entry(path="etc/a", kind="file", digest="aa", size=1, uid=5),
        Entry(path="etc/gone", kind="file", digest="bb", size=1),
        Entry(path="lib", kind="symlink", link="usr/lib"),
        Entry(path="usr", kind="dir", mode=0o755),
        Entry(path="usr/lib", kind="dir", mode=0o755),
        Entry(path="usr/lib/one", kind="file", digest="cc", size=1),
        Entry(path="usr/lib/two", kind="hardlink", link="usr/lib/one"),
        Entry(path="usr-local", kind="dir", mode=0o755),
    ],
    [Entry(path="etc", kind="dir", mode=0o755), Entry(path="etc/gone", kind="whiteout")],
]


def merged(*layers: list[Entry]) -> MergedTree:
    return MergedTree(merge(layers), "stage build")


def from_tree(tree: MergedTree, *sources: str) -> ResolvedCopy:
    return resolve_copy(structs.replace(STEP, sources=sources), tree)


def test_merged_layers_are_seen_as_a_container_would() -> None:
    tree = merged(*LAYERS)
    assert names(from_tree(tree, "/lib/one")) == [("usr/lib/one", "one", False)]
    assert names(from_tree(tree, "/lib/*")) == [("usr/lib/one", "one", False), ("usr/lib/two", "two", False)]
    assert names(from_tree(tree, "/usr")) == [("usr", "", True)]
    assert tree.children(".") == ["etc", "lib", "usr", "usr-local"]
    assert [node.path for node in tree.below("usr")] == ["usr", "usr/lib", "usr/lib/one", "usr/lib/two"]
    with pytest.raises(SourceNotFound, match="not in stage build"):
        from_tree(tree, "/etc/gone")


def test_a_hard_link_is_the_file_it_stands_for() -> None:
    tree = merged(*LAYERS)
    node = tree.get("usr/lib/two")
    assert node is not None
    assert (node.kind, tree.digest(node)) == ("file", "cc")


def test_owners_and_attributes_of_merged_files_count_and_times_do_not() -> None:
    def content(**changes: object) -> str:
        entry = Entry(path="f", kind="file", digest="aa", **changes)  # type: ignore[arg-type]
        return from_tree(merged([entry]), "/f").content

    same = content()
    assert content(mtime=5) == same
    assert content(uid=1) != same
    assert content(gid=1) != same
    assert content(mode=0o600) != same
    assert content(xattrs={"security.capability": b"\x01"}) != same


def test_the_layering_does_not_count() -> None:
    flat = [entry for entry in LAYERS[0] if entry.path != "etc/gone"]
    assert from_tree(merged(flat), "/").content == from_tree(merged(*LAYERS), "/").content


def paths(copy: ResolvedCopy) -> list[str]:
    return [path for path, _ in copy.rows]


def test_rows_tell_each_entry_and_what_counts_of_it(root: Path) -> None:
    before = dict(resolve(root, "sub", "b.txt").rows)
    assert list(before) == ["sub", "sub/a3.txt", "sub/deep", "sub/deep/c.txt", "b.txt"]
    (root / "sub" / "deep" / "c.txt").write_text("other")
    (root / "b.txt").chmod(0o600)
    after = dict(resolve(root, "sub", "b.txt").rows)
    assert {path for path in before if before[path] != after[path]} == {"sub/deep/c.txt", "b.txt"}
    inline = resolve(root, step=structs.replace(STEP, files=(InlineFile("EOF", "text"),)))
    assert paths(inline) == ["EOF"]


def test_exclude_counts_from_each_source(root: Path) -> None:
    copy = resolve(root, "sub", "", step=structs.replace(STEP, exclude=("deep", "*.txt")))
    assert paths(copy) == ["sub", ".", "Odd[1]", "link", "linkdir", "sub", "sub/a3.txt", "sub/deep", "sub/deep/c.txt"]
    assert paths(resolve(root, "b.txt", step=structs.replace(STEP, exclude=("*",)))) == ["b.txt"]


def test_an_exception_brings_its_parents(root: Path) -> None:
    step = structs.replace(STEP, exclude=("**", "!deep/c.txt"))
    copy = resolve(root, "sub", step=step)
    assert paths(copy) == ["sub", "sub/deep", "sub/deep/c.txt"]
    (root / "sub" / "deep").chmod(0o700)
    assert resolve(root, "sub", step=step).content != copy.content


def with_parents(root: Path, source: str, pattern: str, **fields: object) -> ResolvedCopy:
    return resolve(root, source, step=structs.replace(STEP, parents=(pattern,), **fields))


def test_parents(root: Path) -> None:
    assert paths(with_parents(root, "", "sub/deep/c.txt")) == [".", "sub", "sub/deep", "sub/deep/c.txt"]
    assert paths(with_parents(root, "sub", "deep")) == ["sub", "sub/deep", "sub/deep/c.txt"]
    assert paths(with_parents(root, "", "**/a?.txt")) == [".", "a1.txt", "a2.txt", "sub", "sub/a3.txt"]
    assert paths(with_parents(root, "s*", "*.txt", exclude=("a?.txt",))) == ["sub"]
    assert with_parents(root, "sub", "deep").items[0].include == "deep"


def test_parents_without_wildcards_must_be_there(root: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"'sub/deep/d.txt' is not in the build context"):
        with_parents(root, "", "sub/deep/d.txt")
    with pytest.raises(SourceNotFound, match=r"'sub/nothing' is not in"):
        with_parents(root, "sub", "nothing")
    assert paths(with_parents(root, "", "nothing*")) == ["."]


def test_parents_of_nothing_but_the_source(root: Path) -> None:
    with pytest.raises(SourceNotFound, match="takes nothing of 'sub' itself"):
        with_parents(root, "sub", "")


def test_parents_does_not_start_from_a_link(root: Path) -> None:
    with pytest.raises(SourceNotFound, match="'linkdir' is a link to 'sub'") as caught:
        with_parents(root, "linkdir", "deep")
    assert caught.value.hint == "write sub/./deep"


def test_what_is_in_front_of_a_wildcard_must_be_there(root: Path) -> None:
    with pytest.raises(SourceNotFound, match="'sub/nothing' is not in"):
        resolve(root, "sub/nothing/*.txt")
    with pytest.raises(SourceNotFound, match=r"'b.txt' is not in"):
        resolve(root, "b.txt/*")


def test_a_malformed_wildcard_is_one_where_nothing_could_match(root: Path) -> None:
    (root / "empty").mkdir()
    with pytest.raises(InvalidInput, match="not complete"):
        resolve(root, "empty/[")


def test_a_class_of_characters_may_be_a_slash(root: Path) -> None:
    assert names(resolve(root, "sub[^x]a3.txt")) == [("sub/a3.txt", "a3.txt", False)]


def test_unusual_kinds_of_a_layer_keep_their_order() -> None:
    rows = [Entry("d", "dir"), Entry("d/x", "dir"), Entry("d/x/f", "file"), Entry("d-e", "file"), Entry("d/y", "file")]
    tree = MergedTree(merge([rows]), "stage")
    found = [node.path for node in tree.below("d", lambda node: node.path != "d/x")]
    assert found == ["d", "d/x", "d/y"]
