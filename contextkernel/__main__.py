"""``python -m contextkernel``: the command line."""

import sys

from contextkernel.cli import main

if __name__ == "__main__":
    sys.exit(main())
