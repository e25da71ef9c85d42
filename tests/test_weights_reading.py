"""Checkpoints and gene dictionaries: read without executing anything, loaded with every key accounted for."""

import copyreg
import hashlib
import importlib
import os
import pickle
import struct
import subprocess
import tarfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from released import cells_of, write_nicheformer
from released_values import write_scmulan, write_scprint

from zeroshot import catalog, models
from zeroshot.models import weights
from zeroshot.models.weights import WeightsError, read_dictionary, read_state

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
    with pytest.raises(WeightsError, match=r"end with one of .bin, .ckpt, .pt, .pth, .safetensors"):
        read_state(tmp_path / "model.h5")


def saved(path: Path, state: object, **options) -> Path:
    """A checkpoint as torch writes it."""
    torch.save(state, path, **options)
    return path


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings(action="ignore"):
        return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def test_numbers_that_would_be_cast_are_refused_by_key_and_type(tmp_path):
    from safetensors.torch import save_file

    values = torch.ones(2, 3)
    for number in ("int8", "uint8", "int16", "int32", "bool", "complex64", "float8_e4m3fn", "uint16"):
        state = {"a.weight": values.to(getattr(torch, number)), "b": values}
        paths = [saved(tmp_path / "model.pt", state)]
        if number != "complex64":
            paths.append(tmp_path / "model.safetensors")
            save_file(state, paths[-1])
        for path in paths:
            with pytest.raises(WeightsError, match=rf"{path}.*a\.weight is {number}.*Expected .*float32"):
                read_state(path)
    for number in ("float16", "bfloat16", "float32", "float64", "int64"):
        path = saved(tmp_path / "model.pt", {"a": values.to(getattr(torch, number))})
        assert read_state(path)["a"].dtype == getattr(torch, number)


def test_tensors_that_are_not_whole_are_refused(tmp_path):
    odd = {
        "sparse": torch.eye(3).to_sparse(),
        "quantised": quantized(torch.ones(2)),
        "meta": torch.ones(2, device="meta"),
        "fewer stored values|is made of a storage": torch.zeros(1).expand(2, 3),
        "is made of a storage": torch.zeros(1).expand(10**7, 10**7),
    }
    for message, tensor in odd.items():
        for zipped in (True, False):
            path = tmp_path / "model.pt"
            torch.save({"a": torch.ones(2), "x": tensor}, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(WeightsError, match=f"model.pt.*({message})"):
                read_state(path)
    views = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.arange(9.0)[4:], "c": torch.zeros(0, 3)}
    found = read_state(saved(tmp_path / "views.pt", views))
    assert all(torch.equal(found[name], views[name]) for name in views)


@pytest.mark.parametrize("zipped", [True, False])
def test_layouts_of_a_state_dict(tmp_path, zipped):
    path, options = tmp_path / "model.pt", {"_use_new_zipfile_serialization": zipped}
    for layout in (
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "arguments": {"sizes": [1, (2, 3)], "name": None}},
        {"model_state_dict": STATE, "optimizer": {"state": {0: {"step": 1}}}},
        {f"module.{name}": tensor for name, tensor in STATE.items()},
        torch.nn.ParameterDict({"a": STATE["a.weight"]}).state_dict(),
    ):
        found = read_state(saved(path, layout, **options))
        assert torch.equal(next(iter(found.values())), STATE["a.weight"])
    for layout in (
        {1: torch.ones(2)},
        {None: torch.ones(2)},
        {(1, 2): torch.ones(2)},
        {"model": {}},
        {"a": 1.0},
    ):
        with pytest.raises(WeightsError, match=r"model.pt (holds|is refused)"):
            read_state(saved(path, layout, **options))


def test_what_is_no_checkpoint_is_named(tmp_path):
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "good.safetensors")
    good = (tmp_path / "good.safetensors").read_bytes()
    size = int.from_bytes(good[:8], "little")
    header = good[8 : 8 + size].rstrip()
    twice = header[:-1] + b"," + header[1:]
    contents = {
        "it is a web page": b"\n<!DOCTYPE html><title>Sign in</title>",
        "it is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n",
        "it is compressed with gzip": b"\x1f\x8b" + bytes(50),
        "it is empty": b"",
    }
    for message, content in contents.items():
        for suffix in (".safetensors", ".pt"):
            path = write(tmp_path, content, f"model{suffix}")
            with pytest.raises(WeightsError, match=rf"{path} is damaged.*{message}.*xpected a checkpoint"):
                read_state(path)
    contents = {
        "its header claims": (2**60).to_bytes(8, "little") + b"{}",
        "more than once": len(twice).to_bytes(8, "little") + twice + good[8 + size :],
        "no safetensors file": good[:-1],
    }
    for message, content in contents.items():
        path = write(tmp_path, content, "model.safetensors")
        with pytest.raises(WeightsError, match=rf"{path} is damaged.*{message}"):
            read_state(path)
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(WeightsError, match="is a directory; expected a checkpoint"):
        read_state(tmp_path / "folder.pt")
    with pytest.raises(WeightsError, match="there is no file"):
        read_state(tmp_path / "absent.pt")


class Scripted(torch.nn.Module):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given


def test_other_formats_of_torch_are_named(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(Scripted()), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"is a TorchScript archive; save its state_dict"):
        read_state(tmp_path / "model.pt")
    with tarfile.open(tmp_path / "model.pth", "w") as archive:
        archive.add(tmp_path / "model.pt", "storages")
    with pytest.raises(WeightsError, match="is a tar archive"):
        read_state(tmp_path / "model.pth")


def rezipped(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """The checkpoint again with other content of some records."""
    with zipfile.ZipFile(path) as old:
        records = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in records.items():
            ends = [content_ for end, content_ in change.items() if name.endswith(end)]
            new.writestr(name, ends[0] if ends else content)
    return path


def test_lengths_that_the_file_does_not_have(tmp_path):
    """torch would read such a storage beyond its end."""
    path = saved(tmp_path / "model.pt", STATE)
    with pytest.raises(WeightsError, match=r"model.pt is refused.*its storage 0 claims 24 bytes"):
        read_state(rezipped(path, {"data/0": b"1234"}))
    saved(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content.replace(STATE["a.weight"].numpy().tobytes(), bytes(24)))
    with pytest.raises(WeightsError, match=r"model.pt is damaged.*CRC"):
        read_state(path)
    saved(path, STATE)
    with pytest.raises(WeightsError, match=r"its records claim [\d,]+ bytes of a file of"):
        read_state(rezipped(path, {"data/0": bytes(3_000_000)}, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 10_000
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    six = content.index(b"cpu") + content[content.index(b"cpu") :].index(b"K\x06")
    path.write_bytes(content[:six] + b"J" + struct.pack("<i", 2**30) + content[six + 2 :])
    with pytest.raises(WeightsError, match=r"model.pt is refused.*claims [\d,]+ bytes, which are not there"):
        read_state(path)


# A tuple of two tuples of two tuples …: 120 bytes that take for ever to hash, compare or print.
LAUGHS = b")" + b"2\x86" * 60


def endless() -> dict[str, bytes]:
    """Pickles that ask for unlimited time or memory, and for nothing that is forbidden."""
    colliding = ((number * (2**61 - 1)).to_bytes(11, "little") for number in range(1, 20_000))
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00i2\x85R"
    encode = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    return {
        "key": b"\x80\x02}" + LAUGHS + b"K\x01s.",
        "keys": b"\x80\x02}(" + LAUGHS + b"K\x01u.",
        "dict": b"\x80\x02(" + LAUGHS + b"K\x01d.",
        "value": b"\x80\x02}X\x01\x00\x00\x00a" + LAUGHS + b"s.",
        "set": b"\x80\x04\x8f(" + LAUGHS + b"\x90.",
        "frozen set": b"\x80\x04(" + LAUGHS + b"\x91.",
        "colliding keys": b"\x80\x02}(" + b"".join(b"\x8a\x0b" + key + b"K\x01" for key in colliding) + b"u.",
        "shape": b"\x80\x02" + dtype + b"q\x00cnumpy.core.numeric\n_frombuffer\nC\x00h\x00" + LAUGHS
        + b"X\x01\x00\x00\x00C\x87R.",
        "byte order": b"\x80\x02" + dtype + b"(K\x03" + LAUGHS + b"tb.",
        "copies": b"\x80\x02X" + struct.pack("<I", 200_000) + b"a" * 200_000 + b"q\x00" + encode * 999 + b".",
        "long number": b"\x80\x02\x8b" + struct.pack("<i", 10**6) + b"\xff" * 10**6 + b".",
        "long number in digits": b"I" + b"9" * 10**6 + b"\n.",
        "deep": b"\x80\x02)" + b"\x85" * 100_000 + b".",
        "key twice": b"\x80\x02}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00aK\x02u.",
    }  # fmt: skip


def test_no_pickle_takes_for_ever(tmp_path):
    checkpoint = saved(tmp_path / "model.pt", STATE)
    started = time.process_time()
    for name, content in endless().items():
        with pytest.raises(WeightsError, match=r"token_dictionary.pkl.*(refused|damaged|expected)"):
            print(name, read_dictionary(write(tmp_path, content)))
        with pytest.raises(WeightsError, match=r"model.pt (is refused|is damaged|holds)"):
            print(name, read_state(rezipped(checkpoint, {"data.pkl": content})))
    assert time.process_time() - started < 20


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
    weights.load_state(module, state, rename, ignored=["cls_decoder.*", "flag_encoder.*"])
    assert torch.equal(module.inner.weight, torch.ones(2, 3)) and module.scale == 2
    assert module.inner.weight.dtype == torch.float32


def test_lower_precision_is_loaded_into_the_modules_own():
    module = Small()
    weights.load_state(module, {name: tensor.half() for name, tensor in RELEASED.items()}, rename)
    assert module.inner.weight.dtype == torch.float32 and module.scale == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x.bias": None}, r"missing x.bias \(2,\)"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x.bias": torch.tensor([0.0, torch.nan])}, "x.bias holds values that are NaN, infinite"),
        ({"scale": torch.tensor([torch.inf])}, "scale holds values that are NaN, infinite"),
        ({"scale": torch.tensor([1e300], dtype=torch.float64)}, "too large for torch.float32"),
        ({"x.bias": torch.zeros(2, dtype=torch.int64)}, r"x.bias is torch.int64, expected torch.float32"),
        ({"x.bias": torch.ones(2).to(torch.float8_e5m2)}, "x.bias is float8_e5m2, expected a whole tensor"),
        ({"x.bias": torch.ones(1).expand(2)}, r"x.bias is \(2,\) over fewer stored values, expected a whole"),
    ],
)
def test_weights_that_are_no_finite_numbers_are_named_with_their_file(change, message):
    module = Small()
    before = module.inner.weight.clone()
    with pytest.raises(WeightsError, match=rf"released\.pt does not fit Small: .*{message}"):
        weights.load_state(module, RELEASED | change, rename, path=Path("released.pt"))
    assert torch.equal(module.inner.weight, before)
    # The sum of finite weights may be too large: they are loaded.
    large = {"x.weight": torch.full((2, 3), 3e38)}
    weights.load_state(module, RELEASED | large, rename)
    assert torch.equal(module.inner.weight, large["x.weight"])


def test_a_layer_that_is_missing_has_its_released_name():
    """By that of another layer; by the network's own where nothing is like it."""
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    released = {f"layer.{name}": tensor for name, tensor in layers.state_dict().items()}
    first = {name: tensor for name, tensor in released.items() if name.startswith("layer.0.")}
    for state, missing in ((first, "layer.1.weight"), ({"other": torch.ones(1)}, "0.weight")):
        with pytest.raises(WeightsError, match=rf"missing {missing} \(2, 2\)"):
            weights.load_state(layers, state, lambda key: key.removeprefix("layer."))


def test_two_keys_for_one_parameter():
    with pytest.raises(
        WeightsError, match=r"x.bias and scale both claim inner.bias|scale and x.bias both claim"
    ):
        weights.load_state(Small(), RELEASED, lambda key: "inner.bias" if key == "scale" else rename(key))


def test_names_may_be_the_same():
    source = Small()
    module = Small()
    weights.load_state(module, source.state_dict())
    assert torch.equal(module.inner.weight, source.inner.weight)
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
    assert read_dictionary(write(tmp_path, b'\xef\xbb\xbf{"A": 1}', "vocab.json")) == {"A": 1}
    wrong = {
        b'{"A": 1': "not valid JSON",
        b"[1]": "holds a list; a dict",
        b'{"A": null}': "the value of 'A' is a NoneType",
        b'{"A": 1, "A": 2}': "'A' occurs twice",
        b'{"A": NaN}': "NaN is not a number of JSON",
        b'{"A": -Infinity}': "-Infinity is not a number",
        b'{"A": 1e999}': "1e999 is too large",
        b'{"A": ' + b"9" * 5000 + b"}": "not valid JSON",
        b'{"A":' * 100_000: "nested too deeply",
        '{"A": 1}'.encode("utf-16"): "not valid JSON",
        b'{"\xe9": 1}': "not valid JSON",
        b"<html>": "a web page",
        b"": "it is empty",
    }
    for content, message in wrong.items():
        path = write(tmp_path, content, "vocab.json")
        with pytest.raises(WeightsError, match=rf"{path}.*{message}"):
            read_dictionary(path)
    path.unlink()
    path.touch()
    os.truncate(path, 2**33)
    with pytest.raises(WeightsError, match=r"has 8,192 MiB; expected .* of at most 32 MiB"):
        read_dictionary(path)


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


# -- lists of genes --------------------------------------------------------------------------------


def test_the_order_of_genes_is_read_from_each_kind_of_file(tmp_path):
    from anndata import AnnData

    (tmp_path / "a.txt").write_text("B\nA\n")
    (tmp_path / "a.tsv").write_text("gene_name\tindex\nB\t0\nA\t1\n")
    torch.save({"B": torch.ones(1), "A": torch.ones(1)}, tmp_path / "a.pt")
    adata = AnnData(np.ones((1, 2), np.float32))
    adata.var_names = ["B", "A"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    for kind in ("txt", "tsv", "pt", "h5ad"):
        assert weights.read_genes(tmp_path / f"a.{kind}") == ["B", "A"], kind
    (tmp_path / "lines.tsv").write_text("B\nA")
    assert weights.read_genes(tmp_path / "lines.tsv", heading=False) == ["B", "A"]
    for name, content, problem in (
        ("twice.txt", "A\nA\n", "names a gene twice"),
        ("none.txt", "\n", "does not hold the names of genes"),
        ("other.tsv", "symbol\nA\n", "has no column gene_name"),
        ("short.csv", "gene_name,index\nA\n", "rows of different length"),
        ("page.txt", "<html>", "is a web page or XML"),
        ("zeros.txt", "A\0\0", "does not hold the names of genes"),
        ("page.h5ad", "<html>", r"damaged, or no \.h5ad file"),
        ("a.docx", "A", "is refused: expected a list of genes"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(WeightsError, match=problem):
            weights.read_genes(tmp_path / name)


@pytest.mark.parametrize(
    ("model", "write"),
    [
        ("nicheformer", write_nicheformer),
        ("scmulan", write_scmulan),
        ("scprint-medium", write_scprint),
    ],
)
def test_a_checkpoint_that_holds_genes_and_tensors_is_read_once(monkeypatch, tmp_path, model, write):
    embedder = models.load(model, weights=write(tmp_path / "released", ["A", "B", "C"]))
    module = importlib.import_module(type(embedder).__module__)
    paths, read = [], module.read_content
    monkeypatch.setattr(module, "read_content", lambda path: paths.append(path) or read(path))
    cells = cells_of([[1, 2, 0], [0, 3, 1]], ["A", "B", "C"])
    embedder.tokenizer(cells, 0).tokenize(np.arange(2))
    assert embedder.network(cells, 0) is not embedder.network(cells, 0)
    assert paths.count(embedder.checkpoint.files["weights"]) == 1


@pytest.mark.parametrize(
    ("model", "write"),
    [("nicheformer", write_nicheformer), ("scmulan", write_scmulan), ("scprint-medium", write_scprint)],
)
def test_names_that_data_parallel_prefixed_are_read(tmp_path, model, write):
    folder, cells = write(tmp_path / "released", ["A", "B", "C"]), cells_of([[1, 2, 0]], ["A", "B", "C"])
    expected = models.load(model, weights=folder).network(cells, 0).state_dict()
    path = weights.find(catalog.model(model), folder).files["weights"]
    content = torch.load(path, weights_only=True)
    entry = "model" if model == "scmulan" else "state_dict"
    content[entry] = {f"module.{name}": tensor for name, tensor in content[entry].items()}
    torch.save(content | {"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}]}, path)
    found = models.load(model, weights=folder).network(cells, 0).state_dict()
    assert all((found[name] == tensor).all() for name, tensor in expected.items())
