"""Whether the addresses of the reading list still lead to a page. Checked by hand, never by a build.

Each address is requested once: one request at a time, with a pause between two to the same host. Answers are
stored as they come, so that an interrupted check resumes.
"""

import csv
import io
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from reading_list.records import Paper
from zeroshot import store
from zeroshot.runtime import paths

PAUSE_SECONDS = 3.0  # between two requests to one host; arXiv asks robots for three
TIMEOUT_SECONDS = 20.0
VALID_FOR = timedelta(days=7)  # older answers of an interrupted check are requested again
MOST_REDIRECTS = 10
AGENT = "Mozilla/5.0 (compatible; zeroshot-reading-list; link check)"  # some refuse what no browser sends
GONE, PERMANENT = (404, 410), (301, 308)

Outcome = Literal["ok", "moved", "gone", "refused", "unreachable"]
OUTCOMES: dict[Outcome, str] = {
    "ok": "leads to a page",
    "moved": "leads to a page, and the server says for good that it is elsewhere",
    "gone": "the server says there is no such page",
    "refused": "the server does not answer programs; look with a browser",
    "unreachable": "no answer in time, or the server's own error; try again later",
}


class LinkError(RuntimeError):
    """Links cannot be checked here."""


@dataclass(frozen=True)
class Finding:
    """What became of one address."""

    address: str
    outcome: Outcome
    status: int | None = None  # of the last answer
    leads_to: str = ""  # where a redirection ended; for `moved`, the new address
    detail: str = ""
    checked: str = ""  # UTC, ISO 8601


def check(
    papers: Iterable[Paper],
    folder: Path | None = None,
    pause: float = PAUSE_SECONDS,
    timeout: float = TIMEOUT_SECONDS,
    report: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Check every address of the papers and write ``links.csv``; resumes after an interruption.

    Answers are stored in ``unfinished.jsonl`` until all are there. Called again after an interruption, the
    check requests only the rest, and what was unreachable.

    Parameters
    ----------
    papers
        Papers of the list.
    folder
        Where the report goes, ``build/reading-list`` if absent.
    pause
        Seconds between two requests to one host.
    timeout
        Seconds to wait for an answer.
    report
        Called with each finding as it comes.

    Returns
    -------
    list of Finding
        One for each address, in the order of the papers.

    Raises
    ------
    LinkError
        If the variable ``CI`` is set: whether other people's servers answer says nothing about a change.
    """
    if os.environ.get("CI"):
        raise LinkError("links are not checked in CI: a change is not wrong because a server is down")
    folder = folder or paths.build() / "reading-list"
    folder.mkdir(parents=True, exist_ok=True)
    owners: dict[str, list[str]] = defaultdict(list)
    for paper in papers:
        for address in paper.addresses:
            owners[address].append(paper.name)
    unfinished = folder / "unfinished.jsonl"
    earlier = [finding for finding in _earlier_findings(unfinished) if finding.address in owners]
    findings = {finding.address: finding for finding in earlier}
    with unfinished.open("a") as file:
        for finding in _request_all([a for a in owners if a not in findings], pause, timeout):
            findings[finding.address] = finding
            file.write(json.dumps(asdict(finding)) + "\n")
            file.flush()
            report(finding)
    ordered = [findings[address] for address in owners]
    store.write_text(folder / "links.csv", _as_csv(ordered, owners))
    unfinished.unlink()
    return ordered


def _earlier_findings(unfinished: Path) -> Iterator[Finding]:
    """Findings of an interrupted check that still hold."""
    oldest = datetime.now(UTC) - VALID_FOR
    for line in unfinished.read_text().splitlines() if unfinished.is_file() else ():
        try:
            finding = Finding(**json.loads(line))
            fresh = datetime.fromisoformat(finding.checked) > oldest
        except (ValueError, TypeError):
            continue  # cut off while it was written
        if fresh and finding.outcome != "unreachable":
            yield finding


def _as_csv(findings: list[Finding], owners: dict[str, list[str]]) -> str:
    """Worst first, so that what needs a person stands on top."""
    text = io.StringIO()
    rows = [asdict(finding) | {"papers": "; ".join(owners[finding.address])} for finding in findings]
    severity = {outcome: place for place, outcome in enumerate(("gone", "moved", "unreachable", "refused"))}
    rows.sort(key=lambda row: severity.get(row["outcome"], len(severity)))
    table = csv.DictWriter(text, [*Finding.__dataclass_fields__, "papers"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _request_all(addresses: Iterable[str], pause: float, timeout: float) -> Iterator[Finding]:
    """Request one address after the other, always from the host whose pause ends first."""
    import requests

    waiting: dict[str, list[str]] = defaultdict(list)
    for address in addresses:
        waiting[urlsplit(address).netloc].append(address)
    free = dict.fromkeys(waiting, 0.0)  # when a host's pause ends, seconds of the clock
    with requests.Session() as session:
        session.headers["User-Agent"] = AGENT
        session.max_redirects = MOST_REDIRECTS

        def request(method: str, address: str) -> requests.Response:
            host = urlsplit(address).netloc
            time.sleep(max(0.0, free[host] - time.monotonic()))
            try:
                # Without `stream` a GET would download whole PDFs.
                with session.request(
                    method, address, timeout=timeout, allow_redirects=True, stream=True
                ) as answer:
                    return answer
            finally:
                free[host] = time.monotonic() + pause

        while waiting:
            host = min(waiting, key=free.__getitem__)
            address = waiting[host].pop(0)
            if not waiting[host]:
                del waiting[host]
            yield _find(address, request)


def _find(address: str, request: Callable[[str, str], Any]) -> Finding:
    """HEAD, and GET where a server does not answer that well."""
    import requests

    answer, problem = None, ""
    for method in ("HEAD", "GET"):
        try:
            answer = request(method, address)
        except requests.RequestException as error:
            answer, problem = None, type(error).__name__
            continue
        if answer.ok:
            break
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if answer is None:
        return Finding(address, "unreachable", detail=problem, checked=now)
    moved_to = _new_address(answer)
    if answer.ok:
        outcome: Outcome = "moved" if moved_to else "ok"
    elif answer.status_code in GONE:
        outcome = "gone"
    else:
        outcome = "unreachable" if answer.status_code >= 500 else "refused"
    leads_to = (moved_to if outcome == "moved" else answer.url) if answer.history else ""
    return Finding(address, outcome, answer.status_code, leads_to, answer.reason or "", now)


def _new_address(answer: Any) -> str:
    """Where a server says the page now is; a redirection for the moment, as doi.org's, is no move."""
    address = ""
    for hop in answer.history:
        if hop.status_code not in PERMANENT:
            break
        address = urljoin(hop.url, hop.headers["Location"])
    return address
