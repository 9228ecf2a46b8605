"""Links to a container's published ports, shown after ``run -d -p`` and marked ready when the port answers.

In a browser that is not on this machine (a hub, Binder) ``localhost`` is the wrong place: where jupyter-server-proxy is
installed, the link goes through the notebook's own server.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from contextkernel.errors import ContextKernelError
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from contextkernel.engine import Engine

PATIENCE = 5.0
"""Seconds to wait for ports to answer; what comes up later is told so."""
_PAUSE = 0.05
_LONGEST_PAUSE = 0.5
_SILENCE = 0.15  # seconds for which a connection that leads somewhere stays open, one that leads nowhere does not
_CONNECT = 1.0

State = Literal["waiting", "ready", "silent", "ended", "unknown"]
_SAID = {
    "waiting": "waiting for it to answer …",
    "ready": "ready",
    "silent": "does not answer yet; `%container logs` tells what the program says",
    "ended": "the container has ended; `%container logs` tells what the program said",
    "unknown": "",
}
_COLOURS = {"waiting": "busy", "ready": "ok", "silent": "warn", "ended": "bad"}


class PortLink(Struct, frozen=True, kw_only=True):
    """One published port.

    Attributes:
        container_port: ``80/tcp``.
        address: of the host, as ``docker port`` writes it.
        port: of the host.
        reach: address at which this machine reaches it.
        url: where a browser goes; empty for what is no TCP port.
        state: whether somebody answers there.
    """

    container_port: str
    address: str
    port: int
    reach: str
    url: str
    state: State = "waiting"


def port_links(published: Mapping[str, Sequence[Mapping[str, str]] | None], base: str | None) -> tuple[PortLink, ...]:
    """One link for each published port, in the order of the container's ports.

    Args:
        published: as ``NetworkSettings.Ports`` of ``inspect`` has it.
        base: base URL of the server that passes ports on; ``None``: the browser is on this machine.
    """
    found: dict[tuple[str, int], PortLink] = {}
    for container_port, bindings in published.items():
        for binding in bindings or ():
            host, port = binding["HostIp"], int(binding["HostPort"])
            if (container_port, port) in found:
                continue  # the same port over IPv6
            tcp = container_port.endswith("/tcp")
            reach = _reach(host)
            local = "localhost" if reach in ("127.0.0.1", "::1") else f"[{reach}]" if ":" in reach else reach
            through = base is not None and local == "localhost"
            url = f"{base}proxy/{port}/" if through else f"http://{local}:{port}/"
            found[container_port, port] = PortLink(
                container_port=container_port,
                address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
                port=port,
                reach=reach,
                url=url if tcp else "",
                state="waiting" if tcp else "unknown",
            )
    return tuple(sorted(found.values(), key=lambda link: (_number(link.container_port), link.port)))


def _reach(host: str) -> str:
    """Where this machine reaches what listens at ``host``."""
    address = ipaddress.ip_address(host or "0.0.0.0")  # noqa: S104 - how docker writes "all addresses"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)


def _number(container_port: str) -> int:
    return int(container_port.partition("/")[0])


def links_text(links: Sequence[PortLink]) -> str:
    """The links as lines of text."""
    rows = [(link.container_port, link.url or link.address, _SAID[link.state]) for link in links]
    widths = [max(len(row[place]) for row in rows) for place in range(2)]
    return "\n".join(f"{first:{widths[0]}}  {second:{widths[1]}}  {said}".rstrip() for first, second, said in rows)


def links_html(links: Sequence[PortLink]) -> str:
    """The links as HTML that stands alone."""
    return wrap("".join(_line(link) for link in links))


def _line(link: PortLink) -> str:
    place = f"<code>{escape(link.address)}</code>"
    if link.url:
        shown = link.url if link.url.startswith("http") else f"port {link.port}"
        place = f'<a href="{escape(link.url)}" target="_blank" rel="noopener">{escape(shown)}</a>'
    colour = _COLOURS.get(link.state)
    said = f' <span class="ck-{colour}">{escape(_SAID[link.state])}</span>' if colour else ""
    return f"<div><code>{escape(link.container_port)}</code> → {place}{said}</div>"


def answers(host: str, port: int) -> bool:
    """Whether a program answers at a TCP port; nothing is sent to it.

    A published port takes connections at any time, and closes them at once while nobody listens inside.
    """
    try:
        with socket.create_connection((host, port), _CONNECT) as connection:
            connection.settimeout(_SILENCE)
            try:
                return bool(connection.recv(1))
            except TimeoutError:
                return True
    except OSError:
        return False


def watch(
    links: Sequence[PortLink],
    show: Callable[[Sequence[PortLink]], None],
    runs: Callable[[], bool],
    *,
    patience: float = PATIENCE,
    probe: Callable[[str, int], bool] = answers,
) -> tuple[PortLink, ...]:
    """Show links, and again whenever one of them is ready, until all are, the container has ended or time is up.

    Args:
        links: to show.
        show: shows them.
        runs: whether the container still runs.
        patience: seconds.
        probe: whether somebody answers at an address and port.

    Returns:
        The links as they were last shown.
    """
    known = list(links)
    show(known)
    deadline = time.monotonic() + patience
    pause = _PAUSE
    while any(link.state == "waiting" for link in known):
        changed = [
            replace(link, state="ready") if link.state == "waiting" and probe(link.reach, link.port) else link
            for link in known
        ]
        if changed != known:
            known = changed
            if any(link.state == "waiting" for link in known):
                show(known)
            continue
        rest: State | None = "ended" if not runs() else "silent" if time.monotonic() > deadline else None
        if rest is not None:
            known = [replace(link, state=rest) if link.state == "waiting" else link for link in known]
            break
        time.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 1.5)
    if known != list(links):
        show(known)
    return tuple(known)


def server_base(environment: Mapping[str, str] = os.environ) -> str | None:
    """Base URL of the server this kernel belongs to, if ports can be reached through it; it ends in a slash."""
    if importlib.util.find_spec("jupyter_server_proxy") is None:
        return None
    prefix = environment.get("JUPYTERHUB_SERVICE_PREFIX")
    if prefix:
        return prefix if prefix.endswith("/") else f"{prefix}/"
    parent = environment.get("JPY_PARENT_PID", "")
    if not parent.isdigit():
        return None
    # what a server tells of itself; it is the parent of the kernels it has started
    with suppress(ImportError, OSError, ValueError, KeyError, TypeError):
        from jupyter_core.paths import jupyter_runtime_dir

        for name in ("jpserver", "nbserver"):
            path = Path(jupyter_runtime_dir()) / f"{name}-{int(parent)}.json"
            if path.exists():
                base = str(json.loads(path.read_text(encoding="utf-8"))["base_url"])
                return base if base.endswith("/") else f"{base}/"
    return None


def show_links(display: Callable[[dict[str, str], bool], None], engine: Engine, container: str) -> None:
    """Show links to a container's published ports, if it has any.

    Args:
        display: shows a bundle; the second argument says whether in place of what it showed before.
        engine: knows the container.
        container: its id.
    """
    try:
        links = port_links(engine.ports(container), server_base())
    except ContextKernelError:
        return  # it has gone already (--rm)
    if not links:
        return
    shown = False

    def show(known: Sequence[PortLink]) -> None:
        nonlocal shown
        display({"text/html": links_html(known), "text/plain": links_text(known)}, shown)
        shown = True

    def runs() -> bool:
        try:
            return any(row.id == container for row in engine.containers())
        except ContextKernelError:
            return False

    watch(links, show, runs, patience=PATIENCE, probe=answers)
