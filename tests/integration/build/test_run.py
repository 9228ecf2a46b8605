"""RUN's mounts, sandbox and failures with the real engine, as whichever user runs the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contextkernel import Engine
from contextkernel.build.hostfiles import write_root
from contextkernel.errors import NotFound, SourceNotFound, StepFailed
from contextkernel.layer.index import unpack_index
from contextkernel.layer.merge import merge
from contextkernel.model.build_inputs import AgentKeys, AgentSocket, SecretValue, StepOptions
from contextkernel.model.events import StepOutput
from contextkernel.model.step_mounts import Limit

TOKEN = "s3cr3t-t0k3n-of-the-tests"
ALLOWED = StepOptions(allow=frozenset({"security.insecure", "network.host"}))


class Site:
    """An engine, a base image, and a context."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = Engine(root / "store")
        self.context = root / "context"
        self.context.mkdir()
        write_root(str(root / "base.tar"), "base")
        self.engine.import_image(str(root / "base.tar"), "base")
        self.single = self.engine._idmap.single

    def build(self, text: str, **options: Any) -> str:
        """Build without cache; what its programs printed."""
        said: list[str] = []

        def report(event: object) -> None:
            if isinstance(event, StepOutput):
                said.append(event.text)

        options.setdefault("no_cache", True)
        self.result = self.engine.build(str(self.context), text=f"FROM base AS one\n{text}", report=report, **options)
        return "".join(said)

    def files(self) -> set[str]:
        """What the last image has that the base has not."""
        layers = self.engine._store.layers_of(self.result.image)
        base = self.engine._store.layers_of(self.engine._store.resolve("base"))
        read = [merge([unpack_index(Path(layer.index).read_bytes()) for layer in some]) for some in (layers, base)]
        return set(read[0]) - set(read[1])

    def left(self) -> list[str]:
        """Directories of layers that nothing refers to."""
        known = {row[0] for row in self.engine._store._database.all("SELECT directory FROM layers")}
        known |= {row[0] for row in self.engine._store._database.all("SELECT directory FROM failed_steps")}
        return sorted(set(os.listdir(self.root / "store/layers")) - known)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("run"))
    yield made
    store = made.engine._store  # caches may belong to ids that only the engine can act for
    store.remove_cache_mounts([row.name for row in store.cache_mounts()])
    made.engine.check_store(repair=True)
    assert os.listdir(made.root / "store/caches") == []
    made.engine.close()


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> Iterator[None]:
    """No test leaves a directory, a temporary file or a process behind."""
    yield
    assert site.left() == []
    assert os.listdir(site.root / "store/tmp") == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(site.root) not in mounts


def test_binds_show_files_of_context_stage_and_image(site: Site) -> None:
    (site.context / "dir").mkdir(exist_ok=True)
    (site.context / "dir/file").write_text("from the context")
    (site.context / "link").unlink(missing_ok=True)
    (site.context / "link").symlink_to("/dir/file")
    text = (
        "RUN mkdir /made && echo from the stage > /made/file && ln -s /made /inside\n"
        "FROM base\n"
        "RUN --mount=target=/deep/er/ctx --mount=source=link,target=/one/f --mount=from=one,source=inside,target=/s"
        " --mount=from=base,target=/i cat /deep/er/ctx/dir/file /one/f /s/file /i/etc/passwd && ! touch /s/x\n"
    )
    said = site.build(text)
    assert said.count("from the context") == 2
    assert "from the stage" in said
    assert "root:x:0:0" in said
    assert site.files() == set()  # no mount point stays


@pytest.mark.parametrize("link", ["/etc/ck-host-secret", "../../../../../../../../etc/ck-host-secret"])
def test_links_in_a_source_do_not_lead_to_the_host(site: Site, link: str) -> None:
    (site.context / "out").unlink(missing_ok=True)
    (site.context / "out").symlink_to("/etc/hostname")
    with pytest.raises(SourceNotFound):
        site.build("RUN --mount=source=out,target=/m cat /m\n")
    (site.context / "out").unlink()
    with pytest.raises(SourceNotFound):
        site.build(f"RUN ln -s {link} /out\nFROM base\nRUN --mount=from=one,source=/out,target=/m cat /m\n")
    said = site.build(
        f"RUN ln -s {link} /out && echo inside > /etc/ck-host-secret\n"
        "FROM base\nRUN --mount=from=one,source=/out,target=/m cat /m\n"
    )
    assert said == "inside\n"


def test_a_target_behind_a_hostile_link_stays_inside(site: Site) -> None:
    said = site.build(
        "RUN ln -s ../../../../../../../../tmp/ck-escape /t\n"
        "RUN --mount=type=tmpfs,target=/t touch /tmp/ck-escape/x && ls /tmp/ck-escape\n"
    )
    assert said == "x\n"
    assert not os.path.exists("/tmp/ck-escape")


def test_writes_to_a_bind_are_thrown_away(site: Site) -> None:
    (site.context / "file").write_text("1")
    said = site.build("RUN --mount=target=/m,rw echo 2 > /m/file && rm -rf /m/dir && touch /m/new && cat /m/file\n")
    assert said == "2\n"
    assert (site.context / "file").read_text() == "1"
    assert site.files() == set()


def test_files_of_the_context_belong_to_root(site: Site) -> None:
    (site.context / "file").write_text("1")
    assert site.build("RUN --mount=target=/m stat -c %u:%g /m/file\n") == "0:0\n"


def test_what_was_made_beside_a_mount_point_stays(site: Site) -> None:
    site.build("RUN --mount=type=tmpfs,target=/a/b/c touch /a/b/c/gone /a/kept\n")
    assert site.files() == {"a", "a/kept"}


def test_a_target_behind_a_link_and_mounts_in_mounts(site: Site) -> None:
    said = site.build(
        "RUN mkdir /real && ln -s /real /link\n"
        "RUN --mount=type=tmpfs,target=/link/t --mount=type=cache,id=nest,target=/link/t/c"
        " touch /real/t/c/f && ls /real/t\n"
        "RUN --mount=type=cache,id=nest,target=/n ls /n\n"
    )
    assert said == "c\nf\n"
    assert site.files() == {"real", "link"}


def test_a_tmpfs_has_its_size_and_may_be_read_only(site: Site) -> None:
    said = site.build(
        "RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | awk '{print $2}'\n"
        "RUN --mount=type=tmpfs,target=/t,ro touch /t/x || echo refused\n"
    )
    assert said.split("\n")[0] == "1024"
    assert "refused" in said


def test_a_cache_is_kept_and_starts_as_it_was_asked_for(site: Site) -> None:
    mount = "--mount=type=cache,id=kept,target=/c"
    site.build(f"RUN {mount} echo 1 > /c/f\n")
    said = site.build(f"RUN {mount},ro cat /c/f; touch /c/g 2>/dev/null || echo refused\n")
    assert {"1", "refused"} <= set(said.split())
    said = site.build("RUN --mount=type=cache,id=own,target=/c,uid=5,gid=6,mode=0700 stat -c %u:%g:%a /c\n")
    assert said == ("0:0:700\n" if site.single else "5:6:700\n")
    said = site.build(
        "RUN mkdir /s && echo begun > /s/f\n"
        "FROM base\nRUN --mount=type=cache,id=begun,from=one,source=s,target=/c cat /c/f && echo more >> /c/f\n"
        "RUN --mount=type=cache,id=begun,from=one,source=s,target=/c wc -l < /c/f\n"
    )
    assert said.split() == ["begun", "2"]


def test_a_locked_cache_makes_builds_wait(site: Site, tmp_path: Path) -> None:
    text = (
        "FROM base\nRUN --mount=type=cache,id=lock,target=/c,sharing=locked"
        " mkdir /c/only && sleep 0.3 && rmdir /c/only\n"
    )
    problems: list[BaseException] = []

    def build() -> None:
        try:
            with Engine(site.root / "store") as engine:
                engine.build(str(tmp_path), text=text, no_cache=True)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [row.id for row in site.engine._store.cache_mounts()].count("lock") == 1


def test_a_secret_is_for_the_program_alone(site: Site) -> None:
    said = site.build(
        "RUN --mount=type=secret,id=t --mount=type=secret,id=t,target=/k,mode=0444,uid=7 --mount=type=secret,id=t,env=T"
        " stat -c %a:%u /run/secrets/t /k && test $(cat /k) = $T && ! touch /k && test ${#T} = 25\n",
        steps=StepOptions(secrets={"t": SecretValue(TOKEN.encode())}),
    )
    assert said.split("\n")[:2] == ["400:0", "444:0" if site.single else "444:7"]
    assert site.files() == set()
    for path in (site.root / "store").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_failing_step_leaves_no_secret(site: Site) -> None:
    with pytest.raises(StepFailed):
        site.build(
            "RUN --mount=type=secret,id=t --mount=type=secret,id=t,env=T exit 3\n",
            steps=StepOptions(secrets={"t": SecretValue(TOKEN.encode())}),
        )
    for path in (site.root / "store").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path
    result = site.engine.debug(["/bin/sh", "-c", "env; ls /run/secrets 2>&1"])
    assert TOKEN not in result.stdout_text


class Agent:
    """Listens, as an agent does."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def close(self) -> None:
        self._listener.close()


def test_the_socket_of_an_agent_is_the_step_s_own(site: Site, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent")
    try:
        said = site.build(
            "RUN --mount=type=ssh --mount=type=ssh,id=two,target=/a/s,mode=0660,uid=4 "
            "echo $SSH_AUTH_SOCK && stat -c '%F %a %u' $SSH_AUTH_SOCK /a/s\n",
            steps=StepOptions(agents={name: AgentSocket(str(tmp_path / "agent")) for name in ("default", "two")}),
        )
    finally:
        agent.close()
    owner = 0 if site.single else 4
    assert said.split("\n")[:3] == ["/run/buildkit/ssh_agent.0", "socket 600 0", f"socket 660 {owner}"]
    assert site.files() == set()


@pytest.mark.skipif(shutil.which("ssh-agent") is None or shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
@pytest.mark.may_skip
def test_keys_are_held_by_an_agent_that_goes(tmp_path: Path) -> None:
    from contextkernel.build.ssh_agents import agent_socket

    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mark", "-f", key], check=True)
    path = str(tmp_path / "socket")

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SSH_AUTH_SOCK": path}
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    with agent_socket("default", AgentKeys((str(key),)), path):
        assert ask("ssh-add", "-l").stdout.split()[2] == "mark"
        assert ask("ssh-add", "-D").returncode != 0  # its keys are not the step's to remove
        assert ask("ssh-add", str(key)).returncode != 0
        assert ask("ssh-add", "-l").returncode == 0
    assert not os.path.exists(path)
    assert ask("ssh-add", "-l").returncode == 2


def test_the_sandbox_is_as_buildkit_s(site: Site) -> None:
    said = site.build(
        "RUN cat /etc/hosts; hostname; (echo x >> /etc/hosts) 2>/dev/null || echo refused; "
        "df -k /dev/shm | tail -1; ulimit -n\n",
        steps=StepOptions(hosts=(("box", "10.1.2.3"),), shm_size=1 << 20, limits=(Limit("nofile", 64, 64),)),
        build_args={"BUILDKIT_SANDBOX_HOSTNAME": "here"},
    )
    lines = said.split("\n")
    assert lines[:4] == [
        "127.0.0.1\tlocalhost here",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.1.2.3\tbox",
        "here",
    ]
    assert "refused" in lines
    assert lines[-2] == "64"
    assert any(line.split()[1:2] == ["1024"] for line in lines)


def test_the_image_s_own_hostname_file_is_written_to(site: Site) -> None:
    site.build("RUN echo x > /etc/hostname\n")
    assert "etc/hostname" in site.files()


def test_an_insecure_step_has_all_capabilities(site: Site) -> None:
    said = site.build(
        "RUN grep -E '^(CapEff|Seccomp):' /proc/self/status\n"
        "RUN --security=insecure grep -E '^(CapEff|Seccomp):' /proc/self/status && ls /proc/acpi /sys/firmware\n",
        steps=ALLOWED,
    )
    safe, _, insecure, *_ = [line.split()[1] for line in said.split("\n") if line.startswith(("Cap", "Sec"))]
    assert int(safe, 16) & 1 << 21 == 0  # CAP_SYS_ADMIN
    assert int(insecure, 16) & 1 << 21
    if not site.single:  # there a filter stays, which answers changes of owner
        assert [line for line in said.split("\n") if line.startswith("Sec")][1].split()[1] == "0"


def test_here_documents_with_shebang_and_several_of_them(site: Site) -> None:
    said = site.build(
        "RUN <<EOF\necho one\necho two\nEOF\n"
        "RUN <<FILE\n#!/bin/cat\nthree\nfour\nFILE\n"
        "RUN <<A cat /dev/fd/3 3<<B\nfive\nA\nsix\nB\n"
    )
    assert said.split() == ["one", "two", "#!/bin/cat", "three", "four", "six"]


def test_the_reason_of_a_failure_is_told(site: Site) -> None:
    with pytest.raises(StepFailed) as caught:
        site.build("RUN lls /\n")
    assert caught.value.status == 127
    assert caught.value.hint is not None
    assert "ls" in caught.value.hint
    with pytest.raises(StepFailed) as caught:
        site.build("RUN printf '#!/bin/none\\n' > /x && chmod +x /x && /x\n")
    assert caught.value.hint == ("/x is there, its interpreter /bin/none is not: install it, or change the first line")


def test_a_failed_step_can_be_looked_into(site: Site) -> None:
    (site.context / "file").write_text("1")
    text = (
        "RUN echo before > /state\nENV A=1\nWORKDIR /w\n"
        "RUN --mount=target=/ctx --mount=type=cache,id=dbg,target=/c echo after > /state && touch /c/x && false\n"
    )
    with pytest.raises(StepFailed) as caught:
        site.build(text)
    look = ["/bin/sh", "-c", "cat /state; echo $A; pwd; ls /ctx/file; ls /c; touch /new; ls /"]
    for _ in range(2):  # the second look finds the same
        result = site.engine.debug(look, build=caught.value.kept)
        assert result.exit_code == 0
        assert result.stdout_text.split()[:5] == ["after", "1", "/w", "/ctx/file", "x"]
    assert site.engine.debug(look, before=True).stdout_text.split()[0] == "before"
    result = site.engine.debug(stdin=b"echo got $A\nexit 4\n")
    assert (result.exit_code, result.stdout_text) == (4, "got 1\n")
    site.build(text.replace("&& false", ""))
    with pytest.raises(NotFound):
        site.engine.debug(look)
