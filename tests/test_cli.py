"""The command line: what it prints, writes, refuses, and the exit codes."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from released import write_scgpt
from scipy import sparse
from typer.testing import CliRunner

from zeroshot import catalog, cli, metrics
from zeroshot.data import simulate_atlas
from zeroshot.data.embedded import read_embeddings
from zeroshot.runtime import failures

CHECKOUT = Path(__file__).resolve().parents[1]
COMMANDS = [
    "datasets",
    "models",
    "studies",
    "weights",
    "embed",
    "annotate",
    "evaluate",
    "run",
    "keep",
    "book",
    "notebook",
    "evidence",
    "genes",
    "corpora",
    "pretrain",
    "ladder",
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, and the folder the commands are given in."""
    ignored = shutil.ignore_patterns("scores", "downloads", "weights")
    shutil.copytree(CHECKOUT / "data", tmp_path / "data", ignore=ignored)
    (tmp_path / "data" / "weights").symlink_to(CHECKOUT / "data" / "weights")  # read only, and large
    shutil.copytree(CHECKOUT / "notebooks", tmp_path / "notebooks")
    shutil.copy(CHECKOUT / "_toc.yml", tmp_path)
    monkeypatch.setenv("ZEROSHOT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def users_file(tmp_path_factory):
    """Counts in layers/counts under scaled X, two batches named donor, and other things a user keeps."""
    adata = simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=1)
    adata.obs = adata.obs.rename(columns={"batch": "donor", "cell_type": "annotation"})
    adata.layers["counts"] = adata.X.copy()
    adata.X = sparse.csr_matrix(np.log1p(adata.X.toarray() / 7))
    adata.obsm["X_other"] = np.arange(480.0).reshape(240, 2)
    adata.uns["mine"] = {"key": "value", "numbers": np.arange(3)}
    adata.raw = adata[:, :50].copy()
    path = tmp_path_factory.mktemp("users") / "users.h5ad"
    adata.write_h5ad(path)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- lists and help


@pytest.mark.parametrize("command", ["datasets", "models", "studies"])
def test_lists_hold_every_entry(command):
    known = getattr(catalog, command)()
    if command == "models":
        known |= catalog.other_models()
    listed = CliRunner().invoke(cli.app, [command, "--json"])
    assert listed.exit_code == 0
    rows = json.loads(listed.stdout)
    assert [row["name"] for row in rows] == list(known)
    assert all(
        set(row) == set(type(card).model_fields) for row, card in zip(rows, known.values(), strict=True)
    )
    lines = CliRunner().invoke(cli.app, [command], env={"COLUMNS": "80"}).stdout.splitlines()
    words = [line.split()[0] for line in lines if line.strip()]
    assert sorted(word for word in words if word in known) == sorted(known) and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("command", "name"), [("models", "scgpt-human"), ("datasets", "pbmc-12k"), ("studies", "real")]
)
def test_one_entry_is_shown_in_full(command, name):
    card = getattr(catalog, command)()[name]
    shown = CliRunner().invoke(cli.app, [command, name], env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    words, unbroken = set(shown.split()), "".join(shown.split())
    assert set(card.description.split()) <= words
    if command == "models":
        assert {f"recipes.{recipe}.source" for recipe in card.recipes} <= words
        assert all(file.sha256 in unbroken for file in card.weights.files.values())
    row = json.loads(CliRunner().invoke(cli.app, [command, name, "--json"]).stdout)
    assert row == [card.model_dump(mode="json")]


def test_every_command_is_tested_for_help():
    assert sorted(COMMANDS) == sorted(command.callback.__name__ for command in cli.app.registered_commands)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(command):
    done = CliRunner().invoke(cli.app, [command, "--help"] if command else ["--help"])
    assert done.exit_code == 0 and "Usage" in done.stdout
    callbacks = {one.callback.__name__: one.callback for one in cli.app.registered_commands}
    assert cli.app.registered_callback.callback.__doc__ if command is None else callbacks[command].__doc__
    if command is None:
        assert all(name in done.stdout for name in COMMANDS)


def test_nothing_given_prints_help(zeroshot):
    code, out, err = zeroshot()
    assert code == 2 and "Usage" in out + err


# -- embed


def test_embed_adds_and_keeps(project, users_file, zeroshot):
    before = sha256(users_file)
    output = project / "out.h5ad"
    code, out, _ = zeroshot(
        "embed", users_file, "--model", "pca", "--batch-key", "donor", "--seed", 3, "--output", output
    )
    assert code == 0 and "obsm['X_pca'], 240 cells x 50" in out
    assert sha256(users_file) == before
    made, source = anndata.read_h5ad(output), anndata.read_h5ad(users_file)
    assert made.obsm["X_pca"].shape == (240, 50) and made.obsm["X_pca"].dtype == np.float32
    assert np.isfinite(made.obsm["X_pca"]).all()
    assert made.obs.equals(source.obs) and made.var.equals(source.var)
    assert (made.X != source.X).nnz == 0 and (made.layers["counts"] != source.layers["counts"]).nnz == 0
    assert (made.obsm["X_other"] == source.obsm["X_other"]).all()
    assert made.uns["mine"]["key"] == "value" and list(made.uns["mine"]["numbers"]) == [0, 1, 2]
    assert (made.raw.X != source.raw.X).nnz == 0
    assert set(made.uns) == {"mine", "X_pca_provenance"}
    found = made.uns["X_pca_provenance"]
    assert (found["model"], found["recipe"], found["card_version"], found["seed"]) == (
        "pca",
        "standard",
        1,
        3,
    )
    assert dict(found["parameters"]) == {"n_components": 50, "n_genes": 2000, "min_cells": 10}
    assert found["input"] == str(users_file) and len(found["data"]) > 15
    assert {"finished", "seconds", "peak_memory_mb", "device", "commit", "python", "packages"} <= set(found)
    assert found["packages"]["scikit-learn"] and not list(project.glob(".out*"))


def test_embed_puts_parameters_over_those_of_the_recipe(project, users_file, zeroshot):
    options = ["--model", "pca", "-p", "n_components=7", "--parameter", "min_cells=3"]
    assert zeroshot("embed", users_file, *options, "--output", "a.h5ad")[0] == 0
    made = anndata.read_h5ad("a.h5ad")
    assert made.obsm["X_pca"].shape == (240, 7)
    recorded = dict(made.uns["X_pca_provenance"]["parameters"])
    assert recorded == {"n_components": 7, "n_genes": 2000, "min_cells": 3}


def test_embedding_is_that_of_the_library(project, users_file, zeroshot):
    from zeroshot import data, embedding

    zeroshot("embed", users_file, "--model", "pca", "--output", project / "a.h5ad")
    cells = data.load(users_file, require_labels=False)
    assert (anndata.read_h5ad("a.h5ad").obsm["X_pca"] == embedding.embed(cells, "pca")).all()


def test_the_same_command_again_takes_what_is_stored(project, users_file, embedded, zeroshot, few_metrics):
    for output in ("a.h5ad", "b.h5ad"):
        assert zeroshot("embed", users_file, "--model", "random", "--output", output)[0] == 0
    first, again = (anndata.read_h5ad(f"{name}.h5ad").uns["X_random_provenance"] for name in "ab")
    assert first["finished"] == again["finished"] and first["key"] == again["key"]
    assert (project / "artifacts" / "embedding" / first["key"]).is_dir()
    given = ["--embedding", "X_good", "--label-key", "cell_type"]
    for output in ("a.csv", "b.csv"):
        assert zeroshot("evaluate", embedded, *given, "--output", output)[0] == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    assert len(list((project / "artifacts" / "scores").iterdir())) == 1


def test_embedded_file_can_be_embedded_again(project, users_file, zeroshot):
    assert zeroshot("embed", users_file, "--model", "random", "--output", "a.h5ad")[0] == 0
    assert zeroshot("embed", "a.h5ad", "--model", "depth-only", "--output", "b.h5ad")[0] == 0
    assert set(anndata.read_h5ad("b.h5ad").obsm) == {"X_other", "X_random", "X_depth-only"}


def test_embed_chooses_the_counts(project, users_file, zeroshot):
    code, _, err = zeroshot("embed", users_file, "--model", "random", "--counts", "X", "--output", "a.h5ad")
    assert code == 2 and "looks log-normalised" in err and "layers/counts" in err
    assert not Path("a.h5ad").exists()
    assert (
        zeroshot("embed", users_file, "--model", "random", "--counts", "layers/counts", "--output", "a.h5ad")[
            0
        ]
        == 0
    )


def test_embed_with_released_weights(project, users_file, zeroshot):
    """Values go in as they are given where the recipe says so, and the file says what it was made from."""
    cells = anndata.read_h5ad(users_file)
    folder = write_scgpt(project / "weights", cells.var_names)
    given = ["embed", users_file, "--model", "scgpt-human", "--weights", folder, "--recipe", "upstream"]
    code, out, err = zeroshot(*given, "--input-layer", "X", "--output", "a.h5ad")
    assert code == 0, err
    assert "symbol" in out and "1.000" in out
    assert "not the files that the card of scgpt-human describes" in out  # its hashes are of the released
    found = anndata.read_h5ad("a.h5ad").uns["X_scgpt-human_provenance"]
    assert found["input_values"] == "as given, unchanged" and found["input_layer"] == "X"
    assert found["weights_from"] == f"folder {folder}"
    assert found["weights"]["weights"] == sha256(folder / "best_model.pt")
    assert found["precision"] == "float32" and found["parameters"]["cls_value"] == -2
    counts = [*given[:-1], "helical", "--output", "b.h5ad", "--chunk-tokens", "500"]
    assert zeroshot(*counts)[0] == 0
    found = anndata.read_h5ad("b.h5ad").uns["X_scgpt-human_provenance"]
    assert found["input_values"] == "raw counts, checked"
    code, _, err = zeroshot(*given, "--output", folder / "best_model.pt")
    assert code == 2 and "is that of another format" in err
    assert sha256(folder / "best_model.pt") == found["weights"]["weights"]
    code, _, err = zeroshot(*given, "--precision", "int8", "--output", "c.h5ad")
    assert code == 2 and "unknown precision 'int8': one of float32, bfloat16, float16" in err


def test_weights_are_found_and_named(project, zeroshot, monkeypatch):
    folder = write_scgpt(project / "weights" / "scgpt-kidney", ["CD74"])
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(folder.parent))
    code, out, err = zeroshot("weights", "scgpt-kidney")
    assert code == 0, err
    assert all(name in out for name in ("config", "weights", "vocabulary")) and f"from folder {folder}" in out
    code, _, err = zeroshot("weights", "pca")
    assert code == 2 and "pca has no released weights" in err


def test_what_weights_would_be_fetched(project, zeroshot, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = zeroshot("weights", "scgpt-kidney", "--check")
    assert code == 0, err
    here = [line.split()[0] for line in out.splitlines() if line.rstrip().endswith((".json", ".pt"))]
    assert here == ["no", "no", "no"] and "not here: 3 of 3 files, size not stated\n" in out
    drive = catalog.model("scgpt-kidney").weights.drive
    assert f"from: Google Drive folder {drive}\n" in out and "licence of the weights: none stated" in out
    folder = write_scgpt(project / "weights" / "scgpt-kidney", ["CD74"])
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(folder.parent))
    _, out, _ = zeroshot("weights", "scgpt-kidney", "--check")
    assert "here: all 3 files\n" in out and "not here" not in out
    _, out, _ = zeroshot("weights", "cellplm", "--check")  # one file is config and list of genes
    assert out.count("20230926_85M.config.json") == 1 and "not here: 3 of 3 files" in out
    code, _, err = zeroshot("weights", "pca", "--check")
    assert code == 2 and "pca has no released weights" in err


def test_embed_without_labels_or_other_columns(project, zeroshot):
    bare = simulate_atlas(n_cells=240, n_genes=230, n_batches=1)
    bare.obs = bare.obs[[]]
    bare.write_h5ad("bare.h5ad")
    assert zeroshot("embed", "bare.h5ad", "--model", "pca", "--output", "out.h5ad")[0] == 0
    made = anndata.read_h5ad("out.h5ad")
    assert list(made.obs) == [] and made.obsm["X_pca"].shape == (240, 50)


def test_embed_with_harmony_uses_the_batches(project, users_file, zeroshot):
    code, _, _ = zeroshot(
        "embed", users_file, "--model", "harmony", "--batch-key", "donor", "--output", "h.h5ad"
    )
    assert code == 0 and anndata.read_h5ad("h.h5ad").obsm["X_harmony"].shape == (240, 50)


def test_embed_a_file_in_the_home_folder(project, users_file, zeroshot, monkeypatch):
    """A quoted ~ reaches the program as it is."""
    monkeypatch.setenv("HOME", str(users_file.parent))
    assert zeroshot("embed", "~/users.h5ad", "--model", "random", "--output", "a.h5ad")[0] == 0
    assert "X_other" in anndata.read_h5ad("a.h5ad").obsm
    before = sha256(users_file)
    code, _, err = zeroshot("embed", "~/users.h5ad", "--model", "random", "--output", users_file)
    assert code == 2 and "is the input" in err and sha256(users_file) == before


def test_embed_a_registered_data_set(project, zeroshot):
    assert zeroshot("embed", "pbmc68k-reduced", "--model", "depth-only", "--output", "out.h5ad")[0] == 0
    made = anndata.read_h5ad("out.h5ad")
    assert made.shape == (700, 765) and made.obsm["X_depth-only"].shape == (700, 2)
    assert "cell_type" in made.obs and made.uns["X_depth-only_provenance"]["input"] == "pbmc68k-reduced"


REFUSED = {
    "unknown model": (["--model", "pcaa"], "no model is called 'pcaa'. Did you mean pca?"),
    "unknown recipe": (["--model", "scvi", "--recipe", "shrt"], "no recipe of scvi .* Did you mean short?"),
    "label oracle": (["--model", "label-oracle"], "label-oracle is made from labels"),
    "weights of a model without": (
        ["--model", "pca", "--weights", "folder"],
        "pca has no weights to read from folder: leave them out",
    ),
    "harmony without batches": (["--model", "harmony"], "harmony needs 2 batches: .* --batch-key"),
    "unknown batch column": (
        ["--model", "pca", "--batch-key", "doner"],
        "batch column 'doner'. Did you mean donor",
    ),
    "unknown parameter": (["--model", "pca", "-p", "n_component=7"], "Did you mean n_components"),
    "parameter of another type": (["--model", "pca", "-p", "n_components=many"], "n_components should be"),
    "parameter out of range": (["--model", "pca", "-p", "n_components=0"], "whole number from 1 to"),
    "missing folder": (
        ["--model", "pca", "--output", "no/out.h5ad"],
        "folder .*/no of --output does not exist",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_embed_refuses(project, users_file, zeroshot, case):
    import re

    arguments, message = REFUSED[case]
    given = ["embed", users_file, "--output", "out.h5ad", *arguments]  # the last --output counts
    code, out, err = zeroshot(*given)
    assert code == 2 and out == "" and err.startswith("error:")
    assert re.search(message, err), err
    assert not list(project.glob("**/*out.h5ad*"))


def test_embed_never_writes_over_its_input(project, users_file, zeroshot):
    shutil.copy(users_file, "mine.h5ad")
    Path("link.h5ad").symlink_to("mine.h5ad")
    before = sha256(Path("mine.h5ad"))
    for output in ("mine.h5ad", project / "mine.h5ad", "data/../mine.h5ad", "link.h5ad"):
        code, _, err = zeroshot("embed", "mine.h5ad", "--model", "random", "--output", output)
        assert code == 2 and "choose another --output" in err
        assert sha256(Path("mine.h5ad")) == before


@pytest.fixture(scope="module")
def odd_file(users_file, tmp_path_factory):
    """The users' file as other programs leave it: compressed, with parts that anndata cannot read."""
    path = tmp_path_factory.mktemp("odd") / "odd.h5ad"
    anndata.read_h5ad(users_file).write_h5ad(path, compression="gzip")
    with h5py.File(path, "r+") as file:
        file["layers"].copy("counts", "scvi/denoised")
        file["obsm/scGPT/v1"] = np.ones((240, 2))
        file["__DATA_TYPES__/Enum_Boolean"] = h5py.enum_dtype({"FALSE": 0, "TRUE": 1}, basetype="i1")
        file["uns/newer"] = np.zeros(1)
        file["uns/newer"].attrs.update({"encoding-type": "future-array", "encoding-version": "0.1.0"})
    path.chmod(0o444)
    return path


def contents(path):
    """Everything in an HDF5 file by place: type, bytes, compression and attributes."""
    parts = {}

    def note(place, node):
        values = ()
        if isinstance(node, h5py.Dataset):
            values = (node.dtype, node.shape, node.compression, node.chunks, np.asarray(node[()]).tolist())
        parts[place] = (type(node), *values, {name: str(value) for name, value in node.attrs.items()})

    with h5py.File(path) as file:
        file.visititems(note)
    return parts


def test_embed_keeps_what_anndata_cannot_read(project, users_file, odd_file, zeroshot):
    with pytest.raises(Exception):  # noqa: B017 - whatever anndata says
        anndata.read_h5ad(odd_file)
    before = sha256(odd_file)
    for source, output in ((odd_file, "odd.h5ad"), (users_file, "plain.h5ad")):
        assert zeroshot("embed", source, "--model", "pca", "--output", output)[0] == 0
    assert sha256(odd_file) == before and Path("odd.h5ad").stat().st_mode & 0o777 == 0o644
    made, held = contents("odd.h5ad"), contents(odd_file)
    added = {"obsm/X_pca", "uns/X_pca_provenance"}
    assert {place for place in made if place not in held and place.count("/") == 1} == added
    assert {place: made[place] for place in held} == held
    assert made["X/data"][3] == "gzip"
    assert made["obsm/X_pca"] == contents("plain.h5ad")["obsm/X_pca"]


def test_embed_adds_to_files_without_obsm_and_uns(project, users_file, zeroshot):
    shutil.copy(users_file, "bare.h5ad")
    with h5py.File("bare.h5ad", "r+") as file:
        del file["obsm"], file["uns"]
    assert zeroshot("embed", "bare.h5ad", "--model", "random", "--output", "a.h5ad")[0] == 0
    made = anndata.read_h5ad("a.h5ad")
    assert list(made.obsm) == ["X_random"] and list(made.uns) == ["X_random_provenance"]


def _external_link(file):
    file["uns/other"] = h5py.ExternalLink("/etc/hostname", "/x")


def _dataset_named_obsm(file):
    del file["obsm"]
    file["obsm"] = np.zeros(3)


def _dataset_named_uns(file):
    del file["uns"]
    file["uns"] = np.zeros(3)


def _linked_obsm(file):
    del file["obsm"]
    file["obsm"] = h5py.SoftLink("/layers")


def _shared_uns(file):
    file["obsp/other"] = file["uns"]


def _own_embedding(file):
    file["obsm/X_pca"] = np.zeros((240, 2))


def _own_provenance(file):
    file["uns/X_pca_provenance"] = "mine"


CANNOT_TAKE_IT = {
    _external_link: "external link",
    _dataset_named_obsm: "odd.h5ad: obsm is not a group",
    _dataset_named_uns: "odd.h5ad: uns is not a group",
    _linked_obsm: "odd.h5ad: obsm is a link to a group that has another name as well",
    _shared_uns: "odd.h5ad: uns is a link to a group",
    _own_embedding: r"odd.h5ad holds obsm\['X_pca'\] already: choose another name with --key",
    _own_provenance: r"odd.h5ad holds uns\['X_pca_provenance'\] already",
}


@pytest.mark.parametrize("change", CANNOT_TAKE_IT)
def test_what_cannot_be_written_is_refused_before_computing(
    project, users_file, zeroshot, monkeypatch, change
):
    import re

    shutil.copy(users_file, "odd.h5ad")
    with h5py.File("odd.h5ad", "r+") as file:
        change(file)
    monkeypatch.setattr("zeroshot.models.load", lambda *_, **__: pytest.fail("loaded a model"))
    code, out, err = zeroshot("embed", "odd.h5ad", "--model", "pca", "--output", "out.h5ad")
    assert code == 2 and out == "" and re.search(CANNOT_TAKE_IT[change], err), err
    assert not list(project.glob("*out.h5ad*"))


def test_an_own_embedding_is_replaced_only_when_asked_for(project, users_file, zeroshot):
    shutil.copy(users_file, "mine.h5ad")
    with h5py.File("mine.h5ad", "r+") as file:
        _own_embedding(file)
        _own_provenance(file)
    given = ["embed", "mine.h5ad", "--model", "pca", "--output"]
    assert zeroshot(*given, "a.h5ad", "--overwrite")[0] == 0
    assert zeroshot(*given, "b.h5ad", "--key", "X_pca_50")[0] == 0
    replaced, beside = anndata.read_h5ad("a.h5ad"), anndata.read_h5ad("b.h5ad")
    assert (replaced.obsm["X_pca"] == beside.obsm["X_pca_50"]).all() and (beside.obsm["X_pca"] == 0).all()
    assert replaced.uns["X_pca_provenance"]["model"] == "pca" and beside.uns["X_pca_provenance"] == "mine"
    assert beside.uns["X_pca_50_provenance"]["model"] == "pca"
    no_key = "cannot be a key of obsm"
    reasons = {"a/b": no_key, ".": no_key, "": "--key is empty", "a\0b": "with a NUL character"}
    for key, reason in reasons.items():
        code, _, err = zeroshot(*given, "c.h5ad", "--key", key)
        assert code == 2 and reason in err and not Path("c.h5ad").exists()


def test_a_file_that_changes_meanwhile_is_not_matched_by_position(project, users_file, zeroshot, monkeypatch):
    from zeroshot import embedding

    shutil.copy(users_file, "mine.h5ad")
    run = embedding.run

    def overtaken(*given, **options):
        anndata.read_h5ad(users_file)[::-1].copy().write_h5ad("mine.h5ad")
        return run(*given, **options)

    monkeypatch.setattr(embedding, "run", overtaken)
    code, _, err = zeroshot("embed", "mine.h5ad", "--model", "random", "--output", "out.h5ad")
    assert code == 2 and "mine.h5ad holds 240 cells, but not the 240 that were read" in err
    assert not list(project.glob("*out.h5ad*"))


def test_every_embed_says_which_genes_are_read(project, users_file, zeroshot):
    cells = anndata.read_h5ad(users_file)
    known = cells.var_names[:150]
    share = cells.layers["counts"][:, :150].sum() / cells.layers["counts"].sum()
    folder = write_scgpt(project / "weights", known)
    given = ["embed", users_file, "--output", "a.h5ad", "--model"]
    code, out, err = zeroshot(*given, "scgpt-human", "--weights", folder, "--recipe", "helical")
    assert code == 0, err
    text = f"genes: 150 of 230 genes (65.2%) with {share:.1%} of the counts are read: in the vocabulary"
    assert text in out
    genes = anndata.read_h5ad("a.h5ad").uns["X_scgpt-human_provenance"]["genes"]
    assert (genes["n_genes"], genes["n_read"]) == (230, 150) and genes["counts"] == pytest.approx(share)
    of_evaluate = []
    keys = {"label_key": "annotation", "batch_key": None, "notes": of_evaluate}
    read_embeddings(Path("a.h5ad"), ["X_scgpt-human"], **keys)
    assert f"made of 150 of 230 genes, with {share:.1%} of the counts" in " ".join(of_evaluate)
    assert "HGNC" not in out
    cells.var_names = [*cells.var_names[:228], "NCRNA00181", "C20orf4"]
    cells.write_h5ad("old.h5ad")
    _, out, _ = zeroshot(
        "embed", "old.h5ad", *given[2:], "scgpt-human", "--weights", folder, "--recipe", "helical"
    )
    assert (
        "2 of the 230 genes go by symbols that HGNC has replaced" in out and "Try the symbols of today" in out
    )
    counts = cells.layers["counts"]
    detected = int(((counts > 0).sum(axis=0) >= 10).sum())
    assert f"genes: {detected} of 230 genes" in zeroshot(*given, "pca")[1]
    assert "genes: 230 of 230 genes (100.0%) with 100.0% of the counts" in zeroshot(*given, "random")[1]


def test_notes_on_the_file_and_on_missing_batches_are_told(project, users_file, zeroshot, monkeypatch):
    from zeroshot import data

    load = data.load

    def with_note(*given, **options):
        cells = load(*given, **options)
        cells.uns["dataset"]["notes"] = ["three cells are odd"]
        return cells

    monkeypatch.setattr(data, "load", with_note)
    monkeypatch.setattr(
        "zeroshot.models.scvi.Scvi.embed", lambda self, cells, seed: np.eye(240, 9, dtype="f4")
    )
    code, out, _ = zeroshot("embed", users_file, "--model", "scvi", "--output", "a.h5ad")
    assert code == 0 and "note: three cells are odd" in out
    assert "note: scVI was fitted without batches: the cells are one batch. " in out and "--batch-key" in out
    assert len(anndata.read_h5ad("a.h5ad").uns["X_scvi_provenance"]["notes"]) == 2
    code, out, _ = zeroshot(
        "embed", users_file, "--model", "scvi", "--batch-key", "donor", "--output", "a.h5ad"
    )
    assert code == 0 and "without batches" not in out


def test_batches_of_single_cells_cannot_be_corrected(project, zeroshot):
    cells = simulate_atlas(n_cells=240, n_genes=230, n_batches=2)
    cells.obs["barcode"] = list(cells.obs_names)
    cells.obs["some"] = ["a", "b"] * 119 + ["c", "d"]
    cells.write_h5ad("cells.h5ad")
    given = ["embed", "cells.h5ad", "--model", "harmony", "--output", "out.h5ad", "--batch-key"]
    code, _, err = zeroshot(*given, "barcode")
    assert code == 2 and "240 of 240 cells" in err and "cells.h5ad" in err
    code, out, _ = zeroshot(*given, "some")
    assert code == 0 and "note: cells alone in their batch" in out


def test_a_terminated_embed_leaves_nothing(project, users_file, zeroshot, monkeypatch):
    import os
    import signal

    def terminated(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    Path("out.h5ad").write_text("from before")
    monkeypatch.setattr("anndata.io.write_elem", terminated)
    code, _, err = zeroshot("embed", users_file, "--model", "random", "--output", "out.h5ad")
    assert code == 143 and "error" not in err
    assert Path("out.h5ad").read_text() == "from before" and not list(project.glob(".out*"))


def test_settings_are_checked_for_every_model(project, users_file, zeroshot):
    wrong = {
        "--device": ("nope", "cuda:99", "meta"), "--precision": ("int8",), "--chunk-tokens": ("0", "nan"),
        "--seed": ("-1", str(2**31), "1e3"),
    }  # fmt: skip
    for option, values in wrong.items():
        for value in values:
            code, out, err = zeroshot(
                "embed", users_file, "--model", "pca", "--output", "o.h5ad", option, value
            )
            assert code == 2 and out == "" and not Path("o.h5ad").exists()
            assert value in err or option in err


def test_embed_input_that_is_no_file(project, zeroshot):
    code, _, err = zeroshot("embed", "nowhere.h5ad", "--model", "pca", "--output", "out.h5ad")
    assert code == 2 and "there is no file nowhere.h5ad" in err
    code, _, err = zeroshot("embed", "pbmc68k-reducd", "--model", "pca", "--output", "out.h5ad")
    assert code == 2 and "Did you mean pbmc68k-reduced" in err
    Path("text.h5ad").write_text("not HDF5")
    code, _, err = zeroshot("embed", "text.h5ad", "--model", "pca", "--output", "out.h5ad")
    assert code == 2 and "is not an HDF5 file" in err


def test_a_failed_write_leaves_the_old_output(project, users_file, zeroshot, monkeypatch):
    zeroshot("embed", "pbmc68k-reduced", "--model", "random", "--output", "other.h5ad")  # stores the data set
    Path("out.h5ad").write_text("from before")

    def fails(*_, **__):
        raise RuntimeError("Can't decrement id ref count (errno = 28, 'No space left on device')")

    for source in (users_file, "pbmc68k-reduced"):
        with monkeypatch.context() as patch:
            patch.setattr("anndata.io.write_elem", fails)
            code, _, err = zeroshot("embed", source, "--model", "random", "--output", "out.h5ad")
        assert code == 2 and f"out.h5ad was not written: the disk of {project} is full" in err
        assert Path("out.h5ad").read_text() == "from before" and not list(project.glob(".out*"))


def test_a_disk_that_takes_no_more_ends_no_process(tmp_path):
    """HDF5 that writes to one ends its process, after that has said so."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5));"
        "from zeroshot.cli import application; application.main()"
    )
    command = ["genes", "--model", "scgpt-small", "--output", tmp_path / "out.h5ad"]
    result = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert f"out.h5ad was not written: the disk of {tmp_path} takes no file so large" in result.stderr
    assert not list(tmp_path.iterdir())


# -- evaluate


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    adata = simulate_atlas(n_cells=240, n_genes=230, n_batches=2, seed=1)[:, :5].copy()
    codes = adata.obs["cell_type"].cat.codes.to_numpy()
    adata.obsm["X_good"] = (np.eye(8)[codes] * 9 + np.random.default_rng(0).normal(size=(240, 8))).astype(
        "f4"
    )
    adata.obsm["X_flat"] = np.ones((240, 3), np.float32)
    adata.obsm["X_other"] = adata.obsm["X_good"] + np.random.default_rng(1).normal(size=(240, 8), scale=3)
    adata.obsm["X_nan"] = np.where(np.arange(240)[:, None] == 7, np.nan, adata.obsm["X_good"])
    adata.obsm["X_sparse"] = sparse.csr_matrix(adata.obsm["X_good"])
    adata.obs.loc[adata.obs_names[:7], "unsure"] = "x"
    path = tmp_path_factory.mktemp("embedded") / "embedded.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture
def few_metrics(monkeypatch):
    """Without those that compile for seconds."""
    few = ["asw_label", "batch_integration_score", "pcr", "pcr_comparison"]
    real = metrics.score_with_intervals
    monkeypatch.setattr(metrics, "score_with_intervals", lambda *a, **o: real(*a, names=few, **o))


def test_evaluate_writes_every_metric(project, embedded, zeroshot):
    before = sha256(embedded)
    given = ["--embedding", "X_good", "--label-key", "cell_type", "--batch-key", "batch", "--seed", "1"]
    code, out, _ = zeroshot("evaluate", embedded, *given, "--output", "scores.csv")
    assert code == 0 and sha256(embedded) == before
    table = pd.read_csv(
        "scores.csv", keep_default_na=False, na_values={"value": [""], "low": [""], "high": [""]}
    )
    assert list(table.columns[:8]) == ["metric", "group", "value", "note", "low", "high", "file", "embedding"]
    assert list(table["metric"]) == list(metrics.METRICS)
    missing = table[table["value"].isna()]
    directions = {name: metric.higher_is_better for name, metric in metrics.METRICS.items()}
    assert dict(zip(table["metric"], table["higher_is_better"], strict=True)) == directions
    assert list(table["label"]) == [metric.label for metric in metrics.METRICS.values()]
    assert list(missing["metric"]) == ["pcr_comparison", "average_batch", "scgraph"]
    assert (missing["note"] == "not applicable: no embedding before integration was given").all()
    assert set(table["file"]) == {"embedded.h5ad"} and set(table["embedding"]) == {"X_good"}
    adata = anndata.read_h5ad(embedded)
    asw = metrics.asw_label(metrics.label_widths(adata.obsm["X_good"], adata.obs["cell_type"]))
    assert table.set_index("metric")["value"]["asw_label"] == pytest.approx(asw) and asw > 0.7
    assert all(name in out for name in metrics.METRICS)
    known = table.dropna(subset=["value", "low"])
    assert len(known) and known["value"].between(known["low"], known["high"]).all()


def test_evaluate_compares_with_what_was_before(project, embedded, zeroshot, few_metrics):
    given = ["--embedding", "X_good", "--label-key", "cell_type", "--batch-key", "batch"]
    assert zeroshot("evaluate", embedded, *given, "--before", "X_sparse", "--output", "scores.csv")[0] == 0
    assert pd.read_csv("scores.csv").set_index("metric")["value"]["pcr_comparison"] == pytest.approx(0)


def test_evaluate_without_batches(project, embedded, zeroshot, few_metrics):
    given = ["--embedding", "X_good", "--label-key", "cell_type", "--output", "scores.csv"]
    assert zeroshot("evaluate", embedded, *given)[0] == 0
    table = pd.read_csv("scores.csv").set_index("metric")
    assert table["value"].isna().to_dict() == {
        "asw_label": False,
        "batch_integration_score": True,
        "pcr": True,
        "pcr_comparison": True,
    }
    assert table["note"]["pcr"].startswith("not applicable")


def test_evaluate_several_embeddings_at_once(project, embedded, zeroshot, few_metrics):
    given = ["--label-key", "cell_type", "--batch-key", "batch", "--output"]
    both = ["--embedding", "X_good", "--embedding", "X_other", "--embedding", "X_good"]
    code, out, _ = zeroshot("evaluate", embedded, *both, *given, "both.csv")
    assert code == 0 and "X_good" in out and "X_other" in out
    assert [line.split()[-4] for line in out.splitlines() if line.startswith("pcr ")] == ["lower"] * 2
    tables = []
    for key in ("X_good", "X_other"):
        assert zeroshot("evaluate", embedded, "--embedding", key, *given, f"{key}.csv")[0] == 0
        tables.append(pd.read_csv(f"{key}.csv"))
    assert pd.read_csv("both.csv").equals(pd.concat(tables, ignore_index=True))  # the same subsamples


def test_a_broken_embedding_is_named_before_any_is_scored(project, embedded, zeroshot, monkeypatch):
    monkeypatch.setattr(metrics, "score_with_intervals", lambda *_, **__: pytest.fail("scored"))
    for broken in ("X_nan", "X_flat", "X_none"):
        given = ["--embedding", "X_good", "--embedding", broken, "--label-key", "cell_type"]
        code, out, err = zeroshot("evaluate", embedded, *given, "--output", "scores.csv")
        assert code == 2 and out == "" and f"obsm['{broken}']" in err and "embedded.h5ad" in err
        assert not Path("scores.csv").exists()


def test_missing_labels_are_refused_dropped_or_kept(project, embedded, zeroshot, few_metrics):
    cells = anndata.read_h5ad(embedded)
    cells.obs["partly"] = cells.obs["cell_type"].astype(str).where(np.arange(240) >= 9, "NA")
    cells.obs["absent"] = cells.obs["cell_type"].where(np.arange(240) >= 9)
    cells.obsm["X_partly"] = np.where((np.arange(240) < 9)[:, None], np.nan, cells.obsm["X_good"])
    cells.write_h5ad("partly.h5ad")
    given = ["evaluate", "partly.h5ad", "--embedding", "X_good", "--label-key", "partly", "--output", "s.csv"]
    code, _, err = zeroshot(*given)
    assert code == 2 and "9 of 240 cells have no value" in err and "--missing-labels drop" in err
    values = {}
    for choice in ("drop", "keep"):
        code, out, _ = zeroshot(*given, "--missing-labels", choice)
        assert code == 0 and ("9 of 240 cells are left out" in out) == (choice == "drop")
        values[choice] = pd.read_csv("s.csv").set_index("metric")["value"]["asw_label"]
    labels, rows = cells.obs["partly"].to_numpy(), np.arange(240) >= 9
    widths = metrics.label_widths(cells.obsm["X_good"][rows], labels[rows])
    assert values["drop"] == pytest.approx(metrics.asw_label(widths)) and values["keep"] < values["drop"]
    given = ["evaluate", "partly.h5ad", "--label-key", "absent", "--output", "s.csv", "--missing-labels"]
    assert zeroshot(*given, "drop", "--embedding", "X_good", "--embedding", "X_partly")[0] == 0
    scores = pd.read_csv("s.csv").query("metric == 'asw_label'")["value"]
    assert list(scores) == [values["drop"]] * 2
    code, _, err = zeroshot(*given, "dorp", "--embedding", "X_good")
    assert code == 2 and "dorp" in err


def test_embed_reads_a_named_library_size(project, users_file, zeroshot):
    cells = anndata.read_h5ad(users_file)
    cells.obs["depth"] = np.asarray(cells.layers["counts"].sum(axis=1)).ravel() * 2.0
    cells.write_h5ad("depth.h5ad")
    given = ["embed", "depth.h5ad", "--model", "pca", "--output", "a.h5ad"]
    assert zeroshot(*given)[0] == 0
    summed = anndata.read_h5ad("a.h5ad").obsm["X_pca"]
    assert zeroshot(*given, "--library-size-key", "depth")[0] == 0
    assert not np.allclose(anndata.read_h5ad("a.h5ad").obsm["X_pca"], summed)
    code, _, err = zeroshot(*given, "--missing-labels", "drop")
    assert code == 2 and "--missing-labels is drop, but embed writes every cell" in err
    cells.obs["donor"] = np.where(np.arange(cells.n_obs) > 3, "one", "NA")
    cells.write_h5ad("depth.h5ad")
    code, _, err = zeroshot(*given, "--batch-key", "donor")
    assert code == 2 and "4 of" in err and "--missing-labels is refuse or keep here" in err


def test_evaluate_never_writes_over_its_input(project, embedded, zeroshot):
    shutil.copy(embedded, "mine.h5ad")
    Path("hard.csv").hardlink_to("mine.h5ad")
    given = ["evaluate", "mine.h5ad", "--embedding", "X_good", "--label-key", "cell_type", "--output"]
    for output in ("mine.h5ad", "hard.csv"):
        code, _, err = zeroshot(*given, output)
        assert code == 2 and "is the input" in err and sha256(Path("mine.h5ad")) == sha256(embedded)
    for output in (".", "/dev/null", "no/scores.csv"):
        assert zeroshot(*given, output)[0] == 2
    code, _, err = zeroshot(*given, "scores.h5ad")
    assert code == 2 and "scores.h5ad is that of another format" in err and "in .csv or .csv.gz" in err


def test_evaluate_a_sparse_embedding(project, embedded, zeroshot, few_metrics):
    values = {}
    for key in ("X_good", "X_sparse"):
        given = ["--embedding", key, "--label-key", "cell_type", "--output", f"{key}.csv"]
        assert zeroshot("evaluate", embedded, *given)[0] == 0
        values[key] = list(pd.read_csv(f"{key}.csv")["value"].dropna())
    assert values["X_good"] == values["X_sparse"]


NOT_EVALUATED = {
    "missing embedding": (
        ["--embedding", "X_none"],
        "no obsm['X_none']. It holds X_flat, X_good, X_nan, X_other, X_sparse",
    ),
    "failed gate": (["--embedding", "X_flat"], "failed the integrity gate and is not scored: not constant"),
    "missing label column": (
        ["--label-key", "celltype"],
        "no label column 'celltype'. Did you mean cell_type",
    ),
    "missing batch column": (["--batch-key", "donor"], "no batch column 'donor'. Columns: cell_type, batch"),
    "missing labels": (["--label-key", "unsure"], "233 of 240 cells have no value in label column 'unsure'"),
    "missing folder": (["--output", "no/scores.csv"], "of --output does not exist"),
}


@pytest.mark.parametrize("case", NOT_EVALUATED)
def test_evaluate_refuses(project, embedded, zeroshot, case):
    arguments, message = NOT_EVALUATED[case]
    given = ["--embedding", "X_good", "--label-key", "cell_type", "--output", "scores.csv", *arguments]
    code, out, err = zeroshot("evaluate", embedded, *given)
    assert code == 2 and out == "" and err.startswith("error:") and message in err, err
    assert not Path("scores.csv").exists()


# -- studies and notebooks


@pytest.mark.parametrize("command", ["run", "book"])
def test_unknown_study_or_policy(project, zeroshot, command):
    code, _, err = zeroshot(command, "smok")
    assert code == 2 and "no study is called 'smok'. Did you mean smoke?" in err
    code, _, err = zeroshot(command, "smoke", "--policy", "reuze")
    assert code == 2 and "no policy is called 'reuze'. Did you mean reuse" in err


@pytest.mark.parametrize("command", ["run", "book"])
def test_scores_that_nobody_committed(project, zeroshot, command):
    code, _, err = zeroshot(command, "smoke", "--committed")
    assert code == 2 and "smoke/scores.csv does not exist" in err and "`zeroshot keep smoke`" in err
    code, _, err = zeroshot(command, "smoke", "--committed", "--policy", "recompute")
    assert code == 2 and "--committed reads no stored results: leave out --policy" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "-p", "modle=pca"], "run.ipynb does not declare modle; its parameters are dataset, model"),
        (["run", "-p", "model"], "Invalid parameter 'model': use name=value"),
        (["rnu"], "no notebook is called 'rnu'. Did you mean run?"),
    ],
)
def test_notebook_refuses(project, zeroshot, arguments, message):
    code, out, err = zeroshot("notebook", *arguments, "--output", "out.ipynb")
    assert code == 2 and out == "" and message in err
    assert not Path("out.ipynb").exists()


# -- errors


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (EOFError("Ran out of input"), 2, "error: a file ends too early"),
        (KeyError("cell_type"), 3, "error: KeyError: cell_type; this is likely a bug"),
        (TypeError("'int' object is not iterable"), 3, "`zeroshot --debug models`"),
        (RecursionError("maximum recursion depth exceeded"), 2, "error: maximum recursion depth"),
        (MemoryError(), 2, "error: not enough memory"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_every_error_ends_in_one_line_and_a_code(project, zeroshot, monkeypatch, error, code, told):
    def fails():
        raise error

    monkeypatch.setattr(failures, "drop_output", lambda: None)  # pytest's own
    monkeypatch.setattr(catalog, "models", fails)
    found, out, err = zeroshot("models")
    assert (found, out) == (code, "") and told in err and "Traceback" not in err
    assert bool(err) == bool(told)


# -- real processes


def shell(project, *arguments):
    program = Path(sys.executable).with_name("zeroshot")
    return subprocess.run([program, *arguments], cwd=project, capture_output=True, text=True, check=False)


def test_nothing_a_nul_and_the_home_of_nobody_are_refused_in_all_commands(project, embedded, zeroshot):
    embed = ("embed", embedded, "--model", "pca", "--output", "out.h5ad")
    evaluate = (
        "evaluate",
        embedded,
        "--embedding",
        "X_good",
        "--label-key",
        "cell_type",
        "--output",
        "out.csv",
    )
    for command in (
        (*embed, "--recipe", ""), (*embed, "--counts="), (*embed, "--batch-key", ""),
        (*evaluate, "--batch-key", ""), (*evaluate, "--label-key="), ("notebook", "", "--output", "x.ipynb"),
        ("embed", "", *embed[2:]), ("models", ""), ("reading-list", "--format", ""), ("book", ""),
    ):  # fmt: skip
        code, out, err = zeroshot(*command)
        assert code == 2 and out == "" and "is empty: give a value, or leave" in err
    for command in (
        ("embed", "a\0.h5ad", *embed[2:]), (*embed[:-1], "a\0.h5ad"), ("evaluate", "a\0", *evaluate[2:]),
        ("notebook", "run", "--output", "a\0"), ("run", "smoke", "--profile=a\0"), ("weights", "a\0"),
    ):  # fmt: skip
        code, out, err = zeroshot(*command)
        assert code == 2 and out == "" and "with a NUL character: correct the name" in err
    for command in (("embed", "~nouser/x.h5ad", *embed[2:]), ("evaluate", "~nouser/x.h5ad", *evaluate[2:])):
        code, out, err = zeroshot(*command)
        assert code == 2 and out == "" and "the home of ~nouser/x.h5ad is not known" in err
    assert not list(project.glob("out.*"))


def test_shell_success(project):
    done = shell(project, "models", "--json")
    assert done.returncode == 0 and done.stderr == ""
    assert [row["name"] for row in json.loads(done.stdout)][: len(catalog.models())] == list(catalog.models())


def test_shell_output_that_nobody_reads(project):
    program = Path(sys.executable).with_name("zeroshot")
    command = f"set -o pipefail; {program} datasets --json | true"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141) and done.stderr == ""


def test_shell_bad_input(project):
    done = shell(project, "notebook", "run", "-p", "modle=pca", "--output", "out.ipynb")
    assert done.returncode == 2 and done.stdout == ""
    assert "does not declare modle" in done.stderr and "Traceback" not in done.stderr


def test_shell_bad_usage(project):
    done = shell(project, "notebok")
    assert done.returncode == 2 and done.stdout == "" and "No such command" in done.stderr


def test_shell_debug_shows_the_traceback(project):
    done = shell(project, "--debug", "run", "smok")
    assert (
        done.returncode not in (0, 2) and "Traceback" in done.stderr and "Did you mean smoke" in done.stderr
    )
