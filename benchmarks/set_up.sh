#!/usr/bin/env bash
# set_up.sh PYTHON   Make .venv-bench hold ms-swift and TRL as benchmarks/constraints.txt pins them; do nothing if it does.
# They want another transformers than the project: one environment cannot hold both. torch is the project's, CPU build.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=.venv-bench pins=benchmarks/constraints.txt
wanted=$(cksum <$pins)
pin() { sed -n "s/^$1==/$1==/p" $pins; }
pip() { $venv/bin/python -m pip --disable-pip-version-check install -qq "$@"; }

[ "$(cat $venv/packages.done 2>/dev/null)" = "$wanted" ] && grep -qF "$(pwd -P)/$venv" $venv/pyvenv.cfg && exit 0

echo "Installing ms-swift and TRL in $venv (about three minutes)…"
"$python" -m venv --clear $venv
case "$(uname -s)" in
  Linux)
    torch="$(pin torch)+cpu"
    pip --no-deps --no-index "$torch" 2>/dev/null ||
      pip --no-deps --index-url https://download.pytorch.org/whl/cpu "$torch" ||
      { echo "$torch could not be had: check the network." >&2; exit 1; }
    ;;
  *) pip --no-deps "$(pin torch)" ;;
esac
pip -c $pins "$(pin ms_swift)" "$(pin trl)"
echo "$wanted" >$venv/packages.done
