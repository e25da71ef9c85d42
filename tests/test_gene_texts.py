"""GenePT and scELMo: texts about genes, their vectors, and the averages, computed by hand."""

import hashlib

import numpy as np
import pytest
from released import cells_of, write_cellama
from released_language import write_causal_model

from zeroshot import catalog, models, store
from zeroshot.catalog import CatalogError, gene_tables, read_gene_table
from zeroshot.embedding import Runner, Settings
from zeroshot.models import gene_texts
from zeroshot.models.gene_texts import GeneTexts, TextEncoder, write_texts
from zeroshot.models.genept import GenePtS, GenePtW
from zeroshot.models.scelmo import ScElmo
from zeroshot.models.weights import Checkpoint
from zeroshot.tokens.genes import GeneOverlapError

# Symbol, former symbol of VSIR, identifier of a gene with another name here, and one that nobody knows.
GENES = ("CD74", "C10orf54", "MINE", "NOBODY")
ENSEMBL = np.array(["", "", "ENSG00000156738", ""])  # MS4A1
COUNTS = np.array([[6, 0, 2, 4], [0, 3, 0, 0], [1, 1, 1, 1], [0, 0, 0, 5]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = write_cellama(tmp_path_factory.mktemp("encoder"))
    names = {"config": "config.json", "weights": "model.safetensors", "vocabulary": "vocab.txt"}
    files = {role: folder / name for role, name in names.items()}
    hashes = {role: hashlib.sha256(path.read_bytes()).hexdigest() for role, path in files.items()}
    return Checkpoint(files, hashes, f"folder {folder}")


@pytest.fixture
def cells():
    return cells_of(COUNTS, GENES, ensembl_ids=ENSEMBL)


def test_tables_of_genes_are_the_registered_ones(home):
    texts, terms = read_gene_table("gene-texts"), read_gene_table("gene-ontology")
    assert len(texts["symbol"]) == len(set(texts["symbol"])) == 29_521
    assert sum(map(bool, texts["summary"])) == 15_086
    row = texts["symbol"].index("CD74")
    assert texts["name"][row] == "CD74 molecule" and texts["ensembl_id"][row] == "ENSG00000019582"
    sizes = [len(genes.split()) for genes in terms["genes"]]
    assert len(sizes) == 2_228 and min(sizes) >= 20 and max(sizes) <= 1000
    assert set(terms["ontology"]) == {"BP", "CC", "MF"}
    assert set(" ".join(terms["genes"]).split()) <= set(texts["symbol"])
    # What is stored depends on this constant.
    assert gene_tables()["gene-texts"].sha256 == gene_texts.TEXTS_SHA256
    file = home / "data" / "genes" / gene_tables()["gene-texts"].file
    file.write_bytes(b"other")
    with pytest.raises(CatalogError, match=r"has sha256 .* Restore it"):
        read_gene_table("gene-texts")


def test_texts_say_symbol_name_and_summary():
    row = np.array([read_gene_table("gene-texts")["symbol"].index("MALAT1")])
    (name,) = write_texts("name", row)
    (summary,) = write_texts("summary", row)
    assert name == "MALAT1: metastasis associated lung adenocarcinoma transcript 1."
    assert summary.startswith(f"{name} This gene produces") and "[provided by" not in summary


def test_genes_are_found_by_symbol_former_symbol_and_identifier(checkpoint, cells):
    alignment = GeneTexts(checkpoint=checkpoint).align(cells)
    symbols = read_gene_table("gene-texts")["symbol"]
    matched = [symbols[row] if row >= 0 else None for row in alignment.targets]
    assert matched == ["CD74", "VSIR", "MS4A1", None]
    assert alignment.rules.tolist() == ["symbol", "symbol", "Ensembl", "unmatched"]
    with pytest.raises(GeneOverlapError, match="GenePT knows 0 of 4 genes"):
        GenePtW(checkpoint=checkpoint).embed(cells_of(COUNTS, ["a", "b", "c", "d"]), 0)


def test_vectors_are_those_of_the_encoder_and_averages_are_the_published_ones(checkpoint, cells):
    rows = GeneTexts(checkpoint=checkpoint).align(cells).targets[:3]
    expected = np.zeros((4, 32), np.float32)
    for place, text in enumerate(write_texts("summary", rows)):  # one at a time: no padding, no chunks
        expected[place] = TextEncoder.of(checkpoint, 64).encode([text], 64)[0]
    found, _ = GeneTexts(checkpoint=checkpoint).vectors_of(cells, "GenePT")
    assert np.allclose(found, expected, atol=2e-6) and np.allclose(np.linalg.norm(found[:3], axis=1), 1)
    values = cells.log_normalized().toarray()
    raw = values @ expected / 4
    assert np.allclose(GenePtW(checkpoint=checkpoint, normalize=False).embed(cells, 0), raw, atol=1e-5)
    scaled = GenePtW(checkpoint=checkpoint).embed(cells, 0)
    assert np.allclose(scaled[:3], raw[:3] / np.linalg.norm(raw[:3], axis=1, keepdims=True), atol=1e-5)
    assert not scaled[3].any()  # its only gene has no text
    arithmetic = ScElmo(checkpoint=checkpoint, average="arithmetic").embed(cells, 0)
    weighted = ScElmo(checkpoint=checkpoint).embed(cells, 0)
    assert np.allclose(arithmetic, raw, atol=1e-5)
    assert np.allclose(weighted, values / values.sum(axis=1, keepdims=True) @ expected, atol=1e-5)
    assert weighted.dtype == scaled.dtype == np.float32
    (note,) = GenePtW(checkpoint=checkpoint).notes(cells)
    assert note.startswith("3 of 4 genes with 58.3% of the counts have a text")


def test_many_genes_are_rows_of_a_stored_table(checkpoint, cells, home, monkeypatch):
    direct, _ = GeneTexts(checkpoint=checkpoint).vectors_of(cells, "GenePT")
    rows = GeneTexts(checkpoint=checkpoint).align(cells).targets[:3]
    texts = {n: tuple(column[row] for row in rows) for n, column in read_gene_table("gene-texts").items()}
    monkeypatch.setattr(catalog, "read_gene_table", lambda _: texts)
    monkeypatch.setattr(gene_texts, "_FEW_GENES", 1)
    first, _ = GeneTexts(checkpoint=checkpoint).vectors_of(cells, "GenePT")
    assert np.allclose(first, direct, atol=2e-6)
    (stored,) = (home / "artifacts" / "gene-texts").iterdir()
    assert store.damage(stored) is None
    monkeypatch.setattr(TextEncoder, "encode", lambda *_: pytest.fail("computed again"))
    again, _ = ScElmo(checkpoint=checkpoint).vectors_of(cells, "scELMo")
    assert again.tobytes() == first.tobytes()


def test_the_encoder_can_be_any_language_model(tmp_path, cells):
    folder = write_causal_model(tmp_path)
    names = {"config": "config.json", "weights": "model.safetensors", "vocabulary": "tokenizer.json"}
    other = Checkpoint({role: folder / name for role, name in names.items()}, {}, f"folder {folder}")
    found = GenePtW(checkpoint=other).embed(cells, 0)
    assert found.shape == (4, 16) and np.allclose(np.linalg.norm(found[:3], axis=1), 1)
    assert models.load("genept-w", weights=folder).checkpoint.files["weights"] == folder / "model.safetensors"


def test_genept_s_reads_the_names_of_a_cell(checkpoint, cells):
    found = Runner(GenePtS(checkpoint=checkpoint, n_genes=2), cells, 0, Settings(device="cpu"))
    found = found.embed(np.arange(4))
    opening = "A cell with genes ranked by expression: "
    texts = [opening + names for names in ("CD74 NOBODY", "C10orf54", "CD74 C10orf54", "NOBODY")]
    pieces = TextEncoder.of(checkpoint, 256)
    expected = np.concatenate([pieces.encode([text], 256) for text in texts])
    assert np.allclose(found, expected, atol=2e-5)
    with pytest.raises(ValueError, match="unknown text 'abstract'"):
        GenePtW(checkpoint=checkpoint, text="abstract")
