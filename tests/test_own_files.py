"""A user's own files: the same data in any form, what is left out or taken from elsewhere, and damage."""

import fcntl
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog, embedding
from zeroshot.data import DataError, columns, contract, features, load
from zeroshot.data.embedded import read_embeddings
from zeroshot.data.h5ad import open_h5ad

MISSING = (np.nan, None, "", " ", "nan", "NaN", "None", "none", "NA", "<NA>", "N/A", "null")


def cells(n=60, g=30, seed=0):
    """Counts of three types in two batches, a count of 300 among them."""
    rng = np.random.default_rng(seed)
    kind, batch = np.arange(n) % 3, (np.arange(n) // 3) % 2
    rate = rng.gamma(0.6, 1.5, (3, g))[kind] * rng.gamma(8, 1 / 8, (2, g))[batch]
    values = rng.poisson(rate).astype(np.float32)
    values[:, 0] += 1
    values[0, 0] = 300
    obs = pd.DataFrame(
        {"cell_type": [f"type {k}" for k in kind], "donor": [f"d{b}" for b in batch]},
        index=[f"c{i}" for i in range(n)],
    )
    return AnnData(sparse.csr_matrix(values), obs, pd.DataFrame(index=[f"G{i}" for i in range(g)]))


@pytest.fixture
def write(tmp_path):
    """Write an AnnData, let a function change the open file, and return the path."""

    def write(adata, change=None, name="mine.h5ad"):
        path = tmp_path / name
        adata.write_h5ad(path)
        if change is not None:
            with h5py.File(path, "r+") as file:
                change(file)
        return path

    return write


def put(place, values, **attributes):
    """Replace a dataset, or what else stands there."""

    def change(file):
        held = dict(file[place].attrs) if place in file else {}
        if place in file:
            del file[place]
        file[place] = values
        file[place].attrs.update(held | attributes)

    return change


def texts(values):
    return np.array(list(values), dtype=h5py.string_dtype())


def both(*changes):
    def change(file):
        for part in changes:
            part(file)

    return change


def notes(adata):
    return " ".join(adata.uns["dataset"]["notes"])


# -- one content, many forms ------------------------------------------------------------------------


def split(x, kind, parts):
    """Stored entries of the same cell and gene that add up to the counts; the first, 300, is 200 + 100."""
    rows = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    first = np.where(x.data > 1, np.minimum(np.floor(x.data * parts), 200), x.data)
    twice = x.data > first
    order = np.argsort(np.concatenate([rows, rows[twice]]), kind="stable")
    data = np.concatenate([first, (x.data - first)[twice]])[order]
    indices = np.concatenate([x.indices, x.indices[twice]])[order]
    counts = np.bincount(np.concatenate([rows, rows[twice]]), minlength=x.shape[0])
    return both(
        put("X/data", data.astype(kind)),
        put("X/indices", indices.astype("i4")),
        put("X/indptr", np.concatenate([[0], np.cumsum(counts)]).astype("i4")),
    )


def recast(x, kind, *parts):
    return both(*(put(f"X/{part}", getattr(x, part).astype(kind)) for part in parts))


def test_the_same_counts_in_any_form_are_the_same_bytes(write):
    adata = cells()
    x = adata.X
    backwards = x.copy()
    for start, stop in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        backwards.indices[start:stop] = x.indices[start:stop][::-1]
        backwards.data[start:stop] = x.data[start:stop][::-1]
    zeros = sparse.csr_matrix(
        (np.insert(x.data, 0, 0), np.insert(x.indices, 0, 29), np.r_[0, x.indptr[1:] + 1]), x.shape
    )
    forms = {
        **{f"csr {kind}": (x.astype(kind), None) for kind in ("u2", "i8", "u8", "f8")},
        "csc": (x.tocsc(), None),
        "dense": (x.toarray(), None),
        "dense, by columns": (np.asfortranarray(x.toarray().astype("i4")), None),
        "unsorted": (backwards, None),
        "stored zeros": (zeros, None),
        "wide indices": (x, recast(x, "i8", "indices", "indptr")),
        "unsigned indices": (x, recast(x, "u8", "indices", "indptr")),
        "big-endian": (x, recast(x, ">i4", "data", "indices", "indptr")),
        "float16": (x, put("X/data", x.data.astype("f2"))),
        "long double": (x, put("X/data", x.data.astype(np.longdouble))),
        "halves": (x, split(x, "f4", 0.5)),
        "uint8 that sum to 300": (x, split(x, "u1", 0.9)),
        "float16 that sum to 300": (x, split(x, "f2", 0.9)),
    }  # fmt: skip
    expected = load(write(adata), batch_key="donor")
    assert expected.X[0, 0] == 300
    for form, (matrix, change) in forms.items():
        loaded = load(write(AnnData(matrix, adata.obs, adata.var), change), batch_key="donor")
        assert loaded.uns["dataset"]["content_hash"] == expected.uns["dataset"]["content_hash"], form
        assert loaded.X.has_canonical_format and loaded.X.indices.dtype == np.int32, form
        if form != "stored zeros":
            assert ("share cell and gene" in notes(loaded)) == (form == "halves" or "sum to" in form), form
        for part in ("data", "indices", "indptr"):  # what a model sees, so that its bytes are the same too
            assert getattr(loaded.X, part).tobytes() == getattr(expected.X, part).tobytes(), form


def test_signed_bytes_and_booleans_have_their_true_values(write):
    adata = cells()
    adata.X.data = np.minimum(adata.X.data, 100)
    expected = load(write(adata)).uns["dataset"]["content_hash"]
    assert (
        load(write(adata, put("X/data", adata.X.data.astype("i1")))).uns["dataset"]["content_hash"]
        == expected
    )
    detected = adata.copy()
    detected.X.data[:] = 1
    expected = load(write(detected)).uns["dataset"]["content_hash"]
    assert load(write(adata, put("X/data", adata.X.data > 0))).uns["dataset"]["content_hash"] == expected


def test_values_that_a_type_cannot_have_kept_are_refused(write):
    adata = cells()
    for values in (
        np.where(adata.X.data == 300, 2**53 + 1, adata.X.data.astype("i8")),
        np.where(adata.X.data == 300, np.uint64(2**64 - 1), adata.X.data.astype("u8")),
        np.where(adata.X.data == 300, 5000, adata.X.data).astype("f2"),
        adata.X.data.astype("c8"),
        adata.X.data.astype(int).astype("S5"),
    ):
        with pytest.raises(DataError, match=r"mine\.h5ad"):
            load(write(adata, put("X/data", values)))
    # Parts of a sum that would cancel out are as little exact.
    far = sparse.csr_matrix((np.array([2**60, 5, 1 - 2**60, 4]), [0, 0, 0, 1], [0, 3, 4]), (2, 2))
    with pytest.raises(DataError, match="beyond the integers"):
        contract(AnnData(far), name="far", label_key=None)


# -- damage -----------------------------------------------------------------------------------------


def damaged_matrices(x):
    indices, indptr = x.indices, x.indptr
    return {
        "index too large": put("X/indices", np.where(indices == 7, 30, indices)),
        "index far away": put("X/indices", np.where(indices == 7, 2**40, indices.astype("i8"))),
        "negative index": put("X/indices", np.where(indices == 7, -1, indices)),
        "float indices": put("X/indices", indices.astype("f8")),
        "text as indices": put("X/indices", indices.astype("S3")),
        "fewer indices": put("X/indices", indices[:-1]),
        "fewer values": put("X/data", x.data[:-1]),
        "two dimensions": put("X/data", x.data[:, None]),
        "indptr decreases": put("X/indptr", np.where(np.arange(61) == 30, indptr[10], indptr)),
        "indptr too far": put("X/indptr", np.where(np.arange(61) == 60, indptr + 100, indptr)),
        "indptr stops early": put("X/indptr", np.where(np.arange(61) == 60, indptr[59], indptr)),
        "indptr starts late": put("X/indptr", np.maximum(indptr, 1)),
        "indptr with NaN": put("X/indptr", np.where(np.arange(61) == 5, np.nan, indptr)),
        "indptr too short": put("X/indptr", indptr[:-1]),
        "indptr too long": put("X/indptr", np.r_[indptr, indptr[-1]]),
        "no indptr": lambda file: file["X"].pop("indptr"),
        "CSR called CSC": lambda file: file["X"].attrs.update({"encoding-type": "csc_matrix"}),
        "transposed shape": lambda file: file["X"].attrs.update({"shape": [30, 60]}),
        "larger shape": lambda file: file["X"].attrs.update({"shape": [60, 3000]}),
        "shape of text": lambda file: file["X"].attrs.update({"shape": "60 x 30"}),
        "unknown encoding": lambda file: file["X"].attrs.update({"encoding-type": "future_matrix"}),
        "scalar": put("X", 3.0),
        "one dimension": put("X", np.ones(60)),
        "three dimensions": put("X", np.ones((60, 30, 2))),
        "other shape": put("X", np.ones((60, 29))),
        "complex": put("X", np.ones((60, 30), complex)),
        "compound": put("X", np.ones((60, 30), [("a", "i4")])),
        "text": put("X", np.ones((60, 30)).astype("S1")),
        "nothing": put("X", h5py.Empty("f4")),
        "terabytes": lambda file: (
            file.pop("X/data"), file.create_dataset("X/data", (2**45,), "f4", chunks=(64,))
        ),
    }  # fmt: skip


def test_a_damaged_matrix_is_refused_and_named(write):
    adata = cells()
    for damage, change in damaged_matrices(adata.X).items():
        path = write(adata, change)
        with pytest.raises(DataError, match="X") as refusal:
            load(path)
        assert "mine.h5ad" in str(refusal.value), damage


def test_a_damaged_matrix_in_memory_is_refused():
    adata = cells()
    adata.X.indices[3] = 10_000
    with pytest.raises(DataError, match="columns from 0 to 29, but one is 10,000"):
        contract(adata, name="mine")
    adata.obs["library_size"], adata.obs["batch"] = 1.0, "one"
    with pytest.raises(ValueError, match="the counts are damaged"):
        embedding.embed(adata, "pca")


DAMAGED_TABLES = {
    "no index": lambda file: file["obs"].attrs.pop("_index"),
    "index that is not there": lambda file: file["obs"].attrs.update({"_index": "nowhere"}),
    "index of another length": put("obs/_index", texts(["a", "b"])),
    "scalar column": put("obs/cell_type", "T cell"),
    "column of another length": put("obs/cell_type", np.arange(59)),
    "column that is a group": lambda file: (file.pop("obs/cell_type"), file.create_group("obs/cell_type")),
    "codes beyond the categories": put("obs/cell_type/codes", np.full(60, 99, "i1")),
    "codes below -1": put("obs/cell_type/codes", np.full(60, -2, "i1")),
    "two columns of one name": lambda file: file["obs"].attrs.update({"column-order": ["donor", "donor"]}),
    "no order of columns": lambda file: file["obs"].attrs.pop("column-order"),
    "names that are no UTF-8": put("obs/_index", texts(b"\xff%d" % i for i in range(60))),
    "genes of another number": put("var/_index", texts(["a"])),
    "no obs": lambda file: file.pop("obs"),
    "obs is an array": put("obs", np.arange(3)),
}  # fmt: skip


def test_a_damaged_table_is_refused_and_named(write):
    adata = cells()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype("category")
    adata.obsm["X_a"] = np.ones((60, 2))
    for damage, change in DAMAGED_TABLES.items():
        path = write(adata, change)
        with pytest.raises(DataError) as refusal:
            load(path)
        assert "mine.h5ad" in str(refusal.value), damage
        assert "codes" not in damage or "'cell_type' of obs" in str(refusal.value)
        if "var" not in damage and "genes" not in damage:
            with pytest.raises(DataError, match=r"mine\.h5ad"):
                read_embeddings(path, ["X_a"], label_key="cell_type", batch_key=None)


def test_nothing_is_taken_from_other_files(write, tmp_path):
    adata = cells()
    other = write(adata, name="other.h5ad")
    (tmp_path / "secret.bin").write_bytes(b"\1" * 240)

    def virtual(file):
        layout = h5py.VirtualLayout((60, 30), "f4")
        layout[:] = h5py.VirtualSource(str(other), "layers/none", (60, 30))
        del file["X"]
        file.create_virtual_dataset("X", layout)

    def stored_elsewhere(file):
        file.create_dataset("uns/a", (60,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 240)])

    def link(place, target):
        def change(file):
            file.pop(place, None)
            file[place] = target

        return change

    for change in (
        link("X", h5py.ExternalLink(str(other), "/X")),
        link("obs/donor", h5py.ExternalLink(str(other), "/obs/donor")),
        link("uns/deep/down", h5py.ExternalLink("gone.h5ad", "/X")),
        link("uns/a", h5py.SoftLink("/nowhere")),
        both(link("uns/a", h5py.SoftLink("/uns/b")), link("uns/b", h5py.SoftLink("/uns/a"))),
        stored_elsewhere,
        virtual,
    ):
        with pytest.raises(DataError, match=r"mine\.h5ad.*Only files that hold all their data"):
            load(write(adata, change))
    whole = load(write(adata)).uns["dataset"]["content_hash"]
    inside = both(link("layers/counts", h5py.SoftLink("/X")), link("uns/itself", h5py.SoftLink("/uns")))
    assert load(write(adata, inside)).uns["dataset"]["content_hash"] == whole


def test_files_of_other_kinds_are_called_what_they_are(write, tmp_path):
    path = write(cells())
    (tmp_path / "folder.h5ad").mkdir()
    (tmp_path / "store.h5ad").mkdir()
    (tmp_path / "store.h5ad" / ".zgroup").write_text("{}")
    (tmp_path / "packed.h5ad").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    (tmp_path / "empty.h5ad").write_bytes(b"")
    (tmp_path / "cut.h5ad").write_bytes(path.read_bytes()[:-1000])
    for name, groups in {"tenx": ["matrix/barcodes"], "loom": ["row_attrs/Gene", "col_attrs/Cell"]}.items():
        with h5py.File(tmp_path / f"{name}.h5ad", "w") as file:
            for group in groups:
                file[group] = np.arange(3)
    shutil.copy(path, tmp_path / "mine.h5")
    (tmp_path / "filtered").mkdir()
    (tmp_path / "filtered" / "matrix.mtx.gz").write_bytes(b"")
    for name, message in {
        "folder.h5ad": "is a directory",
        "store.h5ad": "zarr store.*read_zarr",
        "packed.h5ad": "compressed with gzip: unpack",
        "empty.h5ad": "0 bytes",
        "tenx.h5ad": "read_10x_h5",
        "loom.h5ad": "read_loom",
        "cut.h5ad": "is likely truncated",
        "mine.h5": "does not end in .h5ad",
        "filtered": r"scanpy\.read_10x_mtx",
    }.items():
        with pytest.raises(DataError, match=rf"{name}.*{message}"):
            load(tmp_path / name)


def test_a_hole_among_the_texts_of_a_file_is_refused(write):
    path = write(cells())
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")  # where HDF5 keeps texts; reading it would never end
    for begin in (heap + 16, heap + 2000):
        content[begin : begin + 64] = bytes(64)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"mine\.h5ad is damaged: zeros stand in the place of texts"):
            load(path)


def test_a_hole_among_the_counts_of_a_file_is_noted(write):
    adata = cells(g=1000)
    for begin, end, n_notes in ((100, 300, 0), (100, 400, 1)):
        data = adata.X.data.copy()
        data[begin:end] = 0
        assert notes(load(write(adata, put("X/data", data)))).count("values in succession are") == n_notes


def test_counts_at_the_limit_of_their_type_are_noted(write):
    adata = cells()
    for dtype, highest, n_notes in (
        ("int8", 127, 1),
        ("uint8", 127, 0),
        ("uint8", 255, 1),
        ("float32", 127, 0),
    ):
        adata.X = adata.X.astype("float32")
        adata.X.data[:2] = highest
        adata.X = adata.X.astype(dtype)
        text = f"2 values are {highest}, the most that {dtype} holds"
        assert notes(load(write(adata))).count(text) == n_notes, dtype
        dense = adata.copy()
        dense.X = adata.X.toarray()
        assert notes(load(write(dense))).count(text) == n_notes, dtype


def test_a_file_that_is_being_written_is_called_locked(write):
    path = write(cells())
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"mine\.h5ad is locked: another program"):
            load(path)
    finally:
        os.close(handle)
    assert load(path).n_obs == 60


# -- what is a gene, and what it is named -----------------------------------------------------------


def test_only_gene_expression_is_read(write):
    adata = cells()
    genes = embedding.embed(load(write(adata), batch_key="donor"), "pca").tobytes()
    rng = np.random.default_rng(5)
    for column, gene, other in (
        ("feature_types", "Gene Expression", "Antibody Capture"),
        ("feature_types", "gene expression", "Peaks"),
        ("feature_types", "GEX", "ADT"),
        ("feature_types", "Gene Expression", "something new"),
        ("feature_type", "protein_coding", "CRISPR Guide Capture"),
        ("feature_biotype", "gene", "spike-in"),
        ("modality", "rna", "prot"),
        ("Feature.Types", "Gene Expression", "Antibody Capture"),
    ):
        more = sparse.csr_matrix(rng.integers(20, 400, (60, 5)).astype("f4"))
        var = pd.DataFrame({column: [gene] * 30 + [other] * 5}, index=[*adata.var_names, *"ABCDE"])
        loaded = load(
            write(AnnData(sparse.hstack([adata.X, more]).tocsr(), adata.obs, var)), batch_key="donor"
        )
        assert loaded.n_vars == 30 and "5 of 35 features are left out" in notes(loaded), other
        assert (loaded.obs["library_size"] == adata.X.sum(axis=1).A1).all()
        assert embedding.embed(loaded, "pca").tobytes() == genes, other
    adata.var["feature_types"] = "Peaks"
    with pytest.raises(DataError, match=r"no gene expression.*30 'Peaks'"):
        load(write(adata))
    adata.var["feature_types"] = np.where(np.arange(30) % 2, "protein_coding", "lncRNA")
    assert load(write(adata)).n_vars == 30
    del adata.var["feature_types"]
    adata.var_names = [*adata.var_names[:27], "CD3_TotalSeqB", "adt_CD4", "Hashtag-1"]
    loaded = load(write(adata))
    assert loaded.n_vars == 30 and "3 features are named like antibodies" in notes(loaded)
    adata.var_names = [*adata.var_names[:25], "CD3", "CD4", "CD45RA", "IgG1", "PD-1"]
    assert "4 features are named like antibodies or hashtags (CD3, CD45RA, IgG1, …)" in notes(
        load(write(adata))
    )
    # A gene that is called so, or was, is no antibody: neither are two of them a panel.
    adata.var_names = [*adata.var_names[:25], "CD3D", "CD4", "CD8A", "CD14", "CD16"]
    assert "antibodies" not in notes(load(write(adata)))
    table = catalog.read_gene_table("gene-texts")
    symbols = {*table["symbol"], *"|".join(table["previous"]).split("|")}
    assert len(symbols) > 40_000 and not [name for name in symbols if features.PANEL_NAMES.fullmatch(name)]


def test_genes_without_id_go_by_their_symbol(write):
    from zeroshot.tokens.genes import align_ensembl

    adata = cells()
    ids = np.array([f"ENSG{i:011d}" for i in range(1, 31)], dtype=object)
    vocabulary = {gene_id: place for place, gene_id in enumerate(ids)}
    names = dict(zip(adata.var_names, ids, strict=True))
    for missing in (np.nan, "", "None", "nan", "NA", "symbol", None):
        written = pd.Series([f" {text.lower()}.7" for text in ids], adata.var_names, dtype=object)
        written[np.arange(30) % 5 >= 3] = "G3" if missing == "symbol" else missing
        adata.var["gene_ids"] = written
        if missing is None:
            adata.var["gene_ids"] = ids
        loaded = load(write(adata))
        found = align_ensembl(
            loaded.var_names, loaded.var["ensembl_id"].to_numpy(), vocabulary, ensembl_of_symbol=names
        )
        assert found.targets.tolist() == list(range(30)), missing
        assert ("12 of 30 genes have no Ensembl id" in notes(loaded)) == (missing is not None)


def as_cellxgene():
    """Genes named by their ids, symbols in a column, values in X and counts in raw with more genes."""
    adata = cells()
    adata.var_names = [f"ENSG{i:011d}" for i in range(1, 31)]
    adata.var["feature_name"] = [f"S{i}" for i in range(27)] + ["S0", "", "ENSG00000000030"]
    adata.var["feature_biotype"] = "gene"
    adata.raw = adata
    adata = adata[:, :25].copy()
    adata.X = np.log1p(adata.X.toarray() / 3)
    return adata


def test_a_file_of_cellxgene_is_read_as_it_is(write):
    adata = as_cellxgene()
    ids = list(adata.raw.var_names)
    for change in (None, lambda file: file["raw/var"].attrs.update({"column-order": ["feature_biotype"]})):
        loaded = load(write(adata, change), batch_key="donor")
        assert (loaded.X != adata.raw.X).nnz == 0 and "counts of raw are used" in notes(loaded)
        assert list(loaded.var["ensembl_id"]) == ids
        whole = change is None
        assert (
            list(loaded.var_names)
            == [f"S{i}" for i in range(27 if whole else 25)] + ids[27 if whole else 25 :]
        )
        assert "symbols in var['feature_name']; " in notes(loaded)
    adata.X = adata.raw.X[:, :25]
    assert load(write(adata)).n_vars == 25  # counts in X come first


@pytest.mark.filterwarnings("ignore:Forward slashes will be disallowed:FutureWarning")
def test_counts_are_named_as_the_command_line_names_them(write):
    adata = cells()
    adata.layers["umi/raw"] = adata.X.copy()
    adata.X = adata.X * 0.3
    with pytest.raises(DataError, match=r"Integers were found in layers/umi/raw: .*--counts layers/umi/raw"):
        load(write(adata))
    assert load(write(adata), counts="umi/raw").X[0, 0] == 300
    for nowhere in ("obs", "obs/donor", "layers", "nothing", "/X", "."):
        with pytest.raises(DataError, match="It holds X, layers/umi/raw: choose with counts="):
            load(write(adata), counts=nowhere)


def test_other_counts_of_the_file_are_named_where_nobody_chose(write):
    adata = cells()
    assert "others" not in notes(load(write(adata)))
    adata.raw = adata
    adata.layers["counts"] = adata.X.copy()
    assert "others" not in notes(load(write(adata)))  # the same, twice
    part = cells()[:, :9].copy()
    part.raw = cells()
    assert "9 genes; raw holds others, of 30 genes: counts='raw'" in notes(load(write(part)))
    assert "others" not in notes(load(write(part), counts="X"))
    adata.X = sparse.csr_matrix(np.ceil(adata.X.toarray() / 2))
    assert "counts of layers/counts are used, those of 30 genes; X holds others" in notes(load(write(adata)))
    adata.X = adata.X * 0.3
    assert "others" not in notes(load(write(adata)))
    damaged = write(adata, put("X/indices", np.full(adata.X.nnz, -1)))
    assert "others" not in notes(load(damaged))


def test_integers_that_nobody_counted_are_noted(write):
    binary = cells()
    binary.X.data[:] = 1
    assert "as after binarising" in notes(load(write(binary)))
    rounded = cells(g=300)
    values = rounded.X.toarray()
    rounded.X = sparse.csr_matrix(np.ceil(1e4 * values / values.sum(axis=1, keepdims=True)))
    assert "as after normalising and rounding" in notes(load(write(rounded)))
    assert "binarising" not in notes(load(write(cells())))
    assert "normalising" not in notes(load(write(cells())))


def test_a_column_that_counts_more_than_the_matrix_is_noted(write):
    adata = cells()
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    for factor, is_noted in ((2, True), (1.01, False), (0.5, False)):
        adata.obs["n_counts"] = totals * factor
        path = write(adata)
        assert ("lacks 50% of the counts" in notes(load(path))) == is_noted
    adata.obs["n_counts"] = totals * 2
    assert "lacks" not in notes(load(write(adata), library_size="n_counts"))


def test_a_transposed_matrix_is_refused(write):
    ids = [f"ENSG{i:011d}" for i in range(60)]
    for names in (["ACTB", "GAPDH", "MALAT1", *ids[:57]], ["Actb", "Gapdh", "B2m", *"abc" * 19], ids):
        adata = cells()
        adata.obs_names = pd.Index([name if len(name) > 1 else f"G{i}" for i, name in enumerate(names)])
        with pytest.raises(DataError, match=rf"obs names genes \({names[0]}, .*write it transposed"):
            load(write(adata))


# -- labels and batches -----------------------------------------------------------------------------


@pytest.fixture
def unlabelled(write):
    """Write cells of which every fourth has no label, in a spelling, and the file without these cells."""

    def make(text, key="cell_type"):
        adata = cells()
        adata.obsm["X_a"] = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
        lost = np.arange(60) % 4 == 0
        known = write(adata[~lost].copy(), name="known.h5ad")
        adata.obs[key] = pd.Series(np.where(lost, text, adata.obs[key]), adata.obs_names, dtype=object)
        if text is None or text != text:
            adata.obs[key] = adata.obs[key].astype("category")
        return write(adata), known

    return make


def test_missing_labels_are_one_kind_in_every_spelling(unlabelled):
    for text in MISSING:
        path, known = unlabelled(text)
        expected = load(known, batch_key="donor").uns["dataset"]["content_hash"]
        with pytest.raises(DataError, match="15 of 60 cells have no value in label column"):
            load(path, batch_key="donor")
        loaded = load(path, batch_key="donor", missing_labels="drop")
        assert loaded.uns["dataset"]["content_hash"] == expected, text
        assert "15 of 60 cells are left out" in notes(loaded)

        keys = {"label_key": "cell_type", "batch_key": "donor"}
        with pytest.raises(DataError, match=r"15 of 60 cells .*--missing-labels drop"):
            read_embeddings(path, ["X_a"], **keys)
        notes_of_reading = []
        read = read_embeddings(path, ["X_a"], **keys, missing_labels="drop", notes=notes_of_reading)
        same = read_embeddings(known, ["X_a"], **keys)
        assert read.scored("X_a").tobytes() == same.scored("X_a").tobytes()
        assert "15 of 60 cells" in notes_of_reading[0] and len(read.matrices["X_a"]) == 60
        assert list(read.labels) == list(same.labels) and list(read.batches) == list(same.batches)


def test_a_text_that_is_a_name_here_can_be_kept(unlabelled):
    path, _ = unlabelled("NA")
    loaded = load(path, missing_labels="keep")
    assert set(loaded.obs["cell_type"]) == {"NA", "type 0", "type 1", "type 2"}
    of_evaluate = []
    read_embeddings(
        path, ["X_a"], label_key="cell_type", batch_key=None, missing_labels="keep", notes=of_evaluate
    )
    dropped = notes(load(path, missing_labels="drop"))
    # Each note names what was chosen, and the other choices.
    for text, choice in ((notes(loaded), "keep"), (of_evaluate[0], "keep"), (dropped, "drop")):
        assert "15 of 60 cells" in text and f"--missing-labels {choice}" in text
        assert all(other in text for other in ("'keep'", "'drop'", "'refuse'"))
    absent, _ = unlabelled(None)
    with pytest.raises(DataError, match=r"15 of 60 cells .*--missing-labels drop.*give them a name"):
        load(absent, missing_labels="keep")
    for text in ("unknown", "Unassigned", "n.d."):
        assert text in set(load(unlabelled(text)[0]).obs["cell_type"])
    with pytest.raises(DataError, match="missing_labels is 'skip': one of refuse, drop, keep"):
        load(path, missing_labels="skip")


def test_missing_batches_follow_the_same_rule(write, unlabelled):
    path, known = unlabelled("<NA>", "donor")
    with pytest.raises(DataError, match="15 of 60 cells have no value in batch column 'donor'"):
        load(path, batch_key="donor")
    loaded = load(path, batch_key="donor", missing_labels="drop")
    expected = load(known, batch_key="donor")
    assert loaded.uns["dataset"]["content_hash"] == expected.uns["dataset"]["content_hash"]
    adata = cells()
    adata.obs["donor"] = np.where(adata.obs["cell_type"] == "type 1", adata.obs["donor"], "NA")
    with pytest.raises(DataError, match="all cells with a label and a batch have the same label"):
        load(write(adata), batch_key="donor", missing_labels="drop")


def test_embedding_goes_on_without_labels_that_cannot_be_used(write, unlabelled):
    whole = load(write(cells(), name="mine.h5ad"), require_labels=False)
    for path in (unlabelled("NA")[0], unlabelled(None)[0]):
        loaded = load(path, require_labels=False)
        assert loaded.n_obs == 60 and "cell_type" not in loaded.obs
        assert "Labels are not needed here and not used" in notes(loaded)
        assert (loaded.X != whole.X).nnz == 0
    with pytest.raises(DataError, match="15 of 60 cells"):
        load(path, require_labels=False, label_key="cell_type")


def test_batches_that_are_the_labels_are_noted(write):
    adata = cells()
    adata.obsm["X_a"] = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    adata.obs["run"] = "of " + adata.obs["cell_type"]
    path, messages = write(adata), []
    assert "No label is in more than one batch" in notes(load(path, batch_key="run"))
    assert "No label" not in notes(load(path, batch_key="donor")) + notes(load(path))
    read_embeddings(path, ["X_a"], label_key="cell_type", batch_key="run", notes=messages)
    assert messages[0].startswith("No label is in more than one batch")


def test_values_that_differ_in_case_or_spaces_are_noted(write):
    adata = cells()
    adata.obsm["X_a"] = np.random.default_rng(0).normal(size=(60, 2))
    said = []
    read_embeddings(write(adata), ["X_a"], label_key="cell_type", batch_key="donor", notes=said)
    assert not said and "differ only" not in notes(load(write(adata), batch_key="donor"))
    adata.obs = adata.obs.astype(str)
    adata.obs.iloc[0, 0], adata.obs.iloc[1, 1] = " Type  0", "D0"
    path = write(adata)
    loaded = load(path, batch_key="donor")
    assert loaded.obs["cell_type"].nunique() == 4 and loaded.obs["batch"].nunique() == 3
    read_embeddings(path, ["X_a"], label_key="cell_type", batch_key="donor", notes=said)
    for text in (notes(loaded), " ".join(said)):
        assert "' Type  0' and 'type 0'" in text and "'D0' and 'd0'" in text
    adata.obs = adata.obs.astype(str)
    adata.obs.iloc[0, 0] = "type 0\u200b"  # a space of no width, which nobody sees
    assert r"'type 0' and 'type 0\u200b'" in notes(load(write(adata), batch_key="donor"))


def test_a_matrix_of_zeros_is_not_recommended(write):
    adata = cells()
    adata.X = np.zeros(adata.shape, "f4")
    with pytest.raises(DataError, match=r"all values are zero.*Pass counts=… ") as refusal:
        load(write(adata))
    assert "Integers were found" not in str(refusal.value)


def test_a_name_of_each_cell_is_no_batch_and_no_label(write):
    adata = cells()
    adata.obs["barcode"] = list(adata.obs_names)
    adata.obsm["X_a"] = np.ones((60, 2))
    path = write(adata)
    with pytest.raises(DataError, match=r"60 of 60 cells .* batch column 'barcode'.*--batch-key"):
        load(path, batch_key="barcode")
    with pytest.raises(DataError, match=r"60 of 60 cells .* batch column 'barcode'"):
        read_embeddings(path, ["X_a"], label_key="cell_type", batch_key="barcode")
    with pytest.raises(DataError, match=r"60 of 60 cells .* label column 'barcode'"):
        load(path, label_key="barcode")


# -- library size -----------------------------------------------------------------------------------


def test_a_column_library_size_is_used_when_it_fits_or_is_asked_for(write):
    adata = cells()
    totals = adata.X.sum(axis=1).A1
    without = load(write(adata)).uns["dataset"]
    for values in (totals * 7.3, np.where(totals > 20, "high", "low"), np.where(totals > 20, np.nan, totals)):
        adata.obs["library_size"] = values
        loaded = load(write(adata))
        assert loaded.uns["dataset"]["content_hash"] == without["content_hash"]
        assert "obs['library_size'] of the file differs and is not used" in notes(loaded)
    adata.obs["library_size"] = totals.astype("f4") * np.float32(1 + 1e-7)
    assert load(write(adata)).uns["dataset"]["notes"] == []

    adata.obs["depth"] = totals + 1000
    asked = load(write(adata), library_size="depth")
    assert (asked.obs["library_size"] == totals + 1000).all() and asked.uns["dataset"]["notes"] == []
    for values, message in (
        (np.where(totals > 20, "high", "low"), "60 of 60 cells have no number"),
        (np.where(totals > 20, np.nan, totals), "have no number"),
        (totals - 1, "below the row sum for 60 of 60"),
    ):
        adata.obs["depth"] = values
        with pytest.raises(DataError, match=rf"mine.h5ad.*{message}"):
            load(write(adata), library_size="depth")
    with pytest.raises(DataError, match=r"mine\.h5ad: obs\['reads'\] cannot be the library size"):
        load(write(adata), library_size="reads")
    with pytest.raises(DataError, match="library_size cannot be given for 'pbmc68k-reduced'"):
        load("pbmc68k-reduced", library_size="n_counts")


# -- embeddings that a file holds -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Forward slashes will be disallowed:FutureWarning")
def test_embeddings_of_every_form_are_read_and_others_refused(write):
    adata = cells()
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    columns = pd.DataFrame(values, index=adata.obs_names, columns=list("abcd"))
    adata.obsm = {"dense": values, "sparse": sparse.csr_matrix(values), "table": columns, "a/b": values}
    adata.obsm["integers"] = np.arange(240).reshape(60, 4)
    keys = {"label_key": "cell_type", "batch_key": None}
    path = write(adata)
    read = read_embeddings(path, adata.obsm, **keys)
    for key in ("dense", "sparse", "table", "a/b"):
        assert (read.scored(key) == values).all(), key
    assert read.scored("integers").dtype == np.float64
    for change in (
        put("obsm/dense", values[:, 0]),
        put("obsm/dense", values[:-1]),
        put("obsm/dense", values[:, :0]),
        put("obsm/dense", values.astype(complex)),
        put("obsm/dense", values.astype("S4")),
        put("obsm/dense", np.where(values > 2, np.nan, values)),
        put("obsm/dense", 3.0),
        lambda file: (file["obsm"].pop("dense"), file["obsm"].create_group("dense")),
    ):
        with pytest.raises(DataError, match=r"mine\.h5ad"):
            read_embeddings(write(adata, change), ["dense"], **keys)
    with pytest.raises(DataError, match=r"mine\.h5ad: .*sparse"):
        damaged = write(adata, put("obsm/sparse/indices", np.full(240, 9)))
        read_embeddings(damaged, ["sparse"], **keys)
    adata.obs["even"] = np.arange(60) % 2 == 0
    adata.obs["group"] = pd.Categorical(np.where(adata.obs["even"], "b", "a"), categories=["never", "b", "a"])
    path = write(adata)
    for key, expected in {"even": ["False", "True"], "group": ["a", "b"]}.items():
        labels = read_embeddings(path, ["dense"], label_key=key, batch_key=None).labels
        assert list(labels.categories) == expected
    np.save(path.with_suffix(".npy"), values)
    with pytest.raises(DataError, match=r"mine\.npy does not end in .h5ad: .* adata\.obsm\['X_mine'\] = "):
        read_embeddings(path.with_suffix(".npy"), ["dense"], **keys)


def test_a_seed_or_a_size_that_cannot_be_is_refused_before_reading(tmp_path):
    for wrong in ({"seed": -1}, {"seed": 2**32}, {"seed": 1.5}, {"subset": 2.5}, {"subset": True}):
        with pytest.raises(DataError, match="is expected"):
            load(tmp_path / "nowhere.h5ad", **wrong)


def test_nat_is_a_tissue_and_a_gap_among_ids_is_filled_by_the_name():
    assert columns.missing_mask(["NAT", "NaT", "nan", " na "]).tolist() == [False, True, True, True]
    ids = [f"ENSG{i:011d}" for i in range(4)]
    var = pd.DataFrame({"ensembl_id": ["", *ids[1:]], "feature_name": list("ABCD")}, index=ids)
    genes, notes = features.gene_table(var, "x")
    assert genes["ensembl_id"].tolist() == ids and genes.index.tolist() == list("ABCD")
    assert not any("no Ensembl id" in note for note in notes)


def test_a_path_that_cannot_be_one_is_refused_by_name():
    for path in ("~nobody-here/x.h5ad", "a" * 300):
        with pytest.raises(DataError, match="cannot be opened"):
            load(path)
    for path, message in (
        ("https://example.org/a.h5ad", "is an address.*download it"),
        ("file:///tmp/a.h5ad", "is an address"),
        ("a" * 300 + ".h5ad", "there is no file|cannot be opened"),
    ):
        with pytest.raises(DataError, match=message):
            open_h5ad(Path(path))


def test_a_name_that_is_no_text_and_an_unknown_compression_say_what_to_do(write, tmp_path):
    path = write(cells())
    odd = tmp_path / "\udcff.h5ad"
    shutil.copy(path, odd)
    with pytest.raises(DataError, match=r"UTF-8 is expected\. Rename the file"):
        load(odd)
    with h5py.File(path, "a") as file:
        data = file["X/data"][:]
        del file["X/data"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(data.shape)
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())  # zstd
        kind, space = h5py.h5t.py_create(data.dtype), h5py.h5s.create_simple(data.shape)
        node = h5py.h5d.create(file["X"].id, b"data", kind, space, properties)
        h5py.Dataset(node).id.write_direct_chunk((0,), data.tobytes(), 0)
    with pytest.raises(DataError, match=r"X cannot be read .* not installed here .*compression='gzip'"):
        load(path)
