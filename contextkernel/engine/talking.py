"""The client of a program, out of the arguments of the verbs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from contextkernel.errors import InvalidInput
from contextkernel.model.results import RunResult

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.ports import Screen
    from contextkernel.runtime.attach import Client, Said


def client_of(
    stdin: bytes | int | None,
    stdout: int | None,
    stderr: int | None,
    on_output: Callable[[str, bytes], None] | None,
    *,
    tty: bool,
    screen: Screen | None,
    forward_signals: bool = False,
    streams: Collection[str] | None = None,
) -> Client:
    """The client; see :meth:`contextkernel.engine.Engine.run` for the arguments.

    Raises:
        InvalidInput: a stream that there is not.
    """
    from contextkernel.runtime.attach import ALL_STREAMS, Client

    attached = ALL_STREAMS if streams is None else frozenset(streams)
    if unknown := attached - ALL_STREAMS:
        raise InvalidInput(f"invalid stream {min(unknown)!r}", hint="stdin, stdout or stderr")
    return Client(
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        on_output=on_output,
        forward_signals=forward_signals,
        streams=attached - {"stderr"} if tty else attached,  # a terminal has one output
        typed=tty and isinstance(stdin, bytes),
        screen=screen if tty else None,
    )


def keys_of(text: str, *, tty: bool) -> bytes:
    """The detach keys; they count at a terminal only, as docker has it.

    Raises:
        InvalidInput: there are no such keys.
    """
    from contextkernel.runtime.detaching import DEFAULT, parse_keys

    keys = parse_keys(text or DEFAULT)
    return keys if tty else b""


def result_of(spec: ContainerSpec, said: Said) -> RunResult | None:
    """The finished result; ``None`` after the detach keys."""
    if said.exit_code is None:
        return None
    return RunResult(
        id=spec.id,
        name=spec.name,
        exit_code=said.exit_code,
        stdout=said.stdout,
        stderr=said.stderr,
        left_out=said.left_out,
    )
