"""Files in and out of containers; every path rule is docker's."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile

import pytest

from contextkernel.errors import Conflict
from contextkernel.model.box import PathFacts

SETUP = (
    "mkdir -p /s/sub /d/e; echo a >/s/a; echo b >/s/sub/b; chown 2:3 /s/a; chmod 640 /s/a; ln -s /s /ls; ln -s a /s/la;"
    " ln -s /nope /s/br; ln -s ../../../../etc /s/up; mkfifo /s/fifo; echo q >/q; ln /s/a /s/hard; touch /ready"
)


@pytest.fixture(params=["running", "stopped"])
def box(request, do, engine, tmp_path):
    """A container with files, a volume and a read-only bind; running or not."""
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound" / "f").write_text("bound\n")
    told = do(
        "run", "-d", "--name", "box", "-v", "data:/vol", "-v", "./bound:/bound:ro", "plain", "sh", "-c",
        f"{SETUP}; exec sleep 1000",
    )  # fmt: skip
    assert told.code == 0, told
    wait_for(engine, "/ready")
    if request.param == "stopped":
        engine.stop("box", timeout=0)
    return "box"


def wait_for(engine, path):
    import time

    from contextkernel.errors import NotFound

    for _ in range(3000):
        try:
            return read(engine, "box", path)
        except NotFound:
            time.sleep(0.02)
    raise AssertionError(path)


def read(engine, container, path):
    """Members of the archive that cp gives."""
    reader, end = os.pipe()
    import threading

    problems = []

    def write():
        try:
            engine.get_archive(container, path, end)
        except BaseException as problem:
            problems.append(problem)
        finally:
            os.close(end)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    thread.join()
    if problems:
        raise problems[0]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: (member.type, member.mode, member.uid, member.gid, content(tar, member)) for member in tar}


def content(tar, member):
    return tar.extractfile(member).read().decode() if member.isreg() else member.linkname


@pytest.mark.usefixtures("box")
def test_out(do, tmp_path):
    for words in (("/s", "new"), ("/s", "."), ("/s/", "slash"), ("/ls/", "link"), ("/s/.", "dot")):
        assert do("cp", f"box:{words[0]}", words[1]).code == 0
    for name in ("new", "s", "slash", "link", "dot"):
        found = sorted(os.listdir(tmp_path / name))
        assert found == ["a", "br", "fifo", "hard", "la", "sub", "up"]
        assert (tmp_path / name / "a").read_text() == "a\n"
        assert os.stat(tmp_path / name / "a").st_mode & 0o777 == 0o640
        assert os.stat(tmp_path / name / "a").st_ino == os.stat(tmp_path / name / "hard").st_ino
        assert os.stat(tmp_path / name / "a").st_uid == os.geteuid()
        assert os.readlink(tmp_path / name / "up") == "../../../../etc"
    do("cp", "box:/ls", "as-link")
    assert os.readlink(tmp_path / "as-link") == "/s"
    do("cp", "-L", "box:/ls", "followed")
    assert (tmp_path / "followed" / "a").exists()
    do("cp", "box:s/up/passwd", "pw")
    assert (tmp_path / "pw").read_text().startswith("root:")


@pytest.mark.usefixtures("box")
def test_out_of_volumes_and_binds(do, sh, tmp_path):
    sh("echo in > /v/file", "-v", "data:/v")
    do("cp", "box:/vol", ".")
    do("cp", "box:/bound/f", "f")
    do("cp", "box:/", "all")
    assert (tmp_path / "vol" / "file").read_text() == (tmp_path / "all" / "vol" / "file").read_text() == "in\n"
    assert (tmp_path / "f").read_text() == "bound\n"
    for name in ("proc", "sys"):
        if (tmp_path / "all" / name).exists():
            assert os.listdir(tmp_path / "all" / name) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("box:/nope", "."), "could not find the file /nope in container box"),
        (("box:/proc/version", "."), "could not find the file /proc/version in container box"),
        (("box:/s/a/", "."), "lstat /s/a/: not a directory"),
        (("box:", "."), "path cannot be empty"),
        (("box:/s", "file"), "cannot copy directory"),
        (("box:/s/a", "no/x"), "invalid output path"),
        (("box:/s/a", "no/"), "no such directory"),
        (("box:/a", "box:/b"), "copying between containers is not supported"),
        (("one", "two"), "must specify at least one container source"),
        (("file", "box:/no/x"), "could not find the file /no in container box"),
        (("file", "box:/no/"), "no such directory"),
        (("file", "box:/q/"), "no such directory"),
        (("file", "box:"), "no such directory"),
        (("dir", "box:/q"), "cannot copy directory"),
        (("nope", "box:/d"), "no such file or directory"),
        (("file/", "box:/d"), "not a directory"),
        (("file", "box:/bound"), "mounted volume is marked read-only"),
        (("file", "box:/bound/x"), "mounted volume is marked read-only"),
        (("file", "box:/s/sub/../../s"), ""),
        (("file", "nobody:/x"), "no such container: nobody"),
    ],
)
@pytest.mark.usefixtures("box")
def test_refusals(do, tmp_path, words, problem):
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    told = do("cp", *words)
    assert (told.code, problem in told.err) == (1 if problem else 0, True), told


@pytest.mark.usefixtures("box")
def test_in(do, engine, tmp_path, single):
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "two").write_text("two\n")
    (tmp_path / "one").write_text("one\n")
    (tmp_path / "link").symlink_to("one")
    os.chmod(tmp_path / "one", 0o640)
    os.utime(tmp_path / "one", ns=(10**18, 10**18))
    for words in (
        ("one", "/d"), ("one", "/d/new"), ("one", "/q"), ("dir", "/d"), ("dir", "/d/dir2"), ("dir/.", "/d/e"),
        ("dir/.", "/d/fresh"), ("link", "/d/"), ("-L link", "/d/followed"), ("one", "/ls"), ("one", "/s/la"),
        ("one", "/s/br"), ("one", "/s/up/evil"), ("one", "/vol"), ("one", "rel"), ("one", "../../../etc/foo"),
    ):  # fmt: skip
        told = do("cp", *words[0].split(), f"box:{words[1]}")
        assert told.code == 0, (words, told)
    inside = read(engine, "box", "/d")
    assert sorted(inside) == [
        "d", "d/dir", "d/dir/sub", "d/dir/two", "d/dir2", "d/dir2/sub", "d/dir2/two", "d/e", "d/e/sub", "d/e/two",
        "d/followed", "d/fresh", "d/fresh/sub", "d/fresh/two", "d/link", "d/new", "d/one",
    ]  # fmt: skip
    assert inside["d/link"][0] == tarfile.SYMTYPE
    assert inside["d/followed"][4] == "one\n"
    assert inside["d/one"][1] == 0o640
    if not single:
        assert inside["d/one"][2:4] == (0, 0)  # whoever runs this is root in a container
    assert read(engine, "box", "/s/a")["a"][4] == "one\n"  # through the link la
    for path in ("/nope", "/etc/evil", "/etc/foo", "/rel", "/q", "/s/one", "/vol/one"):
        assert read(engine, "box", path)[os.path.basename(path)][4] == "one\n", path
    assert not os.path.exists("/nope")
    assert not os.path.exists("/etc/evil")


def test_in_is_seen_by_the_programs(do, engine, tmp_path):
    do("run", "-d", "--name", "box", "--tmpfs", "/t", "plain", "sh", "-c", "while ! cat /t/x /y; do sleep 0.05; done")
    (tmp_path / "x").write_text("hello\n")
    do("cp", "x", "box:/t/x")
    do("cp", "x", "box:/y")
    assert engine.wait("box") == 0
    assert do("logs", "box").out.endswith("hello\nhello\n")


@pytest.mark.usefixtures("box")
def test_archives(engine, tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, uid in (("deep/er/file", 7), ("plain", 0)):
            info = tarfile.TarInfo(name)
            info.size, info.uid = 2, uid
            tar.addfile(info, io.BytesIO(b"x\n"))
    source = tmp_path / "in.tar.gz"
    source.write_bytes(out.getvalue())
    with open(source, "rb") as stream:
        engine.copy("-", "box:/d", stdin=stream.fileno())
    inside = read(engine, "box", "/d/.")
    assert {name for name in inside if name.startswith("./")} == {
        "./deep", "./deep/er", "./deep/er/file", "./e", "./plain"
    }  # fmt: skip
    with open(source, "rb") as stream, pytest.raises(Exception, match="must be a directory"):
        engine.copy("-", "box:/q", stdin=stream.fileno())


def test_owners(do, engine, tmp_path, single):
    """What goes in keeps its ids, -a gives it to the container's user; what the container's users own comes out."""
    do("run", "-d", "--name", "box", "-u", "2:3", "plain", "sh", "-c", "touch /tmp/mine; sleep 1000")
    wait_for(engine, "/tmp/mine")
    (tmp_path / "f").touch()
    do("cp", "-a", "f", "box:/tmp/given")
    if not single:
        assert read(engine, "box", "/tmp/mine")["mine"][2:4] == (2, 3)
        assert read(engine, "box", "/tmp/given")["given"][2:4] == (2, 3)
    assert read(engine, "box", "/owned/f")["f"][2:4] == (2, 3)  # of the image, also where one id is all there is


def test_a_root_that_cannot_be_written(do, engine, tmp_path):
    (tmp_path / "f").write_text("x")
    do("run", "-d", "--name", "box", "--read-only", "-v", "data:/v", "plain", "sleep", "1000")
    for _ in range(2):
        told = do("cp", "f", "box:/tmp/x")
        assert (told.code, "container rootfs is marked read-only" in told.err) == (1, True)
        assert do("cp", "f", "box:/v/x").code == 0
        engine.stop("box", timeout=0)


# -- attacks


def test_links_and_dots_never_leave_the_container(do, engine, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("host\n")
    (tmp_path / "f").write_text("f")
    script = (
        f"ln -s {outside} /out; ln -s ../../../../../../..{outside} /up; mkdir /a; ln -s {outside}/new /a/dangling;"
        " ln -s /proc/1/root /magic; touch /ready; sleep 1000"
    )
    do("run", "-d", "--name", "box", "plain", "sh", "-c", script)
    wait_for(engine, "/ready")
    for _ in range(2):
        for path in ("/out/secret", "/up/secret", f"/../..{outside}/secret", "/magic/out/secret"):
            told = do("cp", f"box:{path}", "stolen")
            assert told.code == 1, path
        for path in ("/out/x", "/up/x", "/a/dangling", f"/a/../../..{outside}/x"):
            do("cp", "f", f"box:{path}")
        assert os.listdir(outside) == ["secret"]
        assert not (tmp_path / "stolen").exists()
        engine.stop("box", timeout=0)


def test_a_directory_that_becomes_a_link_while_it_is_copied_into(do, engine, tmp_path):
    """The container swaps a directory and a link to the host's as fast as it can."""
    outside = tmp_path / "outside"
    outside.mkdir()
    source = tmp_path / "many"
    source.mkdir()
    for number in range(200):
        (source / f"f{number}").write_text("x")
    swap = f"mkdir /w /w/x; ln -s {outside} /w/y; touch /ready; while :; do mv -T /w/x /w/z; mv -T /w/y /w/x; "
    swap += "mv -T /w/x /w/y; mv -T /w/z /w/x; done"
    do("run", "-d", "--name", "box", "plain", "sh", "-c", swap)
    wait_for(engine, "/ready")
    for _ in range(5):
        do("cp", f"{source}/.", "box:/w/x")
        do("cp", "box:/w/x/.", "back")
    assert os.listdir(outside) == []


def test_a_directory_that_has_become_a_link_is_not_copied_as_one(do, engine):
    """Else the host would have the link, and the next copy would follow it."""
    do("run", "-d", "--name", "box", "plain", "sh", "-c", "mkdir /w; ln -s /etc /l; echo x > /f; sleep 1000")
    wait_for(engine, "/f")
    with engine._box(engine._containers.find("box")) as (view, root):
        worker = engine._worker()
        for path, kind in (("/l", "dir"), ("/f", "dir"), ("/w", "file"), ("/l", "file"), ("/gone", "file")):
            reader, end = os.pipe()
            with pytest.raises(Conflict, match="has become something else"):
                worker.pack(view, PathFacts(path=path, kind=kind), "x", end, root=root)
            os.close(end)
            assert os.read(reader, 1) == b""
            os.close(reader)


def test_an_archive_of_the_container_cannot_write_elsewhere(do, tmp_path):
    """The destination holds a link where the archive has a directory."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst" / "s").symlink_to(outside)
    do("run", "--name", "box", "plain", "sh", "-c", "mkdir /s; echo x > /s/x")
    told = do("cp", "box:/s", "dst")
    assert (told.code, "cannot overwrite non-directory" in told.err) == (1, True)
    assert list(outside.iterdir()) == []


# -- diff, export, commit


CHANGES = (
    "echo new > /new; mkdir -p /nd/sub; echo x > /nd/sub/f; rm /data/l; echo m >> /data/f; rm -rf /lnk; mkdir /lnk;"
    " echo z > /lnk/z; chmod 700 /var; ln -s x /l; mkfifo /fifo; rm /afile; mkdir /afile; touch /etc/group"
)


@pytest.fixture(params=["running", "stopped"])
def changed(request, do, engine):
    do("run", "-d", "--name", "box", "-v", "vol:/vol/in", "plain", "sh", "-c", f"{CHANGES}; touch /ready; sleep 1000")
    wait_for(engine, "/ready")
    if request.param == "stopped":
        engine.stop("box", timeout=0)
    return request.param


@pytest.mark.usefixtures("changed")
def test_diff(do):
    assert do("diff", "box").out.splitlines() == [
        "C /afile", "C /data", "C /data/f", "D /data/l", "C /etc", "C /etc/group", "A /fifo", "A /l", "C /lnk",
        "D /lnk/d", "A /lnk/z", "A /nd", "A /nd/sub", "A /nd/sub/f", "A /new", "A /ready", "C /var", "A /vol",
        "A /vol/in",
    ]  # fmt: skip


def test_a_created_container_has_no_changes(do):
    do("create", "--name", "box", "-v", "/x", "plain", "true")
    assert do("diff", "box").out == ""


@pytest.mark.usefixtures("changed")
def test_export(do, tmp_path):
    do("export", "-o", "out.tar", "box")
    with tarfile.open(tmp_path / "out.tar") as tar:
        members = {member.name: member for member in tar}
    assert {"new", "nd/sub/f", "vol/in", "lnk/z", "bin/busybox", "etc/passwd"} <= set(members)
    assert "data/l" not in members
    assert not any(name.startswith(("vol/in/", "proc/", "sys/", "dev/")) for name in members)
    assert members["data"].mode == 0o2750
    assert (members["owned/f"].uid, members["owned/f"].gid) == (2, 3)
    assert "" not in members
    told = do("export", "-o", "no/out.tar", "box")
    assert (told.code, "invalid output path" in told.err) == (1, True)


def test_commit(changed, do):
    told = do(
        "commit", "-a", "Me", "-m", "why", "-c", 'CMD ["cat", "/new"]', "-c", "ENV A=1", "-c", "VOLUME /more", "box",
        "made:it",
    )  # fmt: skip
    assert told.code == 0, told
    try:
        assert do("run", "--rm", "made:it").out == "new\n"
        look = "ls /lnk /data; ls -d /afile /fifo; readlink /l"
        assert do("run", "--rm", "made:it", "sh", "-c", look).out.splitlines() == [
            "/data:", "f", "hard", "sub", "", "/lnk:", "z", "/afile", "/fifo", "x",
        ]  # fmt: skip
        image = json.loads(do("inspect", "--type", "image", "made:it").out)[0]
        assert (image["Author"], image["Comment"]) == ("Me", "why")
        assert image["Config"]["Volumes"] == {"/more": {}}
        assert image["Config"]["Env"][-1] == "A=1"
        base = json.loads(do("inspect", "--type", "image", "plain").out)[0]
        assert image["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
        history = do("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:it").out.splitlines()
        assert history[0] == f"sh -c {CHANGES}; touch /ready; sleep 1000|why"
        if changed == "running":
            assert json.loads(do("inspect", "box").out)[0]["State"]["Status"] == "running"
    finally:
        do("rmi", "-f", "made:it")


def test_committed_owners(do, engine, single):
    """Owners that the host cannot store are those of the image."""
    do("run", "--name", "box", "plain", "sh", "-c", "echo more >> /owned/f; touch /owned/new; chown 7:8 /owned/new")
    image = do("commit", "box").out.strip()
    try:
        do("run", "--name", "next", image, "true")
        members = read(engine, "next", "/owned")
        assert members["owned/f"][2:4] == (2, 3)
        if not single:
            assert members["owned/new"][2:4] == (7, 8)
    finally:
        do("rm", "-f", "next")
        do("rmi", "-f", image)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("box", "BAD"), "must be lower case"),
        (("-c", "RUN x", "box"), "RUN is not a valid change command"),
        (("-c", "ENV", "box"), "ENV needs at least one argument"),
        (("nobody",), "no such container: nobody"),
    ],
)
def test_commit_refusals(do, words, problem):
    do("create", "--name", "box", "plain", "true")
    told = do("commit", *words)
    assert (told.code, problem in told.err) == (1, True), told


def test_events(do, engine, tmp_path):
    do("create", "--name", "box", "plain", "true")
    (tmp_path / "f").touch()
    do("cp", "f", "box:/f")
    do("cp", "box:/f", "g")
    do("export", "-o", "x.tar", "box")
    image = do("commit", "box").out.strip()
    do("rmi", "-f", image)
    told = [event for event in engine.events(since=0, until="0s") if event.attributes.get("name") == "box"]
    actions = [event.action for event in told]
    assert actions[-4:] == ["extract-to-dir", "archive-path", "export", "commit"]


@pytest.mark.root
def test_tar_reads_what_export_writes(do, tmp_path):
    do("run", "--name", "box", "plain", "sh", "-c", "mkdir -p /" + "/".join(["long"] * 40) + "; touch /ü")
    do("export", "-o", "x.tar", "box")
    listed = subprocess.run(["tar", "tf", "x.tar"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert "/".join(["long"] * 40) + "/" in listed
