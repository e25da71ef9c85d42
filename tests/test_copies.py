"""Jobs in copies of one process: what they print and return, and that none sees what another has done."""

import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from zeroshot import notebooks
from zeroshot.notebooks.kernel import sockets
from zeroshot.runtime import copies
from zeroshot.study import running

pytestmark = pytest.mark.skipif(not copies.POSSIBLE, reason="other systems start each page by itself")

FIRST = """import os, sys
import numpy as np
import pandas as pd
from zeroshot import catalog
pd.options.display.max_columns = 3
np.random.seed(0)
os.environ["LEFT"] = sys.argv_left = "by the first"
catalog.datasets().clear()
catalog.left = "by the first"
"""
SECOND = """import os, sys, warnings
import pandas as pd
from zeroshot import catalog
left = [os.environ.get("LEFT"), getattr(sys, "argv_left", None), getattr(catalog, "left", None)]
print(left, len(catalog.datasets()) > 1, pd.options.display.max_columns)
warnings.warn("look out")
pd.DataFrame([[1] * 12])"""


@pytest.fixture
def serve(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Start what serves pages of notebooks, and wait until it listens."""
    with sockets() as folder:
        address = Path(copies.socket_of("zeroshot.notebooks", folder))
        servers = []

        def start(*names: str) -> None:
            command = [sys.executable, "-m", "zeroshot.notebooks.server", str(address), "later", *names]
            servers.append(subprocess.Popen(command))
            while not address.exists():
                assert servers[0].poll() is None
                time.sleep(0.05)
            monkeypatch.setenv(copies.FOLDER, folder)

        yield start
        for server in servers:
            server.kill()
            server.wait()


def ask(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """What a job that is asked for returns and prints."""
    command = [sys.executable, "-m", "zeroshot.runtime.copies", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def page(home: Path, name: str, code: str) -> list[str]:
    """A notebook with a plan; what executes it, but for the output."""
    cells = [nbformat.v4.new_code_cell(text) for text in ("seed = 0", code)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(content, home / "notebooks" / f"{name}.ipynb")
    plan = home / f"{name}.json"
    plan.write_text(json.dumps({"notebook": name, "parameters": {"seed": 1}}))
    return ["zeroshot.notebooks", str(plan)]


def outputs(executed: Path) -> list[list[object]]:
    cells = json.loads(executed.read_text())["cells"]
    return [[{**out, "execution_count": 0} for out in cell["outputs"]] for cell in cells]


def test_a_page_is_the_same_alone_and_after_another(serve, home, tmp_path):
    """Also the same as in a kernel that was started for it."""
    first, second = page(home, "first", FIRST), page(home, "second", SECOND)
    alone, after, own = (tmp_path / f"{name}.ipynb" for name in ("alone", "after", "own"))
    assert ask(home, *second, str(alone), "1") == (0, "", "")
    serve("first", "second")
    assert ask(home, *first, str(tmp_path / "out.ipynb"), "1") == (0, "", "")
    assert ask(home, *second, str(after), "1") == (0, "", "")
    notebooks.execute(home / "notebooks" / "second.ipynb", own, {"seed": 1})
    assert outputs(after) == outputs(alone) == outputs(own)
    printed, warned, table = outputs(after)[1]
    assert printed["text"] == ["[None, None, None] True 20\n"]
    assert "a cell of this notebook" in "".join(warned["text"])
    assert "".join(table["data"]["text/plain"]).startswith("   0   1 ")


def test_a_page_that_fails_is_named_where_it_was_asked_for(serve, home, tmp_path):
    killed = page(home, "killed", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
    failed = page(home, "failed", "{}['absent']")
    serve("killed", "failed")
    code, _, told = ask(home, *failed, str(tmp_path / "out.ipynb"), "1")
    assert code == 1 and "failed.ipynb with" in told and "KeyError: 'absent'" in told
    code, _, told = ask(home, *killed, str(tmp_path / "out.ipynb"), "1")
    assert code == 1 and "was killed" in told and "killed.json" in told
    assert not (tmp_path / "out.ipynb").exists()


def test_a_job_that_nobody_serves_runs_by_itself(tmp_path, monkeypatch):
    (tmp_path / "job.py").write_text("import sys\nprint(sys.argv[1:])\nraise SystemExit(3)")
    for address in (None, str(tmp_path / "nobody")):
        if address:
            monkeypatch.setenv(copies.FOLDER, address)
        assert ask(tmp_path, "job", "a b") == (3, "['a b']\n", "")


def test_what_computes_is_served_only_where_a_study_computes(tmp_path, monkeypatch):
    started = []

    class Server:
        def __init__(self, command, env):
            started.append((command[3:], env["mark"]))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            started.append("waited for")

        def kill(self):
            started.append("killed")

    monkeypatch.setattr(running.subprocess, "Popen", Server)
    monkeypatch.setattr(running.processes, "MARK", "mark")
    plan = {"runs": [], "chapters": ["published"], "tables": ["scores"]}
    page = tmp_path / "executed" / "notebooks" / "published.ipynb"
    page.parent.mkdir(parents=True)
    for changed, present, servers in (
        ({}, [], ["notebooks now"]),
        ({"runs": ["runs/a/pca"]}, [], ["notebooks now", "study now"]),
        ({"runs": ["runs/a/pca"]}, [tmp_path / "scores.csv"], ["notebooks now", "study later"]),
        ({}, [tmp_path / "scores.csv", page], ["notebooks later"]),
    ):
        (tmp_path / "plan.json").write_text(json.dumps(plan | changed))
        for file in present:
            file.touch()
        started.clear()
        with running.serving_copies(tmp_path, {}, "of this run") as environment:
            folder = environment[copies.FOLDER]
            assert [command[:3] for command, _ in started] == [
                [f"zeroshot.{name}.server", f"{folder}/{name}", when]
                for name, when in map(str.split, servers)
            ]
            assert {mark for _, mark in started} == {"of this run"}
        assert started[len(servers) :] == ["killed", "waited for"] * len(servers)


def test_a_job_whose_asker_is_stopped_ends_without_a_word(tmp_path, monkeypatch, script):
    """Nor does the process that it is a copy of end by SIGTERM, and its copies with it."""
    job = (
        "import time\nfrom pathlib import Path\nPath('begun').touch()\ntime.sleep(0.5)\nPath('ended').touch()"
    )
    (tmp_path / "job.py").write_text(job)
    with sockets() as folder:
        address = copies.socket_of("job", folder)
        serving = (
            f"from zeroshot.runtime import copies\ncopies.serve({address!r}, lambda: None, at_once=True)"
        )
        server = subprocess.Popen(script(serving))
        try:
            while not Path(address).exists():
                time.sleep(0.02)
            monkeypatch.setenv(copies.FOLDER, folder)
            command = [sys.executable, "-m", "zeroshot.runtime.copies", "job"]
            with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as asker:
                while not (tmp_path / "begun").exists():
                    assert asker.poll() is None
                    time.sleep(0.02)
                server.terminate()
                asker.kill()
                assert asker.stderr.read() == b""  # to its end, when the job has ended
            assert (tmp_path / "ended").exists() and server.poll() is None
        finally:
            server.kill()
            server.wait()
