"""Runs the probe in a fresh process and collects what it says."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from contextkernel.errors import HostUnsupported
from contextkernel.host.findings import Entered, Findings, Line, Outcome, Surroundings
from contextkernel.model.ids import IdMap

#: a probe takes a few tens of milliseconds; this is for a file system that hangs
_TIMEOUT_SECONDS = 30.0

_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
# -I and -S: nothing of the user's environment, no site start-up; both packages are found where they are here
_START = "import sys; sys.path[:0] = sys.argv[2:]; from contextkernel.host.probe import main; main(sys.argv[1])"


def attempt(root: str) -> Findings:
    """Try everything, in a process of its own with a single thread.

    Args:
        root: absolute path of the store's directory.

    Raises:
        HostUnsupported: the probe could not say anything at all.
    """
    import contextkernel

    places = [
        os.path.dirname(os.path.dirname(os.path.abspath(str(module.__file__)))) for module in (contextkernel, msgspec)
    ]
    command = [sys.executable, "-I", "-S", "-c", _START, root, *dict.fromkeys(places)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
            close_fds=True,
        )
        said, errors, complete = done.stdout, done.stderr, done.returncode == 0
    except subprocess.TimeoutExpired as late:
        said, errors, complete = late.stdout or b"", late.stderr or b"", False
    return collect(said, errors.decode("utf-8", "replace"), complete=complete)


def collect(said: bytes, errors: str, *, complete: bool) -> Findings:
    """Read the probe's lines; the later of two outcomes with one name counts.

    Args:
        said: its standard output.
        errors: its standard error, for the message if there are no lines.
        complete: whether it ended by itself and without an error.

    Raises:
        HostUnsupported: there is not even the first line.
    """
    surroundings: Surroundings | None = None
    outcomes: dict[str, Outcome] = {}
    entered: Entered | None = None
    # a last line without its end was cut off
    for line in said.split(b"\n")[:-1]:
        match _DECODER.decode(line):
            case Surroundings() as found:
                surroundings = found
            case Entered() as found:
                entered = found
            case Outcome() as found:
                outcomes[found.name] = found
    if surroundings is None:
        raise HostUnsupported(
            f"the host cannot be examined: {errors.strip() or 'the probe said nothing'}",
            hint=f"does {sys.executable} start?",
        )
    return Findings(
        surroundings=surroundings,
        outcomes=outcomes,
        entered=entered is not None,
        idmap=entered.idmap if entered else IdMap(),
        complete=complete,
    )
