"""The shared encoder against torch's own layers; padding, depth and pooling of the first token."""

import pytest
import torch
from torch import nn

from zeroshot.models.encoder import TransformerEncoder

DIM, HEADS, FFN, LAYERS = 24, 4, 40, 3


def pair(activation="relu", norm="post", eps=1e-5):
    """Our encoder and torch's with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours = TransformerEncoder(LAYERS, DIM, HEADS, FFN, activation=activation, eps=eps, norm=norm).eval()
        for parameter in ours.parameters():
            nn.init.normal_(parameter, 0, 0.3)
    theirs = [
        nn.TransformerEncoderLayer(
            DIM, HEADS, FFN, 0.0, activation, eps, batch_first=True, norm_first=norm == "pre"
        ).eval()
        for _ in range(LAYERS)
    ]
    names = {"self_attn.in_proj_": "qkv.", "self_attn.out_proj": "out"}
    for layer, source in zip(theirs, ours.layers, strict=True):
        state = source.state_dict()
        for key in list(layer.state_dict()):
            renamed = key
            for old, new in names.items():
                renamed = renamed.replace(old, new)
            layer.state_dict()[key].copy_(state[renamed])
    return ours, theirs


def tokens(n_cells=4, n_tokens=9):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n_cells, n_tokens, DIM, generator=generator), torch.tensor([9, 5, 1, 7])


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("eps", [1e-5, 1e-12])
def test_layers_are_those_of_torch(activation, norm, eps):
    ours, theirs = pair(activation, norm, eps)
    hidden, lengths = tokens()
    real = torch.arange(9) < lengths[:, None]
    expected = hidden
    for depth, layer in enumerate(theirs, start=1):
        expected = layer(expected, src_key_padding_mask=~real)
        found = ours(hidden, lengths, n_layers=depth)
        assert torch.allclose(found[real], expected[real], atol=2e-5)
    assert torch.equal(ours(hidden, lengths), found)


@torch.no_grad()
def test_causal_layers_are_those_of_gpt2():
    """Tokens behind, padding among them, change nothing; the reference gives what is there."""
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=3,
        bos_token_id=0,
        eos_token_id=0,
        n_positions=9,
        n_embd=DIM,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=FFN,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = GPT2Model(config).eval()
    ours = TransformerEncoder(LAYERS, DIM, HEADS, FFN, activation="gelu-tanh", norm="pre", causal=True).eval()
    names = {"attn.c_attn": "qkv", "attn.c_proj": "out", "mlp.c_fc": "linear1", "mlp.c_proj": "linear2",
             "ln_1": "norm1", "ln_2": "norm2"}  # fmt: skip
    for source, target in zip(theirs.h, ours.layers, strict=True):
        for old, new in names.items():
            theirs_part, ours_part = source.get_submodule(old), target.get_submodule(new)
            ours_part.weight.copy_(theirs_part.weight if old.startswith("ln") else theirs_part.weight.T)
            ours_part.bias.copy_(theirs_part.bias)
    hidden, lengths = tokens()
    expected = theirs(inputs_embeds=hidden - theirs.wpe.weight).last_hidden_state
    found = theirs.ln_f(ours(hidden, lengths))
    assert torch.allclose(found, expected, atol=2e-5)
    behind = torch.cat([hidden[:, :4], 1e3 * hidden[:, 4:]], dim=1)
    assert torch.allclose(ours(behind)[:, :4], ours(hidden)[:, :4], atol=1e-5)
    assert torch.allclose(ours(hidden, lengths, first_only=True), ours(hidden)[:, :1], atol=1e-5)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_padding_never_counts(norm):
    ours, _ = pair(norm=norm)
    hidden, lengths = tokens()
    found = ours(hidden, lengths)
    for cell, length in enumerate(lengths):
        alone = ours(hidden[cell : cell + 1, :length])
        assert torch.allclose(found[cell, :length], alone[0], atol=1e-5)
    other = torch.where((torch.arange(9) < lengths[:, None])[..., None], hidden, torch.tensor(1e4))
    again = ours(other, lengths)
    for cell, length in enumerate(lengths):
        assert torch.allclose(found[cell, :length], again[cell, :length], atol=1e-6)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("n_layers", [None, 0, 1, 2])
def test_first_token_alone_is_the_same(norm, n_layers):
    ours, _ = pair(norm=norm)
    hidden, lengths = tokens()
    expected = ours(hidden, lengths, n_layers=n_layers)[:, :1]
    found = ours(hidden, lengths, n_layers=n_layers, first_only=True)
    assert found.shape == (4, 1, DIM) and torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_later_layers_are_not_computed(n_layers):
    ours, _ = pair()
    computed = []
    for place, layer in enumerate(ours.layers):
        layer.register_forward_hook(lambda *_, place=place: computed.append(place))
    hidden, lengths = tokens()
    found = ours(hidden, lengths, n_layers=n_layers)
    assert computed == list(range(n_layers))
    assert n_layers or torch.equal(found, hidden)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_heads": 5}, "5 heads do not divide a width of 24"),
        ({"activation": "tanh"}, "unknown activation 'tanh': one of relu, gelu"),
        ({"norm": "both"}, "unknown norm 'both': post or pre"),
    ],
)
def test_what_it_cannot_compute_is_refused(given, message):
    settings = {"n_layers": 1, "dim": DIM, "n_heads": HEADS, "ffn_dim": FFN} | given
    with pytest.raises(ValueError, match=message):
        TransformerEncoder(**settings)


@pytest.mark.parametrize("n_layers", [-1, 4])
def test_layers_that_do_not_exist(n_layers):
    ours, _ = pair()
    with pytest.raises(ValueError, match=f"{n_layers} layers asked for: there are 3"):
        ours(*tokens(), n_layers=n_layers)
