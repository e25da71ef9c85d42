"""Weights: found in folders and packages, downloaded from a hub on this machine, refused when wrong."""

import errno
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from hub_server import LARGE, serving, stop

from zeroshot import catalog
from zeroshot.catalog import ModelCard, WeightsFile
from zeroshot.data import download as downloading
from zeroshot.data import transfer
from zeroshot.models import weights
from zeroshot.models.weights import WeightsError, fetch, hub, read_state
from zeroshot.runtime import paths
from zeroshot.store import hashing

finding = importlib.import_module("zeroshot.models.weights.find")  # `weights.find` is the function

REPOSITORY, REVISION = "authors/Model", "0123456789abcdef0123456789abcdef01234567"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def project(home, monkeypatch, tmp_path):
    """A project and a hub cache of their own, and no proxy between this machine and itself."""
    for name in ("ZEROSHOT_WEIGHTS", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return home


def card(files=None, name="toy", **source) -> ModelCard:
    """A card of a pretrained model with these files by role."""
    files = files or {"config": {"path": "config.json"}, "weights": {"path": "model.safetensors"}}
    return ModelCard(
        name=name, title="Toy", kind="foundation", implementation="toy:Toy", description="A", licence="MIT",
        family="toy", weights={"files": files, **(source or {"hub": REPOSITORY, "revision": REVISION})},
        weights_licence="MIT", organism="human", gene_ids="Ensembl", max_tokens=8, layers=1, dim=4,
        pretrained_on={"corpora": ["none"], "source": "this test"}, verified="here", trained_on_target=False,
        recipe="upstream", recipes={"upstream": {"source": "this test"}},
    )  # fmt: skip


GENEFORMER = {
    "config": {"path": "V1/config.json"},
    "weights": {"path": "V1/model.safetensors"},
    "token_dictionary": {"path": "dictionaries/token_dictionary_gc30M.pkl"},
    "gene_medians": {"path": "dictionaries/gene_median_dictionary_gc30M.pkl"},
    "gene_names": {"path": "dictionaries/gene_name_id_dict_gc30M.pkl"},
    "ensembl_mapping": {"path": "dictionaries/ensembl_mapping_dict_gc30M.pkl"},
}
SCGPT = {
    "config": {"path": "args.json"},
    "weights": {"path": "best_model.pt"},
    "vocabulary": {"path": "vocab.json"},
}


def fill(folder: Path, *names: str) -> Path:
    """A folder with files of these names, each with its own name as content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def relative(found: weights.Checkpoint, folder: Path) -> dict[str, str]:
    return {role: path.relative_to(folder).as_posix() for role, path in found.files.items()}


# -- a folder ----------------------------------------------------------------------------------------


def test_folder_of_one_model(tmp_path):
    folder = fill(tmp_path / "w", "args.json", "best_model.pt", "vocab.json", "notes.txt")
    found = weights.find(card(SCGPT), folder)
    assert relative(found, folder) == {
        "config": "args.json",
        "weights": "best_model.pt",
        "vocabulary": "vocab.json",
    }
    assert found.hashes["weights"] == sha(b"best_model.pt") and found.origin == f"folder {folder}"
    with pytest.raises(TypeError):
        found.files["weights"] = None


def test_folder_in_the_layout_of_the_whole_repository(tmp_path):
    """Several models and dictionaries side by side: the card's own paths decide."""
    folder = fill(
        tmp_path / "w", *(file["path"] for file in GENEFORMER.values()),
        "V2/config.json", "V2/model.safetensors", "token_dictionary_gc104M.pkl",
        "gene_median_dictionary_gc104M.pkl",
    )  # fmt: skip
    found = weights.find(card(GENEFORMER), folder)
    assert relative(found, folder) == {role: file["path"] for role, file in GENEFORMER.items()}


def test_safetensors_before_a_pickle_with_the_same_tensors(tmp_path):
    files = GENEFORMER | {"weights": {"path": "V1/pytorch_model.bin"}}
    folder = fill(
        tmp_path / "w", "config.json", "pytorch_model.bin", "model.safetensors", "token_dictionary.pkl",
        "gene_median_dictionary.pkl",
    )  # fmt: skip
    assert weights.find(card(files), folder).files["weights"].name == "model.safetensors"
    (folder / "model.safetensors").unlink()
    assert weights.find(card(files), folder).files["weights"].name == "pytorch_model.bin"


def test_config_is_the_one_beside_the_weights(tmp_path):
    folder = fill(tmp_path / "w", "config.json", "tuned/config.json", "tuned/model.safetensors")
    assert weights.find(card(), folder).files["config"] == folder / "tuned" / "config.json"


def test_two_that_could_be_meant_are_named(tmp_path):
    folder = fill(tmp_path / "w", "a/model.safetensors", "b/model.safetensors", "config.json")
    with pytest.raises(
        WeightsError, match=r"several files that could be the weights of toy: a/model.safetensors, b/"
    ):
        weights.find(card(), folder)


def test_missing_file_is_answered_with_what_the_folder_holds(tmp_path):
    folder = fill(tmp_path / "w", "config.json", "readme.md")
    with pytest.raises(
        WeightsError,
        match=r"Looked for weights: model.safetensors or pytorch_.*It holds config.json, readme.md\.",
    ):
        weights.find(card(), folder)
    with pytest.raises(WeightsError, match=r"Looked for config.*weights.*It holds nothing"):
        weights.find(card(), (tmp_path / "empty").mkdir() or tmp_path / "empty")
    with pytest.raises(WeightsError, match="nowhere is not a folder"):
        weights.find(card(), tmp_path / "nowhere")


def test_folder_that_cannot_be_searched_is_named(tmp_path, monkeypatch):
    folder = fill(tmp_path / "w", "config.json", "model.safetensors")
    with pytest.raises(WeightsError, match=r"config\.json is not a folder"):
        weights.find(card(), folder / "config.json")
    with pytest.raises(WeightsError, match=r"no-such-user.* is not a folder"):
        weights.find(card(), Path("~no-such-user/w"))
    with monkeypatch.context() as patch:
        patch.setattr(finding, "_MOST_FILES", 1)
        with pytest.raises(WeightsError, match=rf"{folder} holds more than 1 files"):
            weights.find(card(), folder)

    def locked(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", locked)
        with pytest.raises(WeightsError, match=rf"{folder} cannot be read: Permission denied"):
            weights.find(card(), folder)
    monkeypatch.setattr(hashing, "sha256", locked)
    with pytest.raises(WeightsError, match=r"w/config\.json cannot be read: Permission denied"):
        weights.find(card(), folder)


def test_a_dictionary_that_is_far_too_large_is_refused_before_it_is_hashed(tmp_path, monkeypatch):
    folder = fill(tmp_path / "w", "config.json", "model.safetensors")
    os.truncate(folder / "config.json", 2**33)
    monkeypatch.setattr(hashing, "sha256", lambda path: pytest.fail(f"{path} was hashed"))
    with pytest.raises(WeightsError, match=r"config\.json has 8,192 MiB; expected the config of .* 32 MiB"):
        weights.find(card(), folder)


def test_dictionaries_of_a_folder_come_as_a_set(tmp_path):
    """A token dictionary in the folder brings its own medians; mapping and names may be absent."""
    own = ("config.json", "model.safetensors", "token_dictionary_mine.pkl", "gene_median_dictionary_mine.pkl")
    folder = fill(tmp_path / "w", *own)
    found = weights.find(card(GENEFORMER), folder, download=False)
    assert set(found.files) == {"config", "weights", "token_dictionary", "gene_medians"}
    assert found.origin == f"folder {folder}"
    (folder / own[3]).unlink()
    with pytest.raises(WeightsError, match=r"lacks files of toy. Looked for gene_medians: gene_median_dict"):
        weights.find(card(GENEFORMER), folder)


def in_hub_cache(name: str, content: bytes, *, large: bool = False) -> Path:
    """Put a file into the hub's cache as its client does."""
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE) / f"models--{REPOSITORY.replace('/', '--')}"
    blob = root / "blobs" / (sha(content) if large else hashlib.sha1(content).hexdigest())
    link = root / "snapshots" / REVISION / name
    for folder in (blob.parent, link.parent):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    return link


def test_dictionaries_come_from_the_card_where_the_folder_has_none(tmp_path):
    folder = fill(tmp_path / "w", "config.json", "model.safetensors", "gene_name_id_dict.pkl")
    for role in ("token_dictionary", "gene_medians", "gene_names", "ensembl_mapping"):
        in_hub_cache(GENEFORMER[role]["path"], role.encode())
    found = weights.find(card(GENEFORMER), folder)
    assert found.files["config"] == folder / "config.json"
    assert {role: path.read_text() for role, path in found.files.items() if role in weights.DICTIONARIES} == {
        role: role for role in ("token_dictionary", "gene_medians", "gene_names", "ensembl_mapping")
    }
    assert found.origin == f"folder {folder}; dictionaries from hub {REPOSITORY}@{REVISION[:12]}"


def test_only_some_roles(tmp_path):
    folder = fill(tmp_path / "w", "vocab.json", "a/best_model.pt", "b/best_model.pt")
    found = weights.find(card(SCGPT), folder, roles=weights.DICTIONARIES)
    assert relative(found, folder) == {"vocabulary": "vocab.json"}


def test_folder_named_by_the_environment(tmp_path, monkeypatch):
    root = tmp_path / "all"
    fill(root / "toy", "args.json", "best_model.pt", "vocab.json")
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(root))
    assert weights.find(card(SCGPT)).origin == f"folder {root / 'toy'}"
    assert weights.at_hand(card(SCGPT)) is None
    assert "are not on this machine" in weights.at_hand(card(SCGPT, name="other"))
    given = fill(tmp_path / "given", "args.json", "best_model.pt", "vocab.json")
    assert weights.find(card(SCGPT), given).origin == f"folder {given}"
    monkeypatch.setenv("ZEROSHOT_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"ZEROSHOT_WEIGHTS names .*nowhere, which is not a folder"):
        weights.find(card(SCGPT))


def test_model_without_weights():
    untrained = catalog.model("pca")
    with pytest.raises(WeightsError, match="pca has no released weights"):
        weights.find(untrained)
    assert weights.at_hand(untrained) is None


# -- an installed package ----------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed distribution that fails when imported; two of its files share a name."""
    site = tmp_path / "site"
    names = ["toy_files/__init__.py", "toy_files/model/config.json", "toy_files/model/1_Pooling/config.json",
             "toy_files/model/model.safetensors"]  # fmt: skip
    fill(site, *names)
    (site / names[0]).write_text("raise RuntimeError('imported')")
    info = fill(site / "toy_files-1.2.dist-info", "METADATA", "RECORD")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-files\nVersion: 1.2\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    monkeypatch.syspath_prepend(str(site))
    return site / "toy_files" / "model"


def packaged(**changes) -> ModelCard:
    contents = {"config": "toy_files/model/config.json", "weights": "toy_files/model/model.safetensors"}
    files = {
        role: {"path": Path(content).name, "sha256": sha(content.encode())}
        for role, content in contents.items()
    }
    return card(files | changes, hub=REPOSITORY, revision=REVISION, package="toy-files")


def test_package_is_used_by_hash_and_not_imported(package):
    found = weights.find(packaged(), download=False)
    assert relative(found, package) == {"config": "config.json", "weights": "model.safetensors"}
    assert found.origin == "package toy-files 1.2" and "toy_files" not in sys.modules


def test_package_with_another_file_is_refused(package):
    (package / "model.safetensors").write_bytes(b"tampered with")
    for download in (True, False):
        with pytest.raises(
            WeightsError, match=r"package toy-files 1.2 is refused: it holds no model.safetensors with"
        ):
            weights.find(packaged(), download=download)


def test_absent_package_is_passed_over():
    with pytest.raises(WeightsError, match=r"are not on this machine: config.json, model.safetensors"):
        weights.find(packaged(), download=False)


def test_package_of_cellama():
    cellama = catalog.model("cellama")
    try:
        importlib.metadata.distribution(cellama.weights.package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{cellama.weights.package} is not installed")
    found = weights.find(cellama, download=False)
    assert found.origin.startswith(f"package {cellama.weights.package}")
    assert found.hashes == {role: file.sha256 for role, file in cellama.weights.files.items()}
    state = read_state(found.files["weights"])
    assert sum(value.numel() for name, value in state.items() if "position_ids" not in name) == 22_713_216


# -- the hub -----------------------------------------------------------------------------------------

FIND = """
import json, sys, warnings
from zeroshot.models import weights
from zeroshot.catalog import ModelCard
from zeroshot.data import download
download.WAIT_SECONDS = 0.1
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        found = weights.find(ModelCard.model_validate_json(sys.argv[1]))
        answer = {"files": {role: str(path) for role, path in found.files.items()},
                  "hashes": dict(found.hashes), "origin": found.origin}
    except weights.WeightsError as error:
        answer = {"error": str(error)}
    answer["warnings"] = [str(warning.message) for warning in caught]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def released() -> dict[str, bytes]:
    """Files with the layout and the size of Geneformer V1-10M, random values inside."""
    from safetensors.numpy import save

    shapes = {
        "bert.embeddings.word_embeddings.weight": (25_426, 256),
        "bert.embeddings.position_embeddings.weight": (2048, 256),
        "bert.embeddings.token_type_embeddings.weight": (2, 256),
        "cls.predictions.bias": (25_426,),
        "cls.predictions.transform.dense.weight": (256, 256),
        "cls.predictions.transform.dense.bias": (256,),
    }
    norms = ["bert.embeddings.LayerNorm", "cls.predictions.transform.LayerNorm"]
    for layer in range(6):
        prefix = f"bert.encoder.layer.{layer}."
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        ):
            shapes |= {f"{prefix}{name}.weight": (256, 256), f"{prefix}{name}.bias": (256,)}
        shapes |= {
            f"{prefix}intermediate.dense.weight": (512, 256),
            f"{prefix}intermediate.dense.bias": (512,),
        }
        shapes |= {f"{prefix}output.dense.weight": (256, 512), f"{prefix}output.dense.bias": (256,)}
        norms += [f"{prefix}attention.output.LayerNorm", f"{prefix}output.LayerNorm"]
    shapes |= {f"{norm}.{kind}": (256,) for norm in norms for kind in ("weight", "bias")}
    random = np.random.default_rng(0)
    tensors = {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    config = {"num_hidden_layers": 6, "hidden_size": 256}
    return {
        "V1/config.json": json.dumps(config).encode(),
        "V1/model.safetensors": save(tensors),
        "dictionaries/token_dictionary_gc30M.pkl": pickle.dumps({"<pad>": np.int16(0), "ENSG1": np.int16(2)}),
        "dictionaries/gene_median_dictionary_gc30M.pkl": pickle.dumps({"ENSG1": np.float64(1.5)}),
        "dictionaries/gene_name_id_dict_gc30M.pkl": pickle.dumps({"A1": "ENSG1"}),
        "dictionaries/ensembl_mapping_dict_gc30M.pkl": pickle.dumps({"ENSG1": "ENSG1"}),
    }


def hashed(released, *, all_known=True) -> ModelCard:
    """The card of those files, with the sha256 of all of them or of none."""
    files = {
        role: file | ({"sha256": sha(released[file["path"]])} if all_known else {})
        for role, file in GENEFORMER.items()
    }
    return card(files)


@pytest.fixture
def start(tmp_path, home):
    """Start `weights.find` in a process of its own, which reads HF_ENDPOINT and the like as it begins."""
    started = []

    def run(wanted: ModelCard, endpoint: str, **environment: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", FIND, wanted.model_dump_json()],
            env=os.environ
            | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "ZEROSHOT_HOME": str(home)}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen) -> dict:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1]) | {"stderr": errors}


def test_hub_download_with_a_cut_then_offline(start, released, tmp_path):
    large = "V1/model.safetensors"
    with serving(REPOSITORY, REVISION, released) as server:
        offline = answer(start(hashed(released), server.url, HF_HUB_OFFLINE="1"))
        assert "HF_HUB_OFFLINE forbids downloads" in offline["error"] and large in offline["error"]
        assert server.requests == []

        server.cuts, server.cut_after = 1, len(released[large]) // 2
        found = answer(start(hashed(released), server.url))
        assert found["hashes"] == {role: sha(released[file["path"]]) for role, file in GENEFORMER.items()}
        assert found["origin"] == f"hub {REPOSITORY}@{REVISION[:12]}" and found["warnings"] == []
        for role, path in found["files"].items():
            assert Path(path).is_relative_to(tmp_path / "hf"), role
            assert Path(path).read_bytes() == released[GENEFORMER[role]["path"]]
        asked = server.ranges(large)
        assert asked[0] is None and asked[1].startswith("bytes=") and len(asked) == 2
        assert int(asked[1][6:-1]) > server.cut_after - 2**20
        assert server.sent[large] < 1.1 * len(released[large])
        assert "model.safetensors" in found["stderr"]  # the progress bar
        state = read_state(Path(found["files"]["weights"]))
        assert sum(tensor.numel() for tensor in state.values()) == 10_288_722

    # The server is gone.
    again = answer(start(hashed(released), server.url, HF_HUB_OFFLINE="1"))
    assert again["files"] == found["files"]


def test_download_that_was_killed_goes_on_where_it_stopped(start, released):
    """The card knows no hash of anything here: the hub's own sha256 decides."""
    large = "V1/model.safetensors"
    with serving(REPOSITORY, REVISION, released) as server:
        server.stall.set()
        server.cut_after = len(released[large]) // 2
        first = start(hashed(released, all_known=False), server.url)
        assert server.stalled.wait(30)
        first.kill()
        first.wait()
        server.stall.clear()
        found = answer(start(hashed(released, all_known=False), server.url))
        assert Path(found["files"]["weights"]).read_bytes() == released[large]
        asked = server.ranges(large)
        assert asked[0] is None and int(asked[1][6:-1]) > server.cut_after // 2 and len(asked) == 2
        assert server.sent[large] < 1.6 * len(released[large])


@pytest.fixture
def hub_at(monkeypatch):
    """Put the hub of this process at the address of a server; its client reads HF_ENDPOINT only once."""
    import huggingface_hub

    monkeypatch.setattr(downloading, "WAIT_SECONDS", 0.01)
    return lambda server: monkeypatch.setattr(
        huggingface_hub, "hf_hub_url",
        lambda repository, path, revision: f"{server.url}/{repository}/resolve/{revision}/{path}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def small(released) -> dict[str, bytes]:
    """The same files, of which the large one is just large enough for a redirect to where it is."""
    return released | {"V1/model.safetensors": released["V1/model.safetensors"][: LARGE + 10]}


def content_of_cache(tmp_path) -> list[bytes]:
    return [path.read_bytes() for path in (tmp_path / "hub").rglob("*") if path.is_file()]


def test_wrong_file_of_the_hub_is_refused_and_gone(hub_at, small, tmp_path, monkeypatch):
    from huggingface_hub import constants

    large = "V1/model.safetensors"
    wrong = small[large][:-4] + b"\0\0\0\0"
    wanted = hashed(small)
    with serving(REPOSITORY, REVISION, small | {large: wrong}) as server:
        hub_at(server)
        with pytest.raises(WeightsError, match=rf"{sha(wrong)}, expected {sha(small[large])}.*was removed"):
            weights.find(wanted)
        assert wrong not in content_of_cache(tmp_path)
        server.content[large] = small[large]
        found = weights.find(wanted)
        assert found.hashes["weights"] == sha(small[large])

        # Damaged later, on this disk: removed with a warning, and fetched again.
        found.files["weights"].resolve().write_bytes(wrong)
        with pytest.warns(UserWarning, match="was removed from the hub's cache"):
            assert weights.find(wanted).hashes["weights"] == sha(small[large])
        found.files["weights"].resolve().write_bytes(wrong)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with (
            pytest.warns(UserWarning, match="was removed from the hub's cache"),
            pytest.raises(WeightsError, match="are not on this machine"),
        ):
            weights.find(wanted)
        assert wrong not in content_of_cache(tmp_path)


def test_wrong_small_file_is_refused_and_gone(hub_at, small, tmp_path):
    """Small files are no LFS files: the hub states no sha256, the card does."""
    wrong = b'{"num_hidden_layers": 7}'
    with serving(REPOSITORY, REVISION, small | {"V1/config.json": wrong}) as server:
        hub_at(server)
        with pytest.raises(WeightsError, match=rf"config\.json from .*{sha(wrong)}"):
            weights.find(hashed(small))
    assert wrong not in content_of_cache(tmp_path)


def test_file_that_the_hub_does_not_have(hub_at, small):
    absent = {name: content for name, content in small.items() if name != "V1/config.json"}
    with serving(REPOSITORY, REVISION, absent) as server:
        hub_at(server)
        with pytest.raises(
            WeightsError, match=r"V1/config\.json: \w*EntryNotFoundError.*name it with --weights"
        ):
            weights.find(hashed(small))


def test_hub_out_of_reach(hub_at, small):
    with serving(REPOSITORY, REVISION, small) as server:
        stop(server)
    hub_at(server)
    with pytest.raises(WeightsError, match=r"could not be downloaded.*ConnectError.*--weights"):
        weights.find(hashed(small))


@pytest.fixture
def stating(hub_at, monkeypatch):
    """The hub at a server, with what it states about a file."""
    import huggingface_hub

    def states(server, **statements):
        hub_at(server)
        stated = {"etag": None, "size": None, "commit_hash": REVISION} | statements
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url: SimpleNamespace(**stated))

    return states


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_what_a_hub_states_is_never_a_path(stating, tmp_path):
    body = b'{"layers": 6}'
    git = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
    (tmp_path / "victim").write_text("precious")
    before = everything_in(tmp_path)
    file = WeightsFile(path="V1/config.json")
    source = card({"config": {"path": "V1/config.json"}, "weights": {"path": "V1/w.bin"}}).weights
    with serving(REPOSITORY, REVISION, {"V1/config.json": body}) as server:
        for statement in (
            {"etag": "../../../victim"}, {"etag": str(tmp_path / "victim")}, {"etag": None}, {"etag": ""},
            {"etag": "a" * 39}, {"etag": "A" * 40}, {"etag": f"{git}/.."}, {"etag": "a" * 32},
            {"etag": git, "commit_hash": "../../../victim"}, {"etag": git, "commit_hash": "1" * 40},
            {"etag": git, "size": 0}, {"etag": git, "size": -1},
        ):  # fmt: skip
            stating(server, **statement)
            with pytest.raises(weights.error.OutOfReachError, match=r"config\.json"):
                hub.download(source, file, "put it there")
            assert everything_in(tmp_path) == before, statement
        # A hash that the content does not have, a size that it does not have, and a page with its own hash.
        for statement, content in (
            ({"etag": "0" * 40}, body), ({"etag": "0" * 64}, body), ({"etag": git, "size": 5}, body),
            ({"etag": sha(b"<html>")}, b"<html>"),
        ):  # fmt: skip
            stating(server, **statement)
            server.content["V1/config.json"] = content
            with pytest.raises(WeightsError, match=r"config\.json from http"):
                hub.download(source, file, "put it there")
            assert everything_in(tmp_path) == before, statement
        server.content["V1/config.json"] = body
        stating(server, etag=git, size=len(body))
        path = hub.download(source, file, "put it there")
        assert path.read_bytes() == body and path.resolve().name == git and hub.cached(source, file) == path
        # With the card's own hash nothing that is stated matters.
        path.resolve().unlink()
        path.unlink()
        stating(server, etag="../../../victim", size=len(body))
        known = WeightsFile(path="V1/config.json", sha256=sha(body))
        assert hub.download(source, known, "put it there").resolve().name == sha(body)
    assert (tmp_path / "victim").read_text() == "precious"


def test_mirror_on_plain_http_needs_the_hash_of_the_card(stating):
    body = b"{}"
    file = WeightsFile(path="config.json")
    with serving(REPOSITORY, REVISION, {"config.json": body}) as server:
        elsewhere = SimpleNamespace(url=server.url.replace("127.0.0.1", "localhost"))
        stating(elsewhere, etag=sha(body))
        with pytest.raises(WeightsError, match=r"http://localhost.* is not fetched: only https"):
            hub.download(card().weights, file, "put it there")
        known = WeightsFile(path="config.json", sha256=sha(body))
        assert hub.download(card().weights, known, "put it there").read_bytes() == body


def test_link_of_the_cache_to_another_place_is_removed_alone(tmp_path):
    link = in_hub_cache("config.json", b"{}")
    outside = tmp_path / "mine.json"
    outside.write_text("mine")
    link.unlink()
    link.symlink_to(outside)
    files = {"config": {"path": "config.json", "sha256": "0" * 64}, "weights": {"path": "w.bin"}}
    with pytest.warns(UserWarning, match="was removed from the hub's cache"):
        weights.at_hand(card(files))
    assert outside.read_text() == "mine" and not link.is_symlink()


def test_damaged_file_in_the_cache_is_removed_without_network():
    """No hash in the card: for large files the cache's own name of the content is their sha256."""
    in_hub_cache("config.json", b"{}")
    link = in_hub_cache("model.safetensors", b"right", large=True)
    assert weights.at_hand(card()) is None
    link.resolve().write_bytes(b"wrong")
    with pytest.warns(UserWarning, match="was removed from the hub's cache"):
        assert "model.safetensors" in weights.at_hand(card())
    assert not link.exists() and not link.is_symlink()


# -- Drive folders and plain addresses ---------------------------------------------------------------

DRIVE = {role: file | {"sha256": sha(role.encode())} for role, file in SCGPT.items()}


@pytest.fixture
def drive(monkeypatch):
    """What stands in for Google Drive: `content` by file name; `calls` are the names asked for."""

    class Drive:
        def __init__(self):
            self.content = {file["path"]: role.encode() for role, file in SCGPT.items()}
            self.calls, self.problem = [], None

        def fetch(self, folder_id, names, target):
            assert folder_id == "1abc"
            self.calls.append(set(names))
            for name in sorted(names & set(self.content)):
                if self.problem and name == "best_model.pt":
                    raise self.problem
                (target / name).write_bytes(self.content[name])

    drive = Drive()
    monkeypatch.setattr(fetch, "fetch_from_drive", drive.fetch)
    return drive


def test_drive_folder_is_fetched_once(drive):
    wanted = card(DRIVE, drive="1abc")
    assert "Google Drive folder 1abc" in weights.at_hand(wanted) and drive.calls == []
    found = weights.find(wanted)
    assert found.hashes == {role: file["sha256"] for role, file in DRIVE.items()}
    assert found.files["weights"] == paths.weights("toy") / "best_model.pt"
    assert weights.find(wanted).files == found.files and weights.at_hand(wanted) is None
    assert drive.calls == [{"args.json", "best_model.pt", "vocab.json"}]
    found.files["vocabulary"].write_bytes(b"damaged here")
    assert "vocab.json" in weights.at_hand(wanted)
    assert weights.find(wanted).hashes["vocabulary"] == DRIVE["vocabulary"]["sha256"]
    assert drive.calls[1:] == [{"vocab.json"}]


def test_wrong_file_of_a_drive_folder_is_refused_and_gone(drive):
    drive.content = drive.content | {"best_model.pt": b"quota exceeded"}
    with pytest.raises(
        WeightsError, match=rf"best_model.pt .*is {sha(b'quota exceeded')}, expected .*removed"
    ):
        weights.find(card(DRIVE, drive="1abc"))
    left = [path.read_bytes() for path in paths.weights("toy").rglob("*") if path.is_file()]
    assert b"quota exceeded" not in left


def test_drive_that_fails_or_lacks_a_file(drive):
    drive.problem = OSError("Too many users have viewed or downloaded this file recently")
    with pytest.raises(WeightsError, match=r"Too many users.*drive.google.com/drive/folders/1abc.*--weights"):
        weights.find(card(DRIVE, drive="1abc"))
    drive.problem = None
    drive.content = {name: body for name, body in drive.content.items() if name != "vocab.json"}
    with pytest.raises(WeightsError, match=r"holds no vocab.json"):
        weights.find(card(DRIVE, drive="1abc"))


def test_drive_without_known_hashes_keeps_those_of_the_first_download(drive):
    drive.content = {"args.json": b"{}", "vocab.json": b"{}", "best_model.pt": b"\x80\x02tensors."}
    wanted = card(SCGPT, drive="1abc")
    found = weights.find(wanted)
    assert weights.at_hand(wanted) is None
    found.files["weights"].write_bytes(b"changed")
    assert "best_model.pt" in weights.at_hand(wanted)


def test_page_of_drive_is_refused_and_nothing_recorded(drive):
    wanted = card(SCGPT, drive="1abc")
    right = {"args.json": b"{}", "vocab.json": b"{}", "best_model.pt": b"\x80\x02tensors."}
    page = b"<!DOCTYPE html><html>Google Drive - Quota exceeded</html>"
    for name, body in (
        ("best_model.pt", page),
        ("args.json", page),
        ("vocab.json", b""),
        ("best_model.pt", b""),
    ):
        drive.content = right | {name: body}
        with pytest.raises(WeightsError, match=rf"{name} from https://drive.*is not that file: it is "):
            weights.find(wanted)
        left = [path.name for path in paths.weights("toy").rglob(f"{name}*") if path.is_file()]
        assert left == []
        shutil.rmtree(paths.weights("toy"))
    # An empty file that an earlier version kept, with its hash.
    target = paths.weights("toy") / "vocab.json"
    target.parent.mkdir()
    target.write_bytes(b"")
    target.with_name("vocab.json.sha256").write_text(f"{sha(b'')}  vocab.json\n")
    drive.content = right
    with pytest.warns(UserWarning, match="It was ours, not the registry's"):
        assert weights.find(wanted).files["vocabulary"].read_bytes() == b"{}"
    # Another file at the source is not taken for the one of the first download.
    target.unlink()
    drive.content = right | {"vocab.json": b"[]"}
    with pytest.raises(WeightsError, match="no published hash: we recorded it"):
        weights.find(wanted)


def test_drive_that_is_too_slow_is_given_up(drive, monkeypatch):
    monkeypatch.setattr(transfer, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "fetch_from_drive", lambda *_: time.sleep(0.2))
    with pytest.raises(WeightsError, match=r"only 0 bytes came in 0\.05 seconds.*drive\.google\.com"):
        weights.find(card(SCGPT, drive="1abc"))


class Wire:
    """What gdown hears from Drive: `content` by file name, without its second half where `cut` is set."""

    def __init__(self, monkeypatch):
        self.content = {"args.json": b"{}", "vocab.json": b"{}", "best_model.pt": b"\x80\x02tensors."}
        self.cut, self.ranges, self.leads_to = False, True, None
        monkeypatch.setattr(
            "requests.adapters.HTTPAdapter.send", lambda _, request, **how: self.answer(request)
        )
        monkeypatch.setattr("random.uniform", lambda *_: 0)  # seconds that gdown waits

    def answer(self, request):
        names = {name.replace(".", "_").ljust(25, "0"): name for name in self.content}
        if "embeddedfolderview" in request.url:
            links = [f'<a href="https://drive.google.com/file/d/{i}/view">{n}</a>' for i, n in names.items()]
            return self.response(request, f"<title>Toy</title>{''.join(links)}".encode())
        name = next(name for identifier, name in names.items() if identifier in request.url)
        if self.leads_to and name == "best_model.pt" and "drive.google.com" in request.url:
            return self.response(request, b"", 302, Location=self.leads_to + request.url.rpartition("=")[2])
        body, start = self.content[name], int(request.headers.get("Range", "bytes=0-")[6:-1])
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "ETag": sha(body)}
        if start and self.ranges:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            return self.response(request, body[start:], 206, **headers)
        half = len(body) // 2 if self.cut and name == "best_model.pt" else len(body)
        return self.response(request, body[:half], **headers, **{"Content-Length": str(len(body))})

    def response(self, request, body, status=200, **headers):
        response = requests.Response()
        response.status_code, response.raw = status, io.BytesIO(body)
        response.request, response.url = request, request.url
        response.headers.update({"Content-Type": "text/html"} | headers)
        return response


def test_drive_leads_to_no_address_without_encryption(monkeypatch):
    wire = Wire(monkeypatch)
    wire.leads_to = "http://example.org/"
    with pytest.raises(WeightsError, match=r"leads to 'http://example\.org/\S+ which is not fetched"):
        weights.find(card(SCGPT, drive="1abc"))
    assert not (paths.weights("toy") / "best_model.pt").exists()
    wire.leads_to = "https://doc-0s.googleusercontent.com/"
    assert weights.find(card(SCGPT, drive="1abc")).hashes["weights"] == sha(wire.content["best_model.pt"])


def test_halves_of_a_drive_file_are_put_together_only_if_its_hash_is_known(monkeypatch):
    old, new = b"\x80\x02old tensors.", b"\x80\x02new tensors."
    hashed = SCGPT | {"weights": SCGPT["weights"] | {"sha256": sha(new)}}
    for files, ranges, first in ((SCGPT, True, old), (hashed, True, new), (hashed, False, new)):
        wire = Wire(monkeypatch)
        wire.content["best_model.pt"], wire.cut, wire.ranges = first, True, False
        with pytest.raises(WeightsError, match="could not be downloaded"):
            weights.find(card(files, drive="1abc"))
        assert [path.stat().st_size for path in paths.weights("toy").rglob("best_model*.part")] == [7]
        wire.content["best_model.pt"], wire.cut, wire.ranges = new, False, ranges
        stored = weights.find(card(files, drive="1abc"))
        assert stored.files["weights"].read_bytes() == new, (files, ranges)
        shutil.rmtree(paths.weights("toy"))


def test_a_full_disk_is_not_blamed_on_drive(drive):
    drive.problem = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(WeightsError, match=r"cannot be kept in \S+toy: No space left on device"):
        weights.find(card(DRIVE, drive="1abc"))


def test_drive_beside_a_hub_that_is_out_of_reach(drive, monkeypatch):
    from zeroshot.models.weights import hub

    def unreachable(*_):
        raise weights.error.OutOfReachError("args.json: ConnectError: refused.")

    monkeypatch.setattr(hub, "download", unreachable)
    found = weights.find(card(DRIVE, hub=REPOSITORY, revision=REVISION, drive="1abc"))
    assert found.origin == "Google Drive folder 1abc"


def test_plain_addresses(tmp_path):
    body = {"config.json": b"{}", "model.safetensors": bytes(2**20)}
    with serving(REPOSITORY, REVISION, body) as server:
        files = {
            role: {
                "path": name,
                "url": f"{server.url}/{REPOSITORY}/resolve/{REVISION}/{name}",
                "sha256": sha(body[name]),
            }
            for role, name in (("config", "config.json"), ("weights", "model.safetensors"))
        }
        wanted = card(files, package=None)
        assert "the addresses of the card" in weights.at_hand(wanted)
        found = weights.find(wanted)
        assert found.hashes["weights"] == sha(body["model.safetensors"])
        assert found.files["weights"] == paths.weights("toy") / "model.safetensors"
        assert weights.at_hand(wanted) is None
        found.files["weights"].unlink()
        server.content["model.safetensors"] = bytes(2**20) + b"other"
        with pytest.raises(WeightsError, match="is not the file the registry describes"):
            weights.find(wanted)


def test_a_look_into_the_cache_reads_no_token(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path))  # to read a folder is an error
    source = catalog.model("geneformer-v1-10m").weights
    assert hub.cached(source, source.files["weights"]) is None
