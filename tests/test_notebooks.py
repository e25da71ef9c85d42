"""The notebooks as they are stored, the runner that executes them, and the stamp at their foot."""

import ast
import errno
import hashlib
import importlib
import io
import json
import os
import re
import shlex
import stat
import string
import sys
import sysconfig
import tempfile
import tokenize
import warnings
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from anndata import AnnData

from zeroshot import notebooks
from zeroshot.notebooks import NotebookError, __main__, stamp
from zeroshot.notebooks.cleaning import relative_paths
from zeroshot.notebooks.kernel import sockets
from zeroshot.notebooks.output import keep_failed
from zeroshot.notebooks.parameters import check_parameters
from zeroshot.runtime import paths
from zeroshot.runtime.outputs import OutputError, named_if_full

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
        assert isinstance(node, ast.AnnAssign) or len(node.targets) == 1, ast.unparse(node)
        # Of None alone nobody knows what else the parameter may be.
        assert isinstance(node, ast.AnnAssign) or ast.literal_eval(node.value) is not None
        ast.literal_eval(node.value)
        lines = cell["text"].splitlines()[node.lineno - 1 : node.end_lineno]
        comments = [
            token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline)
            if token.type == tokenize.COMMENT
        ]
        assert comments and all(comments), f"no unit or meaning beside {ast.unparse(node)}"


def test_papermill_itself_knows_every_parameter(capsys):
    """It does not read ``name: str | None = None``, and calls such a parameter unknown when it is given."""
    for source in SOURCES:
        assert set(papermill.inspect_notebook(str(source))) == notebooks.declared_parameters(source)


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
def test_answers_first_and_ends_with_what_to_adapt(source):
    """The first section reports numbers; the last names a parameter, a file or a command."""
    prose = "\n".join(cell["text"] for cell in cells(source, "markdown"))
    headings = re.findall(r"^## (.+)$", prose, re.MULTILINE)
    assert len(set(headings)) == len(headings)
    last = "Adapt this page" if source.stem == "run" else "Adapt this chapter"
    assert (headings[0], headings[-1]) == ("Key takeaways", last)
    assert "`" in prose.partition(f"\n## {last}\n")[2]
    texts = [cell["text"] for cell in cells(source)]
    assert texts[texts.index("## Key takeaways") + 1].startswith("report(")


@every_notebook
def test_code_is_folded_so_that_a_reader_meets_prose_figures_and_tables(source):
    """All but the parameters: what a page was made with is part of what it says."""
    for cell in cells(source, "code"):
        tags = set(cell["metadata"].get("tags", ()))
        assert tags & {"parameters", "hide-input", "hide-cell", "remove-input"}, cell["text"]


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


def test_a_figure_is_shown_once():
    """A figure as the value of a cell would be shown beside the one that was drawn."""
    for source in SOURCES:
        for cell in cells(source, "code"):
            last = cell["text"].strip().rpartition("figures.draw_")[2]
            if cell["text"].strip().startswith("figures.draw_") or "\nfigures.draw_" in cell["text"]:
                assert last.endswith(";"), f"{source.stem}: {last}"


@every_notebook
def test_prose_is_complete_wherever_the_notebook_is_executed(source):
    """Numbers stand in the statements of reports, never in marks that only the book fills in."""
    assert not [cell["text"] for cell in cells(source, "markdown") if "{glue:" in cell["text"]]
    glued = []
    for cell in cells(source, "code"):
        for node in ast.walk(ast.parse(cell["text"])):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "report":
                continue
            texts = [
                part.value
                for argument in node.args
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            fields = {name for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
            given = {keyword.arg for keyword in node.keywords} - {"glued"}
            assert texts and (None in given or fields <= given), f"no number for {fields - given}"
            assert None in given or given <= fields, f"not in a statement: {given - fields}"
            assert not any(re.search(r"\]\([^)]*\.(md|ipynb)", text) for text in texts), "a link of the book"
            if not any(keyword.arg == "glued" for keyword in node.keywords):
                glued += [name for name in given if name]
    assert len(glued) == len(set(glued)), "another page could not tell which is meant"


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


TYPED = """
seed = 0
share = 0.5
fast = False
name = "x"
models = ["pca", "hvg"]
layers = [1, 2]
key: str | None = None
subset: int | None = None
anything = None
"""


def test_values_of_the_command_line_take_the_declared_types(make):
    notebook = make(TYPED)
    for text, value in {
        "seed=3": 3, "seed=1e2": 100, "seed=7.0": 7, "share=1": 1.0, "share=1e-3": 0.001,
        "fast=true": True, "fast=True": True, "fast=FALSE": False,
        "name=123": "123", "name=None": "None", "name=null": "null", 'name="3"': "3", "name=a=b": "a=b",
        "name=": "",
        'models=["a"]': ["a"], "models=['a', 'b']": ["a", "b"], "models=a, b@c": ["a", "b@c"],
        "models=[a, b@c]": ["a", "b@c"], "models=['a', b]": ["a", "b"], "layers=[3, 1e1]": [3, 10],
        "models=[]": [],
        "layers=3,1e1": [3, 10], "key=None": None, "key=null": None, 'key="None"': "None", "key=12": "12",
        "subset=None": None, "subset=1e2": 100, "anything=None": None, "anything=1e2": 100,
        "anything=[1]": [1], "anything=pca": "pca",
    }.items():  # fmt: skip
        (read,) = notebooks.parse_parameters(notebook, [text]).values()
        assert read == value and type(read) is type(value), text


def test_values_of_another_type_are_refused_with_the_type_and_an_example(make):
    notebook = make(TYPED)
    for text in (
        "seed=abc", "seed=1.5", "seed=true", "seed=None", "seed=1e999", "seed=[1]", "seed=",
        f"seed={'9' * 5000}x", "share=half", "share=NaN", "fast=1", "fast=yes", "models=[1]", "models=null",
        "layers=a", "layers=[true]",
        "subset=all", "subset=0.5", "subset=Infinity",
    ):  # fmt: skip
        name = text.partition("=")[0]
        with pytest.raises(
            NotebookError, match=rf"tiny.ipynb: {name} is .*; it must be .*, for example {name}="
        ):
            notebooks.parse_parameters(notebook, [text])
    for texts, message in {
        ("sed=1",): "does not declare sed; .* Did you mean seed?",
        ("seed=1", "seed=2"): "given twice",
        ("seed",): "use name=value",
        ("=1",): "use name=value",
        ("name=\udcff",): "not UTF-8",
    }.items():
        with pytest.raises(NotebookError, match=message):
            notebooks.parse_parameters(notebook, texts)


def test_values_of_a_plan_are_checked_and_never_read_as_text(make, home, tmp_path):
    notebook = make(TYPED)
    given = {"name": '"quoted"', "key": "None", "seed": 3.0, "share": 1, "anything": "1e2", "subset": None}
    assert check_parameters(notebook, given) == given
    for values in ({"seed": "3"}, {"seed": None}, {"name": 3}, {"models": "pca"}, {"fast": 0}):
        with pytest.raises(NotebookError, match=f"{next(iter(values))} is .*; it must be "):
            notebooks.execute(notebook, tmp_path / "out.ipynb", values)
    assert not (tmp_path / "out.ipynb").exists()


def test_file_that_is_not_a_notebook_is_refused(tmp_path):
    for content in (b"", b"{}", b"[]", b"\xff\xfe", b'{"cells": 3}'):
        (tmp_path / "bad.ipynb").write_bytes(content)
        with pytest.raises(NotebookError, match=r"bad\.ipynb is not a notebook"):
            notebooks.declared_parameters(tmp_path / "bad.ipynb")


def test_output_that_is_an_input_or_cannot_be_written_is_refused_before_anything_runs(
    make, home, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    notebook, template = make("source = 'x'", "1 / 0"), home / "notebooks" / "your_data.ipynb"
    cells_file = tmp_path / "mine.ipynb"
    cells_file.write_text("cells")
    (tmp_path / "linked.ipynb").symlink_to(template)
    os.link(template, tmp_path / "hard.ipynb")
    (tmp_path / "folder.ipynb").mkdir()
    os.mkfifo(tmp_path / "pipe.ipynb")
    before = {file: file.read_bytes() for file in (notebook, template, cells_file)}
    for name, message in {
        "tiny.ipynb": "is the input", "../" + tmp_path.name + "/tiny.ipynb": "is the input",
        "linked.ipynb": "among the notebooks", "hard.ipynb": "is the input", "mine.ipynb": "is the input",
        "home/notebooks/your_data.ipynb": "among the notebooks",
        "home/notebooks/new.ipynb": "among the notebooks",
        "folder.ipynb": "is a directory", ".": "is a directory", "absent/out.ipynb": "does not exist",
        "tiny.ipynb/out.ipynb": "does not exist", "out.html": "must end in .ipynb",
        "out": "must end in .ipynb",
        "pipe.ipynb": "not a regular file", f"{'n' * 300}.ipynb": "File name too long",
    }.items():  # fmt: skip
        with pytest.raises(NotebookError, match=message):
            notebooks.execute(notebook, Path(name), {"source": "~/mine.ipynb"})
    assert before == {file: file.read_bytes() for file in before}
    assert not list(tmp_path.rglob("*.failed.ipynb")) and not (tmp_path / "absent").exists()


def test_executed_notebook_holds_its_parameters_results_and_stamp(make, home, tmp_path, monkeypatch):
    """Also below a long TMPDIR, with braces in its path, and where another `python3` is installed."""
    foreign = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    foreign.parent.mkdir(parents=True)
    foreign.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(foreign.parents[2]))
    long = tmp_path / ("t" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setenv("TMPDIR", str(long))
    notebook = make(
        "seed = 0  # é\nname = 'x'",
        "import sys, tempfile, warnings\nfrom pathlib import Path\nfrom zeroshot.runtime import paths\n"
        "print(seed + 1, name)\nwarnings.warn('look out')\nfrom tqdm.auto import tqdm",
        "[sys.executable, tempfile.gettempdir(), str(Path.cwd()), str(paths.home() / 'data')]",
        "from zeroshot.notebooks.stamp import stamp\nstamp('tiny', seed=seed)",
    )
    stored = notebook.read_bytes()
    output = tmp_path / "out {seed}" / "tiny.ipynb"
    output.parent.mkdir()
    stale, users = (output.with_suffix(f".failed{number}.ipynb") for number in ("", "-2"))
    stale.write_text(json.dumps({"metadata": {"zeroshot_failed": True}}))  # of an earlier attempt
    users.write_text("of the user")
    notebooks.execute(notebook, output, {"seed": 41})
    assert notebook.read_bytes() == stored
    assert {path.name for path in output.parent.iterdir()} == {"tiny.ipynb", users.name}, (
        "no leftovers, the old failure is gone"
    )
    assert [cell["text"] for cell in parameters_cells(output)] == ["seed = 41  # é\nname = 'x'"]
    assert not any("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells(output))
    printed = [out for cell in cells(output, "code") for out in cell["outputs"] if "text" in out]
    assert ["".join(out["text"]) for out in printed if out["name"] == "stdout"] == ["42 x\n"]
    (warned,) = ["".join(out["text"]) for out in printed if out["name"] == "stderr"]
    assert "a cell of this notebook:5: UserWarning: look out" in warned and "IProgress" not in warned
    content = output.read_text()
    assert '"papermill"' not in content, "bookkeeping with paths of this machine"
    for folder in (tmp_path, Path.home(), sys.prefix, sys.base_prefix, Path.cwd(), tempfile.gettempdir()):
        assert str(folder) not in content, "a path of this machine"
    nbformat.validate(nbformat.read(output, as_version=4))
    record = stamp.read(output)
    assert record["notebook"] == "tiny" and record["parameters"] == {"seed": 41} and record["seconds"] > 0
    assert record["command"] == "zeroshot notebook tiny -p seed=41 --output tiny-again.ipynb"


def test_bars_that_lack_and_damaged_compiled_code_are_no_news_in_kernels_of_others():
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        importlib.reload(notebooks)
        warnings.warn("IProgress not found. Please update jupyter", stacklevel=1)
        warnings.warn("Error reading persistent compilation cache entry for 'jit_f': cut", stacklevel=1)
        assert messages == []
        warnings.warn("look out", stacklevel=1)
        assert len(messages) == 1


def test_kernels_are_told_which_warnings_no_page_shows(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "error::ResourceWarning")
    for name in (
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "NUMBA_CACHE_DIR",
    ):
        monkeypatch.setenv(name, "x")
    for _ in range(2):
        notebooks.prepare_environment(None)
    filters = os.environ["PYTHONWARNINGS"].split(",")
    assert filters[0] == "error::ResourceWarning" and len(filters) == len(set(filters)) == 4
    ours = {"ignore:IProgress not found", "ignore:Error reading persistent compilation cache entry"}
    assert ours < set(filters)


def test_an_executed_notebook_is_executed_again_as_its_template(make, home, tmp_path):
    """Also by papermill itself; a cell that computes with its parameters keeps both cells."""
    literals = make(
        'seed: int | None = None  # integer\nmodels = [\n    "a",\n]  # names\nkey = "é"  # text',
        "print(seed, models, key)",
    )
    once, twice, by_papermill = (tmp_path / f"{name}.ipynb" for name in ("once", "twice", "papermill"))
    notebooks.execute(literals, once, {"seed": 1, "models": ["b", 'c"'], "key": "ü"})
    notebooks.execute(once, twice, {"seed": 2})
    papermill.execute_notebook(str(once), str(by_papermill), {"seed": 3}, progress_bar=False)
    (cell,) = parameters_cells(once)
    assert cell["text"] == (
        'seed: int | None = 1  # integer\nmodels = ["b", "c\\""]  # names\nkey = "\\xfc"  # text'
    )
    printed = [cells(path, "code")[-1]["outputs"][0]["text"] for path in (once, twice, by_papermill)]
    assert ["".join(text) for text in printed] == [f"{seed} ['b', 'c\"'] ü\n" for seed in (1, 2, 3)]

    computed = make("seed = 0\nother = seed + 1", "print(seed, other)")
    notebooks.execute(computed, once, {"seed": 1})
    assert len(cells(once, "code")) == 3 and cells(once, "code")[-1]["outputs"][0]["text"] == ["1 1\n"]


def test_sockets_have_a_short_private_folder_or_tmpdir_is_named(tmp_path, monkeypatch):
    short = Path(tempfile.mkdtemp())  # tmp_path may be too long itself
    for folder in (short, tmp_path / ("long" * 25), tmp_path / ("ü" * 45)):
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with sockets() as made:
            assert len(os.fsencode(f"{made}/kernel-12345")) <= 103
            assert stat.S_IMODE(Path(made).stat().st_mode) == 0o700
            assert (Path(made).parent == folder) == (folder == short)
    short.rmdir()
    monkeypatch.setattr(os, "access", lambda *_: False)  # /tmp is not there, or not to be written to
    with pytest.raises(NotebookError, match=r"TMPDIR is .*ü.* at most 103 characters"):
        sockets()


def test_paths_of_this_machine_are_relative_but_not_those_that_the_user_gave(home, monkeypatch):
    given = f"{home}/mine of {Path.home()}.h5ad"
    short = relative_paths([given, "pca"])
    for text, expected in {
        f"{home}/data/x.csv": "data/x.csv",
        f"in {home}": "in .",
        f"<b>{home}/a</b>": "<b>a</b>",
        f"{home}-other/a": f"{home}-other/a".replace(f"{tempfile.gettempdir()}/", "TMPDIR/"),
        f"{sysconfig.get_path('purelib')}/umap/x.py:3: Warning": "site-packages/umap/x.py:3: Warning",
        f"{sys.prefix}/bin/python": "PYTHON/bin/python",
        f"'{tempfile.gettempdir()}/ipykernel_12/34.py'": "'a cell of this notebook'",
        f"{Path.home()}/x": "~/x",
        f"https://x.org{Path.home()}/x": f"https://x.org{Path.home()}/x",
        given: given,
        "pca": "pca",
    }.items():
        assert short(text) == expected


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
    users, ours = tmp_path / "out.failed.ipynb", tmp_path / "out.failed-2.ipynb"
    users.write_text("of the user")
    ours.write_text(json.dumps({"metadata": {"zeroshot_failed": True}}))
    with pytest.raises(
        NotebookError, match=r"its kernel died, most often for want of memory: [^.]*\n.*failed-2"
    ):
        notebooks.execute(notebook, tmp_path / "out.ipynb", {})
    assert users.read_text() == "of the user" and "SIGKILL" in ours.read_text()
    assert not (tmp_path / "out.ipynb").exists()


def test_plan_of_a_page_that_cannot_run_ends_with_an_exit_code(home, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"notebook": "run", "parameters": {"modle": "pca"}}))
    output = tmp_path / "out.ipynb"
    assert __main__.main([str(plan), str(output), "1"]) == 1
    assert "run.ipynb does not declare modle" in capsys.readouterr().err
    assert not output.exists()


# -- the stamp -------------------------------------------------------------------------------------


def test_stamp_escapes_every_value(home, monkeypatch):
    evil = "<script>alert('x')</script>&\""
    monkeypatch.setattr(stamp.store.costs, "device_name", lambda: evil)
    monkeypatch.setattr(stamp.store.costs, "commit", lambda: evil)
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
    scores = paths.study("smoke") / "scores.csv"
    scores.parent.mkdir(parents=True)
    scores.write_text("dataset\n")
    several = stamp.stamp("01_data", {"one": cells, "<two>": cells}, study="smoke")
    assert several.record["data"] == "one c0ffee, <two> c0ffee" and several.record["n_cells"] == 6
    assert (
        several.record["scores"] == hashlib.sha256(b"dataset\n").hexdigest()
        and "&lt;two&gt; c0ffee" in several.to_html()
    )
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


def test_a_full_disk_is_named_and_the_reason_of_a_failed_cell_is_not_lost(make, home, tmp_path, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(papermill, "execute_notebook", full)
    with pytest.raises(OutputError, match=r"out\.ipynb was not written: the disk of .* is full"):
        notebooks.execute(make("x = 1"), tmp_path / "out.ipynb", {})
    with pytest.raises(NotebookError, match="of the cell"), named_if_full(tmp_path / "out.ipynb", ""):
        raise NotebookError("No space left on device, of the cell")  # on another disk, it may be
    monkeypatch.setattr(Path, "write_text", full)
    executed = tmp_path / "executed.ipynb"
    executed.write_bytes(b'{"metadata": {}}')
    kept = keep_failed(executed, tmp_path / "out.ipynb")
    assert kept.startswith("The cells up to there could not be kept") and "No space left" in kept
