"""Files of figures, taken out of staged notebooks."""

import base64
import hashlib
import io
import json

import nbformat
import pandas as pd
import pytest

from zeroshot import notebooks
from zeroshot.site import figure_files

PNG = base64.b64encode(b"a picture").decode()
FIGURE = {"image/png": PNG, "image/svg+xml": ["<svg>\n", "</svg>"], "text/csv": ["a,b\n", "1,0.25\n"]}


def cell(*shown, source="figures.draw_x();", **mystnb):
    outputs = [{"output_type": "display_data", "metadata": {}, "data": dict(data)} for data in shown]
    metadata = {"mystnb": mystnb} if mystnb else {}
    return {"cell_type": "code", "id": "x-01", "metadata": metadata, "outputs": outputs, "source": source}


@pytest.fixture
def staged(tmp_path):
    """Stage a page of given cells; return its cells."""

    def stage(*cells, page="notebooks/x"):
        notebook = tmp_path / "x.ipynb"
        notebook.write_text(json.dumps({"cells": cells}))
        figure_files.stage(notebook, page, tmp_path / "downloads")
        return json.loads(notebook.read_text())["cells"]

    return stage


def test_files_are_taken_out_and_linked_below_the_caption(staged, tmp_path):
    text, drawn = (
        {"cell_type": "markdown", "metadata": {}, "source": "x"},
        cell(FIGURE, figure={"caption": "C."}),
    )
    first, second, third = staged(text, drawn, cell(FIGURE), page="runs/set/pca")
    assert first == text and third["id"] == "x-01"
    (output,) = second["outputs"]
    assert output["data"] == {"image/png": PNG}, "the notebook keeps its picture and no more"
    caption, links = second["metadata"]["mystnb"]["figure"]["caption"].split("\n\n")
    assert caption == "C."
    image = hashlib.sha256(b"a picture").hexdigest()
    assert links == (
        '<span class="figure-files">'
        f'<a href="../../_images/{image}.png" download="set-pca-figure-1.png">PNG</a> · '
        '<a href="../../downloads/runs/set/pca/figure-1.svg" download="set-pca-figure-1.svg">SVG</a> · '
        '<a href="../../downloads/runs/set/pca/figure-1.csv" download="set-pca-figure-1.csv">'
        "CSV of the data</a></span>"
    )
    folder = tmp_path / "downloads" / "runs" / "set" / "pca"
    assert (folder / "figure-1.svg").read_text() == "<svg>\n</svg>"
    assert pd.read_csv(folder / "figure-2.csv")["b"].to_list() == [0.25]
    assert "figure-2.csv" in third["metadata"]["mystnb"]["figure"]["caption"]


def test_pages_executed_before_there_were_files_are_left_as_they_are(staged, tmp_path):
    old = cell({"image/png": PNG, "text/plain": "<Figure>"}, image={"alt": "A."})
    assert staged(old) == [old] and not (tmp_path / "downloads").exists()


def test_figures_of_one_cell_stand_apart(staged):
    note = {"text/plain": "a note"}
    parts = staged(cell(note, FIGURE, FIGURE, note, figure={"caption": "C."}, image={"alt": "A."}))
    assert [len(part["outputs"]) for part in parts] == [2, 2]
    assert len({part["id"] for part in parts}) == 2
    assert "remove-input" not in parts[0]["metadata"].get("tags", []) and parts[0]["source"].startswith(
        "figures"
    )
    assert parts[1]["metadata"]["tags"] == ["remove-input"]
    for number, part in enumerate(parts, start=1):
        assert part["metadata"]["mystnb"]["image"] == {"alt": "A."}
        assert part["metadata"]["mystnb"]["figure"]["caption"].count(f"figure-{number}.svg") == 2
        assert part["metadata"]["mystnb"]["figure"]["caption"].startswith("C.")


def test_no_caption_where_nothing_was_drawn(staged):
    (told,) = staged(
        cell({"text/markdown": "nothing to compare"}, figure={"caption": "C."}, image={"alt": "A."})
    )
    assert told["metadata"]["mystnb"] == {"image": {"alt": "A."}}
    assert told["outputs"][0]["data"] == {"text/markdown": "nothing to compare"}


def test_a_figure_with_a_table_only(staged, tmp_path):
    (drawn,) = staged(cell({"image/png": PNG, "text/csv": "a\n1\n"}))
    assert "svg" not in drawn["metadata"]["mystnb"]["figure"]["caption"]
    assert pd.read_csv(io.StringIO((tmp_path / "downloads/notebooks/x/figure-1.csv").read_text()))[
        "a"
    ].to_list() == [1]


def test_an_executed_notebook_holds_the_files_of_each_figure(home, tmp_path):
    code = (
        "seed = 0",
        "import matplotlib.pyplot as plt\nfrom zeroshot import figures",
        "figures.draw_workflow();",
        "plt.plot([seed, 1]);",
    )
    made = [nbformat.v4.new_code_cell(text) for text in code]
    made[0].metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook, executed = tmp_path / "tiny.ipynb", tmp_path / "out" / "tiny.ipynb"
    executed.parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), notebook)
    notebooks.execute(notebook, executed, {})
    ours, other = (
        set(cell["outputs"][-1]["data"]) & {"image/png", *figure_files.FORMATS}
        for cell in json.loads(executed.read_text())["cells"][-2:]
    )
    assert ours == {"image/png", "image/svg+xml", "text/csv"}
    assert other == {"image/png"}, "a figure of somebody else is shown as ever"
    figure_files.stage(executed, "notebooks/tiny", tmp_path)
    table = pd.read_csv(tmp_path / "notebooks" / "tiny" / "figure-1.csv")
    assert table["step"].is_monotonic_increasing and len(table) > 5
