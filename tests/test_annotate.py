"""Labels from a reference: the votes, the two scores, the genes that two data sets share, and the command."""

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from zeroshot import cli, data, pipeline
from zeroshot.metrics.label_transfer import transfer_labels
from zeroshot.pipeline import annotations
from zeroshot.tokens.genes import GeneOverlapError

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Halves of a real data set as users' files: a reference with labels and a query without."""
    root = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(root))
        shutil.copytree(CHECKOUT / "data", root / "data", ignore=shutil.ignore_patterns("scores", "evidence"))
        cells = data.load("pbmc68k-reduced")
    cells.obs["type"] = cells.obs.pop("cell_type").astype(str)
    cells.obs.loc[cells.obs_names[[1, 3]], "type"] = "NA"
    is_reference = np.arange(cells.n_obs) % 2 == 1
    del cells.uns["dataset"]
    cells[is_reference].copy().write_h5ad(root / "reference.h5ad")
    query = cells[~is_reference].copy()
    truth = query.obs.pop("type").to_numpy()
    query.obs["mine"] = "kept"
    query.write_h5ad(root / "query.h5ad")
    return root, truth


@pytest.fixture
def zeroshot(files, monkeypatch):
    root, _ = files
    monkeypatch.setenv("ZEROSHOT_HOME", str(root))
    monkeypatch.chdir(root)

    def run(*arguments: str):
        return CliRunner().invoke(cli.app, ["annotate", *arguments])

    return run


def test_votes_confidence_and_novelty_of_known_cells():
    reference = np.array([[0.0], [1], [2], [10], [11], [12.5]])
    labels = np.array(["a", "a", "a", "b", "b", "b"])
    query = np.array([[1.1], [5.9], [11], [40]])
    transfer = transfer_labels(reference, labels, query, n_neighbors=3)
    assert list(transfer.labels) == ["a", "a", "b", "b"]
    assert transfer.confidence == pytest.approx([1, 2 / 3, 1, 1])
    assert transfer.novelty == pytest.approx([0, 4 / 6, 0, 1])
    # Two labels with a vote each: the nearest cell decides.
    assert list(transfer_labels(reference, labels, query[1:2], n_neighbors=1).labels) == ["a"]
    tie = transfer_labels(np.array([[0.0], [3], [9]]), ["x", "y", "z"], np.array([[1.4], [1.6]]), 2)
    assert list(tie.labels) == ["x", "y"] and tie.confidence == pytest.approx([0.5, 0.5])


def test_cells_alike_have_every_novelty_and_others_a_high_one():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(1200, 5))
    alike = transfer_labels(cells[:800], np.arange(800) % 2, cells[800:]).novelty
    assert np.abs(np.quantile(alike, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.06
    far = transfer_labels(cells[:800], np.arange(800) % 2, cells[800:] + 4).novelty
    assert np.median(far) == 1
    shift = 1e6  # neither place nor unit changes the answer
    moved = transfer_labels(cells[:800] * 3 + shift, np.arange(800) % 2, cells[800:] * 3 + shift).novelty
    assert np.abs(moved - alike).max() < 1e-6


def test_what_cannot_be_transferred_is_refused():
    cells = np.zeros((5, 2))
    for arguments, message in (
        ((cells, list("aabbb"), np.zeros((3, 4))), "of the same embedding"),
        ((cells, list("aabb"), cells), "4 entries for 5 reference cells"),
        ((cells, list("aabbb"), cells, 5), "1 to 4 are possible"),
    ):
        with pytest.raises(ValueError, match=message):
            transfer_labels(*arguments)


def cells_of(names, counts, ids=None, title="one"):
    counts = sparse.csr_matrix(np.asarray(counts, np.float32))
    index = [f"c{number}" for number in range(counts.shape[0])]
    totals = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    obs = pd.DataFrame({"batch": pd.Categorical(["b"] * len(index)), "library_size": totals + 7}, index=index)
    var = pd.DataFrame(index=names) if ids is None else pd.DataFrame({"ensembl_id": ids}, index=names)
    return AnnData(counts, obs, var, uns={"dataset": {"title": title, "name": title, "notes": []}})


def test_genes_are_matched_by_name_id_and_approved_symbol():
    reference = cells_of(
        ["CD3E", "MS4A1", "PTPRC", "NCAM1"], [[1, 2, 3, 4]], ["ENSG00000198851", "", "ENSG00000081237", ""]
    )
    # One by its id, one by its own name, one by a previous symbol, and one that the reference lacks.
    query = cells_of(
        ["ENSG00000198851.5", "PTPRC", "MS4A2", "CD20"], [[5, 6, 0, 8], [0, 1, 0, 0]], title="two"
    )
    joined = annotations.join(reference, query)
    assert list(joined.var_names) == ["CD3E", "MS4A1", "PTPRC"]
    assert joined.X.toarray().tolist() == [[1, 2, 3], [5, 8, 6], [0, 0, 1]]
    assert list(joined.obs["library_size"]) == [17, 26, 8]
    assert list(joined.obs["batch"]) == ["reference: b", "query: b", "query: b"]
    # Ids of another release, on either side, and symbols alone on the other.
    symbols, ids = (
        cells_of(["CD3E", "PTPRC"], [[1, 2]]),
        cells_of(["ENSG00000198851.5", "ENSG00000081237.2"], [[3, 4]]),
    )
    assert annotations.join(ids, symbols).X.toarray().tolist() == [[3, 4], [1, 2]]
    assert annotations.join(symbols, ids).X.toarray().tolist() == [[1, 2], [3, 4]]
    mouse = cells_of(["Cd3e", "Ms4a1", "Ptprc", "Ncam1"], [[1, 2, 3, 4]])
    with pytest.raises(GeneOverlapError, match=r"0 genes in common, of 4 and 4.*of the same species"):
        annotations.join(reference, mouse)


def test_annotate_adds_columns_and_keeps_the_file(files, zeroshot):
    root, truth = files
    command = ("query.h5ad", "--reference", "reference.h5ad", "--label-key", "type", "--model", "pca")
    result = zeroshot(*command, "--output", "out.h5ad")
    assert result.exit_code == 0, result.output
    assert "note: reference.h5ad: 2 of 350 cells are left out: no label or batch" in result.output
    assert "note: query.h5ad: The library size of a cell is the sum of its counts" in result.output
    assert "PCA was fitted to the 698 cells of query and reference together" in result.output
    assert "765 shared, 100% of the query's" in result.output
    assert "of the shared genes: " in result.output and "of 765 genes" in result.output
    before, after = (anndata.read_h5ad(root / name) for name in ("query.h5ad", "out.h5ad"))
    columns = ["pca_label", "pca_confidence", "pca_novelty"]
    assert list(after.obs) == [*before.obs, *columns] and (after.X != before.X).nnz == 0
    labels = after.obs["pca_label"].astype(str).to_numpy()
    is_right, confidence = labels == truth, after.obs["pca_confidence"].to_numpy()
    assert is_right.mean() > 0.7
    assert confidence[is_right].mean() > confidence[~is_right].mean() + 0.1
    record = after.uns["pca_annotation"]
    assert record["reference"] == "reference.h5ad" and record["genes"]["shared"] == 765
    assert record["genes"]["counts_of_query"] == 1
    # Columns that the file has are not replaced without a word.
    again = zeroshot("out.h5ad", *command[1:], "--output", "more.h5ad")
    assert again.exit_code and "obs['pca_label']" in str(again.exception)
    assert zeroshot("out.h5ad", *command[1:], "--output", "more.h5ad", "--overwrite").exit_code == 0
    more = anndata.read_h5ad(root / "more.h5ad")
    assert list(more.obs) == list(after.obs) and more.obs[columns].equals(after.obs[columns])


def test_annotate_writes_a_table_and_says_what_is_unlike_the_reference(files, zeroshot):
    root, truth = files
    reference = anndata.read_h5ad(root / "reference.h5ad")
    absent = "CD19+ B"
    reference[reference.obs["type"] != absent].copy().write_h5ad(root / "without.h5ad")
    options = ("--label-key", "type", "--model", "pca", "--output", "out.csv")
    result = zeroshot("query.h5ad", "--reference", "without.h5ad", *options)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(root / "out.csv", index_col="cell")
    assert list(table.index) == list(anndata.read_h5ad(root / "query.h5ad").obs_names)
    assert absent not in set(table["label"])
    assert roc_auc_score(truth == absent, table["novelty"]) > 0.8


def test_a_matrix_that_lacks_genes_is_named(files, monkeypatch):
    root, _ = files
    monkeypatch.setenv("ZEROSHOT_HOME", str(root))
    cells = data.load("pbmc68k-reduced")  # 765 genes with a fifth of the counts, and the library size of all
    reference, query = cells[:400].copy(), cells[400:500].copy()
    depths = reference.obs["library_size"]
    of_matrix = np.asarray(reference.X.sum(axis=1, dtype=float)).ravel()
    for sizes, n_notes in ((depths, 0), (of_matrix, 1)):
        reference.obs["library_size"] = sizes
        notes = [note for note in pipeline.annotate(query, reference, "depth-only").notes if "hold" in note]
        assert len(notes) == n_notes
    assert "100% of the counts of a cell of the reference" in notes[0] and "--reference-lib" in notes[0]
    # The other way round it is the query.
    (note,) = [note for note in pipeline.annotate(reference, query, "depth-only").notes if "hold" in note]
    assert "100% of the counts of a cell of the query" in note and note.endswith("line: --library-size-key)")


def test_labels_of_a_file_neither_steer_the_terminal_nor_displace_the_numbers(files, zeroshot, monkeypatch):
    root, _ = files
    monkeypatch.setenv("COLUMNS", "80")
    cells = anndata.read_h5ad(root / "reference.h5ad")
    long = "effector memory CD8-positive, alpha-beta T cell, terminally differentiated"
    cells.obs["type"] = [
        f"\x1b[2J{label}" if "B" in label else long for label in cells.obs["type"].astype(str)
    ]
    cells.write_h5ad(root / "odd.h5ad")
    output = zeroshot(
        "query.h5ad", "--reference", "odd.h5ad", "--label-key", "type", "--model", "depth-only"
    ).output
    assert "\x1b" not in output and "\\x1b[2JCD19+ B" in output
    title, rows = output.split("novelty above")[0].split("label", 1)
    assert max(map(len, output.split("novelty above")[0].splitlines())) <= 80
    assert "cells" in title + rows.splitlines()[0] and "effector memory" in rows


def test_copies_of_reference_cells_are_named(files, monkeypatch):
    root, _ = files
    monkeypatch.setenv("ZEROSHOT_HOME", str(root))
    cells = data.load("pbmc68k-reduced")
    annotation = pipeline.annotate(cells[:30], cells[:400], "hvg")
    assert any(note.startswith("30 of 30 cells of the query have the counts") for note in annotation.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "./query.h5ad", "--model", "pca"), "is query and reference at once"),
        (("--reference", "reference.h5ad", "--model", "pca"), "no label column 'cell_type'"),
        (("--reference", "reference.h5ad", "--model", "pca", "--label-key", "batch"), "one label only"),
        (
            ("--reference", "reference.h5ad", "--model", "label-oracle", "--label-key", "type"),
            "made from the",
        ),
        (
            ("--reference", "reference.h5ad", "--model", "pca", "--label-key", "type", "--neighbors", "348"),
            "give --neighbors 1 to 347",
        ),
        (("--reference", "reference.h5ad", "--model", "pca", "--output", "x.txt"), "in .h5ad or .csv"),
        (("--reference", "reference.h5ad", "--model", "pca", "--output", "reference.h5ad"), "is the input"),
        (("--reference", "reference.h5ad", "--model", "pca", "--key", "a/b"), "without slashes"),
    ],
)
def test_annotate_refuses(zeroshot, arguments, message):
    result = zeroshot("query.h5ad", *arguments)
    assert result.exit_code and message in str(result.exception), result.output


def test_genes_tell_what_was_decided_on_a_file(files, zeroshot):
    answer = CliRunner().invoke(cli.app, ["genes", "--model", "pca", "--dataset", "query.h5ad"])
    assert "note: query.h5ad: The library size of a cell is the sum" in answer.output, answer.exception


def test_errors_of_a_file_name_the_options_that_the_command_has(files, zeroshot):
    root, _ = files
    cells = anndata.read_h5ad(root / "reference.h5ad")
    cells.X = cells.X.log1p()
    cells.write_h5ad(root / "log.h5ad")
    annotated = zeroshot("query.h5ad", "--reference", "log.h5ad", "--label-key", "type", "--model", "pca")
    assert "--counts is --reference-layer here" in annotated.exception.__notes__
    answer = CliRunner().invoke(cli.app, ["genes", "--model", "pca", "--dataset", "log.h5ad"])
    notes = answer.exception.__notes__
    assert any(note.startswith("--counts is no option of this command: store the raw") for note in notes)
    # Notes are as good as errors: those on the reference name its options.
    cells = anndata.read_h5ad(root / "reference.h5ad")
    cells.obs["library_size"] = 1e5
    cells.raw = cells
    cells.X = cells.X * 2
    cells.write_h5ad(root / "depths.h5ad")
    options = ("--reference", "depths.h5ad", "--label-key", "type", "--model", "depth-only")
    lines = zeroshot("query.h5ad", *options).output.splitlines()
    for begin, option in (
        ("note: depths.h5ad: The counts of X are used", "(--counts is --reference-layer here.)"),
        ("note: depths.h5ad: The library size", "(--library-size-key is --reference-library-size-key here.)"),
    ):
        assert [line.endswith(option) for line in lines if line.startswith(begin)] == [True]
    named = zeroshot("query.h5ad", *options, "--reference-library-size-key", "library_size")
    assert "depths.h5ad: The library size" not in named.output and named.exit_code == 0
