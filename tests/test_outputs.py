"""Outputs of staged notebooks: ours are left as they are, nothing in them is executed."""

import json

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from reading_list import survey, tables
from zeroshot import figures
from zeroshot.notebooks import stamp
from zeroshot.site import outputs


def ours():
    """Every kind of HTML that our chapters show, with hostile text that they have escaped."""
    hostile = ["<script>alert(1)</script>", "p < 0.05 & q"] * 5
    table = pd.DataFrame({"<i>a": hostile}, index=[f"<b>{n}" for n in range(10)])
    escaped = (
        table.style.format(escape="html").format_index(escape="html").format_index(escape="html", axis=1)
    )
    levels = pd.MultiIndex.from_product([["<i>x", "y"], [0, 1]])
    cells = pd.DataFrame({"cell_type": hostile, "batch": "x", "library_size": 5.0})
    models = pd.DataFrame([dict(model) for model in survey.models().values()])
    return {
        "table": table._repr_html_(),
        "table with two levels": pd.DataFrame(np.eye(4), levels, levels)._repr_html_(),
        "styled table": escaped.to_html(),
        "UMAPs": figures.explore_umaps({"t": {"PCA": np.eye(10, 2)}}, {"t": cells})._repr_html_(),
        "flows": figures.explore_flows(models)._repr_html_(),
        "links": tables.models_in_book().style.hide(axis="index").to_html(),
        "stamp": stamp.stamp("run", title=hostile[0]).to_html(),
    }


def test_what_chapters_show_is_left_as_it_is():
    for name, text in ours().items():
        assert outputs.harmless_html(text) == text, name


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<SCRIPT SRC=//x>",
        "<script type='application/json' src=x></script>",
        "<script type='application/json'>{}</script><script>x</script>",
        "<script><img src=x onerror=alert(1)></script>",
        "<style></style foo><img src=x onerror=y>",
        "<style><!--</style><script>alert(1)</script>",
        "<svg><title><img src=x onerror=y></title></svg>",
        "<svg/onload=alert(1)>",
        "<p title='a'onclick=x>",
        '<p "onclick=x>',
        "<a href=' javascript:alert(1)'>x</a>",
        "<a href='java\tscript:alert(1)'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<a xlink:href='javascript:x'>x</a>",
        "<p style='background:url(http://x.org)'>x</p>",
        "<iframe src=x></iframe><base href=x><form action=x><textarea>",
        "<!--<script>--><![CDATA[<script>]]><?php <script>?>",
        "</td></table><script>alert(2)</script>",
        "<img src=x onerror=alert(1) ",
    ],
)
def test_what_a_browser_would_execute_is_shown_as_text(text):
    page = BeautifulSoup(outputs.harmless_html(f"<p>{text}</p>"), "html.parser")
    for tag in page.find_all(True):
        assert tag.name in outputs.TAGS or (
            tag.name == "script" and tag.attrs == {"type": "application/json"}
        )
        assert set(tag.attrs) <= outputs.ATTRIBUTES
        assert not tag.get("href", "").strip() and "url" not in tag.get("style", "")


def test_markdown_outputs_hold_no_html_and_no_image():
    text = outputs.harmless_markdown(
        "**Note.** <script>x</script> ![i](/etc/passwd) 3 < 4 [x](https://x.org)"
    )
    assert text == r"**Note.** \<script>x\</script> \![i](/etc/passwd) 3 < 4 [x](https://x.org)"
    assert outputs.harmless_markdown(text) == text


def test_what_was_printed_on_stderr_is_left_out(tmp_path):
    notebook = tmp_path / "x.ipynb"
    shown = [
        {"output_type": "stream", "name": "stderr", "text": ["/somewhere/lib/tqdm.py: TqdmWarning"]},
        {"output_type": "stream", "name": "stdout", "text": ["cells: 3"]},
        {
            "output_type": "display_data",
            "data": {"text/html": ["<b>x</b>"], "text/plain": "x"},
            "metadata": {},
        },
    ]
    cell = {"cell_type": "code", "metadata": {"tags": ["a"]}, "outputs": shown, "source": ""}
    content = {"cells": [cell, {"cell_type": "markdown", "metadata": {}, "source": "# x"}]}
    notebook.write_text(json.dumps(content | {"metadata": {"kernelspec": {}}}))
    outputs.clean(notebook)
    assert "somewhere" not in notebook.read_text()
    code, _ = json.loads(notebook.read_text())["cells"]
    assert [output["output_type"] for output in code["outputs"]] == ["stream", "display_data"]
    assert code["outputs"][1]["data"] == {"text/html": "&lt;b&gt;x&lt;/b&gt;", "text/plain": "x"}
    assert code["metadata"] == {"tags": ["a"]}
