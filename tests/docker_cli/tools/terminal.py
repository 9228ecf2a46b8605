"""Run a command on a terminal of its own, type to it, and print what came.

    terminal [-s ROWSxCOLUMNS] [-w WORDS] [-k KEYS] [-r ROWSxCOLUMNS] COMMAND [ARG...]

``-w`` waits until the output has WORDS; ``-k`` types KEYS, with escapes as Python's (``\\x10``); ``-r`` changes the
size; they may come again and are done in their order. At the end, what the command printed and, by its exit code,
how it ended. Standard error goes to the terminal too, as a user would see it.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def main(words: list[str]) -> int:
    steps: list[tuple[str, str]] = []
    size = "24x80"
    while words and words[0].startswith("-"):
        flag, value = words.pop(0), words.pop(0)
        if flag == "-s":
            size = value
        else:
            steps.append((flag, value))
    pid, terminal = pty.fork()
    if pid == 0:
        _resize(0, size)
        os.environ["ON_TERMINAL"] = "1"
        os.execvp(words[0], words)  # noqa: S606
    _resize(terminal, size)
    output = bytearray()
    seen = 0
    for flag, value in steps:
        if flag == "-w":
            text = value.encode()
            while text not in output[seen:] and _more(terminal, output):
                pass
            seen = output.find(text, seen) + len(text) if text in output[seen:] else len(output)
        elif flag == "-r":
            _resize(terminal, value)
        else:
            os.write(terminal, value.encode("latin-1").decode("unicode_escape").encode("latin-1"))
    while _more(terminal, output):
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.stdout.buffer.write(output)
    sys.stdout.flush()
    return code if code >= 0 else 128 - code


def _more(terminal: int, output: bytearray) -> bool:
    until = time.monotonic() + 45
    if not select.select([terminal], [], [], max(0, until - time.monotonic()))[0]:
        output += b"(nothing came for 45 seconds)"
        return False
    try:
        data = os.read(terminal, 65536)
    except OSError:
        return False
    output += data
    return bool(data)


def _resize(terminal: int, size: str) -> None:
    rows, columns = map(int, size.split("x"))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
