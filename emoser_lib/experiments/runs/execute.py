"""The process that executes one notebook with papermill. The runner starts it and judges how it ended.

It is a process of its own so that a time limit, a kill or a crash of anything in it leaves the runner
alive to write the record.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from papermill.engines import NBClientEngine, papermill_engines

from emoser_lib.files import FULL

KERNEL = "python3"

AT_CELL = "at-cell.json"
"""Beside the notebook that is written: the number of the cell that is executed, and of all, prose left out."""

FULL_CODE = 100
"""The exit code where the notebook could not be written, less the number of the reason."""


class OwnPython(KernelSpecManager):
    """The kernel of this environment, whatever kernels are registered on the machine (JUPYTER_PATH, conda)."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one kernel that there is, whatever it is called."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


class TellingEngine(NBClientEngine):
    """papermill's, which also writes down at which cell it is."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **given: Any) -> None:
        """Execute it."""
        code = [number for number, cell in enumerate(nb_man.nb.cells) if cell.cell_type == "code"]
        begin = nb_man.cell_start

        def tell(cell: Any, cell_index: int, **more: Any) -> None:
            if cell_index in code:
                place = Path(nb_man.output_path).with_name(AT_CELL)
                place.write_text(json.dumps([code.index(cell_index) + 1, len(code)]), encoding="utf-8")
            begin(cell, cell_index, **more)

        nb_man.cell_start = tell
        super().execute_managed_notebook(nb_man, kernel_name, **given)


def main() -> None:
    """Read the job from standard input, execute it, and end when the runner does."""
    # A cluster signals all processes of a job: the kernel is to save its training, the runner to judge.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    try:
        _execute(job)
    except OSError as error:
        if error.errno in FULL:
            sys.exit(FULL_CODE + error.errno)
        raise


def _execute(job: dict[str, Any]) -> None:
    papermill_engines.register("telling", TellingEngine)
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
        engine_name="telling",
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
