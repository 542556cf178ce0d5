"""Run Snakemake on notebooks/Snakefile; go on where a stopped call was, also after SIGKILL or a power cut.

    python scripts/workflow.py [snakemake arguments]

Snakemake leaves a lock behind when it is killed, and its runs live on. So: a lock of the operating system, which
ends with its holder, tells whether another call is at work; then Snakemake's own lock is stale and can go; and runs
that a killed call left behind are waited for, so that no two processes write the same run.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from emoser_lib.doctor import obstacle

ROOT = Path(__file__).resolve().parent.parent
ROOM_MB = 100
"""Free space for the runs of profile `demo` and the pages. Our choice."""
MARK = "EMOSER_WORKFLOW"
"""Environment variable by which a process is known as started from here; its value is the project's folder."""


def snakemake(*arguments: str) -> list[str]:
    """The command line of Snakemake in this environment."""
    return [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", *arguments]


def left_over() -> list[psutil.Process]:
    """Processes that an earlier call started and that still live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == str(ROOT):
                found.append(process)
        except psutil.Error:  # not ours to look into, or gone
            continue
    return found


def main(arguments: list[str]) -> None:
    """Take the lock, clear up, and become Snakemake."""
    os.chdir(ROOT)
    if said := obstacle(ROOT, ROOM_MB):
        sys.exit(f"{ROOT} cannot be written ({said}): make room there, or put the checkout in another folder.")
    lock = os.open(".snakemake.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("The book is being built by another call in this folder: wait for it, then try again.")
    except OSError as error:
        sys.exit(f"{ROOT} has no locks ({error.strerror}): put the checkout on another file system, `emoser doctor`.")
    os.set_inheritable(lock, True)  # Snakemake takes this process over, and the lock with it

    while waiting := left_over():
        print(f"Waiting for {len(waiting)} process(es) that a stopped call left behind…", file=sys.stderr)
        psutil.wait_procs(waiting, timeout=10)
        time.sleep(0.1)
    if (ROOT / ".snakemake" / "locks").is_dir():
        subprocess.run(snakemake("--unlock"), capture_output=True, check=False)

    # One BLAS thread a process: the runs go side by side. PATH: the commands of this environment, activated or not.
    environment = {
        **os.environ,
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        MARK: str(ROOT),
    }
    os.execve(sys.executable, snakemake("--rerun-incomplete", *arguments), environment)


if __name__ == "__main__":
    main(sys.argv[1:])
