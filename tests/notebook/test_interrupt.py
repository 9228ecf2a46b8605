"""Interrupting a cell in a real kernel: what runs is stopped, and nothing is left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager

from contextkernel import Engine

pytestmark = pytest.mark.timeout(300)
MARK = "ck-interrupt-test"


class Kernel:
    """A kernel with the magics."""

    def __init__(self, client, manager):
        self.client = client
        self.manager = manager

    def run(self, code, *, until=""):
        """Run a cell; ``until`` is a text in an output at which it is interrupted.

        Returns:
            All outputs as text, and the reply.
        """
        request = self.client.execute(code)
        shown = []
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    shown.append(content["text"])
                case "display_data" | "update_display_data" | "execute_result":
                    shown.append(content["data"]["text/plain"])
                case "error":
                    shown.append("\n".join(content["traceback"]))
                case "status" if content["execution_state"] == "idle":
                    break
            if until and shown and until in shown[-1]:
                until = ""
                self.manager.interrupt_kernel()
        while (reply := self.client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != request:
            pass  # to one of the questions whether a slow kernel is ready
        return "\n".join(shown), reply["content"]


@pytest.fixture
def kernel(store, tmp_path):
    environment = {**os.environ, "CONTEXTKERNEL_ROOT": str(store), "IPYTHONDIR": str(tmp_path / "ipython")}
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(tmp_path / "kernel"))
    manager.start_kernel(env=environment, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        kernel = Kernel(client, manager)
        kernel.run("%load_ext contextkernel")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def processes():
    """Command lines of this machine's processes that carry our mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if MARK in line and "ipykernel" not in line:
            found.append(line)
    return found


def assert_nothing_runs():
    """The kernel reaps in its own time: wait for that, not for an answer to change."""
    last = time.monotonic() + 60
    while processes() and time.monotonic() < last:
        time.sleep(0.05)
    assert processes() == []


def test_an_interrupted_container_is_stopped_and_removed(kernel, store):
    with Engine(store) as engine:
        before = engine.containers(all=True)
    shown, reply = kernel.run(
        f"%container run --rm --name interrupted ubuntu:20.04 sh -c 'echo up; exec sleep 1000 # {MARK}'", until="up"
    )
    assert reply["ename"] == "Interrupted"
    assert "Interrupted: %container run was stopped and cleaned up" in shown
    assert "Traceback" not in shown
    assert_nothing_runs()
    with Engine(store) as engine:
        assert {row.id for row in engine.containers(all=True)} == {row.id for row in before}
    shown, reply = kernel.run("%container run --rm ubuntu:20.04 echo again")
    assert (shown, reply["status"]) == ("again\n", "ok")


def test_an_interrupted_build_is_stopped_and_leaves_no_image(kernel, store):
    cell = f"%%dockerfile -t interrupted\nFROM ubuntu:20.04\nRUN echo up; sleep 1000 # {MARK}\n"
    shown, reply = kernel.run(cell, until="#5 up")
    assert reply["ename"] == "Interrupted"
    assert "#5 CANCELED" in shown
    assert "build interrupted" in shown
    assert_nothing_runs()
    with Engine(store) as engine:
        assert engine.images("interrupted") == ()
        assert engine.check_store() == ()
    shown, reply = kernel.run("%%dockerfile -t interrupted\nFROM ubuntu:20.04\nRUN echo fine\n")
    assert reply["status"] == "ok"
    assert "built interrupted:latest" in shown
    kernel.run("%container rmi interrupted")
