"""Commands that are stopped: everything they have started ends, in whatever session, and the lock is free."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from zeroshot import __main__
from zeroshot.runtime import lock, paths, processes

# Seconds for what takes a few hundredths where nothing else runs; less than the 10 that a run which waited
# for its own zombie took.
PATIENCE = 8

# A chain as a study is one: the command, what it runs, a job of that, and the job's kernel in a session
# of its own, which does not end by SIGTERM.
MODULES = {
    "chain_command": """
import os, signal, sys
from zeroshot.runtime import lock, processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests ignores
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with processes.stopped_by_signals(), lock.only_run() as mark:
    sys.exit(processes.run(processes.command("chain_engine"), os.environ, mark))
""",
    "chain_engine": """
import shlex, subprocess, threading
from zeroshot.runtime import processes
job = "exec " + shlex.join(processes.command("chain_job"))
thread = threading.Thread(target=lambda: subprocess.run(job, shell=True))
thread.start()
thread.join()
""",
    "chain_job": """
import subprocess
from pathlib import Path
from zeroshot.runtime import processes
with processes.stopped_by_signals():
    try:
        subprocess.run(processes.command("chain_kernel"), start_new_session=True)
    finally:
        Path("cleaned").touch()
""",
    "chain_kernel": """
import json, os, signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path("starting").write_text(json.dumps([os.getpid(), os.getppid()]))
Path("starting").rename("started")
time.sleep(60)
""",
}


@pytest.fixture
def chain(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Start the chain and wait for its last process; gives the command, and the ids of all after it."""
    for name, source in MODULES.items():
        (home / f"{name}.py").write_text(source)
    library = Path(processes.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(home), str(library)]))

    def start() -> tuple[subprocess.Popen, list[int]]:
        command = subprocess.Popen([sys.executable, "-m", "chain_command"], cwd=home)
        deadline = time.monotonic() + 20
        while not (home / "started").is_file():
            assert time.monotonic() < deadline and command.poll() is None
            time.sleep(0.01)
        kernel, job = json.loads((home / "started").read_text())
        (home / "started").unlink()
        return command, [psutil.Process(job).ppid(), job, kernel]

    return start


def wait_until_gone(ids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while alive := [pid for pid in ids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"{alive} of {ids} are alive"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_signal_to_the_command_ends_everything(chain, home):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        command, started = chain()
        command.send_signal(number)
        assert command.wait(PATIENCE) == 128 + number
        assert not [pid for pid in started if is_alive(pid)], number.name
        assert (home / "cleaned").exists()
        (home / "cleaned").unlink()
        with lock.only_run():
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems stop what is left in the next run")
def test_what_loses_its_parent_ends(chain):
    command, started = chain()
    command.kill()
    command.wait()
    wait_until_gone(started)
    command, started = chain()
    os.kill(started[0], signal.SIGKILL)
    assert command.wait(PATIENCE) != 0
    wait_until_gone(started)


def test_ctrl_c_in_a_terminal_reaches_the_command_alone(tmp_path):
    (tmp_path / "sessions.py").write_text("import os\nprint(os.getsid(0) == os.getpid() == os.getpgrp())")
    for new in (False, True):  # and where it has a session already
        command = processes.command("sessions")
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=new)
        assert (done.returncode, done.stdout) == (0, b"True\n")


def test_the_kernel_of_a_notebook_ends_with_its_parent():
    """A kernel in a long computation does not notice by itself that its parent is gone."""
    from zeroshot.notebooks import kernel

    starts = processes.command("ipykernel_launcher")
    assert kernel.manager()().kernel_spec.argv[: len(starts)] == starts


def test_the_next_run_stops_what_an_interrupted_one_has_left(home):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env=os.environ | {processes.MARK: "left"}
    )
    paths.build().mkdir()
    (paths.build() / "run.json").write_text(json.dumps({"owner": gone.pid, "mark": "left"}))
    with lock.only_run():
        # On a busy machine it may not get to end by the first signal before the second one comes.
        assert left.wait(PATIENCE) in (-signal.SIGTERM, -signal.SIGKILL)
        message = rf"another run is going on here \(process {os.getpid()}\)"
        with pytest.raises(lock.LockedError, match=message), lock.only_run():
            pass
    for record in ("", "{", "[1]", '{"owner": null}', "[" * 100_000):  # written by a full disk, or by hand
        (paths.build() / "run.json").write_text(record)
        with lock.only_run():
            pass


def test_signals_end_the_program_by_an_exception(capsys):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before = signal.signal(number, signal.SIG_DFL)  # what started the tests may ignore it
        try:
            with pytest.raises(SystemExit) as raised, processes.stopped_by_signals(tell="do this"):
                os.kill(os.getpid(), number)
            assert capsys.readouterr().err == f"stopped by {number.name}: do this\n"
            assert raised.value.code == 128 + number and signal.getsignal(number) == signal.SIG_DFL
        finally:
            signal.signal(number, before)


def test_an_exception_that_gets_lost_is_raised_again():
    with pytest.raises(SystemExit) as raised, processes.stopped_by_signals(0.01):
        with contextlib.suppress(SystemExit):  # as the garbage collector does
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
    assert raised.value.code == 143 and signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with processes.stopped_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_unwritable_build_folder_is_named(home):
    paths.build().write_text("a file")
    with (
        pytest.raises(OSError, match=r"build/run\.lock cannot be written \(.*ZEROSHOT_HOME"),
        lock.only_run(),
    ):
        pass


def test_a_job_that_fails_says_why_in_one_line(monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "build/computed/a.json")

    monkeypatch.setattr(processes, "end_with_parent", lambda: None)
    monkeypatch.setattr(processes.runpy, "run_module", full)
    monkeypatch.setattr(sys, "argv", sys.argv)
    with pytest.raises(SystemExit, match="1"):
        processes.main(["zeroshot.study", "tiny"])
    assert capsys.readouterr().err.splitlines() == [
        "error: [Errno 28] No space left on device: 'build/computed/a.json'"
    ]
    with pytest.raises(OSError, match="No space"):  # what others raise, they explain
        processes.main(["snakemake"])


def test_ctrl_c_while_the_command_line_is_imported_shows_no_traceback(monkeypatch):
    answers = []
    command_line = SimpleNamespace(main=lambda: answers.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setitem(sys.modules, "zeroshot.cli", command_line)
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.default_int_handler, signal.SIG_IGN):
            signal.signal(signal.SIGINT, handler)
            __main__.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert answers == [signal.SIG_DFL, signal.SIG_IGN]
