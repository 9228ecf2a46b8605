"""The cells of docs/howto/notebooks.md, as they stand there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "notebooks.md"
pytestmark = pytest.mark.timeout(300)


def test_the_cells_do_what_the_page_says(store, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    cells = [nbformat.v4.new_code_cell(source) for source in ("%load_ext contextkernel", *blocks)]
    client = NotebookClient(
        nbformat.v4.new_notebook(cells=cells),
        timeout=200,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.create_kernel_manager()
    client.km.transport = "ipc"
    client.km.ip = str(tmp_path / "kernel")
    client.execute(env={**os.environ, "CONTEXTKERNEL_ROOT": str(store), "IPYTHONDIR": str(tmp_path / "ipython")})
    texts = ["".join(out.get("text", "") for out in cell.outputs) for cell in cells[1:]]
    assert texts == ["1\n2\n3\n", "3\n"]
