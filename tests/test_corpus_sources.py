"""Sources of corpora: entries of a registry, read by one function per kind of file."""

import gzip
import inspect
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rdata

from zeroshot import catalog, data
from zeroshot.catalog import CatalogError
from zeroshot.data import DataError, prepare
from zeroshot.data.prepare.r_objects import RFile

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", CHECKOUT.parent / "shared"))
FOLDERS = [SHARED / name / "sources" for name in ("data", "corpus")]
needs_sources = pytest.mark.skipif(
    not all(folder.is_dir() for folder in FOLDERS), reason=f"no source files in {SHARED}"
)


def test_each_source_is_an_entry_whose_facts_are_asserted():
    for card in catalog.corpus_sources().values():
        inspect.signature(getattr(prepare, card.prepare)).bind({}, **card.parameters)
        assert card.label_key is None and card.verified, card.name
        assert None not in (card.cells, card.genes, card.counts_sum, card.nonzeros), card.name
        assert all(file.sha256 and file.size for file in card.files), card.name


def test_a_source_has_no_labels_and_not_the_name_of_a_data_set(home):
    file = home / "data" / "corpus_sources.yml"
    text = file.read_text()
    file.write_text(text.replace("\nrgc-ascend:", "\npbmc-sorted:"))
    with pytest.raises(CatalogError, match=r"'pbmc-sorted': .*datasets.yml has an entry of this name"):
        catalog.corpus_sources()
    file.write_text(text.replace("  prepare: text_counts", "  label_key: type\n  prepare: text_counts", 1))
    with pytest.raises(CatalogError, match="label_key"):
        catalog.corpus_sources()
    file.write_text(text.replace("[kang-deepmaps]", "[kang-deepmap]"))
    with pytest.raises(CatalogError, match="Did you mean kang-deepmaps"):
        catalog.corpus_sources()


# One of each way to find the counts: a text file; names apart from the matrix; logarithms; a prefix.
FEW = ["geact-old-gm", "bcells-mis-ibex", "lung-zilionis-scgate", "eccite-citefuse"]


@needs_sources
@pytest.mark.parametrize("name", FEW)
def test_a_source_is_prepared_as_its_entry_says(home, monkeypatch, name):
    monkeypatch.setenv("ZEROSHOT_DATA", os.pathsep.join(map(str, FOLDERS)))
    adata, card = data.load(name), catalog.corpus_sources()[name]
    assert adata.shape == (card.cells, card.genes)  # and what else the card says was asserted
    assert "cell_type" not in adata.obs
    assert set(adata.obs["batch"]) == {name}
    assert (adata.X.data == np.rint(adata.X.data)).all()


def test_text_tables_in_both_directions_and_archives(tmp_path):
    table = pd.DataFrame([[1, 0, 2], [0, 3, 4]], index=["c1", "c2"], columns=["A", "ERCC-1", "B"])
    table.loc["empty"] = [0, 9, 0]
    rows, columns, wheel = tmp_path / "rows.gz", tmp_path / "columns.gz", tmp_path / "x-1.whl"
    table.to_csv(rows, sep=" ")
    table.T.to_csv(columns, sep="\t", index_label=None)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/table.csv", table.to_csv(quoting=2))
    cut = {"without_genes": "ERCC-", "least_genes": 1}
    for adata in (
        prepare.text_counts({"f": rows}, separator=" ", cells_in_rows=True, **cut),
        prepare.text_counts({"f": columns}, **cut),
        prepare.text_counts({"f": wheel}, separator=",", cells_in_rows=True, member="x/table.csv", **cut),
    ):
        assert list(adata.obs_names) == ["c1", "c2"] and list(adata.var_names) == ["A", "B"]
        assert adata.X.toarray().tolist() == [[1, 2], [0, 4]]


@pytest.mark.parametrize(
    ("row", "message"),
    [("c2 1", "rows differ"), ("c2 1 x", "row c2 holds what is not a number"), ("c2 1 .5", "integer")],
)
def test_text_that_is_no_table_of_counts_is_refused(tmp_path, row, message):
    file = tmp_path / "counts.txt.gz"
    file.write_bytes(gzip.compress(f" A B\nc1 1 2\n{row}\n".encode()))
    with pytest.raises(DataError, match=message):
        prepare.text_counts({"f": file}, separator=" ", cells_in_rows=True)


@pytest.fixture
def r_file(tmp_path):
    """Two tables of the same genes, one of them deeper in the tree, and numbers; genes x cells."""
    counts = pd.DataFrame([[1.0, 0.0], [2.0, 5.0], [0.0, 4.0]], index=["h_A", "h_B", "other"])
    counts.columns = ["s.1", "m.1"]
    logs = np.log1p(
        pd.DataFrame([[1.0, 0.0], [2.0, 5.0], [0.0, 1.0]], counts.index, counts.columns) * [0.37, 11.0]
    )
    tree = {"list": {"second": counts, "logs": logs, "depth": np.array([9.0, 8.0])}}
    rdata.write_rda(tmp_path / "f.rda", {"first": counts, "tree": tree})
    return {"f.rda": tmp_path / "f.rda"}


def test_r_objects_are_found_by_their_path(r_file):
    adata = prepare.r_counts(r_file, objects=["first"], gene_prefix="h_", cell_pattern=r"s\.")
    assert list(adata.obs_names) == ["s.1"] and list(adata.var_names) == ["A", "B"]
    assert adata.X.toarray().tolist() == [[1, 2]]
    both = prepare.r_counts(r_file, objects=["first", "tree/list/second"])
    assert list(both.obs_names)[::2] == ["first_s.1", "tree/list/second_s.1"]
    assert both.X.sum() == 24


def test_logarithms_become_counts(r_file):
    adata = prepare.r_counts(r_file, objects=["tree/list/logs"], log1p=True, library_size="tree/list/depth")
    # The smallest value of a cell is one count.
    assert adata.X.toarray() == pytest.approx(np.array([[1, 2, 0], [0, 5, 1]]))
    assert adata.obs["library_size"].tolist() == [9, 8]


def test_a_path_that_leads_nowhere_names_what_is_there(r_file):
    with pytest.raises(DataError, match=r"has no tree/list/third: tree/list holds .*second"):
        RFile(r_file["f.rda"]).read("tree/list/third")
