"""The kernel that executes a notebook: this interpreter, behind sockets that nobody else can open."""

import os
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from zeroshot.runtime import processes

from .error import NotebookError
from .warm import WaitingKernel

# Bytes of a socket's path: 108 on Linux and 104 on macOS, with a zero at the end.
_LONGEST = 103
_SOCKET = "/kernel-12345678/kernel-12345"  # what is added to a folder for temporary files


def sockets() -> tempfile.TemporaryDirectory:
    """A private folder for sockets, with a path short enough for them.

    It is made where temporary files go, or in ``/tmp`` where the path there would be too long.

    Raises
    ------
    NotebookError
        If neither will do.
    """
    usual = tempfile.gettempdir()
    for base in (usual, "/tmp"):  # noqa: S108  (the folder made there is private)
        if len(os.fsencode(base + _SOCKET)) <= _LONGEST and os.access(base, os.W_OK | os.X_OK):
            return tempfile.TemporaryDirectory(prefix="kernel-", dir=base)
    raise NotebookError(
        f"TMPDIR is {usual}: a notebook needs sockets, whose paths have at most {_LONGEST} characters. "
        f"Set TMPDIR to a folder of at most {_LONGEST - len(_SOCKET)} characters"
    )


def manager(waiting: WaitingKernel | None = None) -> type:
    """Class of kernel managers that start this interpreter, whatever is installed as ``python3``.

    With a waiting kernel they use that one.
    """
    from ipykernel.kernelspec import RESOURCES, get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning import KernelProvisionerFactory

    command, provisioner, config = ["ipykernel_launcher"], "local-provisioner", {}
    if waiting is None:
        # It ends with the process that executes the notebook, also while it computes and polls no parent.
        command = processes.command(*command)
    else:
        provisioner, config = "zeroshot-copy", {"waiting": waiting}
        entry = EntryPoint(provisioner, f"{__package__}.provisioner:CopyProvisioner", "")
        KernelProvisionerFactory.instance().provisioners[provisioner] = entry
    about = get_kernel_dict()
    about["argv"] = [*command, "-f", "{connection_file}"]
    about["metadata"] |= {"kernel_provisioner": {"provisioner_name": provisioner, "config": config}}
    specification = KernelSpec(resource_dir=RESOURCES, **about)

    class ThisInterpreter(AsyncKernelManager):
        """Starts ``sys.executable``."""

        @property
        def kernel_spec(self) -> Any:
            return specification

    return ThisInterpreter


def connection(folder: Path | str) -> dict[str, Any]:
    """Settings of the kernel manager: over TCP others on the machine could listen."""
    return {"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}
