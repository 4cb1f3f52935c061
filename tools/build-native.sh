#!/usr/bin/env bash
# Builds the data plane (Rust) and installs Knarr into the virtual environment, editable.
set -euo pipefail
venv=$1
if ! command -v cargo >/dev/null 2>&1; then
    echo "building the data plane needs Rust: run 'apt-get install cargo', or install a wheel instead (make wheel)" >&2
    exit 1
fi
if ! command -v cc >/dev/null 2>&1; then
    if [ "$(id -u)" != 0 ]; then
        echo "building the data plane needs a C linker; run: sudo apt-get install gcc libc6-dev" >&2
        exit 1
    fi
    apt-get update -qq && apt-get install -y -qq gcc libc6-dev >/dev/null
fi
echo "building the data plane (a few minutes the first time)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! VIRTUAL_ENV=$(cd "$venv" && pwd) "$venv/bin/maturin" develop --release >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
