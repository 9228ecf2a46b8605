"""Volumes, binds and memory in containers, as docker has them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest


def mounts(do, name):
    return json.loads(do("inspect", name, "--format", "{{json .Mounts}}").out)


def volumes(do):
    return do("volume", "ls", "-q").out.split()


# -- named volumes


def test_a_volume_outlives_its_container(do, sh):
    sh("echo kept > /v/file", "-v", "data:/v")
    assert sh("cat /v/file", "-v", "data:/v") == "kept\n"
    assert volumes(do) == ["data"]
    assert do("volume", "rm", "data").out == "data\n"
    assert volumes(do) == []


def test_a_new_volume_gets_what_the_image_has(sh, single):
    look = "stat -c '%n %a %u %g' /data /data/f /data/sub; cat /data/f; readlink /data/l; stat -c %h /data/f"
    expected = sh(look)
    if not single:
        assert "/data 2750 2 3" in expected
    assert sh(look, "-v", "data:/data") == expected
    assert sh(look, "-v", "other:/lnk/d", "-v", "data:/x") == expected  # through a link of the image
    assert sh("cat /x/f", "-v", "data:/x") == "hi\n"


@pytest.mark.parametrize(
    "options", [("-v", "data:/data:nocopy"), ("--mount", "type=volume,src=data,dst=/data,volume-nocopy")]
)
def test_without_copying(sh, options):
    assert sh("ls /data", *options) == ""


def test_only_an_empty_volume_is_filled(sh):
    sh("echo mine > /v/mine", "-v", "data:/v")
    assert sh("ls /data", "-v", "data:/data") == "mine\n"


def test_owners_live_on(sh, single):
    sh("echo x > /v/f; chown 7:8 /v/f; mkdir -m 700 /v/d; chown 9 /v/d; touch /v/d/in", "-v", "data:/v")
    if not single:
        assert sh("stat -c '%u %g' /v/f; stat -c '%u %a' /v/d", "-v", "data:/v") == "7 8\n9 700\n"
    assert sh("ls /v/d; cat /v/f", "-v", "data:/v") == "in\nx\n"


def test_a_user_writes_where_it_may(sh, single):
    sh("chmod 777 /v", "-v", "data:/v")
    sh("echo mine > /v/mine", "-v", "data:/v", "-u", "2:3")
    assert sh("stat -c '%u %g' /v/mine", "-v", "data:/v") == ("0 0\n" if single else "2 3\n")


def test_read_only(do):
    told = do("run", "--rm", "-v", "data:/v:ro", "plain", "touch", "/v/x")
    assert told.code == 1
    assert "Read-only file system" in told.err


def test_a_part_of_a_volume(do, sh):
    sh("mkdir -p /v/a/b; echo in > /v/a/b/f; ln -s /etc /v/out", "-v", "data:/v")
    assert sh("ls /w", "--mount", "type=volume,src=data,dst=/w,volume-subpath=a/b") == "f\n"
    told = do("run", "--rm", "--mount", "type=volume,src=data,dst=/w,volume-subpath=nothing", "plain", "true")
    assert told.code == 125
    # a link in a volume is followed inside of it alone
    told = do("run", "--rm", "--mount", "type=volume,src=data,dst=/w,volume-subpath=out", "plain", "true")
    assert told.code == 125


# -- anonymous volumes


def test_volume_of_the_image(do, engine):
    identity = do("run", "-d", "--name", "one", "-v", "/more", "vol", "sleep", "1000").out.strip()
    found = {mount["Destination"]: mount for mount in mounts(do, "one")}
    assert sorted(found) == ["/data", "/more"]
    assert all(mount["Driver"] == "local" and len(mount["Name"]) == 64 for mount in found.values())
    assert volumes(do) == sorted(mount["Name"] for mount in found.values())
    told = do("volume", "rm", found["/data"]["Name"])
    assert (told.code, f"volume is in use - [{identity}]" in told.err) == (1, True)
    assert os.listdir(engine._store.volume_dir(found["/more"]["Name"])) == []
    do("rm", "-f", "one")
    assert len(volumes(do)) == 2
    assert do("volume", "prune", "-f").out.startswith("Deleted Volumes:\n")
    assert volumes(do) == []


def test_rm_v_takes_anonymous_volumes_along(do):
    do("run", "--name", "one", "-v", "/more", "-v", "named:/named", "vol", "true")
    assert len(volumes(do)) == 3
    do("rm", "-v", "one")
    assert volumes(do) == ["named"]


def test_so_does_rm_at_the_end_of_a_run(do, engine):
    do("run", "--rm", "-v", "/more", "-v", "named:/named", "vol", "true")
    assert volumes(do) == ["named"]
    do("run", "-d", "--rm", "--name", "away", "vol", "sleep", "1000")
    assert len(volumes(do)) == 2
    engine.stop("away", timeout=0)
    settle(engine)
    assert volumes(do) == ["named"]


def settle(engine):
    """Until the monitor of a ``--rm`` container has removed it."""
    import time

    for _ in range(1200):
        if not engine.containers(all=True):
            return
        time.sleep(0.05)
    raise AssertionError("a --rm container is still there")


def test_v_over_volume(do, sh):
    assert sh("ls /data", "-v", "named:/data:nocopy", image="vol") == ""
    assert volumes(do) == ["named"]
    sh("true", "--tmpfs", "/data", image="vol")
    assert volumes(do) == ["named"]


def test_volumes_from(do, sh):
    do("run", "-d", "--name", "one", "-v", "/more", "-v", "named:/named", "vol", "sleep", "1000")
    assert sh("ls /data/f; echo hello > /more/x; ls -d /named", "--volumes-from", "one") == "/data/f\n/named\n"
    assert sh("cat /more/x", "--volumes-from", "one:ro") == "hello\n"
    told = do("run", "--rm", "--volumes-from", "one:ro", "plain", "touch", "/more/y")
    assert told.code == 1
    do("run", "--name", "two", "--volumes-from", "one", "plain", "true")
    do("rm", "-fv", "one")
    assert len(volumes(do)) == 3  # two needs them
    do("rm", "-v", "two")
    assert volumes(do) == ["named"]


# -- binds


def test_binds(do, sh, tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f").write_text("host\n")
    (tmp_path / "file").write_text("one\n")
    script = "cat /a/f /b; echo new > /a/new; grep -c ' /deep/er/file ' /proc/self/mountinfo"
    out = sh(script, "-v", "./dir:/a", "-v", f"{tmp_path}/file:/b:ro", "-v", f"{tmp_path}/file:/deep/er/file")
    assert out == "host\none\n1\n"
    assert (tmp_path / "dir" / "new").read_text() == "new\n"
    told = do("run", "--rm", "-v", f"{tmp_path}/file:/b:ro", "plain", "sh", "-c", "echo x > /b")
    assert told.code != 0


def test_v_makes_a_missing_source_and_mount_refuses(do, sh, tmp_path):
    sh("touch /a/x", "-v", "./made/deep:/a")
    assert (tmp_path / "made" / "deep" / "x").exists()
    told = do("run", "--rm", "--mount", f"type=bind,src={tmp_path}/no,dst=/a", "plain", "true")
    assert (told.code, "bind source path does not exist" in told.err) == (125, True)
    assert not (tmp_path / "no").exists()
    sh("true", "--mount", f"type=bind,src={tmp_path}/yes,dst=/a,bind-create-src")
    assert (tmp_path / "yes").is_dir()
    (tmp_path / "file").touch()
    told = do("run", "--rm", "-v", "./file/below:/a", "plain", "true")
    assert (told.code, "cannot make the directory" in told.err) == (125, True)


@pytest.mark.parametrize("options", [("-v", "{0}/f:/data"), ("-v", "{0}:/afile"), ("-v", "vol:/afile")])
def test_directories_and_files_do_not_mix(do, tmp_path, options):
    (tmp_path / "f").touch()
    told = do("run", "--rm", *(word.format(tmp_path) for word in options), "plain", "true")
    assert told.code == 125
    assert "not a directory" in told.err


def test_a_source_that_went_away(do, tmp_path):
    (tmp_path / "src").mkdir()
    do("run", "--name", "one", "--mount", f"type=bind,src={tmp_path}/src,dst=/a", "plain", "true")
    (tmp_path / "src").rmdir()
    told = do("start", "-a", "one")
    assert told.code != 0
    assert "bind source path does not exist" in told.err


def test_shared_propagation_is_refused_where_nothing_is_shared(do, tmp_path):
    shared = any(" shared:" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())
    told = do("run", "--rm", "-v", f"{tmp_path}:/a:rshared", "plain", "true")
    if not shared:
        assert (told.code, "is not a shared mount" in told.err) == (125, True)


@pytest.mark.root
def test_propagation(do, tmp_path):
    import subprocess

    def mount(*words):
        subprocess.run(["mount", *words], check=True)

    place = tmp_path / "place"
    place.mkdir()
    mount("--bind", str(place), str(place))
    try:
        mount("--make-shared", str(place))
        (place / "in").mkdir()
        for name, mode in (("private", "rprivate"), ("slave", "rslave"), ("both", "rshared")):
            do("run", "-d", "--name", name, "-v", f"{place}:/a:{mode}", "plain", "sleep", "1000")
        mount("-t", "tmpfs", "none", str(place / "in"))
        (place / "in" / "seen").touch()
        seen = {}
        for name in ("private", "slave", "both"):
            pid = json.loads(do("inspect", name).out)[0]["State"]["Pid"]
            seen[name] = os.listdir(f"/proc/{pid}/root/a/in")
        assert seen == {"private": [], "slave": ["seen"], "both": ["seen"]}
        for name in ("private", "slave", "both"):
            do("rm", "-f", name)
    finally:
        subprocess.run(["umount", "-R", "-l", str(place)], check=True)


@pytest.mark.root
def test_what_is_mounted_below_the_source(do, sh, tmp_path):
    import subprocess

    place = tmp_path / "below"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        (place / "f").touch()
        bind = f"type=bind,src={tmp_path},dst=/a"
        assert sh("ls /a/below", "--mount", bind) == "f\n"
        assert sh("ls /a/below", "--mount", f"{bind},bind-recursive=disabled") == ""
        assert do("run", "--rm", "--mount", f"{bind},ro", "plain", "touch", "/a/below/x").code == 1
        assert do("run", "--rm", "--mount", f"{bind},ro,bind-recursive=writable", "plain", "touch", "/a/x").code == 1
        sh("touch /a/below/x", "--mount", f"{bind},ro,bind-recursive=writable")
    finally:
        subprocess.run(["umount", str(place)], check=True)


# -- memory, and a root that cannot be written


def test_tmpfs(sh):
    look = "grep ' /t ' /proc/mounts; stat -c %a /t"
    assert "size=1024k" in sh(look, "--tmpfs", "/t:size=1m,mode=700")
    assert sh(look, "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700").endswith("700\n")
    assert sh(look, "--mount", "type=tmpfs,dst=/t").endswith("1777\n")
    assert sh("stat -c %a /data; ls /data", "--mount", "type=tmpfs,dst=/data") == "2750\n"


def test_a_root_that_cannot_be_written(do, sh):
    told = do("run", "--rm", "--read-only", "plain", "touch", "/x")
    assert (told.code, "Read-only file system" in told.err) == (1, True)
    assert do("run", "--rm", "--read-only", "plain", "sh", "-c", "echo x >> /etc/hosts").code != 0
    options = ("--read-only", "--tmpfs", "/t", "-v", "data:/v", "-v", "/w")
    assert sh("touch /t/x /v/x /w/x /dev/shm/x && echo ok", *options) == "ok\n"


# -- attacks


def test_links_of_an_image_lead_nowhere_else(do, engine, tmp_path):
    target = tmp_path / "outside"
    target.mkdir()
    text = f"FROM ck-base\nRUN ln -s {target} /out && ln -s ../../../../../..{target} /up && ln -s /proc /pr\n"
    engine.build(None, text=text, tags=["links"])
    try:
        for place in ("/out/x", "/up/x"):
            told = do("run", "--rm", "-v", f"data:{place}", "links", "sh", "-c", f"echo in > {place}/f; cat {place}/f")
            assert (told.code, told.out) == (0, "in\n")
        assert list(target.iterdir()) == []
        told = do("run", "--rm", "-v", "data:/pr", "links", "true")
        assert (told.code, "leads to /proc" in told.err) == (125, True)
        assert do("run", "--rm", "-v", "data:/pr/x", "links", "true").code == 125
    finally:
        engine.remove_image("links", force=True)


def test_a_link_in_a_volume_is_not_followed_for_a_mount_inside_it(do, sh, tmp_path):
    """CVE-2017-1002101 and its kin: the target of one mount is a link in another, which leads to the host."""
    target = tmp_path / "outside"
    target.mkdir()
    sh(f"ln -s {target} /v/inner", "-v", "data:/v")
    told = do("run", "--rm", "-v", "data:/v", "-v", "other:/v/inner/x", "plain", "sh", "-c", "touch /v/inner/x/f")
    assert told.code == 0
    assert list(target.iterdir()) == []


def test_copying_up_stays_in_the_image(sh, engine, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("host\n")
    engine.build(None, text=f"FROM ck-base\nRUN ln -s {secret} /data\n", tags=["thief"])
    try:
        assert sh("ls /v", "-v", "data:/data", "-v", "data:/v", image="thief") == ""
    finally:
        engine.remove_image("thief", force=True)


# -- the local driver's options


def test_a_volume_that_is_a_directory_of_the_host(do, sh, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "f").write_text("host\n")
    do("volume", "create", "data", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}/host")
    assert sh("cat /v/f", "-v", "data:/v") == "host\n"
    do("volume", "create", "gone", "-o", "type=none", "-o", "o=bind", "-o", "device=/nonexistent")
    told = do("run", "--rm", "-v", "gone:/v", "plain", "true")
    assert (told.code, "error while mounting volume gone" in told.err) == (125, True)


def test_a_volume_in_memory(do, sh):
    do("volume", "create", "data", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=700")
    assert "tmpfs" in sh("grep ' /v ' /proc/mounts", "-v", "data:/v")
    assert json.loads(do("volume", "inspect", "data").out)[0]["Options"] == {
        "device": "tmpfs",
        "o": "size=1m,mode=700",
        "type": "tmpfs",
    }


@pytest.mark.rootless
def test_other_file_systems_need_privilege(do):
    do("volume", "create", "data", "-o", "type=ext4", "-o", "device=/dev/nothing")
    told = do("run", "--rm", "-v", "data:/v", "plain", "true")
    assert (told.code, "failed to mount local volume" in told.err) == (125, True)


# -- verbs


def test_filters_and_events(do, engine):
    do("volume", "create", "one", "--label", "a=b")
    do("volume", "create", "two")
    do("run", "--name", "box", "-v", "two:/v", "plain", "true")
    assert do("volume", "ls", "-q", "-f", "dangling=true").out == "one\n"
    assert do("volume", "ls", "-q", "-f", "dangling=false").out == "two\n"
    assert do("volume", "ls", "-q", "-f", "label=a=b").out == "one\n"
    assert do("volume", "ls", "-q", "-f", "name=w").out == "two\n"
    do("volume", "prune", "-af", "--filter", "label!=a")
    assert volumes(do) == ["one", "two"]
    do("volume", "prune", "-af")
    assert volumes(do) == ["two"]
    told = [(event.action, event.id) for event in engine.events(since=0, until="0s") if event.type == "volume"]
    assert ("create", "one") in told
    assert ("destroy", "one") in told


def test_volumes_are_told_to_be_mounted(do, engine):
    do("run", "--rm", "--name", "box", "-v", "told:/v:ro", "-v", "told:/w", "plain", "true")
    told = [event for event in engine.events(since=0, until="0s") if event.type == "volume" and event.id == "told"]
    assert [event.action for event in told[-5:]] == ["create", "mount", "mount", "unmount", "unmount"]
    assert {key: told[-4].attributes[key] for key in ("destination", "driver", "propagation", "read/write")} == {
        "destination": "/v",
        "driver": "local",
        "propagation": "",
        "read/write": "false",
    }


def test_inspect_of_anything(do):
    do("volume", "create", "data", "--label", "a=b")
    for words in (("data",), ("--type", "volume", "data")):
        assert json.loads(do("inspect", *words).out)[0]["Labels"] == {"a": "b"}
    told = do("inspect", "--type", "volume", "nothing")
    assert (told.code, "get nothing: no such volume" in told.err) == (1, True)
    assert "no such object: nothing" in do("inspect", "nothing").err
    assert do("inspect", "--type", "image", "data").code == 1


def test_sizes_whoever_owns_the_files(do, sh):
    script = "mkdir -m 700 /v/d; echo 12345 > /v/d/f; ln /v/d/f /v/d/again; chown 7:7 /v/d"
    sh(script, "-v", "data:/v")
    assert "6B" in do("system", "df", "-v").out
    assert do("volume", "prune", "-af").out == "Deleted Volumes:\ndata\n\nTotal reclaimed space: 6B\n"
