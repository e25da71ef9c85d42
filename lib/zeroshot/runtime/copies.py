"""Jobs in copies (``os.fork``) of one process that has imported what they need, so that it is imported once.

``python -m zeroshot.runtime.copies MODULE ARGUMENT…`` asks the process that serves jobs of the module for a
copy of it that runs the module, with the streams of this one. A copy holds nothing of the jobs before it.
Where no process serves, as on a cluster or with a command by hand, the module runs here.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from zeroshot.runtime import processes

# Environment variable: the folder with the sockets of the processes that serve, see `socket_of`.
FOLDER = "ZEROSHOT_COPIES"
# On macOS system libraries may crash in a copy, and Windows makes none.
POSSIBLE = sys.platform == "linux"
_LONGEST_MESSAGE = 2**16


class Copy:
    """A copy of this process that does one thing, with the part of :class:`subprocess.Popen` in use here.

    Attributes
    ----------
    pid
        Of the copy, which ends with this process.
    """

    stdin = stdout = stderr = None

    def __init__(self, work: Callable[[], int]):
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self._exit_code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                for number in (signal.SIGCHLD, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                processes.end_with_parent(parent)
                code = _exit_code(work)
            finally:
                os._exit(code)

    def poll(self) -> int | None:
        """Its exit code, minus the signal if one has ended it; None while it lives."""
        return self._waited(os.WNOHANG)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._waited(0)

    def send_signal(self, number: int) -> None:
        """Send a signal if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _waited(self, options: int) -> int | None:
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, options)
            self._exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self._exit_code


def socket_of(module: str, folder: str) -> str:
    """Path of the socket at which jobs of a module are asked for: short, as a socket's must be."""
    return f"{folder}/{module.rpartition('.')[2]}"


def serve(address: str, make_ready: Callable[[], None], at_once: bool) -> None:
    """Do the jobs that other processes ask for, each in a copy, until this process is stopped.

    Parameters
    ----------
    address
        Path of the socket.
    make_ready
        Imports what the jobs need; jobs wait meanwhile.
    at_once
        Whether to make ready before the first job asks: some will for sure.
    """
    make_ready = functools.cache(make_ready)
    signal.signal(signal.SIGCHLD, _forget_ended)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # its copies, which may clean up, end with it
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen(socket.SOMAXCONN)
        if at_once:
            make_ready()
        while True:
            connection, _ = server.accept()
            with connection:
                make_ready()
                Copy(lambda connection=connection: _answer(connection))


def _forget_ended(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket) -> int:
    message, streams, _, _ = socket.recv_fds(connection, _LONGEST_MESSAGE, 2)
    for number, stream in zip((1, 2), streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    job = json.loads(message)
    os.chdir(job["folder"])
    code = _exit_code(lambda: processes.run_module(job["arguments"]))
    with contextlib.suppress(ConnectionError):  # who asked was stopped, too
        connection.sendall(bytes([code]))
    return code


def _exit_code(work: Callable[[], int | None]) -> int:
    """What something returns or exits with; any other exception is printed, as at the end of a process."""
    code = 1
    try:
        code = work() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def main(arguments: list[str]) -> int:
    """``python -m zeroshot.runtime.copies MODULE ARGUMENT…``: the exit code of the module."""
    processes.end_with_parent()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(socket_of(arguments[0], os.environ[FOLDER]))
        except (KeyError, OSError):  # nobody serves
            return _exit_code(lambda: processes.run_module(arguments))
        job = {"arguments": arguments, "folder": str(Path.cwd())}
        socket.send_fds(connection, [json.dumps(job).encode()], [1, 2])
        try:
            answer = connection.recv(1)
        except ConnectionError:  # what served has ended too
            answer = b""
    if not answer:
        print(f"error: {' '.join(arguments)} was killed, most often for want of memory", file=sys.stderr)
        return 1
    return answer[0]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
