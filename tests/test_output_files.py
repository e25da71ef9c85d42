"""Outputs: what is refused before anything is computed, and that nothing half-written is left."""

import errno
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from zeroshot.runtime import outputs
from zeroshot.runtime.outputs import OutputError, replacing, require_new


@pytest.fixture
def source(tmp_path, monkeypatch):
    """An input, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.h5ad"
    path.write_bytes(b"counts")
    return path


def test_the_input_is_refused_by_any_route(source, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "soft.h5ad").symlink_to(source)
    (tmp_path / "hard.h5ad").hardlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    routes = (source, "mine.h5ad", "sub/../mine.h5ad", "soft.h5ad", "hard.h5ad", "folder/mine.h5ad")
    for route in routes:
        with pytest.raises(OutputError, match=r"is the input .*: choose another --output"):
            require_new(Path(route), "other", source)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OutputError, match="is the input"):
        require_new(source, "~/mine.h5ad")


def test_what_is_no_file_or_takes_none_is_refused(source, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-nowhere").symlink_to(tmp_path / "absent" / "out.h5ad")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")
    wrong = (
        ".", "..", "pipe", "socket", "/dev/null", "absent/out.h5ad", "to-nowhere", "circle",
        "mine.h5ad/out.h5ad", "/proc/out.h5ad", "x" * 300,
    )  # fmt: skip
    before = sorted(tmp_path.iterdir())
    for odd_input in ("circle", "x" * 300):  # whoever reads it will refuse it
        require_new(Path("out.h5ad"), odd_input)
    for output in wrong:
        with pytest.raises(OutputError, match="--output"):
            require_new(Path(output), source)
    listener.close()
    assert sorted(tmp_path.iterdir()) == before


def test_folders_and_files_without_permission_are_refused(source, tmp_path, monkeypatch):
    (tmp_path / "old.h5ad").touch()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "old.h5ad")  # root may everything
    with pytest.raises(OutputError, match="write-protected"):
        require_new(Path("old.h5ad"), source)

    def refuse(**_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(OutputError, match=r"out.h5ad cannot be written \(Permission denied\)"):
        require_new(Path("out.h5ad"), source)


def test_a_disk_with_too_little_space_is_named(source, tmp_path, monkeypatch):
    usage = namedtuple("Usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**20))
    require_new(Path("out.h5ad"), source, n_bytes=2**20)
    with pytest.raises(
        OutputError, match=f"disk of {tmp_path} is too full .* 2.0 MiB are needed, 1.0 MiB are"
    ):
        require_new(Path("out.h5ad"), source, n_bytes=2**21)


def test_an_output_appears_when_it_is_complete(source, tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    for output in (Path("new.csv"), Path("link.csv")):
        with replacing(output) as temporary:
            temporary.write_text("new")
            assert not output.exists() or output.read_text() == "old"
        assert output.read_text() == "new" and output.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "link.csv").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"mine.h5ad", "new.csv", "real.csv", "link.csv"}


def test_after_an_error_the_old_output_stays(source, tmp_path):
    source.write_text("old")
    full = OSError(errno.ENOSPC, "No space left on device")
    within = RuntimeError(
        "Can't decrement id ref count (errno = 28, error message = 'No space left on device')"
    )
    for error, expected in ((full, OutputError), (within, OutputError), (SystemExit(143), SystemExit)):
        with pytest.raises(expected) as raised, replacing(source) as temporary:
            temporary.write_text("half")
            raise error
        assert expected is SystemExit or f"the disk of {tmp_path} is full" in str(raised.value)
        assert source.read_text() == "old" and list(tmp_path.iterdir()) == [source]


def test_space_is_reserved_before_it_is_written(source):
    outputs.reserve(source, 4096)
    assert source.stat().st_size == 4096 and source.read_bytes().startswith(b"counts")
