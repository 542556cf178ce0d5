#!/usr/bin/env bash
# test_python.sh PYTHON [FOLDER]   Run the tests that need no torch on another Python, in an environment of its own.
# PYTHON: a path, a name on PATH, or a release ("python3.13") that pyenv has. FOLDER: for the environments; default .venv-python.
set -euo pipefail
cd "$(dirname "$0")/.."
named=${1:?name a Python, for example: make test-python PYTHON=python3.13}
# The rooms without torch and what else declares and judges: their tests, and the examples in their docstrings.
rooms=(corpora experiments/judging experiments/runs experiments/settings)
tests=("${rooms[@]/#/tests/}" tests/cli/test_submission.py tests/experiments/training/test_folds.py tests/test_environment.py)
examples=("${rooms[@]/#/emoser_lib/}" emoser_lib/{environment,errors,files,values,visible}.py emoser_lib/experiments/training/folds.py
  emoser_lib/systems/{declared,classical/baselines,classical/clips}.py emoser_lib/systems/prompts)
left_out='^(torch|transformers|peft|playwright|axe-playwright-python)\b'

release= # "3.12"; a name on PATH may be pyenv's stand-in for a Python that is not chosen
for python in "$(command -v "$named" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/${named#python}"*/bin/python; do
  release=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) && break
done
[ -n "$release" ] || { echo "there is no Python '$named' on PATH or in pyenv: install it, or give its path." >&2; exit 2; }

venv=${2:-.venv-python}/$release
wanted=$(cat pyproject.toml constraints.txt | cksum)
if [ "$(cat "$venv/packages.done" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing what needs no torch in $venv (a minute)…"
  "$python" -m venv --clear "$venv"
  "$venv/bin/python" -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*p["dependencies"], *p["optional-dependencies"]["test"], sep="\n")' | grep -Ev "$left_out" >"$venv/packages.txt"
  pip() { "$venv/bin/python" -m pip --disable-pip-version-check install -qq "$@"; }
  pip -c constraints.txt -r "$venv/packages.txt"
  pip --no-deps -e .
  echo "$wanted" >"$venv/packages.done"
fi
"$venv/bin/python" --version
"$venv/bin/python" -m pytest "${tests[@]}" "${examples[@]}"
