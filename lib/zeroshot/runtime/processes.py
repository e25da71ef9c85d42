"""Processes of one run: they end with their parent, and stopping the command stops all of them.

``python -m zeroshot.runtime.processes MODULE ARGUMENT…`` runs a module as ``python -m MODULE`` does, in a
process that the system kills as soon as its parent ends. It imports nothing heavy, so that no process is
without this for longer than the interpreter needs to start.
"""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

# Environment variable that every process of a run carries, whatever its process group or session is.
MARK = "ZEROSHOT_RUN"
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
_SECONDS_TO_READ = 5  # what is left in the pipe when a command has ended
_PARENT = os.getppid()


def end_with_parent(parent: int = _PARENT) -> None:
    """Let the system kill this process when its parent, given by its id, ends, even by SIGKILL.

    On Linux. On other systems a process that outlives its run is stopped by the next one, see
    :func:`zeroshot.runtime.lock.only_run`.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before the system was asked
        os._exit(128 + signal.SIGKILL)


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a process that ends with this one."""
    return [sys.executable, "-m", __spec__.name, module, *arguments]


@contextlib.contextmanager
def stopped_by_signals(raise_again_after: float | None = None, tell: str = "") -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into SystemExit with the exit code of a shell, 128 + signal.

    So ``finally`` and ``with`` blocks run. KeyboardInterrupt would not do: libraries that train networks
    catch it. A signal that was ignored before, as under ``nohup``, still is. Outside the main thread nothing
    changes.

    Parameters
    ----------
    raise_again_after
        Seconds after which the exception is raised once more, because one that is raised in a callback of the
        garbage collector is lost. None for blocks whose cleaning up must not be interrupted: further signals
        are then ignored.
    tell
        What it means, for a line on stderr behind the name of the signal; none is written if it is empty.
    """
    previous = {}
    received = []

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        if raise_again_after is None:
            for other in previous:
                signal.signal(other, signal.SIG_IGN)
        else:
            signal.setitimer(signal.ITIMER_REAL, raise_again_after)
        raise SystemExit(128 + received[0])

    alarm = () if raise_again_after is None else (signal.SIGALRM,)
    try:
        if threading.current_thread() is threading.main_thread():
            for number in (*_STOPPING, *alarm):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    previous[number] = signal.signal(number, stop)
        yield
    finally:
        if received and alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        if received and tell:
            with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
                print(f"stopped by {signal.Signals(received[0]).name}: {tell}", file=sys.stderr, flush=True)


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    mark: str,
    *,
    seconds_to_cancel: float = 0,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Run a command to its end, and end it with everything it has started if this process is stopped.

    Parameters
    ----------
    arguments
        The command.
    environment
        Its environment, to which the mark is added.
    mark
        Names the command and its descendants, in whatever group or session they are.
    seconds_to_cancel
        For how long it may cancel work elsewhere, asked by SIGINT, before it is stopped.
    tell
        Called with each line that it and its descendants print; None lets them print by themselves.

    Returns
    -------
    int
        Its exit code.
    """
    # A session of its own: Ctrl-C reaches this process alone, which stops the others in order.
    piped = {} if tell is None else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    leader = subprocess.Popen(arguments, env={**environment, MARK: mark}, start_new_session=True, **piped)
    reader = threading.Thread(target=_read_lines, args=(leader.stdout, tell), daemon=True)
    if tell is not None:
        reader.start()
    try:
        code = leader.wait()
        if tell is not None:
            reader.join(_SECONDS_TO_READ)
        return code
    finally:
        if leader.poll() is None and seconds_to_cancel:
            leader.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                leader.wait(seconds_to_cancel)
        if leader.poll() is None:
            leader.send_signal(signal.SIGSTOP)  # it would report what stops as failed, and start more
        stop(mark)
        leader.wait()


def _read_lines(stream: IO[bytes], tell: Callable[[str], None]) -> None:
    for line in stream:
        tell(line.decode(errors="replace").rstrip("\r\n"))


def marked(mark: str) -> list[int]:
    """Ids of the living processes of this user that carry a mark."""
    import psutil

    ids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                ids.append(process.pid)
    return ids


def stop(mark: str, patience: float = 0.5) -> bool:
    """End every process that carries a mark: by SIGTERM, so that they can clean up, then by SIGKILL.

    Parameters
    ----------
    mark
        Value of :data:`MARK` in their environment.
    patience
        Seconds between the two signals, if a process lives as long.

    Returns
    -------
    bool
        Whether none is left.
    """
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        signalled: set[int] = set()
        while (alive := marked(mark)) and time.monotonic() < deadline:
            for process in set(alive) - signalled:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            signalled.update(alive)
            time.sleep(0.02)
    return not marked(mark)


def run_module(arguments: Sequence[str]) -> None:
    """Run a module with its arguments as ``python -m`` does; expected failures of a job are one line."""
    sys.argv = [*arguments]
    try:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        if not arguments[0].startswith("zeroshot."):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def main(arguments: Sequence[str]) -> None:
    """``python -m zeroshot.runtime.processes MODULE ARGUMENT…``."""
    end_with_parent()
    # Ctrl-C in a terminal reaches the command alone; a process that it imports for would show a traceback.
    with contextlib.suppress(PermissionError):  # it has one already
        os.setsid()
    run_module(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
