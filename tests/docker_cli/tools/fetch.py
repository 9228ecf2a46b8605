"""Print what a web server answers: ``fetch [-1] URL``; tried for some seconds, or once; exit code 7: nobody answers."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request


def main(words: list[str]) -> int:
    once = words[0] == "-1"
    until = time.monotonic() + (0 if once else 30)
    while True:
        try:
            with urllib.request.urlopen(words[-1], timeout=30) as answer:  # noqa: S310 - a server of the case
                sys.stdout.buffer.write(answer.read())
            return 0
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                return 7
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
