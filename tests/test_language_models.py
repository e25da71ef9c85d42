"""Cell2Sentence and ChatCell: sentences, tokens and means against transformers, on tiny random models."""

import json

import numpy as np
import pytest
import torch
from released import cells_of
from released_language import write_causal_model, write_t5

from zeroshot.embedding import Runner, Settings
from zeroshot.models.cell_sentence import CellSentenceModel
from zeroshot.models.chatcell import ChatCell
from zeroshot.models.language_models import ends_of_names, read_vocabulary
from zeroshot.models.weights import Checkpoint, WeightsError
from zeroshot.tokens.genes import GeneOverlapError
from zeroshot.tokens.sentences import cut

GENES = ("Cd74", "HLA-DRA", "FTL", "S100A4", "MT-CO1", "T")
COUNTS = np.array(
    [[0, 3, 9, 1, 0, 2], [5, 0, 0, 0, 0, 0], [2, 2, 2, 0, 7, 1], [0, 0, 0, 0, 0, 0], [1, 4, 0, 0, 0, 6]]
)
RANKED = [["FTL", "HLA-DRA", "T", "S100A4"], ["Cd74"], ["MT-CO1", "Cd74", "HLA-DRA", "FTL", "T"], [],
          ["T", "HLA-DRA", "Cd74"]]  # fmt: skip
CPU = Settings(device="cpu")
ALL = np.arange(len(COUNTS))


def checkpoint_in(folder):
    names = {"config": "config.json", "weights": "model.safetensors", "vocabulary": "tokenizer.json"}
    return Checkpoint({role: folder / name for role, name in names.items()}, {}, f"folder {folder}")


@pytest.fixture(scope="module", params=["gpt_neox", "gemma2"])
def causal(request, tmp_path_factory):
    return write_causal_model(tmp_path_factory.mktemp(request.param), kind=request.param)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return write_t5(tmp_path_factory.mktemp("t5"))


def test_a_config_of_which_nothing_can_be_built_is_refused(t5, tmp_path):
    config = json.loads((t5 / "config.json").read_text()) | {"dense_act_fn": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    files = checkpoint_in(t5).files | {"config": tmp_path / "config.json"}
    with pytest.raises(
        WeightsError, match=r"config\.json describes no network that can be built \(KeyError: 1"
    ):
        embedded(ChatCell(checkpoint=Checkpoint(files, {}, "folder")))


def embedded(model, rows=ALL, tokens_per_chunk=None):
    return Runner(model, cells_of(COUNTS, GENES), 0, CPU).embed(rows, tokens_per_chunk)


def test_embedding_is_the_mean_of_the_last_states_of_transformers(causal):
    """One prompt at a time, without padding, by the model with its head."""
    from transformers import AutoModelForCausalLM

    template = "{num_genes} of {organism}: {cell_sentence}. Type:"
    model = CellSentenceModel(checkpoint=checkpoint_in(causal), n_genes=4, template=template)
    found = embedded(model)
    reference = AutoModelForCausalLM.from_pretrained(causal, attn_implementation="eager").eval()
    vocabulary = read_vocabulary(causal / "tokenizer.json", 160)
    for row, names in enumerate(RANKED):
        prompt = f"4 of Homo sapiens: {' '.join(names[:4]).upper()}. Type:"
        ids = torch.tensor([vocabulary.encode(prompt).ids])
        with torch.no_grad():
            states = reference(ids, output_hidden_states=True).hidden_states[-1][0]
        assert np.allclose(found[row], states.mean(dim=0).numpy(), atol=2e-5)


def test_neighbours_padding_and_order_make_no_difference(causal):
    model = CellSentenceModel(checkpoint=checkpoint_in(causal))
    together = embedded(model)
    moved = embedded(model, ALL[::-1], tokens_per_chunk=1)
    assert np.abs(moved[::-1] - together).max() < 2e-5 < np.abs(together[0] - together[2]).max()


def test_chatcell_is_the_mean_of_the_states_of_the_encoder(t5):
    from transformers import T5ForConditionalGeneration

    found = embedded(ChatCell(checkpoint=checkpoint_in(t5), n_genes=3))
    reference = T5ForConditionalGeneration.from_pretrained(t5).eval()
    vocabulary = read_vocabulary(t5 / "tokenizer.json", 160)
    for row, names in enumerate(RANKED):
        ids = vocabulary.encode(" ".join(names[:3])).ids  # in their own case, and closed by </s>
        assert ids[-1] == 1
        with torch.no_grad():
            states = reference.encoder(torch.tensor([ids])).last_hidden_state[0]
        assert np.allclose(found[row], states.mean(dim=0).numpy(), atol=2e-5)


def test_what_is_cut_is_counted(t5):
    vocabulary = read_vocabulary(t5 / "tokenizer.json", 160)
    text, ends = "FTL CD74 T", ends_of_names(["FTL", "CD74", "T"], 0)
    assert ends == [3, 8, 10]
    for max_tokens, left_out in ((11, 0), (10, 1), (9, 1), (8, 2), (4, 2), (3, 3)):
        tokens = cut(vocabulary.encode_batch([text]), [ends], max_tokens, pad_id=0)
        assert tokens.lengths.tolist() == [max_tokens] and tokens.ids[-1] == 1
        assert tokens.left_out.tolist() == [left_out]


def test_a_sentence_of_no_tokens_is_one_of_padding(causal):
    model = CellSentenceModel(checkpoint=checkpoint_in(causal), template="{cell_sentence}")
    tokens = model.tokenizer(cells_of(COUNTS, GENES), 0).tokenize(np.array([3, 1]))
    assert tokens.lengths.tolist() == [1, 4] and np.isfinite(embedded(model)).all()


def test_what_cannot_be_read_is_refused(causal, t5, tmp_path):
    checkpoint = checkpoint_in(causal)
    with pytest.raises(ValueError, match=r"needs \{cell_sentence\} once"):
        CellSentenceModel(checkpoint=checkpoint, template="{cell_sentence} {type}")
    with pytest.raises(WeightsError, match="max_tokens is 9999; this model reads 3 to 4096"):
        embedded(CellSentenceModel(checkpoint=checkpoint, max_tokens=9999))
    with pytest.raises(WeightsError, match="ChatCell's are of type 't5'"):
        embedded(ChatCell(checkpoint=checkpoint))
    with pytest.raises(GeneOverlapError, match="identifiers"):
        ids = [f"ENSG9{number:010d}" for number in range(6)]
        CellSentenceModel(checkpoint=checkpoint).tokenizer(cells_of(COUNTS, ids), 0)
    config = json.loads((causal / "config.json").read_text())
    for change, message in (
        ({"model_type": "mine"}, "type mine|type 'mine'"),
        ({"num_hidden_layers": 10**6}, "expected 1 to 512"),
        ({"quantization_config": {}}, "quantised"),
        ({"vocab_size": 20}, "vocabulary and model are not"),
        ({"hidden_size": 32}, "does not fit"),
        ({"pad_token_id": -1}, r"config\.json pads with token -1; expected is one of "),
        ({"pad_token_id": 10**6}, r"config\.json pads with token 1000000"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        files = {**checkpoint.files, "config": tmp_path / "config.json"}
        with pytest.raises(WeightsError, match=message):
            embedded(CellSentenceModel(checkpoint=Checkpoint(files, {}, "folder")))
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    with pytest.raises(WeightsError, match=r"is not a tokenizer\.json"):
        read_vocabulary(tmp_path / "tokenizer.json", 160)
    # What shows in a text only: a special token that is absent (a panic), or has another number.
    described = json.loads((causal / "tokenizer.json").read_text())
    piece = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    for tokens, message in (
        ({}, "is not a tokenizer"),
        ({"<s>": {"id": "<s>", "ids": [10**6], "tokens": ["<s>"]}}, "numbers tokens up to 1,000,000"),
    ):
        template = {"type": "TemplateProcessing", "single": piece, "pair": [], "special_tokens": tokens}
        (tmp_path / "tokenizer.json").write_text(json.dumps(described | {"post_processor": template}))
        with pytest.raises(WeightsError, match=message):
            read_vocabulary(tmp_path / "tokenizer.json", 160)
