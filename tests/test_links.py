"""The reading list on the command line, and the check of its links against a server on this machine."""

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
import yaml
from pybtex.database import parse_string

from reading_list import links, load
from reading_list.records import Paper

PAPER = {"year": 2025, "venue": "A journal", "section": "surveys", "editions": ["ours"], "checked": "never"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        """`/301/x` answers 301 and leads to `/x`; `/head-403/x` denies HEAD alone; `/slow` never answers."""
        server = self.server
        with server.lock:
            server.requests.append((self.command, self.path, time.monotonic()))
        status, _, rest = self.path.strip("/").partition("/")
        if status == "slow":
            server.stopped.wait(30)
            return
        if status == "drop":
            self.close_connection = True
            return
        if status.startswith("head-"):
            status = status.removeprefix("head-") if self.command == "HEAD" else "200"
        code = int(status) if status.isdigit() else 200
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", f"/{rest}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that goes away is what some tests are about."""


@contextmanager
def serving():
    server = _Server(("127.0.0.1", 0), _Handler)
    server.requests, server.lock, server.stopped = [], threading.Lock(), threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def listed(home, server):
    """A reading list with one paper for each path on the server."""

    def write(*paths: str) -> list[Paper]:
        entries = {
            f"paper-{n:02}": PAPER | {"title": f"Paper no.{n}", "url": f"{server.url}/{path}"}
            for n, path in enumerate(paths)
        }
        file = home / "data" / "literature" / "reading_list.yml"
        file.write_text(yaml.safe_dump(entries, sort_keys=False))
        return list(load().values())

    return write


@pytest.fixture
def reading_list(zeroshot):
    """Call `zeroshot reading-list` as the shell does."""
    return partial(zeroshot, "reading-list")


def report(home):
    with (home / "build" / "reading-list" / "links.csv").open() as file:
        return list(csv.DictReader(file))


# -- outcomes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "outcome", "status", "leads_to"),
    [
        ("page", "ok", 200, ""),
        ("head-403/page", "ok", 200, ""),  # refuses HEAD, answers GET
        ("head-404/page", "ok", 200, ""),
        ("head-405/page", "ok", 200, ""),
        ("301/page", "moved", 200, "/page"),
        ("308/page", "moved", 200, "/page"),
        ("302/page", "ok", 200, "/page"),  # as doi.org does
        ("301/302/page", "moved", 200, "/302/page"),  # the new address, not where it leads today
        ("302/301/page", "ok", 200, "/page"),
        ("404/x", "gone", 404, ""),
        ("410/x", "gone", 410, ""),
        ("301/404/x", "gone", 404, "/404/x"),
        ("403/x", "refused", 403, ""),
        ("429/x", "refused", 429, ""),
        ("503/x", "unreachable", 503, ""),
        ("drop", "unreachable", None, ""),
        ("slow", "unreachable", None, ""),
    ],
)
def test_outcome_of_an_answer(listed, server, tmp_path, path, outcome, status, leads_to):
    (finding,) = links.check(listed(path), folder=tmp_path, pause=0, timeout=0.4)
    leads_to = leads_to and server.url + leads_to
    assert (finding.outcome, finding.status, finding.leads_to) == (outcome, status, leads_to)
    assert datetime.now(UTC) - datetime.fromisoformat(finding.checked) < timedelta(minutes=1)


def test_redirections_that_never_end_are_unreachable(listed, tmp_path):
    (finding,) = links.check(listed("301/" * 20 + "page"), folder=tmp_path, pause=0)
    assert (finding.outcome, finding.detail) == ("unreachable", "TooManyRedirects")


def test_no_server_is_unreachable(listed, server, tmp_path, monkeypatch):
    papers = listed("page")
    with serving() as other:
        nobody = other.url
    papers = [papers[0].model_copy(update={"url": nobody})]
    (finding,) = links.check(papers, folder=tmp_path, pause=0)
    assert (finding.outcome, finding.detail) == ("unreachable", "ConnectionError")


def test_report_has_every_address_once_and_the_worst_first(listed, server, home):
    papers = listed("page", "301/page", "404/x", "403/x")
    preprint = Paper.model_validate(
        PAPER | {"name": "shared", "title": "T", "url": papers[0].url, "code": f"{server.url}/code"}
    )
    links.check([*papers, preprint], pause=0)
    rows = report(home)
    assert [row["outcome"] for row in rows] == ["gone", "moved", "refused", "ok", "ok"]
    assert {row["address"]: row["papers"] for row in rows}[papers[0].url] == "paper-00; shared"
    assert {row["papers"] for row in rows if row["address"].endswith("/code")} == {"shared"}


# -- manners ---------------------------------------------------------------------------------------


def test_one_host_is_asked_with_pauses_and_others_in_between(listed, server, tmp_path):
    with serving() as second:
        papers = listed("page/1", "404/2", "page/3")
        elsewhere = [
            papers[0].model_copy(update={"url": f"{second.url}/page/{n}", "name": f"other-{n}"})
            for n in range(3)
        ]
        started = time.monotonic()
        links.check([*papers, *elsewhere], folder=tmp_path, pause=0.3)
        for asked, requests in ((server, 4), (second, 3)):  # a 404 is asked for twice, by HEAD and GET
            times = [when for _, _, when in asked.requests]
            assert len(times) == requests
            assert all(later - earlier >= 0.29 for earlier, later in pairwise(times))
    assert time.monotonic() - started < 6 * 0.3  # one host after the other would take 7 pauses


def test_never_in_ci(listed, server, home, monkeypatch, reading_list):
    listed("page")
    monkeypatch.setenv("CI", "true")
    code, _, err = reading_list("check")
    assert code == 2 and "not checked in CI" in err
    assert server.requests == [] and not (home / "build").exists()


# -- interruption ----------------------------------------------------------------------------------


def test_an_interrupted_check_goes_on_where_it_stopped(listed, server, home):
    papers = listed("page/0", "404/1", "301/page", "drop", "page/4", "page/5")

    def interrupt(finding):
        if finding.address == papers[3].url:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        links.check(papers, pause=0, report=interrupt)
    folder = home / "build" / "reading-list"
    assert not (folder / "links.csv").exists()
    with (folder / "unfinished.jsonl").open("a") as file:
        file.write('{"address": "' + papers[4].url)  # killed while writing
    server.requests.clear()
    findings = links.check(papers, pause=0)
    # What did not answer is asked again, what did is not.
    asked = {path for _, path, _ in server.requests}
    assert asked == {"/drop", "/page/4", "/page/5"}
    assert [f.outcome for f in findings] == ["ok", "gone", "moved", "unreachable", "ok", "ok"]
    assert len(report(home)) == 6 and not (folder / "unfinished.jsonl").exists()
    server.requests.clear()
    links.check(papers, pause=0)  # a finished check is no excuse for the next
    assert "/page/0" in {path for _, path, _ in server.requests}


def test_a_killed_process_loses_nothing_it_was_told(listed, server, home):
    papers = listed("page/0", "page/1", "slow", "page/3")
    process = subprocess.Popen([sys.executable, "-m", "zeroshot", "reading-list", "check"])
    deadline = time.monotonic() + 60
    while not any(path == "/slow" for _, path, _ in server.requests):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    answers = (home / "build" / "reading-list" / "unfinished.jsonl").read_text().splitlines()
    assert [json.loads(line)["address"] for line in answers] == [papers[0].url, papers[1].url]
    links.check(papers, pause=0, timeout=0.3)
    assert Counter(path for _, path, _ in server.requests)["/page/0"] == 1


def test_old_answers_of_an_interrupted_check_are_asked_for_again(listed, server, tmp_path):
    (paper,) = listed("page")
    old = datetime.now(UTC) - links.VALID_FOR - timedelta(hours=1)
    record = {"address": paper.url, "outcome": "gone", "status": 404, "checked": old.isoformat()}
    (tmp_path / "unfinished.jsonl").write_text(json.dumps(record) + "\n")
    assert [f.outcome for f in links.check([paper], folder=tmp_path, pause=0)] == ["ok"]


# -- the command line ------------------------------------------------------------------------------


def test_check_ends_with_1_only_if_links_are_gone(listed, home, monkeypatch, reading_list):
    monkeypatch.setattr(links, "check", partial(links.check, pause=0, timeout=0.4))
    listed("page", "301/page", "403/x", "503/x", "slow")
    code, out, err = reading_list("check")
    assert code == 0 and "   1 moved" in out and "   2 unreachable" in out and "links.csv" in out
    assert "refused" in err
    listed("page", "404/x")
    code, out, _ = reading_list("check")
    assert code == 1 and "   1 gone" in out
    assert reading_list("--query", "no.0", "check")[0] == 0  # only the links of what was searched
    assert [row["papers"] for row in report(home)] == ["paper-00"]


def test_papers_are_listed_searched_and_exported(home, reading_list):
    code, out, err = reading_list("--query", "conch pathology")
    assert code == 0 and "conch" in out and "Nature Medicine" in out and err == "1 papers"
    code, out, _ = reading_list("--section", "pathology", "--format", "bibtex")
    names = ["biomedparse", "conch", "prov-gigapath", "uni", "plip"]
    assert code == 0 and list(parse_string(out, "bibtex").entries) == names
    assert [
        paper["id"] for paper in json.loads(reading_list("--section", "pathology", "--format", "json")[1])
    ] == names
    assert reading_list("--query", "no such paper", "--format", "json")[1] == "[]\n"
    for wrong in (("--section", "patology"), ("--format", "bibtx")):
        code, _, err = reading_list(*wrong)
        assert code == 2 and "Did you mean" in err
