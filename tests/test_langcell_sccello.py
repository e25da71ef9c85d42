"""LangCell and scCello from their specifications: ranks by hand, states of BERT, layouts; what is refused."""

import pickle

import numpy as np
import pytest
import torch
from released import cells_of, write_langcell, write_sccello

from zeroshot import catalog, embedding
from zeroshot.data import contract, simulate_atlas
from zeroshot.embedding import Runner, Settings
from zeroshot.models import weights
from zeroshot.models.langcell_sccello import LangCell, ScCello
from zeroshot.models.weights import WeightsError

CPU = Settings(device="cpu")
GENES = ["A", "B", "C", "D"]
COUNTS = [[1, 4, 0, 2], [0, 0, 3, 3], [0, 0, 0, 0]]
MEDIANS = [1.0, 8.0, 3.0, 2.0]  # of the first cell A 1, B 0.5, D 1; of the second C 1, D 1.5
CLS = 6  # two special tokens and four genes before it
SEQUENCES = [[CLS, 2, 5, 3], [CLS, 5, 4], [CLS]]
WRITERS = {"langcell": (write_langcell, LangCell), "sccello": (write_sccello, ScCello)}


def at(name, folder):
    """Files of the model as the command finds them in a folder."""
    return weights.find(catalog.model(name), folder)


@pytest.fixture
def release(tmp_path):
    def write(name):
        folder = WRITERS[name][0](tmp_path / name, GENES)
        ids = list(pickle.loads((folder / "gene_median_dictionary.pkl").read_bytes()))
        content = pickle.dumps(dict(zip(ids, MEDIANS, strict=True)))
        (folder / "gene_median_dictionary.pkl").write_bytes(content)
        return folder

    return write


@pytest.mark.parametrize("name", WRITERS)
def test_ranks_by_hand(release, name):
    """``<cls>`` and the genes by counts over median; equal ones in order; a limit counts ``<cls>``."""
    folder = release(name)
    tokenizer = WRITERS[name][1](checkpoint=at(name, folder)).tokenizer(cells_of(COUNTS, GENES), 0)
    tokens = tokenizer.tokenize(np.arange(3))
    assert [list(part) for part in np.split(tokens.ids, tokens.offsets[1:-1])] == SEQUENCES
    assert tokenizer.notes == ("1 cells express no gene that the model knows",)
    config = at(name, folder).files["config"]
    positions = '"max_position_embeddings": '
    config.write_text(config.read_text().replace(f"{positions}256", f"{positions}3"))
    cut = WRITERS[name][1](checkpoint=at(name, folder)).tokenizer(cells_of(COUNTS, GENES), 0)
    assert cut.tokenize(np.array([0])).ids.tolist() == [CLS, 2, 5]


def bert(config, state):
    """transformers' BERT with these tensors."""
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(**config, vocab_size=CLS + 1), add_pooling_layer=False)
    wanted = model.state_dict()
    model.load_state_dict({key: state.get(key, wanted[key]) for key in wanted})
    return model.eval()


def first_states(model):
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([ids])).last_hidden_state[0, 0] for ids in SEQUENCES])


def test_langcell_projects_cls_of_bert_and_scales_it(release):
    folder = release("langcell")
    config = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
              "hidden_act": "relu", "max_position_embeddings": 256}  # fmt: skip
    projection = torch.load(folder / "cell_proj.bin")
    states = first_states(bert(config, torch.load(folder / "cell_bert" / "pytorch_model.bin")))
    expected = torch.nn.functional.normalize(states @ projection["weight"].T + projection["bias"], dim=-1)
    runner = Runner(LangCell(checkpoint=at("langcell", folder)), cells_of(COUNTS, GENES), 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), expected, atol=2e-5)


def test_sccello_adds_its_three_rows_to_every_token(release):
    folder = release("sccello")
    state = torch.load(folder / "pytorch_model.bin")
    inner = {key.removeprefix("bert."): part for key, part in state.items() if key.startswith("bert.")}
    rows = [inner[f"embeddings.{name}_embeddings.weight"] for name in ("tf_class", "tf_superclass", "expbin")]
    inner["embeddings.token_type_embeddings.weight"] = sum(rows)
    config = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24,
              "hidden_act": "relu", "max_position_embeddings": 256, "type_vocab_size": 1}  # fmt: skip
    expected = first_states(bert(config, inner))
    runner = Runner(ScCello(checkpoint=at("sccello", folder)), cells_of(COUNTS, GENES), 0, CPU)
    for budget in (1, 10_000):
        assert np.allclose(runner.embed(np.arange(3), budget), expected, atol=2e-5)


def test_small_releases_pass_the_gate_and_others_are_refused(tmp_path):
    adata = contract(simulate_atlas(n_cells=80, n_genes=150, n_batches=1, seed=3), name="atlas")
    genes = list(adata.var_names)
    folders = {name: write(tmp_path / name, genes) for name, (write, _) in WRITERS.items()}

    def refused(name, message):
        with pytest.raises(WeightsError, match=message):
            embedding.embed(adata, name, weights=folders[name], settings=CPU)

    for name, dim in (("langcell", 10), ("sccello", 16)):
        embedded = embedding.run(adata, name, weights=folders[name], settings=CPU)
        assert embedded.matrix.shape == (80, dim) and embedded.checks["passed"].all()
    (folders["langcell"] / "cell_proj.bin").unlink()
    refused("langcell", r"lacks files of langcell. Looked for projection: cell_proj.bin")
    torch.save({"proj.weight": torch.ones(10, 16)}, folders["langcell"] / "cell_proj.bin")
    refused("langcell", "is not the projection of LangCell")
    path = folders["sccello"] / "pytorch_model.bin"
    state = torch.load(path)
    del state["bert.embeddings.expbin_embeddings.weight"]
    torch.save(state, path)
    refused("sccello", "lacks bert.embeddings.expbin_embeddings.weight: it is not a checkpoint of scCello")
    write_sccello(tmp_path / "other", genes[:-1])
    (tmp_path / "other" / "config.json").replace(folders["sccello"] / "config.json")
    refused("sccello", "and <cls> are 153 tokens .* the model has 152")
