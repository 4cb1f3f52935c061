#!/usr/bin/env bash
# Makes the virtual environment with every Python package. Uses uv when it is there, pip otherwise.
set -euo pipefail
venv=$1
if [ ! -x "$venv/bin/python" ]; then
    if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "Knarr needs Python 3.11 or newer; python3 is $(python3 --version 2>&1)" >&2
        exit 1
    fi
    echo "making $venv"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        if [ "$(id -u)" != 0 ]; then
            echo "python3 -m venv does not work; run: sudo apt-get install python3-venv" >&2
            exit 1
        fi
        echo "installing python3-venv"
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        rm -rf "$venv"
        python3 -m venv "$venv"
    fi
fi
echo "installing Python packages"
packages=$("$venv/bin/python" - <<'PY'
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"]["dev"]))
PY
)
if command -v uv >/dev/null 2>&1; then
    uv pip install --quiet --python "$venv/bin/python" --constraint constraints.txt -r - <<<"$packages"
else
    "$venv/bin/python" -m pip install --quiet --constraint constraints.txt -r /dev/stdin <<<"$packages"
fi
