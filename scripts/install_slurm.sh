#!/usr/bin/env bash
# install_slurm.sh   Make sure that the test of a cluster has Slurm, from Debian's packages.
set -euo pipefail
found() { for one in slurmctld slurmd munged srun; do PATH=$PATH:/usr/sbin command -v $one >/dev/null || return 1; done; }

found && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "This needs Slurm: sudo apt-get install slurmctld slurmd slurm-client munge" >&2
  exit 1
fi
echo "Installing Slurm…"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
found
