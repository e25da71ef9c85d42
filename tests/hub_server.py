"""A server on 127.0.0.1 with the layout of the Hugging Face hub, which can be slow, cut off, or wrong."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = 2**20  # from here on the hub keeps files in LFS and redirects to where they are
PIECE = 2**16


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""


class HubServer(_Server):
    """Serves `content` by path in a repository at one revision.

    Attributes
    ----------
    cuts, cut_after
        How many answers with a body are broken off, and after how many bytes.
    stall
        While set, an answer stops after `cut_after` bytes and hangs, so that its client can be killed.
    requests
        (method, path, Range header) of everything that was asked.
    sent
        Bytes of body sent, by path in the repository.
    """

    def __init__(self, repository, revision, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.revision, self.content = repository, revision, dict(content)
        self.cuts, self.cut_after, self.stall = 0, 0, threading.Event()
        self.stalled = threading.Event()
        self.requests, self.sent = [], {}
        self.lock = threading.Lock()
        # Another host than the hub's, as for the real one: its client does not follow the redirect.
        self.storage = _Server(("127.0.0.1", 0), _Handler)
        self.hub = self.storage.hub = self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ranges(self, name):
        """Range headers of the GET requests for a file's content, in order."""
        digest = hashlib.sha256(self.content[name]).hexdigest()
        return [
            asked for method, path, asked in self.requests if method == "GET" and path == f"/cdn/{digest}"
        ]


@contextmanager
def serving(repository, revision, content):
    server = HubServer(repository, revision, content)
    threads = [
        threading.Thread(target=part.serve_forever, kwargs={"poll_interval": 0.01})
        for part in (server, server.storage)
    ]
    for thread in threads:
        thread.start()
    try:
        yield server
    finally:
        stop(server)
        for thread in threads:
            thread.join()


def stop(server):
    """Stop serving; calling it twice does no harm."""
    server.stall.clear()
    for part in (server, server.storage):
        part.shutdown()
        part.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        server, asked = self.server.hub, self.headers.get("Range")
        with server.lock:
            server.requests.append((self.command, self.path, asked))
        prefix = f"/{server.repository}/resolve/{server.revision}/"
        stored = {hashlib.sha256(body).hexdigest(): name for name, body in server.content.items()}
        if self.path.startswith("/cdn/") and self.path[5:] in stored:
            self.send_content(stored[self.path[5:]], asked, with_body)
        elif self.path.startswith(prefix) and self.path.removeprefix(prefix) in server.content:
            name = self.path.removeprefix(prefix)
            body = server.content[name]
            if len(body) >= LARGE:
                digest = hashlib.sha256(body).hexdigest()
                self.reply(
                    302,
                    Location=f"http://127.0.0.1:{server.storage.server_address[1]}/cdn/{digest}",
                    X_Linked_Etag=f'"{digest}"',
                    X_Linked_Size=str(len(body)),
                    X_Repo_Commit=server.revision,
                    Content_Length="0",
                )
            else:
                blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()  # as git names it
                self.reply(
                    200, ETag=f'"{blob}"', X_Repo_Commit=server.revision, Content_Length=str(len(body))
                )
                if with_body:
                    self.write(name, body)
        else:
            self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=server.revision, Content_Length="0")

    def send_content(self, name, asked, with_body):
        body = self.server.hub.content[name]
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if start >= len(body):
            self.reply(416, Content_Length="0")
            return
        extra = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if asked else {}
        digest = hashlib.sha256(body).hexdigest()
        self.reply(206 if asked else 200, ETag=f'"{digest}"', Content_Length=str(len(body) - start), **extra)
        if with_body:
            self.write(name, body[start:])

    def write(self, name, body):
        server = self.server.hub
        large = len(body) >= LARGE
        with server.lock:
            cut = large and server.cuts > 0
            server.cuts -= cut
        stall = large and server.stall.is_set()
        limit = server.cut_after if cut or stall else len(body)
        for start in range(0, limit, PIECE):
            piece = body[start : min(start + PIECE, limit)]
            self.wfile.write(piece)
            with server.lock:
                server.sent[name] = server.sent.get(name, 0) + len(piece)
        if stall:
            server.stalled.set()
            while server.stall.is_set():
                threading.Event().wait(0.02)
        if cut or stall:
            self.close_connection = True

    def reply(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_):
        pass
