"""Run Snakemake on notebooks/Snakefile; go on where a stopped call was, also after SIGKILL or a power cut.

    python scripts/workflow.py [snakemake arguments]

Snakemake leaves a lock behind when it is killed, and its runs live on. So: a lock of the operating system, which
ends with its holder, tells whether another call is at work; then Snakemake's own lock is stale and can go; and runs
that a killed call left behind are waited for, so that no two processes write the same run. So are its jobs on a Slurm
cluster, which Snakemake does not adopt; those that have not begun are cancelled.
"""

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

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


def on_slurm(arguments: list[str]) -> list[str]:
    """What is to be added to Snakemake's arguments where its workflow profile sends jobs to Slurm: how to know ours."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--workflow-profile", type=Path)
    parser.add_argument("--executor", "-e")
    given, _ = parser.parse_known_args(arguments)
    profile = given.workflow_profile and given.workflow_profile / "config.yaml"
    told = yaml.safe_load(profile.read_text(encoding="utf-8")) or {} if profile and profile.is_file() else {}
    if (given.executor or told.get("executor")) != "slurm":
        return []
    return ["--slurm-jobname-prefix", f"emoser-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"]


def slurm_jobs(prefix: str, states: str) -> list[str]:
    """The numbers of our jobs in one of these states."""
    command = ["squeue", "--noheader", "--me", f"--states={states}", "--format=%A %j"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        sys.exit(f"Slurm does not answer ({said.stderr.strip()}): try again when `squeue` does.")
    return [line.split()[0] for line in said.stdout.splitlines() if line.split()[1].startswith(prefix)]


def end_slurm_jobs(prefix: str) -> None:
    """Cancel those of an earlier call that have not begun, and wait for the others."""
    if queued := slurm_jobs(prefix, "PENDING,SUSPENDED"):
        subprocess.run(["scancel", *queued], check=False)
    while running := slurm_jobs(prefix, "RUNNING,COMPLETING,CONFIGURING"):
        print(f"Waiting for {len(running)} Slurm job(s) that a stopped call left behind…", file=sys.stderr)
        time.sleep(5)
        if queued := slurm_jobs(prefix, "PENDING"):  # a node was lost: its jobs are queued anew
            subprocess.run(["scancel", *queued], check=False)


def main(arguments: list[str]) -> None:
    """Take the lock, clear up, and become Snakemake."""
    os.chdir(ROOT)
    if said := obstacle(ROOT, ROOM_MB):
        sys.exit(f"{ROOT} cannot be written ({said}): make room there, or put the checkout in another folder.")
    lock = os.open(".snakemake.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("Runs or the book are being made by another call in this folder: wait for it, then try again.")
    except OSError as error:
        sys.exit(f"{ROOT} has no locks ({error.strerror}): put the checkout on another file system, `emoser doctor`.")
    os.set_inheritable(lock, True)  # Snakemake takes this process over, and the lock with it

    slurm = on_slurm(arguments)
    if slurm:
        end_slurm_jobs(slurm[1])
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
    os.execve(sys.executable, snakemake("--rerun-incomplete", *slurm, *arguments), environment)


if __name__ == "__main__":
    main(sys.argv[1:])
