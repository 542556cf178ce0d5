"""The process that executes one notebook with papermill. The runner starts it and judges how it ended.

It is a process of its own so that a time limit, a kill or a crash of anything in it leaves the runner
alive to write the record.
"""

import json
import os
import sys
import threading
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from emoser_lib.files import FULL

KERNEL = "python3"

FULL_CODE = 100
"""The exit code where the notebook could not be written, less the number of the reason."""


class OwnPython(KernelSpecManager):
    """The kernel of this environment, whatever kernels are registered on the machine (JUPYTER_PATH, conda)."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one kernel that there is, whatever it is called."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def main() -> None:
    """Read the job from standard input, execute it, and end when the runner does."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    try:
        _execute(job)
    except OSError as error:
        if error.errno in FULL:
            sys.exit(FULL_CODE + error.errno)
        raise


def _execute(job: dict[str, Any]) -> None:
    papermill.execute_notebook(
        job["input"],
        job["output"],
        parameters=job["parameters"],
        # IPC, because with TCP kernels that start at the same time race for ports. The sockets stand beside the
        # connection file; without one of their own, runs in one folder would talk to each other's kernels.
        km=AsyncKernelManager(
            kernel_name=KERNEL,
            kernel_spec_manager=OwnPython(),
            transport="ipc",
            connection_file=job["connection_file"],
        ),
        kernel_name=KERNEL,
        progress_bar=False,
        log_output=True,
        cwd=job["cwd"],
    )


def _end_with_the_runner() -> None:
    # The runner never writes a second line: the read ends when the runner is gone, killed or not.
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
