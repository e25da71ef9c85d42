"""The download path against a real server on 127.0.0.1 that serves the published files, or misbehaves."""

import hashlib
import importlib
import os
import subprocess
import sys
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from zeroshot import catalog, paths
from zeroshot.catalog import DatasetCard, SourceFile
from zeroshot.data import DataError, download, fetch, load

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", CHECKOUT.parent / "shared"))
SOURCES = SHARED / "data" / "sources"
needs_sources = pytest.mark.skipif(
    not SOURCES.is_dir(), reason=f"no source files in {SOURCES} (name the folder in ZEROSHOT_SHARED)"
)
CONTENT = np.random.default_rng(0).bytes(20 * download.CHUNK_BYTES + 12_345)


class Server(ThreadingHTTPServer):
    """Serves `files` by name; `cut_after` bytes the connection drops, as often as `cuts` says."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"file.bin": CONTENT}
        self.cuts, self.cut_after = 0, 2 * download.CHUNK_BYTES
        self.ranges, self.statuses, self.redirect, self.requests = True, [], None, []
        self.lock = threading.Lock()

    def url(self, name="file.bin"):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        with server.lock:
            server.requests.append(asked)
            status = server.statuses.pop(0) if server.statuses else None
            cut = server.cuts > 0
            server.cuts -= cut
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.files.get(self.path.strip("/"))
        if status or content is None:
            self.send_error(status or 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        if start > len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        body = content[start:]
        self.wfile.write(body[: server.cut_after] if cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A project of its own, no local sources, no waiting between attempts."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "datasets.yml").write_bytes((CHECKOUT / "data" / "datasets.yml").read_bytes())
    monkeypatch.setenv("ZEROSHOT_HOME", str(tmp_path))
    monkeypatch.delenv("ZEROSHOT_DATA", raising=False)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(download, "WAIT_SECONDS", 0.01)
    return tmp_path


def card(url, content=CONTENT, **changes):
    hashes = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    file = SourceFile(name="file.bin", url=url, **(hashes | changes))
    return DatasetCard(
        name="toy", title="", description="", organism="", tissue="", source="files", files=(file,),
        licence="", label_key="cell_type", verified=False,
    )  # fmt: skip


def leftovers():
    """What lies in the folder of downloads, lock files apart."""
    folder = paths.downloads() / "toy"
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_download_once_then_reuse(server, capsys):
    toy = card(server.url())
    for _ in range(2):
        assert fetch(toy)["file.bin"].read_bytes() == CONTENT
    assert leftovers() == ["file.bin"] and len(server.requests) == 1
    assert "file.bin" in capsys.readouterr().err  # the progress bar


def test_md5_will_do(server):
    toy = card(server.url(), sha256=None, md5=hashlib.md5(CONTENT).hexdigest())
    assert fetch(toy)["file.bin"].read_bytes() == CONTENT


def test_wrong_checksum_is_removed_and_both_hashes_named(server):
    toy = card(server.url(), sha256="0" * 64, size=None)
    with pytest.raises(DataError, match=rf"{hashlib.sha256(CONTENT).hexdigest()}, expected 0{{64}}"):
        fetch(toy)
    assert leftovers() == [] and len(server.requests) == 1


def test_damaged_file_on_disk_is_replaced(server):
    toy = card(server.url())
    fetch(toy)["file.bin"].write_bytes(CONTENT[:-1] + b"x")
    with pytest.warns(UserWarning, match="damaged"):
        assert fetch(toy)["file.bin"].read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_cut_connection_is_resumed_or_restarted(server, ranges):
    server.cuts, server.ranges = 1, ranges
    assert fetch(card(server.url()))["file.bin"].read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={server.cut_after}-"] and leftovers() == ["file.bin"]


def test_connection_that_is_always_cut_leaves_nothing_usable(server):
    server.cuts, server.cut_after = 99, download.CHUNK_BYTES
    toy = card(server.url())
    with pytest.raises(DataError, match=r"could not download .*ZEROSHOT_DATA"):
        fetch(toy)
    assert leftovers() == ["file.bin.part"]
    server.cuts = 0
    assert fetch(toy)["file.bin"].read_bytes() == CONTENT  # goes on where it stopped
    assert server.requests[-1] == f"bytes={download.CHUNK_BYTES * download.ATTEMPTS}-" and leftovers() == [
        "file.bin"
    ]


@pytest.mark.parametrize(
    "part", [b"of another file", CONTENT, CONTENT + b"and more"], ids=["foreign", "complete", "too long"]
)
def test_part_of_an_earlier_run(server, part):
    folder = paths.downloads() / "toy"
    folder.mkdir(parents=True)
    (folder / "file.bin.part").write_bytes(part)
    assert fetch(card(server.url()))["file.bin"].read_bytes() == CONTENT
    assert leftovers() == ["file.bin"]
    assert len(server.requests) == {b"of another file": 2, CONTENT: 0}.get(part, 1)


def test_concurrent_fetch_downloads_once(server, home):
    toy = card(server.url())
    code = (
        "import sys; from zeroshot.catalog import DatasetCard; from zeroshot.data import fetch;"
        "print(fetch(DatasetCard.model_validate_json(sys.argv[1]))['file.bin'])"
    )
    command = [sys.executable, "-c", code, toy.model_dump_json()]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [worker.communicate()[0].decode().strip() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0] and len(set(outputs)) == 1
    assert Path(outputs[0]).read_bytes() == CONTENT
    assert len(server.requests) == 1 and leftovers() == ["file.bin"]


def test_local_folder_comes_first(server, tmp_path, monkeypatch):
    folder = tmp_path / "local" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.setenv("ZEROSHOT_DATA", str(tmp_path / "local"))
    (folder / "file.bin").write_bytes(CONTENT)
    toy = card(server.url())
    assert fetch(toy)["file.bin"] == folder / "file.bin" and not server.requests
    (folder / "file.bin").write_bytes(b"other")
    with pytest.warns(UserWarning, match=f"is not used.*{hashlib.sha256(CONTENT).hexdigest()}"):
        assert fetch(toy)["file.bin"].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_local_folder_that_does_not_exist(server, monkeypatch):
    monkeypatch.setenv("ZEROSHOT_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="ZEROSHOT_DATA names /no/such/folder"):
        fetch(card(server.url()))


def test_unknown_hash_is_recorded_and_holds_ever_after(server):
    toy = card(server.url(), sha256=None, size=None)
    with pytest.warns(UserWarning, match="unchecked"):
        path = fetch(toy)["file.bin"]
    assert leftovers() == ["file.bin", "file.bin.sha256"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch(toy)["file.bin"] == path
    path.unlink()
    server.files["file.bin"] = b"changed at the source"
    with pytest.raises(DataError, match="not the file"):
        fetch(toy)
    assert leftovers() == ["file.bin.sha256"]


def test_missing_file_is_not_asked_for_again(server):
    with pytest.raises(DataError, match=r"the server answered 404.*put file.bin into a folder"):
        fetch(card(server.url("gone")))
    assert len(server.requests) == 1


def test_server_error_is_tried_again(server):
    server.statuses = [503, 429]
    assert fetch(card(server.url()))["file.bin"].read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_server_down(server):
    url = server.url()
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=r"could not download .*refused.*Check the network"):
        fetch(card(url))


def test_plain_http_is_refused_even_after_a_redirect(server):
    with pytest.raises(ValidationError, match="only https"):
        card("http://example.org/file.bin")
    server.redirect = f"http://localhost:{server.server_address[1]}/file.bin"
    with pytest.raises(DataError, match="only https"):
        fetch(card(server.url()))


@needs_sources
def test_real_set_from_a_server(server, monkeypatch):
    """The published files of one set, over HTTP, to the contract."""
    real = catalog.dataset("pbmc-three-chemistries")
    server.files = {file.name: (SOURCES / real.name / file.name).read_bytes() for file in real.files}
    files = tuple(file.model_copy(update={"url": server.url(file.name)}) for file in real.files)
    served = real.model_copy(update={"files": files})
    monkeypatch.setattr(catalog, "datasets", lambda: {served.name: served})
    adata = load(served.name)
    assert adata.shape == (1200, 1767) and int(adata.X.sum(dtype=np.float64)) == 1_495_544
    assert len(server.requests) == len(files)
    load(served.name)  # from the store, without asking again
    assert len(server.requests) == len(files)


@needs_sources
def test_every_registered_source_file_is_the_one_in_the_shared_folder(monkeypatch):
    monkeypatch.setenv("ZEROSHOT_DATA", str(SOURCES))
    for name, entry in catalog.datasets().items():
        if entry.source == "files" and entry.verified:
            for file, path in fetch(entry).items():
                assert path == (SOURCES / name / file).resolve()
                assert path.stat().st_size == next(f.size for f in entry.files if f.name == file)


def test_requests_are_imported_late():
    assert "requests" not in vars(importlib.import_module("zeroshot.data.download"))
