#!/bin/sh
# Run uv: the one on PATH when it is new enough for uv.lock, else one installed from PyPI into .uv/.
# Needs nothing but a Python >= 3.11 and the package registry.
set -eu
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9 # the version that wrote uv.lock; raise both together
export UV_PYTHON_DOWNLOADS=never
# The machine's own certificates where it has any: behind a company's TLS proxy the bundled ones are not enough.
[ ! -f /etc/ssl/certs/ca-certificates.crt ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"

new_enough() { # $1: a uv; old ones do not know the lock's relative `exclude-newer`
  version=$("$1" --version 2>/dev/null | awk '{print $2}') || return 1
  [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$UV_VERSION" "$version" | sort -V | head -n 1)" = "$UV_VERSION" ]
}

find_python() {
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    path=$(command -v "$candidate") || continue
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$path" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  echo "seawall: no Python 3.11 or newer on PATH ($(python3 --version 2>&1 || true))" >&2
  echo "  hint: install one (Debian 12, Ubuntu 24.04 and later: apt-get install python3 python3-venv) and run make again" >&2
  exit 1
}

if [ -x .venv/bin/python ]; then
  python=$PWD/.venv/bin/python
else
  python=$(find_python)
fi
[ -n "${UV_PYTHON:-}" ] || export UV_PYTHON="$python"

if path=$(command -v uv) && new_enough "$path"; then
  exec "$path" "$@"
fi
if ! new_enough .uv/bin/uv; then
  rm -rf .uv
  base=$(find_python)
  if ! "$base" -m venv .uv >/dev/null 2>&1; then
    rm -rf .uv
    scripts/debian.sh "$base -c 'import ensurepip, venv'" python3-venv
    "$base" -m venv .uv
  fi
  .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2
fi
exec .uv/bin/uv "$@"
