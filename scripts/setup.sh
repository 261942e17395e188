#!/bin/sh
# Bring .venv to exactly what uv.lock says. Does nothing when neither changed since the last time.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv/.synced
if [ -x .venv/bin/seawall ] && [ -f "$stamp" ] && [ ! uv.lock -nt "$stamp" ] && [ ! pyproject.toml -nt "$stamp" ]; then
  exit 0
fi
echo "seawall: installing into .venv" >&2
scripts/uv.sh sync --locked --quiet
touch "$stamp"
