"""A Slurm of its own for tests: two nodes on this machine, loopback only, no systemd, no cgroups, no database."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

CONFIGURATION = """
ClusterName=emoser
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/run/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool/%n
SlurmctldPidFile={home}/run/slurmctld.pid
SlurmdPidFile={home}/run/slurmd.%n.pid
SlurmctldLogFile={home}/log/slurmctld.log
SlurmdLogFile={home}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# Nodes have the cores and memory that are written here, whatever the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
# A node that does not answer is down after so many seconds, and its jobs are queued anew.
SlurmdTimeout=15
# After SIGTERM a job has this long to save itself.
KillWait=30
# Without a database squeue is asked: it must know of jobs that ended a while ago.
MinJobAge=600
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port1} CPUs=1 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port2} CPUs=1 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=120 State=UP
"""

NODES = ("n1", "n2")

SECONDS = 60.0
"""For the nodes to come up, and for the daemons to end."""


class SlurmStand:
    """The daemons. `start` them, then give commands `environment`.

    Args:
        home: an empty folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.configuration = home / "slurm.conf"
        # srun is told where its configuration is: Snakemake's job step drops the variable.
        self.environment = {
            "SLURM_CONF": str(self.configuration),
            "PATH": os.pathsep.join((str(home / "bin"), os.environ["PATH"], "/usr/sbin")),
        }

    def start(self) -> None:
        """Start munged, slurmctld and both slurmd, and wait until the nodes are idle."""
        for name in ("run", "log", "state", "bin", *(f"spool/{node}" for node in NODES)):
            (self.home / name).mkdir(parents=True)
        for folder in (self.home, *self.home.iterdir()):
            folder.chmod(0o755)  # munged refuses folders that others may write to
        key = self.home / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        ports = _free_ports(3)
        host = socket.gethostname().split(".")[0]
        filled = CONFIGURATION.format(
            home=self.home, host=host, user=user, port=ports[0], port1=ports[1], port2=ports[2]
        )
        self.configuration.write_text(filled)
        srun = self.home / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.configuration} exec /usr/bin/srun "$@"\n')
        srun.chmod(0o755)
        run = self.home / "run"
        self.call(
            "munged",
            f"--key-file={key}",
            f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid",
            f"--log-file={self.home}/log/munged.log",
            f"--seed-file={run}/munged.seed",
        )
        self.call("slurmctld", "-f", str(self.configuration), "-c", "-i")
        for node in NODES:
            self.start_node(node)
        until = time.monotonic() + SECONDS
        while self.call("sinfo", "-h", "-N", "-o", "%t").split() != ["idle", "idle"]:
            if time.monotonic() > until:
                sys.exit(f"Slurm's nodes do not come up: see {self.home}/log.")
            time.sleep(0.2)

    def call(self, *command: str) -> str:
        """Run a command of Slurm; returns what it prints."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def start_node(self, node: str) -> None:
        """Start a slurmd."""
        self.call("slurmd", "-f", str(self.configuration), "-N", node)

    def lose_node(self, node: str) -> None:
        """Kill a node: its slurmd and all that runs there, at once."""
        _kill([psutil.Process(int((self.home / "run" / f"slurmd.{node}.pid").read_text())), *self._of_jobs(node)])

    def jobs(self, states: str) -> list[str]:
        """The numbers of the jobs in these states, oldest first."""
        return self.call("squeue", "-h", "-t", states, "-o", "%A", "-S", "i").split()

    def stop(self) -> None:
        """End everything."""
        daemons = []
        for process in psutil.process_iter():
            try:
                if process.name() in ("munged", "slurmctld", "slurmd") and str(self.home) in " ".join(
                    process.cmdline()
                ):
                    daemons.append(process)
            except psutil.Error:
                continue
        _kill([*daemons, *self._of_jobs(*NODES)])

    def _of_jobs(self, *nodes: str) -> list[psutil.Process]:
        """What runs on these nodes, and the slurmstepd that look after it."""
        found, steps = [], []
        for process in psutil.process_iter():
            try:
                if process.name() == "slurmstepd":
                    steps.append(process)
                told = process.environ()
                if told.get("SLURM_CONF") == str(self.configuration) and told.get("SLURMD_NODENAME") in nodes:
                    found.append(process)
            except psutil.Error:
                continue
        return [*(step for step in steps if any(child in found for child in step.children(recursive=True))), *found]


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=SECONDS)


def _free_ports(many: int) -> list[int]:
    sockets = [socket.socket() for _ in range(many)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
