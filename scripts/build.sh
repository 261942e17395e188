#!/bin/sh
# Build the distributions, check their metadata and contents, and use the wheel from an empty environment.
set -eu
cd "$(dirname "$0")/.."
rm -rf dist
scripts/uv.sh build --quiet --out-dir dist
scripts/uv.sh tool run --quiet --from 'twine==7.0.0' twine check --strict dist/*
smoke=$(mktemp -d)
trap 'rm -rf "$smoke"' EXIT
trap 'exit 130' INT TERM
scripts/uv.sh venv --quiet "$smoke/venv"
wheel=$(echo dist/*.whl)
scripts/uv.sh pip install --quiet --python "$smoke/venv/bin/python" "$wheel"
cd "$smoke" # so that the package comes from the wheel and not from src/
venv/bin/python -c 'import seawall; from importlib.resources import files; assert (files(seawall) / "py.typed").is_file()'
venv/bin/seawall --help >/dev/null
echo "$wheel: built, checked, installed and run"
