"""The store: keys, policies, round trips, and that no accident leaves half a result."""

import errno
import hashlib
import importlib.metadata
import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from zeroshot import store
from zeroshot.runtime import paths

INPUTS = {"data": "abc", "seed": 0}


def stored(stage: str = "stage") -> list[str]:
    """Names of everything in a stage's folder, hidden leftovers included."""
    folder = paths.artifacts() / stage
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def compute(values: dict, calls: list | None = None):
    def once():
        if calls is not None:
            calls.append(1)
        return values

    return once


# -- keys ------------------------------------------------------------------------------------------


def test_key_does_not_depend_on_the_order_of_fields():
    one = {"a": 1, "b": {"c": [1, 2], "d": None}}
    other = {"b": {"d": None, "c": [1, 2]}, "a": 1}
    assert store.key_of(one) == store.key_of(other)
    assert len(store.key_of(one)) == 20 and set(store.key_of(one)) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "other",
    [
        {"a": [2, 1]},
        {"a": [1, 2.5]},
        {"a": ["1", 2]},
        {"b": [1, 2]},
        {"a": [1, 2], "b": None},
        {},
        {"a": [True, 2]},
    ],
)
def test_key_depends_on_content(other):
    assert store.key_of({"a": [1, 2]}) != store.key_of(other)


@pytest.mark.parametrize("value", [{1, 2}, np.float32(1), np.arange(2), Path("x"), b"bytes", {10: 1, 9: 1}])
def test_key_of_anything_but_json_is_refused(value):
    with pytest.raises(TypeError):
        store.key_of({"a": value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_key_of_nan_is_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        store.key_of({"a": value})


# -- policies --------------------------------------------------------------------------------------


def test_reuse_computes_once(home):
    calls = []
    first = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}, calls))
    again = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(9)}, calls))
    assert len(calls) == 1 and (first.reused, again.reused) == (False, True)
    assert first.path == again.path and first.key == store.key_of(INPUTS)
    assert again.load("x").tolist() == [0, 1, 2]
    store.load_or_compute("stage", INPUTS | {"seed": 1}, compute({"x": np.arange(3)}, calls))
    store.load_or_compute("other", INPUTS, compute({"x": np.arange(3)}, calls))
    assert len(calls) == 3, "another pre-image or another stage is another result"


def test_recompute_replaces_what_is_stored_and_leaves_nothing_else(home):
    store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3), "old": np.zeros(1)}))
    new = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(9)}), "recompute")
    assert not new.reused and len(new.load("x")) == 9
    assert stored() == [new.key], "the replaced artifact is gone"
    with pytest.raises(KeyError, match=r"holds no 'old'; it holds \['x'\]"):
        new.load("old")


def test_failing_recompute_keeps_what_was_stored(home):
    first = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    with pytest.raises(ZeroDivisionError):
        store.load_or_compute("stage", INPUTS, lambda: 1 / 0, "recompute")
    assert stored() == [first.key] and len(first.load("x")) == 3


def test_only_stored_never_computes(home):
    calls = []
    with pytest.raises(store.NotStoredError, match=r"no stage is stored for.*abc.*policy 'reuse'"):
        store.load_or_compute("stage", INPUTS, compute({}, calls), "only-stored")
    assert not calls and stored() == []
    store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    assert store.load_or_compute("stage", INPUTS, compute({}, calls), "only-stored").reused and not calls


def test_unknown_policy_is_refused(home):
    with pytest.raises(ValueError, match="unknown policy 'resue': expected one of reuse"):
        store.load_or_compute("stage", INPUTS, compute({}), "resue")
    assert stored() == []


# -- what can be stored ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
        np.array([[1.0, np.nan], [np.inf, -0.0]]),
        np.array(["B", "µ"]),
        np.zeros((0, 4), np.int8),
    ],
    ids=["float32", "specials", "strings", "empty"],
)
def test_array_round_trip(home, array):
    back = store.load_or_compute("stage", INPUTS, compute({"x": array})).load("x")
    assert back.dtype == array.dtype and back.tobytes() == array.tobytes() and back.shape == array.shape


def test_table_round_trip_to_the_last_bit(home):
    table = pd.DataFrame(
        {
            "cell_type": ["NA", "null", "T, CD4", 'with "quotes"', "µ"]
            * 200,  # labels that CSV readers trip over
            "value": np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-10, 10).repeat(50),
            "count": np.arange(1000),
            "passed": [True, False] * 500,
        }
    )
    table.loc[7, "value"] = np.nan
    back = store.load_or_compute("stage", INPUTS, compute({"t": table})).load("t")
    pd.testing.assert_frame_equal(back, table, check_exact=True)


def test_dict_round_trip(home):
    value = {"b": [1, 2.5, None, True], "a": {"ü": "ß"}}
    assert store.load_or_compute("stage", INPUTS, compute({"d": value})).load("d") == value


def test_cells_round_trip(home):
    counts = sparse.random(20, 8, 0.3, "csr", dtype=np.float32, random_state=0)
    obs = pd.DataFrame({"cell_type": pd.Categorical(["a", "b"] * 10)}, index=[f"c{i}" for i in range(20)])
    adata = AnnData(counts, obs, pd.DataFrame(index=[f"g{i}" for i in range(8)]))
    back = store.load_or_compute("stage", INPUTS, compute({"data": adata})).load("data")
    assert (back.X != adata.X).nnz == 0 and back.X.format == "csr"
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    assert back.var_names.equals(adata.var_names)


def test_name_with_a_dot_keeps_its_name(home):
    artifact = store.load_or_compute("stage", INPUTS, compute({"v1.5": np.arange(2), "v1.6": np.arange(3)}))
    assert len(artifact.load("v1.5")) == 2 and len(artifact.load("v1.6")) == 3


@pytest.mark.parametrize(
    "value",
    [[1, 2], 3.0, "text", {"x": np.int64(3)}, {"x": Path("/tmp")}, np.array([object()])],
    ids=["list", "number", "text", "numpy-in-dict", "path-in-dict", "objects"],
)
def test_what_would_not_come_back_the_same_is_refused(home, value):
    with pytest.raises((TypeError, ValueError)):
        store.load_or_compute("stage", INPUTS, compute({"first": np.arange(3), "x": value}))
    assert stored() == [], "values written before the refused one are gone too"


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_never_read(home, tmp_path):
    """Not even where the hashes agree."""
    trace = tmp_path / "executed"
    for write in (
        lambda file: np.save(file, np.array([Bomb(trace)], dtype=object), allow_pickle=True),
        lambda file: file.write_bytes(pickle.dumps(Bomb(trace))),
    ):
        artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}), "recompute")
        write(artifact.path / "x.npy")
        rehash(artifact)
        with pytest.raises(store.StoreError, match=r"x.npy cannot be read"):
            artifact.load("x")
        assert not trace.exists()
    assert pickle.loads((artifact.path / "x.npy").read_bytes()) is None
    assert trace.exists(), "the bomb would have gone off"


# -- damage ----------------------------------------------------------------------------------------


def rehash(artifact: store.Artifact, **changes) -> None:
    """Write the record of an artifact anew, as somebody who forges results would."""
    path = artifact.path / "provenance.json"
    record = json.loads(path.read_text()) | changes
    for name, written in record["files"].items():
        content = (artifact.path / name).read_bytes()
        written |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    del record["record"]
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(record | {"record": digest}))


CONTENT = {
    "embedding": np.arange(600.0).reshape(100, 6),
    "scores": pd.DataFrame({"metric": ["asw", "nmi"], "value": [0.123456, 0.5]}),
    "notes": {"notes": ["one"]},
}


def flip(file: Path, at: int = -5) -> None:
    """Change one bit and neither size nor times."""
    content, times = bytearray(file.read_bytes()), file.stat()
    content[at] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def swap_for_another(path: Path) -> None:
    other = store.load_or_compute("stage", INPUTS | {"seed": 1}, compute(CONTENT))
    shutil.copytree(other.path, path, dirs_exist_ok=True)


def link(path: Path, name: str) -> None:
    (path / name).rename(path.parent / "elsewhere")
    (path / name).symlink_to(path.parent / "elsewhere")


def become_a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("x")


def record_without(path: Path, *names: str) -> None:
    record = json.loads((path / "provenance.json").read_text())
    text = json.dumps({key: value for key, value in record.items() if key not in names})
    (path / "provenance.json").write_text(text)


def another_stage(path: Path) -> None:
    rehash(store.Artifact(path, True), stage="another")


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


DAMAGES = {
    "a bit of an array": lambda path: flip(path / "embedding.npy"),
    "a digit of a table": lambda path: rewrite(path / "scores.csv", "0.123456", "0.923456"),
    "a letter of a dict": lambda path: rewrite(path / "notes.json", "one", "two"),
    "a truncated array": lambda path: os.truncate(path / "embedding.npy", 200),
    "an empty table": lambda path: os.truncate(path / "scores.csv", 0),
    "a file that seems endless": lambda path: os.truncate(path / "notes.json", 2**42),
    "a missing file": lambda path: (path / "scores.csv").unlink(),
    "a link": lambda path: link(path, "scores.csv"),
    "a pipe": lambda path: [(path / "notes.json").unlink(), os.mkfifo(path / "notes.json")],
    "a record that is a pipe": lambda path: [
        (path / "provenance.json").unlink(), os.mkfifo(path / "provenance.json")],
    "no record": lambda path: (path / "provenance.json").unlink(),
    "an empty record": lambda path: os.truncate(path / "provenance.json", 0),
    "half a record": lambda path: os.truncate(path / "provenance.json", 300),
    "a record that is a list": lambda path: (path / "provenance.json").write_text("[1]"),
    "a deeply nested record": lambda path: (path / "provenance.json").write_text('{"a":' * 60_000),
    "a record of bytes": lambda path: (path / "provenance.json").write_bytes(b"\xff\x00" * 9),
    "a record without hashes": lambda path: record_without(path, "files", "record"),
    "a record without its own hash": lambda path: record_without(path, "record"),
    "other seconds": lambda path: rewrite(path / "provenance.json", '"seconds"', '"Seconds"'),
    "another seed": lambda path: rewrite(path / "provenance.json", '"seed": 0', '"seed": 1'),
    "another artifact": swap_for_another,
    "a forged stage": another_stage,
    "a file": become_a_file,
    "an empty directory": lambda path: [file.unlink() for file in path.iterdir()],
}  # fmt: skip


def test_what_is_damaged_is_computed_again_and_never_used(home, capsys, monkeypatch):
    measured = store.measure(0.5)
    monkeypatch.setattr(store.artifacts, "measure", lambda seconds: measured)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for name, harm in DAMAGES.items():
        first = store.load_or_compute("stage", INPUTS, compute(CONTENT))
        assert store.damage(first.path) is None
        harm(first.path)
        assert store.damage(first.path), name
        with pytest.raises(store.StoreError, match=first.key):
            [store.Artifact(first.path, reused=True).load(value) for value in CONTENT]
        with pytest.raises(store.NotStoredError, match=f"{first.key} is damaged: .*policy 'reuse'"):
            store.load_or_compute("stage", INPUTS, compute(CONTENT), "only-stored")
        capsys.readouterr()
        again = store.load_or_compute("stage", INPUTS, compute(CONTENT))
        said = capsys.readouterr().err
        assert f"artifacts/stage/{first.key} is damaged and computed again: " in said, name
        assert not again.reused and again.load("scores")["value"].tolist() == [0.123456, 0.5]
        assert (again.load("embedding") == CONTENT["embedding"]).all()
        assert store.load_or_compute("stage", INPUTS, compute(CONTENT)).reused
        assert not capsys.readouterr().err
        shutil.rmtree(again.path.parent)


def test_files_that_were_not_stored_are_not_read(home):
    artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    (artifact.path / "subsamples.csv").write_text("a\n1\n")
    (artifact.path / "x.csv").write_text("a\n1\n")
    assert "subsamples" not in artifact and artifact.load("x").tolist() == [0, 1, 2]
    with pytest.raises(KeyError):
        artifact.load("subsamples")


@pytest.mark.parametrize("shape", ["(9999999999999,)", "(3, 2**70)", "(4,)", "(-1,)", "('a',)"])
def test_header_that_claims_what_is_not_there(home, shape):
    artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    file = artifact.path / "x.npy"
    old = b"'shape': (3,), }" + b" " * 30
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, f"'shape': {shape}, }}".encode().ljust(len(old))))
    rehash(artifact)
    with pytest.raises(store.StoreError, match=r"x.npy cannot be read.*Delete"):
        artifact.load("x")


def test_what_was_read_once_is_not_hashed_again(home, monkeypatch):
    artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(1000), "y": np.arange(3)}))
    for file in artifact.path.iterdir():
        os.utime(file, (1, 1))
    later = time.time_ns() + 10**9  # a file that has just been written is read again
    monkeypatch.setattr(time, "time_ns", lambda: later)
    read = []
    monkeypatch.setattr(
        hashlib,
        "file_digest",
        lambda file, algorithm, real=hashlib.file_digest: (
            read.append(Path(file.name).name) or real(file, algorithm)
        ),
    )
    for _ in range(3):
        again = store.load_or_compute("stage", INPUTS, compute({}))
        assert again.reused and len(again.load("x")) == 1000 and len(again.load("y")) == 3
    assert sorted(read) == ["x.npy", "y.npy"]
    flip(artifact.path / "x.npy")
    with pytest.raises(store.StoreError, match=r"x.npy has sha256"):
        again.load("x")


def test_repair_while_another_process_repairs_the_same(home):
    artifact = store.load_or_compute("stage", INPUTS, compute(CONTENT))
    flip(artifact.path / "embedding.npy")
    inode = []

    def while_another_repairs():
        inode.append(store.load_or_compute("stage", INPUTS, compute(CONTENT)).path.stat().st_ino)
        return CONTENT

    again = store.load_or_compute("stage", INPUTS, while_another_repairs)
    assert [again.path.stat().st_ino] == inode, "whoever reads the first repair goes on reading it"
    assert stored() == [again.key]


def fail(code: int):
    def write(path, value):
        Path(f"{path}.npy").write_bytes(b"half an array")
        raise OSError(code, os.strerror(code))

    return write


def test_full_disk_is_named_and_nothing_old_is_lost(home, monkeypatch):
    old = store.load_or_compute("stage", INPUTS, compute(CONTENT))
    for error in (errno.ENOSPC, errno.EDQUOT):
        with monkeypatch.context() as patch:
            patch.setattr(store.artifacts, "write_value", fail(error))
            with pytest.raises(
                store.StoreError, match=rf"the disk of {old.path.parent} is full \([\d,.]+ MiB free"
            ):
                store.load_or_compute("stage", INPUTS, compute(CONTENT), "recompute")
        assert stored() == [old.key] and store.damage(old.path) is None


def test_result_that_cannot_be_moved_into_place_leaves_the_old_one(home, monkeypatch):
    old = store.load_or_compute("stage", INPUTS, compute(CONTENT))
    rename = Path.rename

    def refuse(self, target):
        if Path(target) == old.path and self.name != "replaced":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(store.StoreError, match=r"cannot be written: .*Permission denied"):
        store.load_or_compute("stage", INPUTS, compute(CONTENT), "recompute")
    assert stored() == [old.key] and store.damage(old.path) is None


def test_store_that_cannot_be_written_is_refused_before_computing(home):
    (home / "artifacts").mkdir()
    (home / "artifacts" / "stage").write_text("a file where a directory belongs")
    with pytest.raises(store.StoreError, match=r"artifacts/stage cannot be written.*ZEROSHOT_HOME"):
        store.load_or_compute("stage", INPUTS, lambda: pytest.fail("computed for nothing"))


# -- provenance ------------------------------------------------------------------------------------


def test_provenance_says_what_made_the_result(home):
    def slow():
        time.sleep(0.05)
        return {"x": np.ones(4_000_000)}  # 30 MiB

    record = store.load_or_compute("stage", INPUTS, slow).provenance
    assert record["stage"] == "stage" and record["inputs"] == INPUTS
    assert 0.05 <= record["seconds"] < 20 and 30 < record["peak_memory_mb"] < 1e5
    assert record["packages"]["numpy"] == np.__version__
    assert set(record["packages"]) == set(store.RECORDED_PACKAGES)
    assert record["packages"]["zeroshot"] == importlib.metadata.version("zeroshot")
    assert record["device"] and record["python"].startswith("3.1")
    assert record["finished"].endswith("+00:00")
    assert store.key_of(record["inputs"]) == store.key_of(INPUTS), "the key can be checked from the record"


def test_commit_outside_and_inside_git(home):
    assert store.commit() == "unknown"
    git = ["git", "-C", str(home), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "data"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    clean = store.commit()
    assert len(clean) == 12 and int(clean, 16) >= 0
    (home / "new-file").write_text("untracked files change no result")
    assert store.commit() == clean
    (home / "data" / "studies.yml").write_text("changed")
    assert store.commit() == f"{clean}-dirty"


# -- atomicity -------------------------------------------------------------------------------------


def test_a_compute_that_raises_leaves_nothing(home):
    with pytest.raises(ZeroDivisionError):
        store.load_or_compute("stage", INPUTS, lambda: 1 / 0)
    assert stored() == []


def test_an_interrupt_while_writing_leaves_nothing(home, monkeypatch):
    write = store.artifacts.write_value

    def interrupted(path, value):
        write(path, value)
        if path.name == "second":
            raise KeyboardInterrupt

    monkeypatch.setattr(store.artifacts, "write_value", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.load_or_compute("stage", INPUTS, compute({"first": np.arange(3), "second": np.arange(3)}))
    assert stored() == []


COMPUTE = """
import sys, time
from pathlib import Path
import numpy as np
from zeroshot import store
from zeroshot.store import artifacts

kill_at, ready, policy = sys.argv[1:]

def pause(at):
    if at == kill_at:
        Path(ready).touch()
        time.sleep(60)

def compute():
    pause("compute")
    return {"first": np.arange(1000.0), "second": np.arange(10.0)}

write = artifacts.write_value

def slow_write(path, value):
    if kill_at == "half-written" and path.name == "second":
        Path(f"{path}.npy").write_bytes(b"half an array")
        pause("half-written")
    write(path, value)
    if path.name == "provenance":
        pause("written")

rename = Path.rename

def slow_rename(self, target):
    done = rename(self, target)
    if Path(target).name == "replaced":
        pause("moved-aside")
    return done

artifacts.write_value, Path.rename = slow_write, slow_rename
artifact = store.load_or_compute("stage", {"data": "abc", "seed": 0}, compute, policy)
print(artifact.reused, artifact.load("first").sum(), artifact.load("second").sum())
"""


def kill_during(command: list[str], moment: str, ready: Path, policy: str) -> None:
    process = subprocess.Popen([*command, moment, str(ready), policy])
    try:
        waited = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, "the process ended before it could be killed"
            assert time.monotonic() < waited
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("moment", ["compute", "half-written", "written"])
def test_kill_9_leaves_nothing_that_is_taken_for_a_result(home, script, tmp_path, moment):
    command = script(COMPUTE)
    kill_during(command, moment, tmp_path / "ready", "reuse")
    assert [name for name in stored() if not name.startswith(".")] == []
    with pytest.raises(store.NotStoredError):
        store.load_or_compute("stage", INPUTS, compute({}), "only-stored")
    again = subprocess.run([*command, "never", "-", "reuse"], capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["False", "499500.0", "45.0"]
    # What the killed process left is hidden, and goes when it is old enough to be surely dead.
    assert bool([name for name in stored() if name.startswith(".")]) == (moment != "compute")
    store.remove_leftovers()
    assert bool([name for name in stored() if name.startswith(".")]) == (moment != "compute")
    store.remove_leftovers(older_than_seconds=-1)
    assert stored() == [store.key_of(INPUTS)]


@pytest.mark.parametrize("moment", ["half-written", "moved-aside"])
def test_kill_9_while_replacing_leaves_a_whole_result_or_none(home, script, tmp_path, moment):
    command = script(COMPUTE)
    old = store.load_or_compute("stage", INPUTS, compute({"first": np.zeros(1), "second": np.zeros(1)}))
    kill_during(command, moment, tmp_path / "ready", "recompute")
    if moment == "half-written":
        assert old.load("first").tolist() == [0.0] and old.load("second").tolist() == [0.0]
    else:
        assert not old.path.exists()
    again = subprocess.run([*command, "never", "-", "recompute"], capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["False", "499500.0", "45.0"]


CONCURRENT = """
import sys, time
from pathlib import Path
import numpy as np
from zeroshot import store

mine, other, policy = sys.argv[1:]

def compute():
    Path(mine).touch()
    while not Path(other).exists():  # neither ends before both are in the middle of it
        time.sleep(0.005)
    return {"x": np.random.default_rng(0).normal(size=300_000)}

for seed in range(10):
    artifact = store.load_or_compute("stage", {"seed": seed}, compute, policy)
    values = artifact.load("x") if policy == "reuse" else np.zeros(0)
    print(artifact.key, artifact.reused, values.sum(), len(values))
"""


@pytest.mark.parametrize("policy", ["reuse", "recompute"])
def test_two_processes_computing_the_same_both_get_it_whole(home, script, tmp_path, policy):
    command = script(CONCURRENT)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    pair = [
        subprocess.Popen([*command, *names, policy], stdout=subprocess.PIPE, text=True)
        for names in ((a, b), (b, a))
    ]
    printed = [process.communicate(timeout=120)[0].splitlines() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert [len(lines) for lines in printed] == [10, 10]
    assert printed[0][0].split()[1] == printed[1][0].split()[1] == "False", "both were computing the first"
    keys = [store.key_of({"seed": seed}) for seed in range(10)]
    assert stored() == sorted(keys), "no leftovers"
    expected = np.random.default_rng(0).normal(size=300_000)
    for key in keys:
        np.testing.assert_array_equal(
            store.Artifact(paths.artifacts() / "stage" / key, True).load("x"), expected
        )
    if policy == "reuse":
        for lines in printed:
            assert {tuple(line.split()[2:]) for line in lines} == {(str(expected.sum()), "300000")}


def test_second_to_finish_leaves_the_first_result_alone(home):
    first = []

    def while_another_finishes():
        other = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
        first.append((other.path / "x.npy").stat().st_ino)
        return {"x": np.arange(3)}

    artifact = store.load_or_compute("stage", INPUTS, while_another_finishes)
    # Whoever holds the first result may be reading it right now.
    assert [(artifact.path / "x.npy").stat().st_ino] == first
    assert stored() == [artifact.key]


def test_results_can_be_read_by_others_on_a_shared_disk(home):
    artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    assert artifact.path.stat().st_mode & 0o777 == 0o755


def test_leftovers_of_a_running_process_are_spared(home):
    folder = paths.artifacts() / "stage"
    for name in (".old-x", ".young-x", "complete"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.npy").touch()
    day_ago = time.time() - 90_000
    for name in (".old-x", "complete"):
        os.utime(folder / name, (day_ago, day_ago))
    store.remove_leftovers()
    assert stored() == [".young-x", "complete"]


# -- write_text ------------------------------------------------------------------------------------


def test_write_text_keeps_the_time_when_nothing_changed(tmp_path):
    file = tmp_path / "new" / "plan.json"
    store.write_text(file, "ä")
    assert file.read_text(encoding="utf-8") == "ä" and file.stat().st_mode & 0o777 == 0o644
    os.utime(file, (1, 1))
    store.write_text(file, "ä")
    assert file.stat().st_mtime == 1
    store.write_text(file, "b")
    assert file.stat().st_mtime > 1 and file.read_text() == "b"
    assert list(file.parent.iterdir()) == [file]


def test_write_text_replaces_the_file_and_never_writes_into_it(tmp_path):
    file = tmp_path / "plan.json"
    file.write_text("old")
    with file.open() as reader:
        store.write_text(file, "new")
        assert reader.read() == "old", "somebody who was reading keeps the whole old text"


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_write_text_that_fails_leaves_nothing(tmp_path, monkeypatch):
    file = tmp_path / "plan.json"
    file.write_bytes(b"\xff\xfe not UTF-8")
    with monkeypatch.context() as patch:
        patch.setattr(
            Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space"))
        )
        with pytest.raises(store.StoreError, match=f"the disk of {file} is full"):
            store.write_text(file, "new")
    assert file.read_bytes() == b"\xff\xfe not UTF-8" and list(tmp_path.iterdir()) == [file]
    store.write_text(file, "new")
    assert file.read_text() == "new"
    with pytest.raises(store.StoreError, match="is a directory: expected the name of a file"):
        store.write_text(tmp_path, "x")
    with pytest.raises(store.StoreError, match="cannot be written"):
        store.write_text(file / "below-a-file", "x")
    with pytest.raises(store.StoreError, match="UTF-8"):
        store.write_text(file, "\ud800")
    store.write_text(tmp_path / ("n" * 250), "x")
    assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["nnnn", "plan"]


def test_provenance_file_is_readable_json(home):
    artifact = store.load_or_compute("stage", INPUTS, compute({"x": np.arange(3)}))
    assert json.loads((artifact.path / "provenance.json").read_text()) == artifact.provenance
