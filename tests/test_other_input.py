"""The references' numbers for the same cells with genes in another order and unknown ones among them."""

import json

import numpy as np
import pytest
from released import PARITY, cells_of

from zeroshot.embedding import Runner, Settings
from zeroshot.models.cellplm import CellPlm
from zeroshot.models.nicheformer import ASSAYS, Nicheformer
from zeroshot.models.scbert import ScBert
from zeroshot.models.scfoundation import ScFoundation
from zeroshot.models.weights import Checkpoint


def of_scfoundation(folder, arrays):
    genes = [f"G{number}" for number in range(48)]
    files = {"weights": PARITY / "scfoundation/models.ckpt", "vocabulary": write_genes(folder, genes)}
    return ScFoundation(checkpoint=Checkpoint(files, {}, "")), genes, arrays["cell_F_t4_all"], None


def of_scbert(folder, arrays):
    genes = [f"G{number}" for number in range(40)]
    files = {"weights": PARITY / "scbert/panglao_pretrained.pth", "vocabulary": write_genes(folder, genes)}
    return ScBert(checkpoint=Checkpoint(files, {}, "")), genes, arrays["cell_emb_mean_genes"], None


def of_cellplm(folder, arrays):
    files = {
        "weights": PARITY / "cellplm/tiny.best.ckpt",
        "config": PARITY / "cellplm/tiny.config.json",
    }
    assert len(json.loads(files["config"].read_text())["gene_list"]) > len(arrays["gene_list"])
    model = CellPlm(checkpoint=Checkpoint(files, {}, ""), cluster="argmax")
    return model, arrays["gene_list"].tolist(), arrays["pred_argmax"], None


def of_nicheformer(folder, arrays):
    genes = [f"ENSG{number:011d}" for number in range(60)]
    np.save(folder / "means.npy", arrays["mean_float"])
    files = {
        "weights": PARITY / "nicheformer/nicheformer.ckpt",
        "vocabulary": write_genes(folder, genes),
        "dissociated_means": folder / "means.npy",
    }
    rows = np.flatnonzero(arrays["assay"] == arrays["assay"][0])
    assay = next(name for name, number in ASSAYS.items() if number == arrays["assay"][0])
    given = {"assay": assay, "means": "clean", "order": "stable"}  # no ties: numba is not needed
    model = Nicheformer(checkpoint=Checkpoint(files, {}, ""), **given)
    return model, genes, arrays["emb_last_f"][rows], rows


def write_genes(folder, genes):
    path = folder / "gene_list.txt"
    path.write_text("\n".join(genes))
    return path


@pytest.mark.parametrize("make", [of_scfoundation, of_scbert, of_cellplm, of_nicheformer])
def test_order_of_genes_and_unknown_ones_change_nothing(tmp_path, make):
    arrays = dict(np.load(PARITY / make.__name__.removeprefix("of_") / "io.npz"))
    model, genes, expected, rows = make(tmp_path, arrays)
    counts = arrays["X_counts"] if rows is None else arrays["X_counts"][rows]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(genes))
    unknown = rng.poisson(2, (len(counts), 7))
    matrix = np.hstack([unknown[:, :3], counts[:, order], unknown[:, 3:]])
    names = ["U0", "U1", "U2", *(genes[place] for place in order), "V0", "V1", "V2", "V3"]
    cells = cells_of(matrix, names)
    if hasattr(model, "embed"):
        found = model.embed(cells, 0)
    else:
        found = Runner(model, cells, 0, Settings(device="cpu")).embed(np.arange(len(counts)))
    assert np.allclose(found, expected, atol=2e-5)
