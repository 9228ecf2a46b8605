"""Published ports in a notebook: links in a real kernel, and through a real server with jupyter-server-proxy."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from contextkernel.notebook.published import port_links, server_base

pytestmark = pytest.mark.timeout(180)

WEB = ["httpd", "-f", "-p", "80", "-h", "/www"]
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def surroundings(engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kernel that works on the engine's store, with a runtime directory of its own."""
    monkeypatch.setenv("CONTEXTKERNEL_ROOT", engine.root)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("no_proxy", "*")
    for name, place in (
        ("JUPYTER_RUNTIME_DIR", "runtime"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("IPYTHONDIR", "ipython"),
    ):
        monkeypatch.setenv(name, str(tmp_path / place))
        (tmp_path / place).mkdir()
    for name in ("JPY_PARENT_PID", "JUPYTERHUB_SERVICE_PREFIX"):
        monkeypatch.delenv(name, raising=False)


def ran(*cells: str) -> list[str]:
    """What the cells show, as a reader without HTML sees it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute(env={**os.environ})
    return [
        "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs)
        for cell in notebook.cells
    ]


@pytest.mark.filterwarnings("ignore:.*without encryption:RuntimeWarning")
def test_links_in_a_kernel(engine):
    del engine
    _, web, idle, fetched, assigned = ran(
        "%load_ext contextkernel\nfrom contextkernel.notebook import published\npublished.PATIENCE = 60.0",
        "%container run -d --name web -p 127.0.0.1::80 box httpd -f -p 80 -h /www",
        "published.PATIENCE = 0.5\n%container run -d --name idle -p 127.0.0.1::80 -p 127.0.0.1::53/udp box sleep 60",
        "import urllib.request\nplace = %container port web 80\n"
        "print(urllib.request.urlopen(f'http://{place.strip()}/index.html').read().decode())",
        "cid = %container run -d box sleep 60\nprint(len(cid.strip()))",
    )
    assert re.search(r"80/tcp  http://localhost:\d+/  ready$", web.rstrip())
    assert "does not answer yet" in idle
    assert re.search(r"53/udp  127\.0\.0\.1:\d+$", idle, re.MULTILINE)
    assert "hello from the web" in fetched
    assert assigned.endswith("64\n")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A server with a base URL; gives its process and the address of its root."""
    log = (tmp_path / "server.log").open("wb")
    words = ["--no-browser", "--allow-root", "--ServerApp.base_url=/some/where/", "--ServerApp.port=0"]
    words += ["--IdentityProvider.token=secret", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={tmp_path}"]
    process = subprocess.Popen([sys.executable, "-m", "jupyter", "server", *words], stdout=log, stderr=log)
    file = tmp_path / "runtime" / f"jpserver-{process.pid}.json"
    try:
        deadline = time.monotonic() + PATIENCE
        while not file.exists() or not file.read_text():
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process.pid, f"http://127.0.0.1:{json.loads(file.read_text())['port']}"
    finally:
        process.terminate()
        process.wait()
        log.close()


@pytest.mark.may_skip
def test_through_the_server_of_the_notebook(engine, server, eventually):
    if importlib.util.find_spec("jupyter_server_proxy") is None:
        pytest.skip("jupyter-server-proxy is not installed")
    process, root = server
    engine.run("box", WEB, name="web", ports=["80"], detach=True)
    (link,) = port_links(engine.ports("web"), server_base({"JPY_PARENT_PID": str(process)}))
    assert link.url == f"/some/where/proxy/{link.port}/"

    def fetch() -> str | None:
        headers = {"Authorization": "token secret"}
        request = urllib.request.Request(f"{root}{link.url}index.html", headers=headers)  # noqa: S310 - http, see above
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
                text: str = answer.read().decode()
                return text
        except OSError:
            return None

    assert eventually(fetch, "an answer through the server") == "hello from the web\n"
