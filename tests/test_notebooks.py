"""The notebooks as they are stored, the runner that executes them, and the stamp at their foot."""

import ast
import io
import json
import os
import re
import shlex
import tokenize
from pathlib import Path

import nbformat
import numpy as np
import pytest
from anndata import AnnData

from zeroshot import notebooks, stamp
from zeroshot.notebooks import NotebookError

SOURCES = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[dict]:
    held = json.loads(path.read_text())["cells"]
    return [cell | {"text": "".join(cell["source"])} for cell in held if kind in (None, cell["cell_type"])]


def parameters_cells(path: Path) -> list[dict]:
    return [cell for cell in cells(path, "code") if "parameters" in cell["metadata"].get("tags", [])]


# -- the notebooks of the book ---------------------------------------------------------------------


def test_the_notebooks_of_the_book_are_there():
    assert {"01_data", "02_cell_types", "03_batches", "run", "your_data"} <= {path.stem for path in SOURCES}


@every_notebook
def test_stored_without_outputs(source):
    for cell in cells(source, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None, cell["text"]
    assert not {"papermill", "widgets"} & set(json.loads(source.read_text())["metadata"])


@every_notebook
def test_valid_and_every_cell_has_a_name_of_its_own(source):
    nbformat.validate(nbformat.read(source, as_version=4))
    ids = [cell["id"] for cell in cells(source)]
    assert len(ids) == len(set(ids))
    # Names made by an editor change with every save and make the history unreadable.
    assert all(name.startswith(source.stem.replace("_", "-")) for name in ids), ids


@every_notebook
def test_parameters_are_literals_each_with_a_comment(source):
    (cell,) = parameters_cells(source)
    for node in ast.parse(cell["text"]).body:
        assert isinstance(node, ast.Assign) and len(node.targets) == 1, ast.unparse(node)
        ast.literal_eval(node.value)
        lines = cell["text"].splitlines()[node.lineno - 1 : node.end_lineno]
        comments = [
            token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline)
            if token.type == tokenize.COMMENT
        ]
        assert comments and all(comments), f"no unit or meaning beside {ast.unparse(node)}"


@every_notebook
def test_code_holds_nothing_that_belongs_in_the_library(source):
    for cell in cells(source, "code"):
        assert not re.search(r"^\s*[!%]", cell["text"], re.MULTILINE), f"shell or magic in: {cell['text']}"
        for node in ast.walk(ast.parse(cell["text"])):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda), (
                cell["text"]
            )
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.match(r"(/|~/|[A-Za-z]:\\|\.\./)", node.value), (
                    f"a path of one machine: {node.value}"
                )


@every_notebook
def test_code_cells_are_short(source):
    for cell in cells(source, "code"):
        assert len(cell["text"].splitlines()) <= 15, cell["text"]


def dict_written_as(value: ast.expr, module: ast.Module) -> dict[str, ast.expr]:
    """Keys and expressions of a dict literal, also where it was given a name or unpacked into another."""
    if isinstance(value, ast.Name):
        (value,) = [
            node.value
            for node in module.body
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [value.id]
        ]
    held = {}
    for key, item in zip(value.keys, value.values, strict=True):
        held |= dict_written_as(item, module) if key is None else {ast.literal_eval(key): item}
    return held


@every_notebook
def test_starts_with_a_title_and_ends_with_the_stamp(source):
    first, *_ = cells(source)
    assert first["cell_type"] == "markdown" and first["text"].startswith("# ")
    assert len(first["text"].splitlines()) > 2, "the question stands under the title"
    last = cells(source)[-1]
    assert last["cell_type"] == "code"
    call = ast.parse(last["text"]).body[-1].value
    assert isinstance(call, ast.Call) and call.func.id == "stamp"
    assert ast.literal_eval(call.args[0]) == source.stem
    everything = ast.parse("\n".join(cell["text"] for cell in cells(source, "code")))
    stamped = {
        name: value
        for keyword in call.keywords
        for name, value in (
            dict_written_as(keyword.value, everything)
            if keyword.arg is None
            else {keyword.arg: keyword.value}
        ).items()
    }
    stamped = {name: ast.unparse(value) for name, value in stamped.items()}
    assert stamped == {name: name for name in notebooks.declared_parameters(source)}, (
        "all parameters, as they ran"
    )


@every_notebook
def test_ends_with_what_was_learnt_and_what_to_change(source):
    """Both headings once, in this order; the second names a parameter, a file or a command."""
    prose = "\n".join(cell["text"] for cell in cells(source, "markdown"))
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    last = ["Change it"] if source.stem == "run" else ["What we learnt", "Change it"]  # a run is no argument
    assert headings[-len(last) :] == last and len(set(headings)) == len(headings)
    assert "`" in prose.partition("\n## Change it\n")[2]


def test_one_figure_is_that_of_the_home_page():
    tagged = [
        cell
        for source in SOURCES
        for cell in cells(source, "code")
        if "home-page" in cell["metadata"].get("tags", [])
    ]
    (cell,) = tagged
    assert "figures.draw_" in cell["text"]
    alt = cell["metadata"]["mystnb"]["image"]["alt"]
    assert f":alt: {alt}\n" in (SOURCES[0].parents[1] / "book" / "intro.md").read_text()


@every_notebook
def test_one_import_cell_before_the_argument(source):
    code = [
        cell["text"] for cell in cells(source, "code") if parameters_cells(source)[0]["text"] != cell["text"]
    ]
    imports = [isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(code[0]).body]
    assert imports and all(imports), "the cell after the parameters only imports"
    sections = [cell["text"] for cell in cells(source)]
    assert any(text.startswith("## ") for text in sections[: sections.index(code[1])]), (
        "prose before the evidence"
    )


@every_notebook
def test_figures_say_what_they_show(source):
    for cell in cells(source, "code"):
        if "figures.draw_" in cell["text"]:
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5 and alt.endswith("."), f"no alt text: {cell['text']}"
            assert cell["text"].count("figures.draw_") == 1, "one figure a cell"
            caption = cell["metadata"]["mystnb"].get("figure", {}).get("caption", "")
            sentences = caption.count(". ") + 1
            assert sentences <= 3 and len(caption.split()) >= 20 and caption.endswith("."), (
                f"no caption of one to three sentences that stands alone: {cell['text']}"
            )
            assert not re.search(r"[`{}$<\n]", caption), "plain text: nothing to be resolved in a caption"
            # What a run counts belongs in glued text; the width of intervals is no such number.
            assert not re.search(r"\d", caption.replace("95 %", "")), caption


@every_notebook
def test_numbers_in_the_prose_are_glued_on_the_page(source):
    used = {
        key
        for cell in cells(source, "markdown")
        for key in re.findall(r"\{glue:text\}`(\w+)(?::[^`]*)?`", cell["text"])
    }
    glued = [
        "".join(re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in parts)
        for cell in cells(source, "code")
        for node in ast.walk(ast.parse(cell["text"]))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "glue"
        for parts in [node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]]
    ]
    missing = {key for key in used if not any(re.fullmatch(pattern, key) for pattern in glued)}
    assert not missing, f"in the prose but never glued: {sorted(missing)}"


# -- the runner ------------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path):
    """Write a small notebook: code cells, the first of them tagged ``parameters``."""

    def write(*code: str, tagged: int = 1) -> Path:
        made = [nbformat.v4.new_code_cell(text) for text in code]
        for cell in made[:tagged]:
            cell.metadata["tags"] = ["parameters"]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = tmp_path / "tiny.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), path)
        return path

    return write


def test_declared_parameters_are_the_names_of_the_cell(make):
    notebook = make("a = 1\nb: int = 2  # typed\n# c = 3\nd, e = 4, 5", "z = 1")
    assert notebooks.declared_parameters(notebook) == {"a", "b"}


def test_unknown_parameter_is_refused_before_anything_runs(make, home, tmp_path):
    output = tmp_path / "out" / "tiny.ipynb"
    with pytest.raises(
        NotebookError, match=r"tiny\.ipynb does not declare sed; its parameters are name, seed"
    ):
        notebooks.execute(make("seed = 0\nname = ''"), output, {"sed": 1})
    assert not output.parent.exists()


@pytest.mark.parametrize("tagged", [0, 2])
def test_notebook_without_exactly_one_parameters_cell_is_refused(make, home, tmp_path, tagged):
    output = tmp_path / "out" / "tiny.ipynb"
    with pytest.raises(NotebookError, match=f"has {tagged} cells tagged `parameters`; it needs exactly one"):
        notebooks.execute(make("seed = 0", "seed = 1", tagged=tagged), output, {})
    assert not output.parent.exists()


def test_executed_notebook_holds_its_parameters_results_and_stamp(make, home, tmp_path):
    notebook = make(
        "seed = 0\nname = 'x'",
        "print(seed + 1, name)",
        "from zeroshot.stamp import stamp\nstamp('tiny', seed=seed)",
    )
    stored = notebook.read_bytes()
    output = tmp_path / "out" / "tiny.ipynb"
    output.parent.mkdir()
    stale = output.with_suffix(".failed.ipynb")
    stale.write_text("of an earlier attempt")
    notebooks.execute(notebook, output, {"seed": 41})
    assert notebook.read_bytes() == stored
    assert [path.name for path in output.parent.iterdir()] == ["tiny.ipynb"], (
        "no leftovers, the old failure is gone"
    )
    injected = [cell for cell in cells(output) if "injected-parameters" in cell["metadata"].get("tags", [])]
    assert [cell["text"].splitlines()[-1] for cell in injected] == ["seed = 41"]
    printed = [out["text"] for cell in cells(output, "code") for out in cell["outputs"] if "text" in out]
    assert ["".join(text) for text in printed] == ["42 x\n"]
    content = output.read_text()
    assert '"papermill"' not in content and str(tmp_path) not in content, (
        "bookkeeping with paths of this machine"
    )
    nbformat.validate(nbformat.read(output, as_version=4))
    record = stamp.read(output)
    assert record["notebook"] == "tiny" and record["parameters"] == {"seed": 41} and record["seconds"] > 0
    assert record["command"] == "zeroshot notebook tiny -p seed=41 --output tiny-again.ipynb"


def test_failing_cell_is_named_and_kept_beside(make, home, tmp_path):
    output = tmp_path / "out" / "tiny.ipynb"
    output.parent.mkdir()
    output.write_text("the page of an earlier run")
    notebook = make("seed = 0", "print('got here')", "{}['absent key']", "print('never here')")
    with pytest.raises(
        NotebookError, match=r'tiny\.ipynb with {"seed": 3} failed: cell \d+ raised KeyError: .absent key'
    ) as e:
        notebooks.execute(notebook, output, {"seed": 3})
    failed = output.with_name("tiny.failed.ipynb")
    assert str(failed) in str(e.value)
    assert sorted(path.name for path in output.parent.iterdir()) == ["tiny.failed.ipynb", "tiny.ipynb"]
    assert output.read_text() == "the page of an earlier run", "half a page never replaces a whole one"
    assert '"got here\\n"' in failed.read_text() and '"never here\\n"' not in failed.read_text()
    with pytest.raises(ValueError, match="carries no stamp"):
        stamp.read(failed)


def test_killed_kernel_is_an_error_of_the_page(make, home, tmp_path):
    # What the system does to a page that takes more memory than there is.
    notebook = make("seed = 0", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    output = tmp_path / "out" / "tiny.ipynb"
    with pytest.raises(NotebookError, match="its kernel died, most often for want of memory"):
        notebooks.execute(notebook, output, {})
    assert [path.name for path in output.parent.iterdir()] == ["tiny.failed.ipynb"]


def test_plan_of_a_page_that_cannot_run_ends_with_an_exit_code(home, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"notebook": "run", "parameters": {"modle": "pca"}}))
    output = tmp_path / "out.ipynb"
    assert notebooks.main([str(plan), str(output), "1"]) == 1
    assert "run.ipynb does not declare modle" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("notebook", "policy"), [("run", "reuse"), ("06_umap", "reuse"), ("sensitivity", "recompute")]
)
def test_what_a_study_computes_is_not_recomputed_by_its_pages(home, tmp_path, monkeypatch, notebook, policy):
    """Variants are computed by the chapters that compare them, all else before pages are executed."""
    plan, seen = tmp_path / "plan.json", []
    plan.write_text(json.dumps({"notebook": notebook, "parameters": {}}))
    monkeypatch.setenv("ZEROSHOT_POLICY", "recompute")
    monkeypatch.setattr(notebooks, "execute", lambda *_, **__: seen.append(os.environ["ZEROSHOT_POLICY"]))
    assert notebooks.main([str(plan), str(tmp_path / "out.ipynb"), "1"]) == 0
    assert seen == [policy]


# -- the stamp -------------------------------------------------------------------------------------


def test_stamp_escapes_every_value(home, monkeypatch):
    evil = "<script>alert('x')</script>&\""
    monkeypatch.setattr(stamp.store, "device_name", lambda: evil)
    monkeypatch.setattr(stamp.store, "commit", lambda: evil)
    made = stamp.stamp("run", model=evil)
    artifact = {"stage": evil, "key": evil, "seconds": 1.0, "peak_memory_mb": 1.0}
    made.record |= {"data": evil, "artifacts": [artifact], "finished": evil, "packages": {evil: evil}}
    html = made.to_html()
    assert "<script" not in html and "alert('" not in html
    # command, parameters, data, artifacts (2), commit, device, finished, packages (2)
    assert html.count("&lt;script&gt;") == 10
    assert made._repr_mimebundle_()[stamp.MIME] is made.record


def test_stamp_names_every_data_set_and_whether_scores_were_read(home):
    cells = AnnData(np.zeros((3, 1)), uns={"dataset": {"content_hash": "c0ffee"}})
    several = stamp.stamp("01_data", {"one": cells, "<two>": cells}, study="smoke")
    assert several.record["data"] == "one c0ffee, <two> c0ffee" and several.record["n_cells"] == 6
    assert several.record["scores"] == "computed" and "&lt;two&gt; c0ffee" in several.to_html()
    alone = stamp.stamp("tokens", cells, dataset="one").record
    assert (alone["data"], alone["n_cells"], alone["scores"]) == ("c0ffee", 3, None)
    assert stamp.stamp("landscape").record["data"] is None


def test_command_of_a_stamp_survives_a_shell(tmp_path):
    given = {
        "source": "my cells.h5ad",
        "recipe": None,
        "models": ["a", "b"],
        "subset": 3,
        "key": "it's; rm -rf $HOME",
    }
    words = shlex.split(stamp.command("your_data", given))
    assert words[:3] == ["zeroshot", "notebook", "your_data"] and words[-2:] == [
        "--output",
        "your_data-again.ipynb",
    ]
    pairs = [word.partition("=") for word in words[3:-2] if word != "-p"]
    assert {name: json.loads(value) for name, _, value in pairs} == given


def test_notebook_that_was_not_executed_has_no_stamp():
    with pytest.raises(ValueError, match="carries no stamp"):
        stamp.read(SOURCES[0])
