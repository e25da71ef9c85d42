"""Checkpoints and gene dictionaries: read without executing anything, loaded with every key accounted for."""

import copyreg
import hashlib
import os
import pickle
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from zeroshot import catalog, weights
from zeroshot.weights import WeightsError, read_dictionary, read_state

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", CHECKOUT.parent / "shared"))
GC30M = SHARED / "dictionaries" / "geneformer_gc30M"


# -- tensors -----------------------------------------------------------------------------------------


class Touch:
    """Unpickling this the usual way creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin", ".ckpt", ".pth"])
def test_state_is_read(tmp_path, suffix, nested):
    path = tmp_path / f"model{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(STATE, path)
    else:
        torch.save({"state_dict": STATE, "epoch": 3} if nested else STATE, path)
    found = read_state(path)
    assert set(found) == set(STATE) and all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, zipped):
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    torch.save(STATE | {"x": Touch(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"model.pt is refused.*system.*Nothing of it was executed"):
        read_state(path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.99])
def test_truncated_checkpoint(tmp_path, suffix, kept):
    path = tmp_path / f"model{suffix}"
    big = {"a": torch.zeros(1000), "b": torch.ones(1000)}
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(big, path)
    else:
        torch.save(big, path, _use_new_zipfile_serialization=suffix == ".pt")
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(WeightsError, match="damaged"):
        read_state(path)


def test_checkpoint_that_is_none(tmp_path):
    torch.save(STATE | {"args": "text"}, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match="holds more than tensors: args"):
        read_state(tmp_path / "a.pt")
    torch.save([torch.zeros(2)], tmp_path / "b.pt")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        read_state(tmp_path / "b.pt")
    with pytest.raises(WeightsError, match=r"expected one of .bin, .ckpt, .pt, .pth, .safetensors"):
        read_state(tmp_path / "model.h5")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 2)
        self.register_buffer("scale", torch.ones(1))


RELEASED = {"x.weight": torch.ones(2, 3), "x.bias": torch.zeros(2), "scale": torch.tensor([2.0])}


def rename(key: str) -> str | None:
    return "scale" if key == "scale" else key.replace("x.", "inner.") if key.startswith("x.") else None


def test_every_key_finds_its_place():
    module = Small()
    state = RELEASED | {"cls_decoder.0.weight": torch.zeros(9), "flag_encoder.weight": torch.zeros(2, 4)}
    report = weights.load_state(module, state, rename, ignored=["cls_decoder.*", "flag_encoder.*"])
    assert report == weights.LoadReport((), (), ("cls_decoder.0.weight", "flag_encoder.weight"))
    assert torch.equal(module.inner.weight, torch.ones(2, 3)) and module.scale == 2
    assert module.inner.weight.dtype == torch.float32


def test_lower_precision_is_loaded_into_the_modules_own():
    module = Small()
    weights.load_state(module, {name: tensor.half() for name, tensor in RELEASED.items()}, rename)
    assert module.inner.weight.dtype == torch.float32 and module.scale == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x.bias": None}, r"missing inner.bias \(2,\)"),
        ({"scale": None}, r"missing scale \(1,\)"),
        ({"y.weight": torch.zeros(5, 4)}, r"unexpected y.weight \(5, 4\)"),
        ({"x.other": torch.zeros(1)}, r"unexpected x.other \(1,\)"),
        ({"x.weight": torch.zeros(3, 2)}, r"x.weight is \(3, 2\), expected \(2, 3\)"),
        ({"inner.bias": torch.zeros(2)}, r"unexpected inner.bias"),
    ],
)
def test_key_that_does_not_fit_is_named_and_nothing_is_loaded(change, message):
    module = Small()
    before = module.inner.weight.clone()
    state = {name: tensor for name, tensor in (RELEASED | change).items() if tensor is not None}
    with pytest.raises(WeightsError, match=message):
        weights.load_state(module, state, rename)
    assert torch.equal(module.inner.weight, before) and module.scale == 1


def test_two_keys_for_one_parameter():
    with pytest.raises(
        WeightsError, match=r"x.bias and scale both claim inner.bias|scale and x.bias both claim"
    ):
        weights.load_state(Small(), RELEASED, lambda key: "inner.bias" if key == "scale" else rename(key))


def test_names_may_be_the_same():
    source = Small()
    report = weights.load_state(Small(), source.state_dict())
    assert report.ignored == ()
    everything = {f"layer.{i}.weight": torch.zeros(1) for i in range(40)}
    with pytest.raises(WeightsError, match=r"and 28 more"):
        weights.load_state(Small(), everything)


# -- dictionaries ------------------------------------------------------------------------------------


def write(tmp_path, content: bytes, name="token_dictionary.pkl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


NUMBERS = {
    "<pad>": 0, "a": np.int16(7), "b": np.float64(0.1), "c": np.float32(0.1), "d": True, "e": 2**70, "f": -3,
    "g": "ENSG1", "h": np.str_("ENSG2"), "i": np.bool_(False), "j": 1.5, "k": np.int64(2**40),
    "l": np.array(2.5), "µ": np.array([[1, 2], [3, 4]], order="F"), "n": np.arange(3, dtype=">i4"),
}  # fmt: skip


@pytest.mark.parametrize("old_numpy", [False, True], ids=["numpy._core", "numpy.core"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_kind_of_value(tmp_path, protocol, old_numpy):
    content = pickle.dumps(NUMBERS, protocol=protocol)
    if old_numpy:  # what numpy 1 wrote; where a name's length stands before it, that changes as well
        content = content.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
        content = content.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
        content = content.replace(b"cnumpy._core.", b"cnumpy.core.")
        if protocol >= 4:
            start = content.index(b"\x95") + 1  # the frame is shorter now
            (length,) = struct.unpack("<Q", content[start : start + 8])
            removed = len(pickle.dumps(NUMBERS, protocol=protocol)) - len(content)
            content = content[:start] + struct.pack("<Q", length - removed) + content[start + 8 :]
    found = read_dictionary(write(tmp_path, content))
    assert list(found) == list(NUMBERS)
    for name, value in NUMBERS.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(found[name], value) and found[name].dtype == value.dtype
        else:
            assert found[name] == value and type(found[name]) in (int, float, bool, str)


def test_json_and_what_is_wrong_with_it(tmp_path):
    assert read_dictionary(write(tmp_path, b'{"<pad>": 0, "A": 1.5}', "vocab.json")) == {"<pad>": 0, "A": 1.5}
    with pytest.raises(WeightsError, match="not valid JSON"):
        read_dictionary(write(tmp_path, b'{"A": 1', "vocab.json"))
    with pytest.raises(WeightsError, match="holds a list; a dict"):
        read_dictionary(write(tmp_path, b"[1]", "vocab.json"))
    with pytest.raises(WeightsError, match="the value of 'A' is a NoneType"):
        read_dictionary(write(tmp_path, b'{"A": null}', "vocab.json"))


class _ObjectArray:
    """Pickles as an object array whose content is no list."""

    def __reduce__(self):
        rebuild, arguments, state = np.zeros(1, dtype=object).__reduce__()
        return rebuild, arguments, (*state[:4], b"12345678")

    def __repr__(self):
        return "an array of objects"  # names the test, so without an address


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "key 1 is a int"),
        ({"a": {"b": 1}}, "the value of 'a' is a dict"),
        ({"a": None}, "the value of 'a' is a NoneType"),
        ({"a": b"raw"}, "the value of 'a' is a bytes"),
        ({"a": (1, 2)}, "the value of 'a' is a tuple"),
        ({"a": [1]}, "refused: it holds the instruction"),
        ({"a": {1}}, "refused: it holds the instruction"),
        ({"a": 1j}, "refused: it asks for builtins.complex"),
        ("text", "holds a str; a dict"),
        ({"a": np.array([{}, 1], dtype=object)}, "refused: it holds"),
        ({"a": _ObjectArray()}, "of type 'O8', and only numbers"),
        ({"a": np.dtype("i2")}, "the value of 'a' is a Dtype"),
        ({"a": np.zeros(2, dtype=[("x", "i4")])}, "of type 'V4'"),
        ({"a": np.datetime64("2020-01-01")}, "of type 'M8'"),
        ({"a": Path("x")}, "refused: it asks for pathlib"),
    ],
    ids=str,
)
def test_anything_else_is_refused(tmp_path, value, message):
    with pytest.raises(WeightsError, match=message):
        read_dictionary(write(tmp_path, pickle.dumps(value)))


def test_dictionary_that_holds_itself(tmp_path):
    loop = {}
    loop["a"] = loop
    with pytest.raises(WeightsError, match="the value of 'a' is a dict"):
        read_dictionary(write(tmp_path, pickle.dumps(loop)))


class Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that would create the marker, or come near to it, if they were read the usual way."""
    import functools
    import operator

    shell = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w')"
    load = marker.with_name("evil.npy")
    np.save(load, np.array([Touch(marker)], dtype=object), allow_pickle=True)
    dumped = {
        "os.system": Touch(marker),
        "eval": Call(eval, python),
        "exec": Call(exec, python),
        "subprocess": Call(subprocess.Popen, ["touch", str(marker)]),
        "numpy.load": Call(np.load, str(load), None, True),
        "getattr": Call(getattr, Call(__import__, "os"), "system"),
        "attrgetter": Call(operator.attrgetter("system"), os),
        "partial": Call(functools.partial(os.system, shell)),
        "copyreg": Call(copyreg.__newobj__, Touch),
        "reconstructor": Call(copyreg._reconstructor, Touch, object, None),
        "map": Call(list, Call(map, os.system, [shell])),
        "in an object array": np.array([Touch(marker)], dtype=object),
        "open": Call(open, str(marker), "w"),
    }
    pickled = {}
    for name, value in dumped.items():
        for protocol in (0, 2, 4, 5):
            try:
                pickled[f"{name} {protocol}"] = pickle.dumps({"a": value}, protocol=protocol)
            except (TypeError, pickle.PicklingError, AttributeError):
                continue
    stop, mark, proto = pickle.STOP, pickle.MARK, pickle.PROTO + b"\x04"
    call = mark + text(shell) + pickle.TUPLE + pickle.REDUCE + stop

    def named(module: str, name: str) -> bytes:
        return text(module) + text(name) + pickle.STACK_GLOBAL

    by_memo = text("os") + b"\x94" + b"0" + text("system") + b"\x94" + b"0" + b"h\x00" + b"h\x01"
    poison = pickle.NONE + pickle.EMPTY_DICT + text("__defaults__") + mark + text("x") + pickle.TUPLE
    return pickled | {
        "GLOBAL": b"cos\nsystem\n(S'%s'\ntR." % shell.encode(),
        "INST": b"(S'%s'\nios\nsystem\n." % shell.encode(),
        "OBJ": b"(cos\nsystem\nS'%s'\no." % shell.encode(),
        "NEWOBJ": proto + named("os", "system") + call.replace(pickle.REDUCE + stop, pickle.NEWOBJ + stop),
        "names from the memo": proto + by_memo + pickle.STACK_GLOBAL + call,
        "dotted name": proto + named("numpy", "dtype.__class__.mro") + stop,
        "module of a module": proto + named("numpy", "os.system") + call,
        "another name of numpy's": proto + named("numpy.core.multiarray", "eval") + call,
        "registered extension": proto + pickle.EXT1 + b"\xf0" + call,
        "persistent": proto + text("x") + pickle.BINPERSID + stop,
        "attribute of a maker": proto + named("numpy.core.multiarray", "scalar") + poison + b"s"
        + pickle.TUPLE2 + pickle.BUILD + stop,
        "state of a dtype": proto + named("numpy", "dtype") + mark + text("i2") + pickle.TUPLE
        + pickle.REDUCE + text("x") + pickle.BUILD + stop,
        "any codec": proto + named("_codecs", "encode") + text("x") + text("rot13") + pickle.TUPLE2
        + pickle.REDUCE + stop,
        "array of nothing": proto + named("numpy", "ndarray") + pickle.BININT + struct.pack("<i", 2**30)
        + pickle.TUPLE1 + pickle.REDUCE + stop,
        "huge bytes": proto + pickle.BINBYTES8 + struct.pack("<Q", 2**60) + b"x" + stop,
        "huge bytearray": proto + pickle.BYTEARRAY8 + struct.pack("<Q", 2**60) + b"x" + stop,
        "empty": b"",
        "text": b"not a pickle",
        "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 788424\n",
    }  # fmt: skip


def test_no_pickle_executes_anything(tmp_path):
    marker = tmp_path / "marker"
    copyreg.add_extension("os", "system", 0xF0)
    try:
        tried = attacks(marker)
        assert len(tried) > 50
        for name, content in tried.items():
            with pytest.raises(
                WeightsError,
                match=r"is refused: it (asks for|holds)|is damaged, or no pickle|is damaged: it is empty",
            ):
                print(name, read_dictionary(write(tmp_path, content)))
            assert not marker.exists(), name
        # What was tried has left nothing behind in this process.
        good = write(tmp_path, pickle.dumps(NUMBERS))
        assert read_dictionary(good)["a"] == 7
        # The same files, read the usual way: the test would notice.
        pickle.loads(tried["os.system 4"])
        assert marker.exists()
    finally:
        copyreg.remove_extension("os", "system", 0xF0)
        copyreg.clear_extension_cache()


def test_refusal_names_what_was_asked_for(tmp_path):
    with pytest.raises(
        WeightsError, match=r"asks for (posix|os|nt).system.*Nothing of the file was executed"
    ):
        read_dictionary(write(tmp_path, pickle.dumps(Touch(tmp_path / "marker"))))


@pytest.mark.parametrize("kept", [1, 0.3, 0.7, 0.999])
def test_truncated_dictionary(tmp_path, kept):
    content = pickle.dumps({f"ENSG{i:011}": np.int16(i) for i in range(5000)})
    cut = content[: kept if isinstance(kept, int) else int(kept * len(content))]
    with pytest.raises(WeightsError, match="is damaged, or no pickle"):
        read_dictionary(write(tmp_path, cut))


@pytest.mark.skipif(
    not GC30M.is_dir(), reason=f"no dictionaries in {GC30M} (name the folder in ZEROSHOT_SHARED)"
)
def test_dictionaries_of_geneformer():
    tokens, medians, names = (
        read_dictionary(GC30M / f"{name}.pkl")
        for name in ("token_dictionary", "gene_median_dictionary", "gene_name_id_dict")
    )
    assert len(tokens) == 25_426 and (tokens["<pad>"], tokens["<mask>"]) == (0, 1)
    genes = list(tokens)[2:]
    assert genes == sorted(genes) and [tokens[gene] for gene in genes] == list(range(2, 25_426))
    assert {type(token) for token in tokens.values()} == {int}
    assert set(medians) == set(genes) and len(set(medians.values())) == 25_413
    assert (round(min(medians.values()), 4), round(max(medians.values()), 1)) == (0.0947, 634.3)
    assert len(names) == 40_248 and len({gene for gene in names.values()} - set(tokens)) == 19_003
    for model in ("geneformer-v1-10m", "geneformer-v1-12l-40m"):
        files = catalog.model(model).weights.files
        for role, name in (
            ("token_dictionary", "token_dictionary"),
            ("gene_medians", "gene_median_dictionary"),
            ("gene_names", "gene_name_id_dict"),
        ):
            content = (GC30M / f"{name}.pkl").read_bytes()
            assert (files[role].sha256, files[role].size) == (
                hashlib.sha256(content).hexdigest(),
                len(content),
            ), model
