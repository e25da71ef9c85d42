"""How jupyter_client gets a kernel that is a copy of this process."""

import os
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Instance

from .warm import WaitingKernel


class CopyProvisioner(LocalProvisioner):
    """Has a waiting kernel start, instead of a process of its own."""

    waiting = Instance(WaitingKernel)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        """Start it with a command: the name of a module and arguments."""
        # jupyter_client interrupts a kernel before it stops it; one still at work logs that as an error.
        options = [f"--IPKernelApp.parent_handle={os.getpid()}", "--IPKernelApp.log_level=CRITICAL"]
        self.process = self.waiting.start([*cmd, *options])
        self.pid = self.pgid = self.process.pid
        self.cwd = kwargs.get("cwd") or Path.cwd()
        return self.connection_info
