"""The notebooks run without error; the outputs hold what their text says, and the site shows them."""

import importlib.util
import re

import pytest

SITE = "scripts/site/notebooks.py"


@pytest.fixture(scope="module")
def notebooks():
    found = importlib.util.spec_from_file_location("notebooks_of_the_site", SITE)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["first-run", "grid-to-report"])
def test_a_notebook_runs_and_its_page_shows_the_outputs(notebooks, name):
    script = notebooks.FOLDER / f"{name}.py"
    code = [cell for cell in notebooks.executed(script).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    drawn = sum("ramac.plot(" in cell.source for cell in code)
    page = notebooks.page(script)
    assert page.count('src="data:image/png;base64,') == page.count("<figcaption>") == drawn
    assert "<table>" in page
    assert f"jupytext --to notebook {name}.py" in page
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= 82  # the width of a page
    assert not re.search(r"\]\([\w/-]*(first-run|grid-to-report)\.py\)", page.split("\n", 4)[4])


def test_quiet_calls_show_nothing_in_a_notebook(notebooks):
    for script in notebooks.scripts():
        for cell in notebooks.executed(script).cells:
            shown = [o for o in cell.get("outputs", ()) if o.output_type in ("display_data", "stream")]
            assert not shown or "print(" in cell.source, cell.source
