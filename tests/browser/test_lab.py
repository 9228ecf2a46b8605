"""The first course notebook in a real JupyterLab, looked at with a real browser."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = "01-first-image.ipynb"
SOURCE = Path(__file__).parents[2] / "notebooks" / NOTEBOOK

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def folder(tmp_path):
    """A copy of the notebook, without outputs."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(SOURCE, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / NOTEBOOK)
    return folder


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_first_notebook(lab, folder, tmp_path, store, pictures, theme):
    environment = {"CONTEXTKERNEL_ROOT": str(store)}
    with (
        lab.running_lab(folder, tmp_path / "jupyter", theme=theme, environment=environment) as server,
        lab.browser_page() as page,
    ):
        lab.open_notebook(page, server, NOTEBOOK)
        lab.run_all(page, seconds=300)
        lab.tall(page)
        page.screenshot(path=pictures / f"first-image-{theme}.png")

        def cell(source, nth=0):
            return page.locator(".jp-CodeCell", has_text=source).nth(nth).locator(".jp-OutputArea")

        build = cell("%docker build -t greet .")
        assert build.locator(".ck-box.ck-done").is_visible()
        assert re.search(r"Built\s+greet:latest", build.inner_text())
        assert "naming to docker.io/library/greet" in build.inner_text()
        again = cell("%docker build -t greet .", 1)
        assert again.get_by_text("all steps cached").is_visible()

        heads = cell("%docker images").locator("th")
        assert heads.all_inner_texts()[:5] == ["repository", "tag", "image_id", "created", "size"]
        assert cell("%docker images").locator("td", has_text="greet").first.is_visible()
        assert cell("%docker run greet").inner_text().strip() == "from the container!"
        inspect = cell("%docker inspect greet")
        assert inspect.locator("summary", has_text="Config").first.is_visible()
        assert inspect.get_by_text('"from the container!"').first.is_visible()
        assert "NameInUse" in cell("%docker run --name bozo greet", 1).inner_text()
        assert "ImageInUse" in cell("%docker rmi greet:latest").inner_text()

        # completion in a magic's line
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:insert-cell-below'); }")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.keyboard.type("%container inspect ub")
        page.keyboard.press("Tab")
        page.wait_for_function(
            "() => document.querySelector('.jp-Notebook .jp-mod-active').innerText.includes('ubuntu:20.04')"
            " || [...document.querySelectorAll('.jp-Completer-item')].some(e => e.innerText.includes('ubuntu:20.04'))"
        )

        # the saved notebook shows the same without a kernel
        page.evaluate("() => { window.jupyterapp.commands.execute('docmanager:save'); }")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = nbformat.read(folder / NOTEBOOK, as_version=4)
    (built,) = next(c for c in saved.cells if c.source == "%docker build -t greet .").outputs
    assert "Built" in built.data["text/html"]
    assert "built greet:latest" in built.data["text/plain"]
    shutil.rmtree(tmp_path / "jupyter", ignore_errors=True)  # a kernel may be ending yet
