#!/usr/bin/env bash
# set_up.sh PYTHON [cpu|cuda]   Make .venv hold what pyproject.toml and constraints.txt say; do nothing if it does.
# PYTHON empty: the environment's own, for a new one python3. Another Python than the environment's makes it anew.
# Without a build of torch named, the one that is installed stays; a new environment gets cpu.
set -euo pipefail
named=$1 venv=.venv anew=
version=$(sed -n 's/^torch==//p' constraints.txt)
installed=$(cat $venv/torch.done 2>/dev/null || true)
build=${2:-${installed%% *}}
build=${build:-cpu}

# Written down when a part has come to its end: what it was made from.
torch="$build $version"
packages=$(cat pyproject.toml constraints.txt | cksum)
same() { [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]; }
# A virtual environment holds its own path: it does not survive a move of the folder.
in_place() { [ -x $venv/bin/python ] && grep -qF "$(pwd -P)/$venv" $venv/pyvenv.cfg; }
# "3.12" of a Python that will do; empty of any other.
release() { "$1" -c 'import sys; sys.version_info < (3, 11) or print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }
pip() { $venv/bin/python -m pip --disable-pip-version-check install -qq "$@"; }

# A plain `torch` is the CUDA build on Linux (several GB), the CPU build on a Mac. The CPU build for Linux is named
# VERSION+cpu and comes from a wheel folder that pip knows (PIP_FIND_LINKS), else from PyTorch's own wheel index.
install_torch() {
  case "$build/$(uname -s)" in
    cpu/Linux)
      pip --no-deps --no-index "torch==$version+cpu" 2>/dev/null ||
        pip --no-deps --index-url https://download.pytorch.org/whl/cpu "torch==$version+cpu" ||
        { echo "torch $version+cpu could not be had: check the network, or take the other build with TORCH=cuda." >&2; exit 1; }
      ;;
    cpu/*) pip --no-deps "torch==$version" ;;
    # === compares the whole version: an installed or offered VERSION+cpu does not count.
    cuda/*) pip -c constraints.txt "torch===$version" ;;
  esac
}

python=${named:-$(in_place && $venv/bin/python -c 'import sys; print(sys._base_executable)' || echo python3)}
asked=$(release "$python")
[ -n "$asked" ] ||
  { echo "$python is not a Python 3.11 or newer: name one, for example with \`make setup PYTHON=python3.12\`." >&2; exit 1; }
if [ -e $venv/unfinished ] || ! in_place; then
  anew=yes # an installation that was cut short may have left half a package; pip has kept the downloads
elif [ "$(release $venv/bin/python)" != "$asked" ]; then
  echo "$venv has another Python than $asked: making it anew."
  anew=yes
fi
[ -z "$anew" ] && same torch.done "$torch" && same packages.done "$packages" && exit 0

case "$build/$(uname -s)" in
  cpu/* | cuda/Linux) ;;
  cuda/*) echo "TORCH=cuda: there is a CUDA build for Linux only; leave TORCH out." >&2; exit 2 ;;
  *) echo "TORCH=$build: it must be cpu or cuda." >&2; exit 2 ;;
esac

if [ -n "$anew" ] || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --clear $venv
fi
touch $venv/unfinished
if ! same torch.done "$torch"; then
  echo "Installing torch $version ($build) in $venv…"
  install_torch
  echo "$torch" >$venv/torch.done
fi
if ! same packages.done "$packages"; then
  echo "Installing the pinned packages in $venv (two to three minutes)…"
  pip -c constraints.txt -e '.[app,emotion2vec,book,cluster,lab,test,dev]'
  echo "$packages" >$venv/packages.done
fi
rm $venv/unfinished
