"""What a program finds inside a container, and what its client gets back."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from contextkernel.errors import CommandNotExecutable, CommandNotFound, InvalidInput, LaunchFailed
from contextkernel.model.container import Bind, Tmpfs


def test_exit_code(box):
    assert box.run("true").code == 0
    assert box.run("sh", "-c", "exit 3").code == 3


def test_death_by_a_signal(box):
    # process 1 ignores what it has no handler for; a child of init does not
    assert box.run("sh", "-c", "kill -KILL $$", init=True).code == 137
    assert box.run("sh", "-c", "kill -TERM $$", init=True).code == 143


@pytest.mark.parametrize(
    ("program", "error", "text"),
    [
        ("nope", CommandNotFound, 'exec: "nope": executable file not found in $PATH'),
        ("", CommandNotFound, 'exec: "": executable file not found in $PATH'),
        ("/no/such", CommandNotFound, 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd", CommandNotExecutable, 'exec: "/etc/passwd": permission denied'),
        ("/etc", CommandNotExecutable, 'exec: "/etc": is a directory'),
        ("/bin/text", CommandNotExecutable, "exec /bin/text: exec format error"),
        ("/bin/orphan", CommandNotFound, "exec /bin/orphan: no such file or directory"),
    ],
)
def test_a_program_that_cannot_be_executed(box, program, error, text):
    request = box.request(program)
    for name, content in (("text", "no program\n"), ("orphan", "#!/no/interpreter\n")):
        file = Path(request.upper, "bin", name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        file.chmod(0o755)
    with pytest.raises(error) as caught:
        box.execute(request)
    assert caught.value.problem == text
    assert caught.value.exit_code == (127 if error is CommandNotFound else 126)
    assert type(caught.value) is error


@pytest.mark.parametrize("first_line", ["#!/proc/self/exe", "#!/bin/jump", "#!/proc/self/fd/3"])
def test_attack_script_run_by_the_engines_own_interpreter(box, first_line):
    request = box.request("/bin/evil", "-c", "print('out')")
    binaries = Path(request.upper, "bin")
    binaries.mkdir()
    (binaries / "jump").symlink_to("/proc/self/exe")
    (binaries / "evil").write_text(f"{first_line}\n")
    (binaries / "evil").chmod(0o755)
    with pytest.raises(CommandNotExecutable, match="leads out of the container"):
        box.execute(request)


@pytest.mark.parametrize("directory", ["/proc/self/fd/3", "/proc/self/cwd", "/jump"])
def test_attack_working_directory_through_a_jump_link(box, directory):
    request = box.request("true", working_dir=directory)
    Path(request.upper, "jump").symlink_to("/proc/self/root")
    with pytest.raises(LaunchFailed):
        box.execute(request)


def test_outputs_are_separate(box):
    done = box.run("sh", "-c", "echo to out; echo to err >&2")
    assert (done.out, done.err) == ("to out\n", "to err\n")


def test_much_output_is_complete(box):
    done = box.run("sh", "-c", "seq 1 200000; seq 1 100 >&2")
    assert done.out == "".join(f"{number}\n" for number in range(1, 200001))
    assert done.err == "".join(f"{number}\n" for number in range(1, 101))


def test_standard_input_is_relayed(box):
    data = b"line\n" * 100_000
    done = box.run("sh", "-c", "cat; echo end", stdin=data, open_stdin=True, stdin_once=True)
    assert done.out.encode() == data + b"end\n"


def test_standard_input_is_empty_unless_opened(box):
    assert box.run("cat", stdin=b"never read").out == ""
    assert box.sh("readlink /proc/self/fd/0") == "/dev/null\n"


def test_a_program_that_closes_its_input(box):
    assert box.run("head", "-n1", stdin=b"first\n" * 100_000, open_stdin=True, stdin_once=True).out == "first\n"


def test_output_to_files_is_appended_in_place(box, tmp_path):
    target = tmp_path / "out"
    target.write_text("before\n")
    with target.open("ab") as file:
        process = box.runtime.launch(box.request("sh", "-c", "echo in"), stdout=file.fileno(), stderr=file.fileno())
        assert process.wait() == 0
        process.close()
    assert target.read_text() == "before\nin\n"


def test_client_descriptors_stay_blocking(box):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = box.runtime.launch(box.request("sh", "-c", "echo x"), stdout=theirs.fileno())
        assert process.wait() == 0
        process.close()
        assert os.get_blocking(theirs.fileno())
        assert ours.recv(10) == b"x\n"


def test_no_descriptor_of_the_engine_is_inherited(box):
    assert box.sh("ls /proc/self/fd") == "0\n1\n2\n3\n"  # 3 is the directory being listed
    assert box.run("ls", "/proc/self/fd", init=True).out == "0\n1\n2\n3\n"


def test_process_one(box):
    assert box.sh("echo $$; awk '{print $1, $4, $6}' /proc/self/stat").splitlines()[0] == "1"
    listed = box.sh("ps -o pid,comm; true").splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["1", "2"]


def test_signals_have_their_defaults(box):
    for init in (False, True):
        done = box.run("grep", "^Sig", "/proc/self/status", init=init)
        lines = dict(line.split(":\t") for line in done.out.splitlines())
        assert {lines[name] for name in ("SigIgn", "SigBlk", "SigCgt")} == {"0" * 16}


def test_umask(box):
    assert box.sh("umask; touch /f; stat -c %a /f") == "0022\n644\n"


def test_host_name_and_generated_files(box):
    out = box.sh("hostname; cat /etc/hostname; grep -c localhost /etc/hosts; tail -n1 /etc/hosts", hostname="greet")
    assert out == "greet\ngreet\n2\n127.0.1.1\tgreet\n"
    assert box.sh("cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text()


def test_generated_files_may_be_changed_and_leave_nothing(box):
    request = box.request("sh", "-c", "echo 10.0.0.1 name >>/etc/hosts; tail -n1 /etc/hosts")
    assert box.execute(request).out == "10.0.0.1 name\n"
    assert os.listdir(request.upper) == []


def test_generated_files_can_be_left_out(box):
    assert box.run("cat", "/etc/hosts", hosts_files=False).code == 1


def test_network_none_has_only_loopback(box):
    assert box.sh("ls /sys/class/net; cat /sys/class/net/lo/operstate; ip -o link | wc -l") == "lo\nunknown\n1\n"
    assert "127.0.0.1" in box.sh("ip addr show lo")


def test_network_host_shares_the_hosts(box):
    assert box.sh("readlink /proc/self/ns/net", network="host").strip() == os.readlink("/proc/self/ns/net")
    before = set(os.listdir("/sys/class/net"))
    seen = set(box.sh("ls /sys/class/net", network="host").split())
    after = set(os.listdir("/sys/class/net"))
    assert before & after <= seen <= before | after  # others make and remove links all the time


def test_namespaces_are_its_own(box):
    for name in ("mnt", "pid", "uts", "ipc", "cgroup", "net"):
        assert box.sh(f"readlink /proc/self/ns/{name}").strip() != os.readlink(f"/proc/self/ns/{name}")


def test_root_and_its_capabilities(box):
    assert box.sh("id -u; id -g") == "0\n0\n"
    status = dict(line.split(":\t") for line in box.sh("grep -E 'Cap|NoNew|Seccomp:' /proc/self/status").splitlines())
    assert status == {
        "CapInh": "0000000000000000",
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0000000000000000",
        "NoNewPrivs": "0",
        "Seccomp": "2",
    }


def test_another_user(box):
    if box.single:
        assert box.sh("id -u; echo $HOME", user="bob") == "0\n/home/bob\n"
        return
    assert box.sh("id -u; id -g; id -G; echo $HOME", user="bob") == "1000\n1001\n1001 50\n/home/bob\n"
    assert box.sh("id -u; id -g; id -G; echo $HOME", user="bob:other") == "1000\n60\n60\n/home/bob\n"
    assert box.sh("id -u; id -g; echo $HOME", user="4000:4001") == "4000\n4001\n/\n"
    status = dict(line.split(":\t") for line in box.sh("grep Cap /proc/self/status", user="bob").splitlines())
    assert status["CapEff"] == status["CapPrm"] == "0" * 16
    assert status["CapBnd"] == "00000000a80425fb"


def test_unknown_user(box):
    with pytest.raises(LaunchFailed, match="unable to find user nobody: no matching entries in passwd file"):
        box.run("true", user="nobody")


def test_home_is_set_unless_given(box):
    assert box.sh("echo $HOME") == "/root\n"
    assert box.sh("echo $HOME", env=("PATH=/bin", "HOME=/x")) == "/x\n"


def test_environment_is_only_what_was_asked_for(box):
    names = {line.partition("=")[0] for line in box.run("env", env=("PATH=/bin", "A=b=c", "E=")).out.splitlines()}
    assert names == {"PATH", "A", "E", "HOME"} | ({"APT_CONFIG"} if box.single else set())


def test_fake_ids(box):
    out = box.sh(
        "touch /f; chown 33:33 /f; stat -c %u /f; mknod /n c 1 3; stat -c %F /n; cat $APT_CONFIG",
        fake_ids=True,
    )
    assert out == '0\nregular empty file\nDebug::NoDropPrivs "true";\n'


def test_working_directory_is_created(box):
    assert box.sh("pwd; stat -c '%a %u' .", working_dir="/new/deep") == "/new/deep\n755 0\n"


def test_working_directory_that_is_a_file(box):
    with pytest.raises(LaunchFailed, match="mkdir /etc/passwd: not a directory"):
        box.run("true", working_dir="/etc/passwd")


def test_devices(box):
    core = "core " if os.path.exists("/proc/kcore") else ""
    expected = f"{core}fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert box.sh("ls /dev").split() == expected.split()
    assert box.sh(
        "echo x >/dev/null; head -c4 /dev/zero | wc -c; head -c4 /dev/urandom | wc -c; stat -c %a /dev/shm"
    ) == ("4\n4\n1777\n")
    assert box.sh("echo out >/dev/stdout; df=1; ls /dev/fd/ | head -n3") == "out\n0\n1\n2\n"
    assert "ptmxmode=666" in box.sh("grep devpts /proc/mounts")


def test_devices_made_inside_cannot_be_opened(box):
    for path in ("/disk", "/dev/disk", "/dev/shm/disk"):
        done = box.run("sh", "-c", f"mknod {path} b 7 0; head -c1 {path}")
        if box.single and path == "/disk":
            assert done.out == ""  # an empty file stands for it
            continue
        assert done.code != 0
        assert "ermi" in done.err or "No such file" in done.err  # refused, or the node only pretended to be made


def test_masked_and_read_only_paths(box):
    out = box.sh(
        "for p in /proc/kcore /proc/keys /proc/timer_list; do test -e $p && cat $p | wc -c; done | sort -u;"
        " ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | tr -d '\\n'"
    )
    assert out in ("0\n", "")
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/x"):
        assert box.run("sh", "-c", f"echo x >{path}").code != 0
    assert "read-only" in box.run("sh", "-c", "echo x >/proc/sys/kernel/hostname").err.lower()


def test_mounting_is_refused(box):
    assert box.run("mount", "-t", "tmpfs", "none", "/etc").code != 0
    assert box.run("umount", "/etc/hosts").code != 0


def test_read_only_root(box):
    out = box.sh("touch /f 2>&1; touch /dev/shm/f; touch /tmp/f && echo ok", read_only=True, tmpfs=(Tmpfs("/tmp"),))
    assert out == "touch: /f: Read-only file system\nok\n"


def test_tmpfs(box):
    out = box.sh("grep ' /run ' /proc/mounts; stat -c %a /run", tmpfs=(Tmpfs("/run", "size=1m,exec"),))
    options = out.split()[3].split(",")
    assert {"nosuid", "nodev", "size=1024k"} <= set(options)
    assert "noexec" not in options
    assert out.splitlines()[1] == "1777"
    request = box.request("stat", "-c", "%a", "/bin", tmpfs=(Tmpfs("/etc"),))
    assert box.execute(request).out == "755\n"


def test_tmpfs_takes_the_mode_of_the_directory_below(box):
    assert box.run("/bin/stat", "-c", "%a", "/etc", tmpfs=(Tmpfs("/etc"),), hosts_files=False).out == "755\n"


def test_binds(box, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("from the host\n")
    (tmp_path / "file").write_text("single\n")
    binds = (
        Bind(str(tmp_path / "data"), "/data"),
        Bind(str(tmp_path / "data"), "/data/ro", read_only=True),
        Bind(str(tmp_path / "file"), "/etc/one"),
    )
    (tmp_path / "data" / "ro").mkdir()
    request = box.request("sh", "-c", "cat /data/f /etc/one; echo x >/data/new; echo y >/data/ro/new2", binds=binds)
    done = box.execute(request)
    assert done.out == "from the host\nsingle\n"
    assert "Read-only" in done.err
    assert (tmp_path / "data" / "new").read_text() == "x\n"
    assert not (tmp_path / "data" / "new2").exists()
    assert os.listdir(request.upper) == []  # the mount points are gone again


def test_a_bind_target_cannot_lead_outside(box, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    request = box.request(
        "sh",
        "-c",
        "readlink /link; ls /proc/mounts >/dev/null; grep -c outside /proc/mounts",
        binds=(Bind(str(tmp_path / "data"), "/link/x"),),
    )
    Path(request.upper, "link").symlink_to(f"../../../../../../..{tmp_path}/outside")
    box.execute(request)
    assert os.listdir(tmp_path / "outside") == []


def test_mounts_over_proc_are_refused(box, tmp_path):
    with pytest.raises((InvalidInput, LaunchFailed), match="/proc belongs to the engine"):
        box.run("true", binds=(Bind(str(tmp_path), "/proc/x"),))


def test_changes_are_in_the_upper_directory(box):
    request = box.request("sh", "-c", "echo new >/new; rm /etc/group; rm -r /bin/../etc/passwd; mkdir /d; echo x >/d/f")
    assert box.execute(request).code == 0
    upper = Path(request.upper)
    assert sorted(os.listdir(upper)) == ["d", "etc", "new"]
    assert (upper / "new").read_text() == "new\n"
    for name in ("group", "passwd"):
        mark = (upper / "etc" / name).lstat()
        assert stat.S_ISCHR(mark.st_mode)
        assert mark.st_rdev == 0


def test_replaced_directory_is_opaque(box):
    request = box.request("/bin/busybox", "sh", "-c", "rm -r /etc; mkdir /etc; echo x >/etc/f", hosts_files=False)
    assert box.execute(request).code == 0
    name = "trusted.overlay.opaque" if box.idmap.identity else "user.overlay.opaque"
    assert os.getxattr(os.path.join(request.upper, "etc"), name) == b"y"


def test_a_run_that_changes_nothing_leaves_nothing(box, base):
    before = {path: path.stat().st_mtime_ns for path in (base, base / "etc", base / "bin")}
    request = box.request("true")
    mtime = os.stat(request.upper).st_mtime_ns
    assert box.execute(request).code == 0
    assert os.listdir(request.upper) == []
    assert os.stat(request.upper).st_mtime_ns == mtime
    assert before == {path: path.stat().st_mtime_ns for path in (base, base / "etc", base / "bin")}


def test_a_directory_the_program_changed_keeps_its_new_time(box):
    request = box.request("sh", "-c", "echo x >/etc/new; touch -d '2020-01-01 00:00:00' /etc")
    assert box.execute(request).code == 0
    assert os.listdir(request.upper) == ["etc"]
    assert os.listdir(Path(request.upper, "etc")) == ["new"]
    assert os.stat(Path(request.upper, "etc")).st_mtime == 1577836800


def test_existing_mount_points_are_not_copied_up(box, tmp_path):
    layer = tmp_path / "with-stubs"
    for name in ("proc", "sys", "dev", "etc"):
        (layer / name).mkdir(parents=True)
    for name in ("hosts", "hostname", "resolv.conf"):
        (layer / "etc" / name).write_text("the image's own\n")
    request = box.request("sh", "-c", "grep -c image /etc/hosts", lowers=(str(box.base), str(layer)))
    assert box.execute(request).out == "0\n"
    assert os.listdir(request.upper) == []


def test_dangling_link_as_mount_point(box):
    request = box.request("cat", "/etc/resolv.conf")
    etc = Path(request.upper, "etc")
    etc.mkdir()
    (etc / "resolv.conf").symlink_to("../run/resolve/stub.conf")
    done = box.execute(request)
    assert (done.code, done.out) == (0, Path("/etc/resolv.conf").read_text())
    assert sorted(os.listdir(request.upper)) == ["etc"]


def test_many_layers(box, tmp_path):
    lowers = [str(box.base)]
    for number in range(60):
        layer = tmp_path / "a layer, with: a long name" / f"{number:064d}" / "diff"
        layer.mkdir(parents=True)
        (layer / f"from{number}").write_text(f"{number}\n")
        (layer / "last").write_text(f"{number}\n")
        lowers.append(str(layer))
    done = box.run("sh", "-c", "ls / | grep -c ^from; cat /last", lowers=tuple(lowers))
    assert done.out == "60\n59\n"


def test_image_without_layers(box):
    request = box.request("/bin/busybox", "ls", "/", lowers=())
    target = Path(request.upper, "bin")
    target.mkdir()
    (target / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (target / "busybox").chmod(0o755)
    assert box.execute(request).out == "bin\ndev\netc\nproc\nsys\n"
    assert os.listdir(request.upper) == ["bin"]


def test_init_reaps_and_forwards(box):
    script = (
        "trap 'echo caught; exit 5' TERM; (sleep 0.01 &) ; cat /proc/1/comm; kill -TERM 1; while :; do sleep 1; done"
    )
    done = box.run("sh", "-c", script, init=True)
    assert done.code == 5
    assert done.out.splitlines()[1] == "caught"


def test_init_cannot_be_looked_into(box):
    assert box.run("sh", "-c", "readlink /proc/1/exe", init=True).code != 0


def test_init_shows_the_programs_command_line_not_the_engines(box):
    done = box.run("sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; cat /proc/1/comm", init=True)
    assert done.out.startswith("ck-init -- sh -c tr ")
    assert done.out.endswith("ck-init\n")
    assert "python" not in done.out


def test_no_mount_is_left_on_the_host(box):
    assert box.run("true", state=True).code == 0
    assert str(box.home) not in Path("/proc/self/mounts").read_text()
