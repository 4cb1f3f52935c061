"""Programs built from Go modules, kept in the user's cache and never in the checkout."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knarr-tests"
CLIENT = Path(__file__).parent / "goclient"
_BUILD_S = 1500


def _build(directory: Path, package: str, output: Path) -> Path:
    """Compile a package, or skip the test with the reason why that cannot be done here."""
    if output.exists():
        return output
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain is installed")
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = output.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        ["go", "build", "-trimpath", "-o", str(fresh), package],
        cwd=directory, capture_output=True, text=True, timeout=_BUILD_S, check=False,
        env={**os.environ, "GOFLAGS": "-mod=mod -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"},
    )  # fmt: skip
    if done.returncode != 0:
        unreachable = ("dial tcp", "no such host", "403 Forbidden", "requires go >=", "i/o timeout")
        if any(text in done.stderr for text in unreachable):
            pytest.skip(f"the modules cannot be had: {done.stderr.strip()[-300:]}")
        raise AssertionError(done.stderr)
    fresh.replace(output)
    return output


def go_client() -> Path:
    """``goclient``, built again when its sources changed."""
    digest = hashlib.sha256()
    for file in sorted([*CLIENT.glob("*.go"), CLIENT / "go.mod", CLIENT / "go.sum"]):
        digest.update(file.read_bytes())
    copy = CACHE / f"goclient-{digest.hexdigest()[:16]}"
    if copy.exists():
        return copy
    # A build may write to go.sum: not in the checkout.
    sources = CACHE / f"src-{os.getpid()}"
    shutil.copytree(CLIENT, sources, dirs_exist_ok=True)
    try:
        return _build(sources, ".", copy)
    finally:
        shutil.rmtree(sources, ignore_errors=True)


HELM_VERSION = "v3.22.0"


def helm() -> Path:
    """The ``helm`` on the PATH, or one from its module."""
    if found := shutil.which("helm"):
        return Path(found)
    output = CACHE / f"helm-{HELM_VERSION}"
    if output.exists():
        return output
    if not os.environ.get("KNARR_SLOW_TESTS"):
        pytest.skip("building helm takes minutes: set KNARR_SLOW_TESTS=1")
    sources = CACHE / f"helm-src-{os.getpid()}"
    sources.mkdir(parents=True, exist_ok=True)
    (sources / "go.mod").write_text(
        f"module knarr.test/helm\n\ngo 1.25.0\n\nrequire helm.sh/helm/v3 {HELM_VERSION}\n"
    )
    try:
        return _build(sources, "helm.sh/helm/v3/cmd/helm", output)
    finally:
        shutil.rmtree(sources, ignore_errors=True)


def kn() -> Path:
    """The ``kn`` on the PATH, or the one that ``KNARR_KN`` names."""
    found = os.environ.get("KNARR_KN") or shutil.which("kn")
    if not found:
        pytest.skip("kn is not installed (KNARR_KN may name it)")
    return Path(found)
