#!/usr/bin/env bash
# install_browser.sh PYTHON   Make sure that the browser tests have a Chromium.
# Without root it says what to type and goes on: those tests then skip. In CI that is an error.
set -euo pipefail
found() { "$1" -c 'from emoser_lib.doctor import find_browser; raise SystemExit(find_browser() is None)'; }

found "$1" && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Chromium for the browser tests…"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium fonts-liberation >/dev/null
  found "$1" && exit 0
fi
echo "The browser tests need Chromium and will be skipped: sudo apt-get install chromium" >&2
[ -z "${CI:-}" ]
