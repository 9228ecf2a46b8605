"""Run notebooks headless and print what they show: python notebooks/run.py [--save] NOTEBOOK...

``--save`` stores the outputs in the files, so that they read well on a code host.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def shown(output: nbformat.NotebookNode) -> str:
    """The plain-text twin of one output."""
    match output.output_type:
        case "stream":
            return str(output.text)
        case "error":
            return "\n".join(output.traceback)
        case _:
            return str(output.data.get("text/plain", ""))


def print_cell(cell: nbformat.NotebookNode, **_: object) -> None:
    """Print a finished code cell: its source and its outputs."""
    if cell.cell_type != "code":
        return
    for number, line in enumerate(cell.source.splitlines()):
        print(f"{BOLD}{'In:  ' if not number else '     '}{line}{PLAIN}")
    for output in cell.outputs:
        text = shown(output).rstrip()
        if text:
            print("     " + text.replace("\n", "\n     "))
    print(flush=True)


def run(path: Path, *, save: bool) -> bool:
    """Execute one notebook with its folder as working directory; returns whether all cells went well."""
    notebook = nbformat.read(path, as_version=4)
    print(f"{BOLD}==> {path}{PLAIN}", flush=True)
    began = time.monotonic()
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_executed=lambda cell, **_: print_cell(cell),
    )
    with tempfile.TemporaryDirectory() as sockets:
        client.create_kernel_manager()
        client.km.transport, client.km.ip = "ipc", f"{sockets}/kernel"  # no open ports
        try:
            client.execute()
        except CellExecutionError as problem:
            print(str(problem)[-2000:], file=sys.stderr)
            return False
    print(f"{DIM}{path.name}: {len(notebook.cells)} cells in {time.monotonic() - began:.0f} s{PLAIN}\n")
    if save:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)  # times of day would change the file on every run
        nbformat.write(notebook, path)
    return True


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="store the outputs in the files")
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args()
    if not all(run(path.resolve(), save=options.save) for path in options.notebooks):
        return 1
    print("To open the notebooks in JupyterLab:  make lab")
    return 0


if __name__ == "__main__":
    sys.exit(main())
