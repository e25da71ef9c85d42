"""Every registered set against its published facts, a user's own files, and what `load` refuses."""

import hashlib
import importlib
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from zeroshot import catalog, store
from zeroshot.data import DataError, content_hash, download, load, prepare, simulate
from zeroshot.data.fingerprints import identical_cells
from zeroshot.runtime import paths
from zeroshot.store import dependencies

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", CHECKOUT.parent / "shared"))
FOLDERS = [folder for name in ("data", "corpus") if (folder := SHARED / name / "sources").is_dir()]
needs_sources = pytest.mark.skipif(
    len(FOLDERS) < 2, reason=f"no source files in {SHARED} (name the folder in ZEROSHOT_SHARED)"
)

# The module; the attribute of that name is the function.
LOAD = importlib.import_module("zeroshot.data.load")

# cells, genes, sum of counts, non-zeros, cells per label, cells per batch
FACTS = {
    "pbmc68k-reduced": (700, 765, 486_651, 174_400, None, {"pbmc68k-reduced": 700}),
    "celllines-scmixology": (
        1021, 11_533, 27_769_260, 5_590_628,
        {"H1975": 271, "H2228": 217, "HCC827": 201, "A549": 186, "H838": 146},
        {"celseq2_3cl": 240, "dropseq_3cl": 210, "celseq2_5cl_p1": 156, "celseq2_5cl_p2": 163,
         "celseq2_5cl_p3": 252},
    ),
    "pbmc-3k-4k": (
        4560, 17_866, 14_736_036, 4_745_761,
        {"B cells": 612, "CD14+ Monocytes": 852, "CD4 T cells": 1999, "CD8 T cells": 512,
         "Dendritic Cells": 92, "FCGR3A+ Monocytes": 224, "Megakaryocytes": 28, "NK cells": 241},
        {"pbmc3k": 2638, "pbmc4k": 1922},
    ),
    "pbmc-three-chemistries": (
        1200, 1767, 1_495_544, 245_676,
        {"T_CD4": 373, "Mono_CD14": 272, "T_CD8": 226, "B": 172, "Mono_CD16": 60, "NK": 59, "DC": 28,
         "MK": 7, "HSC": 3},
        {"10x_3p_v1": 290, "10x_3p_v2": 480, "10x_5p": 430},
    ),
    "pbmc-sorted": (
        3500, 8846, 4_779_165, 1_883_590,
        dict.fromkeys(("B", "CD4TCM", "CD4TN", "CD4Treg", "CD8TN", "Monocyte", "NK"), 500),
        {"pbmc-sorted": 3500},
    ),
    "pancreas-two-studies": (
        3514, 1194, 213_138_822, 2_361_175,
        {"alpha": 1289, "beta": 975, "delta": 282, "ductal": 645, "endothelial": 39, "gamma": 284},
        {"Baron": 2812, "Segerstolpe": 702},
    ),
    "pbmc-savercat": (
        2000, 10_000, 5_215_695, 1_537_444, {"T/NK cells": 1004, "Monocytes": 716, "B cells": 280},
        {"V3": 865, "V2": 588, "VDJ": 547},
    ),
    "cortex-culture": (
        4447, 2000, 2_489_803, 573_047,
        {"glutamatergic neuron": 1767, "glioblast": 1262, "forebrain neuroblast": 811,
         "radial glial cell": 226, "GABAergic neuron": 175, "Cajal-Retzius cell": 62,
         "oligodendrocyte precursor cell": 53, "microglial cell": 50, "progenitor cell": 37,
         "erythrocyte": 4},
        {"10X353_7": 2718, "10X355_7": 1729},
    ),
    "kang-deepmaps": (
        2800, 14_053, 5_799_413, 1_971_641,
        {"CD14 Mono": 912, "CD4 Naive T": 535, "CD4 Memory T": 333, "CD16 Mono": 225, "B": 178,
         "CD8 T": 148, "T activated": 130, "NK": 107, "DC": 89, "B Activated": 66, "Mk": 46, "pDC": 23,
         "Eryth": 8},
        {"STIM": 1490, "CTRL": 1310},
    ),
    # Without the 177 cells of pbmc-sorted.
    "zheng-sorted-fasttopics": (
        3697, 16_791, 7_417_981, 2_662_856,
        {"CD19+ B": 754, "CD34+": 701, "CD56+ NK": 634, "CD8+ Cytotoxic T": 380, "CD4+ T Helper2": 256,
         "CD8+/CD45RA+ Naive Cytotoxic": 227, "CD4+/CD45RO+ Memory": 225, "CD4+/CD25 T Reg": 204,
         "CD4+/CD45RA+/CD25- Naive T": 183, "CD14+ Monocyte": 133},
        {"zheng-sorted-fasttopics": 3697},
    ),
    # Seven sources: each sum is that of their tables.
    "geact-fetal": (
        233 + 314 + 292 + 396 + 286 + 643 + 313, 22_262,
        7_611_162 + 6_933_741 + 5_963_104 + 11_776_178 + 6_750_179 + 18_451_222 + 4_499_458,
        1_057_506 + 1_021_113 + 1_113_085 + 1_916_103 + 1_205_897 + 2_951_741 + 939_052,
        None, {"geact-fetal": 2477},
    ),
    "baron-human1": (
        1937, 20_125, 11_244_731, 3_726_445,
        {"beta": 872, "alpha": 236, "delta": 214, "endothelial": 130, "ductal": 120, "acinar": 110,
         "quiescent_stellate": 92, "gamma": 70, "activated_stellate": 51, "macrophage": 14, "epsilon": 13,
         "mast": 8, "schwann": 5, "t_cell": 2},
        {"human1": 1937},
    ),
}  # fmt: skip


# Cells read from the source files by other means (csv, h5py, the parser below rdata).
BY_HAND = {
    "pbmc-savercat": {
        "V3_9782": ("T/NK cells", 2386, {"B2M": 106, "MT-ATP6": 72}),
        "V3_8947": (None, 1860, {"B2M": 81, "MT-CO1": 78}),
        "V3_1495": (None, 4257, {"S100A8": 211, "MT-CO1": 161}),
    },
    "cortex-culture": {
        "10X355_7_AB_YFP:AGAACCTTCGTGTTCCx": ("glutamatergic neuron", 331, {"SOX4": 30, "SOX11": 23}),
        "10X353_7_AB_YFP_1:CAACAGTTCGGTCATAx": (None, 138, {"HSP90AA1": 10, "ARRDC3": 5}),
        "10X355_7_AB_YFP:TTTGGAGGTGAGCGATx": (None, 983, {"MT-CO2": 123, "SOX4": 53}),
    },
    "kang-deepmaps": {
        "AAACATACATTTCC.1": ("CD14 Mono", 3017, {"FTH1": 388, "FTL": 279}),
        "AATCCTTGGTCGTA.1": (None, 1054, {"MALAT1": 79, "TMSB4X": 38}),
        "TTTGCATGACGTAC.1": (None, 1364, {"MALAT1": 144, "TMSB4X": 56}),
    },
    "zheng-sorted-fasttopics": {
        "CGTGATGATTTCAC-1-b_cells": ("CD19+ B", 1784, {"MALAT1": 49, "RPL13A": 34}),
        "TTTGACTGTTGAGC-1-cd34_filtered": ("CD34+", 12_704, {"RPS2": 123, "RPS18": 120}),
        "AGCTGTGATTGTGG-1-naive_cytotoxic": (
            "CD8+/CD45RA+ Naive Cytotoxic", 1640, {"RPL10": 30, "RPS2": 30},
        ),
    },
    "geact-fetal": {
        "PG_D-C1_03": ("bladder: Immune", 9631, {"MALAT1--1": 432, "MT-RNR2": 386}),
        "HJC_D-C5_41": ("large intestine: Fibro-DPT", 18_761, {"COL3A1": 1075, "MT-RNR2": 709}),
        "XX_C-C5_95": ("thymus: Pre-T", 11_726, {"MALAT1--1": 433, "HSP90AA1": 412}),
    },
    "baron-human1": {
        "human1_lib1.final_cell_0001": ("acinar", 22_412, {"REG1A": 1618, "CTRB2": 885}),
        "human1_lib2.final_cell_0401": ("alpha", 5639, {"TTR": 226, "GCG": 111}),
        "human1_lib3.final_cell_0740": ("quiescent_stellate", 1503, {"FTL": 52, "COL3A1": 13}),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project of its own, so that nothing is read from or written to the checkout."""
    root = tmp_path_factory.mktemp("home")
    (root / "data").mkdir()
    for registry in ("datasets", "corpus_sources"):
        shutil.copy(CHECKOUT / "data" / f"{registry}.yml", root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZEROSHOT_HOME", str(root))
        patch.setenv("ZEROSHOT_DATA", os.pathsep.join(map(str, FOLDERS)))
        yield root


def keeps_contract(adata):
    matrix = adata.X
    assert matrix.format == "csr" and matrix.dtype == np.float32 and matrix.has_sorted_indices
    assert (matrix.data > 0).all() and (matrix.data == np.rint(matrix.data)).all()
    for key in ("cell_type", "batch"):
        column = adata.obs[key]
        assert column.dtype == "category" and not column.isna().any()
        assert set(column.cat.categories) == set(column)
    assert adata.obs["library_size"].dtype == np.float64
    assert (adata.obs["library_size"] >= np.asarray(matrix.sum(axis=1)).ravel() * (1 - 1e-6)).all()
    assert adata.obs_names.is_unique and adata.var_names.is_unique
    return True


# -- the registry -----------------------------------------------------------------------------------


def test_every_verified_set_has_its_facts_here():
    cards = catalog.datasets().values()
    assert set(FACTS) == {card.name for card in cards if card.verified and card.source != "simulate"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "pbmc68k-reduced" else needs_sources) for n in FACTS]
)
def test_prepared_set_equals_its_published_facts(home, name):
    cells, genes, total, nonzeros, labels, batches = FACTS[name]
    adata = load(name)
    assert keeps_contract(adata)
    assert adata.shape == (cells, genes)
    assert int(adata.X.sum(dtype=np.float64)) == total and adata.X.nnz == nonzeros
    if labels:
        assert adata.obs["cell_type"].value_counts().to_dict() == labels
    assert adata.obs["batch"].value_counts().to_dict() == batches
    assert adata.uns["dataset"]["content_hash"] == content_hash(adata)
    assert adata.uns["dataset"]["name"] == name and adata.uns["dataset"]["notes"]
    # A second call reads the store and says the same.
    assert load(name, policy="only-stored").uns["dataset"] == adata.uns["dataset"]


@needs_sources
def test_cells_read_by_hand_have_the_same_counts(home):
    for name, expected in BY_HAND.items():
        adata = load(name)
        for cell, (label, total, counts) in expected.items():
            one = adata[cell]
            assert one.X.sum() == total and label in (None, one.obs["cell_type"].item()), (name, cell)
            assert {gene: one[:, gene].X.sum() for gene in counts} == counts, (name, cell)


@needs_sources
def test_cells_of_one_study_in_another_source(home):
    """What the entries and their notes say of cells that two data sets share."""
    raw = prepare.zheng_sorted_fasttopics(download.fetch(catalog.dataset("zheng-sorted-fasttopics")))
    assert raw.shape == (3874, 16_791) and raw.X.sum() == 7_675_054 and raw.X.nnz == 2_767_251
    test_set, clean = load("pbmc-sorted"), load("zheng-sorted-fasttopics")
    assert identical_cells(raw, test_set).sum() == 177 == raw.n_obs - clean.n_obs
    assert not identical_cells(clean, test_set).any()
    assert "177 cells are left out" in clean.uns["dataset"]["notes"][-1]
    pancreas = load("pancreas-two-studies")
    donors = set(pancreas.obs["donor"][pancreas.obs["batch"] == "Baron"])
    assert donors == {"human2", "human4"}
    assert not identical_cells(load("baron-human1"), pancreas).any()
    kits, chemistries = load("pbmc-savercat"), load("pbmc-three-chemistries")
    for one, other, kit in ((kits, chemistries, "V2"), (chemistries, kits, "10x_3p_v2")):
        shared = one.obs[identical_cells(one, other)]
        assert len(shared) == 35 and set(shared["batch"]) == {kit}
        assert shared["cell_type"].isin(["B", "B cells"]).sum() == 4


@needs_sources
def test_composition_by_batch(home):
    adata = load("pbmc-3k-4k")
    table = pd.crosstab(adata.obs["cell_type"], adata.obs["batch"])
    assert table.loc["Dendritic Cells"].to_dict() == {"pbmc3k": 32, "pbmc4k": 60}
    assert table.loc["CD4 T cells"].to_dict() == {"pbmc3k": 1180, "pbmc4k": 819}
    assert (adata.obs["library_size"] > np.asarray(adata.X.sum(axis=1)).ravel()).mean() > 0.9
    adata = load("celllines-scmixology")
    table = pd.crosstab(adata.obs["cell_type"], adata.obs["batch"])
    assert (table.loc[["A549", "H838"], ["celseq2_3cl", "dropseq_3cl"]] == 0).to_numpy().all()
    assert adata.var["ensembl_id"].str.fullmatch(r"ENSG\d{11}").all()


def test_library_size_of_a_gene_subset_is_the_full_one(home):
    import scanpy as sc

    adata = load("pbmc68k-reduced")
    sums = np.asarray(adata.X.sum(axis=1)).ravel()
    assert 0.1 < (sums / adata.obs["library_size"]).median() < 0.3
    stored = sc.datasets.pbmc68k_reduced()
    assert (adata.obs["library_size"].to_numpy() == stored.obs["n_counts"].to_numpy(np.float64)).all()
    # The recovered counts give back the packaged values to their three decimals.
    rebuilt = np.log1p(adata.X.toarray() * 1e4 / adata.obs["library_size"].to_numpy()[:, None])
    assert np.abs(rebuilt - stored.raw.X.toarray()).max() < 6e-4


def test_every_card_names_a_preparation_that_exists():
    for card in catalog.datasets().values():
        module = simulate if card.source == "simulate" else prepare
        assert card.prepare is None or callable(getattr(module, card.prepare)), card.name
        assert card.prepare or len(card.files) == 1, card.name


def test_changed_code_or_card_prepares_again_and_a_note_does_not(home, monkeypatch):
    calls = []
    monkeypatch.setattr(
        simulate, "simulate_atlas", lambda **_: calls.append(1) or toy(n=2400, g=900, b=3, t=8)
    )
    card = catalog.dataset("simulated-atlas")
    for changed in ({}, {"notes": ("new",)}, {"parameters": {"seed": 1}}):
        monkeypatch.setattr(
            catalog, "datasets", lambda changed=changed: {card.name: card.model_copy(update=changed)}
        )
        load(card.name)
    assert len(calls) == 2
    monkeypatch.setattr(dependencies, "computation", lambda modules: {"code": "edited"})
    load(card.name)
    assert len(calls) == 3


def test_a_preparation_that_does_not_exist_is_refused(home, monkeypatch):
    card = catalog.dataset("simulated-atlas")
    for changed in ({"prepare": "simulate_atlases"}, {"prepare": "np"}, {"parameters": {"colour": "red"}}):
        altered = card.model_copy(update=changed)
        monkeypatch.setattr(catalog, "datasets", lambda altered=altered: {card.name: altered})
        with pytest.raises(catalog.CatalogError, match=r"datasets\.yml: entry 'simulated-atlas': prepare: "):
            load(card.name)


def test_facts_that_do_not_hold_are_an_error_or_for_unverified_sets_a_warning(home, monkeypatch):
    card = catalog.dataset("pbmc68k-reduced").model_copy(update={"cells": 701})
    monkeypatch.setattr(catalog, "datasets", lambda: {card.name: card})
    with pytest.raises(DataError, match="700 cells instead of 701"):
        load(card.name)
    unverified = card.model_copy(update={"verified": False, "genes": 766})
    monkeypatch.setattr(catalog, "datasets", lambda: {card.name: unverified})
    with pytest.warns(UserWarning, match="not verified.*700 cells instead of 701"):
        load(card.name)


def test_only_stored_refuses_to_prepare(home, monkeypatch):
    card = catalog.dataset("simulated-atlas").model_copy(update={"parameters": {"seed": 99}})
    monkeypatch.setattr(catalog, "datasets", lambda: {card.name: card})
    with pytest.raises(store.NotStoredError):
        load(card.name, policy="only-stored")


def test_columns_cannot_be_given_for_a_registered_set(home):
    with pytest.raises(DataError, match=r"label_key cannot be given for 'pbmc68k-reduced'"):
        load("pbmc68k-reduced", label_key="phase")


def test_unknown_name_is_answered_with_the_nearest(home):
    with pytest.raises(DataError, match=r"neither a data set nor an .h5ad file. Did you mean pbmc-sorted"):
        load("pbmc-sort")


# -- the paper's five: small stand-ins of the published files ---------------------------------------


def as_10x(path, symbols, ensembl, barcodes, counts):
    matrix = sparse.coo_matrix(counts.T)
    lines = [f"{i + 1} {j + 1} {int(v)}" for i, j, v in zip(matrix.row, matrix.col, matrix.data, strict=True)]
    header = (
        f"%%MatrixMarket matrix coordinate integer general\n{len(symbols)} {len(barcodes)} {matrix.nnz}\n"
    )
    members = {
        "matrix.mtx": header + "\n".join(lines) + "\n",
        "genes.tsv": "".join(f"{e}\t{s}\n" for e, s in zip(ensembl, symbols, strict=True)),
        "barcodes.tsv": "".join(f"{b}\n" for b in barcodes),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(f"filtered_gene_bc_matrices/GRCh38/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_pbmc_12k_gives_each_barcode_to_its_own_run(tmp_path, monkeypatch):
    genes = ["A", "B", "B"], ["ENSG1", "ENSG2", "ENSG3"]
    files = {
        "pbmc8k_filtered_gene_bc_matrices.tar.gz": as_10x(
            tmp_path / "8.tar.gz",
            *genes,
            ["AA-1", "CC-1", "GG-1"],
            np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ),
        "pbmc4k_filtered_gene_bc_matrices.tar.gz": as_10x(
            tmp_path / "4.tar.gz", *genes, ["CC-1", "TT-1"], np.array([[10, 0, 0], [0, 20, 0]])
        ),
        "gene_info.csv": tmp_path / "genes.csv",
        "seurat_ident_pbmc4k8k.rda": tmp_path / "unused",
    }
    pd.DataFrame({"ENSG": ["ENSG1", "ENSG3"]}).to_csv(files["gene_info.csv"])
    labels = pd.Series({"AA-1": "B cells", "CC-1": "NK cells", "TT-1": "Other", "CC-11": "B cells"})
    monkeypatch.setattr(prepare.blood, "_pbmc4k8k_labels", lambda path: labels)
    adata = prepare.pbmc_12k(files)
    assert list(adata.obs_names) == ["pbmc8k_AA-1", "pbmc8k_CC-1", "pbmc4k_TT-1"]
    assert list(adata.obs["cell_type"]) == ["B cells", "NK cells", "Other"]
    assert list(adata.var_names) == ["A", "B-1"] and list(adata.obs["library_size"]) == [6, 15, 20]
    assert adata.X.toarray().tolist() == [[1, 3], [4, 6], [0, 0]]


def test_pbmc_95k_stacks_the_sorted_runs(tmp_path):
    suffix = "_filtered_gene_bc_matrices.tar.gz"
    files = {
        f"{name}{suffix}": as_10x(
            tmp_path / name, ["A", "B"], ["ENSG1", "ENSG2"], ["AA-1"], np.array([[value, 1]])
        )
        for name, value in (("naive_t", 5), ("b_cells", 3))
    }
    adata = prepare.pbmc_95k(files)
    assert list(adata.obs_names) == ["b_cells_AA-1", "naive_t_AA-1"]
    assert adata.X.toarray().tolist() == [[3, 1], [5, 1]]
    assert list(adata.obs["cell_type"]) == ["b_cells", "naive_t"]


def test_pancreas_merges_indrop_and_rounds_counts(tmp_path):
    adata = toy(n=4, g=3)
    adata.layers["counts"] = sparse.csr_matrix(adata.X.toarray() + 0.1)
    adata.obs["tech"] = ["inDrop1", "inDrop4", "CelSeq2", "smartseq2"]
    adata.obs["celltype"] = ["alpha", "beta", "alpha", "beta"]
    adata.write_h5ad(tmp_path / "p.h5ad")
    prepared = prepare.pancreas({"human_pancreas_norm_complexBatch.h5ad": tmp_path / "p.h5ad"})
    assert list(prepared.obs["batch"]) == ["indrop", "indrop", "celseq2", "smartseq2"]
    assert (prepared.X.toarray() == adata.X.toarray()).all()


def test_tabula_sapiens_is_read_from_its_zip(tmp_path):
    adata = toy(n=4, g=3)
    adata.layers["raw_counts"] = adata.X.copy()
    adata.obs = adata.obs.rename(columns={"cell_type": "cell_ontology_class", "batch": "donor"})
    adata.write_h5ad(tmp_path / "TabulaSapiens.h5ad")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(tmp_path / "TabulaSapiens.h5ad", "folder/TabulaSapiens.h5ad")
    prepared = prepare.tabula_sapiens({"TabulaSapiens.h5ad.zip": tmp_path / "t.zip"})
    assert set(prepared.obs) == {"cell_type", "batch"} and prepared.shape == (4, 3)


def test_unverified_set_without_prepare_takes_its_columns_from_the_card(home, tmp_path, monkeypatch):
    adata = toy(n=12, g=5)
    adata.layers["counts"] = adata.X.copy()
    adata.obs = adata.obs.rename(columns={"cell_type": "Manually_curated_celltype", "batch": "Donor"})
    card = catalog.dataset("immune")
    adata.write_h5ad(tmp_path / card.files[0].name)
    monkeypatch.setenv("ZEROSHOT_DATA", str(tmp_path))
    with pytest.warns(UserWarning, match=r"used unchecked|not verified"):
        loaded = load("immune")
    assert keeps_contract(loaded) and loaded.obs["batch"].nunique() == 2


# -- a user's own file ------------------------------------------------------------------------------


def toy(n=40, g=6, b=2, t=2, seed=0):
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame(
        {
            "cell_type": [f"type{i % t}" for i in range(n)],
            "batch": [f"batch{(i // t) % b}" for i in range(n)],
        },
        index=[f"c{i}" for i in range(n)],
    )
    counts = rng.poisson(2, (n, g)).astype(np.float32)
    counts[:, 0] += 1  # no cell without counts
    return AnnData(sparse.csr_matrix(counts), obs, pd.DataFrame(index=[f"G{i}" for i in range(g)]))


@pytest.fixture
def written(tmp_path):
    """Write an AnnData and return the path."""

    def write(adata, name="mine.h5ad", **options):
        path = tmp_path / name
        adata.write_h5ad(path, **options)
        return path

    return write


def test_own_file_and_it_is_not_changed(written):
    adata = toy()
    adata.obs["kind"] = adata.obs.pop("cell_type")
    path = written(adata)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded = load(path, label_key="kind", batch_key="batch")
    assert keeps_contract(loaded)
    assert loaded.uns["dataset"]["name"] == "mine" and loaded.uns["dataset"]["source"] == str(path)
    assert list(load(path, label_key="kind").obs["batch"].cat.categories) == ["mine.h5ad"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_counts_are_taken_from_where_they_are(written):
    logged = toy()
    logged.layers["counts"] = logged.X.copy()
    logged.raw = toy(g=9, seed=1)
    logged.X = np.log1p(logged.X.toarray() / 3)
    path = written(logged)
    assert (logged.layers["counts"] != load(path).X).nnz == 0
    assert load(path, counts="raw").shape == (40, 9)
    with pytest.raises(
        DataError, match=r"looks log-normalised.*layers/counts and raw: pass counts='layers/counts'"
    ):
        load(path, counts="X")
    with pytest.raises(DataError, match=r"has no layers/umi. It holds X, layers/counts, raw"):
        load(path, counts="layers/umi")


def test_dense_integers_and_stored_zeros_are_brought_into_form(written):
    adata = toy()
    expected = adata.X.toarray()
    matrix = sparse.csr_matrix(expected)
    matrix.data[3] = 0
    for values in (
        expected.astype(np.int64),
        expected.astype(np.float64),
        sparse.csc_matrix(expected),
        matrix,
    ):
        loaded = load(written(AnnData(values, adata.obs, adata.var)))
        assert keeps_contract(loaded)
        assert (loaded.X.toarray() == (values if isinstance(values, np.ndarray) else values.toarray())).all()


def test_content_hash_sees_content_and_not_compression(written):
    adata = toy()
    plain = load(written(adata, "a.h5ad"), batch_key="batch").uns["dataset"]["content_hash"]
    zipped = load(written(adata, "b.h5ad", compression="gzip"), batch_key="batch")
    assert zipped.uns["dataset"]["content_hash"] == plain
    changed = []
    for change in ("count", "label", "batch", "gene", "cell"):
        other = zipped.copy()
        if change == "count":
            other.X.data[0] += 1
        elif change in ("label", "batch"):
            key = {"label": "cell_type"}.get(change, change)
            other.obs[key] = other.obs[key].to_numpy()[::-1]
            other.obs[key] = other.obs[key].astype("category")
        elif change == "gene":
            other.var_names = ["x", *other.var_names[1:]]
        else:
            other.obs_names = ["x", *other.obs_names[1:]]
        changed.append(content_hash(other))
    assert len({plain, *changed}) == 6


def test_ensembl_ids_are_kept_without_version(written):
    adata = toy()
    adata.var["gene_ids"] = [f"ENSG0000000000{i}.{i}" for i in range(6)]
    assert list(load(written(adata)).var["ensembl_id"]) == [f"ENSG0000000000{i}" for i in range(6)]
    assert "ensembl_id" not in load(written(toy(), "no.h5ad")).var


def test_labels_can_be_absent_when_nobody_needs_them(written):
    adata = toy()
    del adata.obs["cell_type"]
    loaded = load(written(adata), require_labels=False, subset=10)
    assert loaded.n_obs == 10 and "cell_type" not in loaded.obs


def test_result_can_be_written_and_loaded_again(home, tmp_path):
    adata = load("pbmc68k-reduced", subset=100)
    adata.write_h5ad(tmp_path / "again.h5ad")
    again = load(tmp_path / "again.h5ad", batch_key="batch")
    assert again.uns["dataset"]["content_hash"] == adata.uns["dataset"]["content_hash"]
    assert (again.obs["library_size"] == adata.obs["library_size"]).all()
    assert list(anndata.read_h5ad(tmp_path / "again.h5ad").uns["dataset"]["notes"])


# -- subsets ----------------------------------------------------------------------------------------


def test_subset_is_stratified_seeded_and_in_order(home):
    whole = load("pbmc68k-reduced")
    part = load("pbmc68k-reduced", subset=150, seed=3)
    assert part.n_obs == 150 and keeps_contract(part)
    assert list(part.obs_names) == [name for name in whole.obs_names if name in set(part.obs_names)]
    sizes, kept = (data.obs["cell_type"].value_counts() for data in (whole, part))
    assert (kept.reindex(sizes.index) >= np.minimum(2, sizes)).all()
    assert np.abs(kept.reindex(sizes.index) - sizes * 150 / 700).max() <= 2
    assert list(load("pbmc68k-reduced", subset=150, seed=3).obs_names) == list(part.obs_names)
    assert list(load("pbmc68k-reduced", subset=150, seed=4).obs_names) != list(part.obs_names)
    assert load("pbmc68k-reduced", subset=5000).n_obs == 700
    with pytest.raises(DataError, match="too small: 10 labels"):
        load("pbmc68k-reduced", subset=9)


# -- refusals ---------------------------------------------------------------------------------------


def broken(change):
    adata = toy()
    change(adata)
    return adata


def set_values(value):
    def change(adata):
        adata.X.data[5] = value

    return change


def set_column(key, value):
    def change(adata):
        adata.obs[key] = value

    return change


def rename_column(old, new):
    def change(adata):
        adata.obs = adata.obs.rename(columns={old: new})

    return change


def set_genes(*names):
    def change(adata):
        adata.var_names = [*names, *adata.var_names[len(names) :]]

    return change


def empty_cell(adata):
    adata.X = sparse.csr_matrix(sparse.diags([0.0] + [1.0] * 39) @ adata.X)


REFUSED = {
    "non-integer": (set_values(2.5), "1 of .* not integers .*such as 2.5"),
    "corrected": (lambda a: setattr(a, "X", a.X * 33.3), "looks normalised or corrected"),
    "log-normalised": (lambda a: setattr(a, "X", np.log1p(a.X.toarray() / 3)), "looks log-normalised"),
    "negative": (set_values(-1), r"negative \(smallest -1\), so they look scaled"),
    "NaN": (set_values(np.nan), "1 values are NaN and 0 infinite"),
    "infinite": (set_values(np.inf), "0 values are NaN and 1 infinite"),
    "beyond float32": (set_values(2.0**25), "beyond the integers that float32 holds"),
    "duplicated genes": (set_genes("G1"), r"1 gene names occur more than once \(G1\).*var_names_make_unique"),
    "empty gene name": (set_genes(""), "1 gene names are empty"),
    "duplicated cells": (lambda a: setattr(a, "obs_names", ["x"] * 40), "cell names occur more than once"),
    "no label column": (
        rename_column("cell_type", "celltype"),
        "no label column 'cell_type'. Did you mean celltype.* Columns: celltype, batch.*label_key",
    ),
    "missing labels": (
        set_column("cell_type", ["a", None] * 20),
        "20 of 40 cells have no value in label column",
    ),
    "blank labels": (
        set_column("cell_type", ["a", " "] * 20),
        "20 of 40 cells have no value in label column",
    ),
    "missing batches": (set_column("batch", [1.0, np.nan] * 20), "20 of 40 .* batch column 'batch'"),
    "no batch column": (rename_column("batch", "donor"), "no batch column"),
    "one label": (set_column("cell_type", "T"), r"holds one label only \(T\)"),
    "cell without counts": (empty_cell, "1 of 40 cells have no counts at all"),
    "all zero": (lambda a: setattr(a, "X", a.X * 0), "all values are zero"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:(Variable|Observation) names are not unique:UserWarning")
def test_refused(written, case):
    change, message = REFUSED[case]
    with pytest.raises(DataError, match=f"(?s){message}"):
        load(written(broken(change)), batch_key="batch")


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty_matrix_is_refused(written, shape):
    adata = toy()[: shape[0], : shape[1]].copy()
    with pytest.raises(DataError, match="is empty"):
        load(written(adata))


def test_files_that_are_not_what_they_seem(written, tmp_path):
    path = written(toy(n=4000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        load(path)
    path.write_bytes(b"cell,gene\n" * 100)
    with pytest.raises(DataError, match="not an HDF5 file"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="not an HDF5 file"):
        load(path)
    with pytest.raises(DataError, match="there is no file"):
        load(tmp_path / "nowhere.h5ad")


def test_hdf5_that_is_no_anndata(tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["table"] = np.arange(3)
    with pytest.raises(DataError, match=r"has no obs and no var and no X. It holds no matrix"):
        load(tmp_path / "other.h5ad")


def test_damaged_inside(written):
    adata = toy(n=3000, g=50)
    path = written(adata, compression="gzip")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\xff" * 400
    path.write_bytes(data)
    with pytest.raises(DataError):
        load(path)


def test_wrong_source_file_is_passed_over_and_named(home, tmp_path, monkeypatch):
    card = catalog.dataset("pbmc-three-chemistries")
    (tmp_path / card.files[0].name).write_bytes(b"something else")
    monkeypatch.setenv("ZEROSHOT_DATA", str(tmp_path))
    monkeypatch.setattr(download, "fetch_file", lambda file, target, otherwise: target)
    with pytest.warns(UserWarning, match=f"is not used: it has 14 bytes, .*{card.files[0].sha256}"):
        found = download.fetch(card)
    assert found[card.files[0].name].parent == paths.downloads() / card.name


def test_import_is_light():
    import subprocess
    import sys

    code = (
        "import sys, zeroshot.data; "
        "print([m for m in ('scanpy', 'rdata', 'torch', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
