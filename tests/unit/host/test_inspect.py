from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contextkernel import host
from contextkernel.errors import HostUnsupported, InvalidInput
from contextkernel.host import attempt, cache
from contextkernel.host.catalogue import NAMES, SPARED
from contextkernel.host.findings import Findings
from contextkernel.model.ids import IdMap

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


@linux
def test_facts_are_found_kept_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "new" / "store"
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)  # a kernel has threads: unshare(CLONE_NEWUSER) fails there
    thread.start()
    try:
        found = host.inspect(root)
    finally:
        stop.set()
        thread.join()
    assert {fact.name for fact in found.report.facts} >= set(NAMES) - SPARED
    assert not any("did not come to its end" in fact.reason for fact in found.report.facts)
    assert os.listdir(root) == ["host.json"]

    def again(_: str) -> Findings:
        raise AssertionError("tried again")

    monkeypatch.setattr(attempt, "attempt", again)
    assert host.inspect(root) == found
    assert host.inspect_host(str(root)) == found.report
    assert host.tier(root) == found.report.tier
    assert host.idmap(root) == found.idmap
    with pytest.raises(AssertionError, match="tried again"):
        host.inspect(root, refresh=True)


@linux
def test_the_default_place_is_the_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_ROOT", str(tmp_path))
    assert host.tier() == host.tier(tmp_path)
    assert (tmp_path / "host.json").exists()


@linux
@pytest.mark.parametrize("content", ["", "{", "[]", '[{"key": 1}]', "\x00\xff"])
def test_a_damaged_file_is_found_out_again(content: str, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(content)
    assert cache.read(str(tmp_path), cache.key(str(tmp_path))) is None


@linux
def test_what_a_remedy_changes_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    before = cache.key(str(tmp_path))
    assert cache.key(str(tmp_path)) == before
    os.utime(programs, ns=(1, 1))  # what installing a program does
    after = cache.key(str(tmp_path))
    assert after != before
    assert cache.key(str(programs)) != after


@linux
def test_several_hosts_share_a_root(tmp_path: Path) -> None:
    found = host.inspect(tmp_path)
    for number in range(20):
        cache.write(str(tmp_path), f"key {number}", found)
    assert cache.read(str(tmp_path), "key 19") == found
    assert cache.read(str(tmp_path), "key 12") == found
    assert cache.read(str(tmp_path), "key 11") is None


@linux
def test_a_root_that_cannot_be_made_is_a_fact_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = host.inspect(tmp_path / "file" / "root")
    overlay = next(fact for fact in found.report.facts if fact.name == "overlay")
    assert overlay.verdict == "refused"
    assert overlay.reason


@linux
def test_stale_directories_of_killed_probes_go(tmp_path: Path) -> None:
    old, young = tmp_path / "probe-old", tmp_path / "probe-young"
    for path in (old, young):
        (path / "inside").mkdir(parents=True)
    os.utime(old, (1, 1))
    host.inspect(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["host.json", "probe-young"]


@pytest.mark.parametrize(("platform", "word"), [("win32", "WSL 2"), ("darwin", "limactl"), ("freebsd14", "Binder")])
def test_other_systems_are_told_what_to_use(platform: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for ask in (host.require_linux, host.inspect_host, host.tier, host.idmap):
        with pytest.raises(HostUnsupported, match="containers need Linux") as caught:
            ask()
        assert word in str(caught.value.hint)
        assert "Binder" in str(caught.value.hint)


def test_a_probe_that_was_cut_off_keeps_what_it_said() -> None:
    said = (
        b'{"type":"Surroundings","uid":1,"gid":1,"user":"u","root":"/r","kernel":"6","machine":"m"}\n'
        b'{"type":"Outcome","name":"overlay","verdict":"refused"}\n'
        b'{"type":"Outcome","name":"overlay","verdict":"works"}\n'
        b'{"type":"Entered","idmap":{"uids":[],"gids":[]}}\n{"type":"Outc'
    )
    findings = attempt.collect(said, "", complete=False)
    assert findings.outcomes["overlay"].verdict == "works"
    assert findings.entered
    assert findings.idmap == IdMap()


def test_a_probe_that_says_nothing_is_an_error() -> None:
    with pytest.raises(HostUnsupported, match="no module"):
        attempt.collect(b"", "no module", complete=False)


def inspect_behind(wrapper: str, root: Path) -> list[str]:
    """Tier and user namespace's verdict as seen by a process that first runs the code ``wrapper``."""
    code = f"""
import os, sys
sys.path[:] = {[path for path in sys.path if path]!r}
from contextkernel import host
from contextkernel.linux import caps, seccomp
{wrapper}
found = host.inspect({str(root)!r})
print(found.report.tier)
print(next(fact for fact in found.report.facts if fact.name == "user_namespace").verdict)
print(len(found.idmap.uids))
print(found.idmap.own)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@linux
def test_in_a_container_with_dockers_filter_there_are_no_namespaces(tmp_path: Path) -> None:
    filtered = """
if os.geteuid() == 0:
    caps.limit_bounding(caps.DEFAULT_CAPABILITIES)
    caps.apply_capabilities(caps.for_user(caps.DEFAULT_CAPABILITIES, 0))
caps.set_no_new_privs()
seccomp.install_filter(seccomp.default_filter(caps.DEFAULT_CAPABILITIES))
"""
    tier, verdict, ranges, own = inspect_behind(filtered, tmp_path)
    assert tier in {"analysis", "ptrace"}
    assert verdict == "refused"
    assert ranges == "0"
    assert own == str(os.geteuid() != 0)  # an ordinary user is not taken for root


@pytest.mark.root
def test_root_is_rootful(tmp_path: Path) -> None:
    found = host.inspect(tmp_path)
    assert found.report.tier == "rootful"
    assert found.idmap == IdMap()
    assert found.idmap.identity


@pytest.mark.root
def test_root_without_admin_uses_a_user_namespace_with_its_own_ids(tmp_path: Path) -> None:
    tier, verdict, ranges, own = inspect_behind(
        "caps.limit_bounding(caps.DEFAULT_CAPABILITIES)\n"
        "caps.apply_capabilities(caps.for_user(caps.DEFAULT_CAPABILITIES, 0))",
        tmp_path,
    )
    assert [tier, verdict, ranges, own] == ["rootless", "works", "1", "False"]


@pytest.mark.root
def test_root_in_a_user_namespace_is_not_root_of_the_machine(tmp_path: Path) -> None:
    tier, verdict, ranges, own = inspect_behind(
        "from contextkernel.linux import userns\n"
        "from contextkernel.model.ids import IdMap, IdRange\n"
        "userns.enter(IdMap((IdRange(0, 0, 1),), (IdRange(0, 0, 1),)))",
        tmp_path,
    )
    assert [tier, verdict, ranges, own] == ["rootless-single", "works", "1", "False"]


@pytest.mark.rootless
def test_a_user_gets_a_user_namespace(tmp_path: Path) -> None:
    found = host.inspect(tmp_path)
    assert found.report.tier in {"rootless", "rootless-single"}
    assert found.idmap.uids[0].host == os.geteuid()
    assert found.idmap.gids[0].host == os.getegid()
    assert found.idmap.single == (found.report.tier == "rootless-single")


@pytest.mark.rootless
def test_no_new_privs_leaves_a_single_id(tmp_path: Path) -> None:
    tier, verdict, ranges, own = inspect_behind("caps.set_no_new_privs()", tmp_path)
    assert [tier, verdict, ranges, own] == ["rootless-single", "works", "1", "False"]


@linux
def test_less_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_WITHOUT", "user_namespace,mount_namespace ptrace")
    found = host.inspect(tmp_path)
    assert found.report.tier == "analysis"
    assert found.idmap.own == (os.geteuid() != 0)
    namespace = found.report.fact("user_namespace")
    assert namespace is not None
    assert namespace.reason == "not wanted: CONTEXTKERNEL_WITHOUT has it"
    assert namespace.remedy == "unset CONTEXTKERNEL_WITHOUT"
    monkeypatch.delenv("CONTEXTKERNEL_WITHOUT")
    assert host.tier(tmp_path) != "analysis"


def test_what_is_asked_to_do_without_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_WITHOUT", "overlay magic")
    with pytest.raises(InvalidInput, match="has 'magic'"):
        host.inspect(tmp_path)
