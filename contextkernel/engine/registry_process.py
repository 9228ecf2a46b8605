"""The process of a registry: a fresh interpreter that serves until it is told to end, or its directory is removed."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from contextkernel.linux.descriptors import close_from, null_standard_streams
from contextkernel.linux.namespaces import set_process_name
from contextkernel.linux.signals import reset_signals

if TYPE_CHECKING:
    from contextkernel.model.ports import LayerWorker
    from contextkernel.registry_server.content import Content
    from contextkernel.registry_server.places import Place
    from contextkernel.store import Store

_LOCK, _READY, _SOCKETS = 3, 4, 5
_LOOK = 5.0  # seconds between two looks at whether the directory is still there
_LOG_LIMIT = 1 << 18


def main(store: str, name: str, count: int) -> NoReturn:
    """Serve; never returns.

    Args:
        store: directory of the store.
        name: of the registry.
        count: how many sockets were handed over, after the lock and a pipe to say that it serves.
    """
    if os.fork():
        os._exit(0)  # whoever started us waits for this, and for nothing more
    status = 1
    try:
        _settle(count)
        from contextkernel.registry_server.places import Place

        place = Place(store, name)
        place.hold(_LOCK)
        _log_to(place.log)
        asyncio.run(_serve(place, store, [socket.socket(fileno=_SOCKETS + number) for number in range(count)]))
        status = 0
    except BaseException:
        logging.getLogger(__name__).exception("the registry ended")
    finally:
        os._exit(status)


async def _serve(place: Place, store: str, listeners: list[socket.socket]) -> None:
    from contextkernel.registry_server.access import Open, PasswordGuard, Peers
    from contextkernel.registry_server.server import Server

    settings = place.settings()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    content = _content(place, store, read_only=settings.read_only)
    guard = Open() if settings.password is None else PasswordGuard(settings.password)
    peers = Peers([os.geteuid()]) if settings.password is None else None
    server = Server(content, guard, peers=peers)
    for listener in listeners:
        server.add(listener)
    os.write(_READY, b"1")
    os.close(_READY)
    while place.holds(_LOCK) and not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), _LOOK)
        server.forget_idle()
    await server.close(wait=False)
    if settings.read_only:  # made anew from the store whenever it is wanted
        shutil.rmtree(place.layout, ignore_errors=True)


def _content(place: Place, store: str, *, read_only: bool) -> Content:
    from contextkernel.registry_server.storage import Storage

    if read_only:
        shutil.rmtree(place.layout, ignore_errors=True)
    storage = Storage(place.layout)
    storage.prepare()
    if not read_only:
        return storage
    from contextkernel.registry_server.images import StoreImages

    return StoreImages(storage, lambda: _opened(store))


@contextmanager
def _opened(root: str) -> Iterator[tuple[Store, Callable[[], LayerWorker]]]:
    """The store for a moment: nothing of it is held by a registry that waits."""
    from contextkernel.engine.composition import Composition

    with Composition(root) as composition:
        yield composition._store, composition._worker


def _settle(count: int) -> None:
    """Leave the terminal, the working directory and the open files of whoever started us."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    null_standard_streams()
    close_from(_SOCKETS + count)
    for descriptor in range(_LOCK, _SOCKETS + count):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword
    reset_signals()
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    set_process_name("ck-registry")
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log_to(path: str) -> None:
    """What goes wrong is kept, the last of it; requests are not."""
    from logging.handlers import RotatingFileHandler

    handler = RotatingFileHandler(path, maxBytes=_LOG_LIMIT, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
