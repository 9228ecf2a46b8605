"""A real JupyterLab with directories of its own, and a real browser to look at it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = os.environ.get("CONTEXTKERNEL_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


# before that, running a cell asks which kernel to use
_KERNEL_IS_IDLE = """() => {
    const shown = window.jupyterapp && window.jupyterapp.shell.currentWidget;
    return shown && shown.context && shown.context.sessionContext.kernelDisplayStatus === 'idle';
}"""


class Lab:
    """A running server."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    def address(self, notebook: str) -> str:
        """Where a notebook is shown, alone in its window."""
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}&reset"


@contextmanager
def running_lab(
    root: Path, home: Path, *, theme: str = "light", environment: dict[str, str] | None = None
) -> Iterator[Lab]:
    """JupyterLab over the notebooks in ``root``; all its own files go below ``home``.

    Args:
        root: folder of notebooks.
        home: an empty folder.
        theme: ``light`` or ``dark``.
        environment: more variables for server and kernels.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    dirs = {
        name: home / name.lower()
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    for path in dirs.values():
        path.mkdir(parents=True)
    settings = dirs["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": _THEMES[theme], "adaptive-theme": False}))
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    tracker = dirs["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))  # draw every cell
    log = (home / "server.log").open("wb")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}",
            f"--ServerApp.root_dir={root}",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
            f"--LabApp.user_settings_dir={dirs['JUPYTERLAB_SETTINGS_DIR']}",
            f"--LabApp.workspaces_dir={dirs['JUPYTERLAB_WORKSPACES_DIR']}",
        ],
        env={**os.environ, **{name: str(path) for name, path in dirs.items()}, **(environment or {})},
        stdout=log,
        stderr=log,
        cwd=root,
    )
    try:
        _wait_until_up(server, f"http://127.0.0.1:{port}/api/status?token={token}", home / "server.log")
        yield Lab(port, token)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def _wait_until_up(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    last = time.monotonic() + 180
    while time.monotonic() < last:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=5):  # noqa: S310 - loopback, our own server
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not come up:\n{log.read_text()[-4000:]}")


@contextmanager
def browser_page(width: int = 1150, height: int = 1400) -> Iterator[Any]:
    """A page of a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, headless=True, timeout=180_000)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(180_000)  # milliseconds; nothing is measured
            yield page
        finally:
            browser.close()


def open_notebook(page: Any, lab: Lab, notebook: str) -> None:
    """Open a notebook without side bars and wait until its kernel is idle."""
    page.goto(lab.address(notebook), wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.wait_for_function(_KERNEL_IS_IDLE)
    if page.locator(".jp-SideBar .lm-mod-current[data-id=filebrowser]").count():
        page.keyboard.press("Control+b")


def run_all(page: Any, *, seconds: int) -> None:
    """Run every cell and wait for the last one."""
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_function(
        """() => {
            const busy = document.querySelector('.jp-Notebook-ExecutionIndicator');
            const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
            return busy && busy.dataset.status === 'idle' && prompts.length && prompts.every(p => /\\[\\d+\\]/.test(p));
        }""",
        timeout=seconds * 1000,
    )


def tall(page: Any) -> int:
    """Make the window as tall as the notebook, so that one picture shows all of it; returns the height."""
    cells = page.evaluate(
        "() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].reduce((sum, c) => sum + c.offsetHeight, 0)"
    )
    height = min(int(cells) + 220, 15_000)
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    page.evaluate(
        "() => document.querySelectorAll('.jp-WindowedPanel-outer').forEach(panel => { panel.scrollTop = 0; })"
    )
    return height
