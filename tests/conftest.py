"""Fixtures that several levels of tests share; only those that ask for them start anything."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import REPOSITORY, Instance, require_root, start_instance


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """A whole instance of Knarr per session, on ports and a network of its own."""
    require_root()
    # Unix socket paths are short: not below pytest's deep directories.
    data_dir = Path("/tmp") / f"knarr-e2e-{os.getpid()}"
    running = start_instance(data_dir, tmp_path_factory.mktemp("home"), "10.233.0.0/16")
    try:
        yield running
    finally:
        running.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def hello_image(instance: Instance) -> str:
    """The example, built once."""
    built = instance.knarr("build", str(REPOSITORY / "examples" / "hello-python"), "-o", "json")
    return str(json.loads(built)["reference"])


@pytest.fixture(scope="session")
def probe_image(instance: Instance) -> str:
    """A service that counts, sleeps and crashes on request."""
    built = instance.knarr(
        "build", str(REPOSITORY / "tests" / "e2e" / "apps" / "probe"), "-o", "json"
    )
    return str(json.loads(built)["reference"])
