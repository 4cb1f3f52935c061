"""The two servers that are compared."""

import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.harness import REPOSITORY, free_port, wait_for
from tests.reference.cluster import Cluster, reference_programs, start_cluster
from tests.reference.rawclient import RawClient


@dataclass
class Ours:
    """Knarr's API server alone, as a process."""

    directory: Path
    port: int
    process: subprocess.Popen

    @property
    def token(self) -> str:
        return (self.directory / "pki" / "admin.token").read_text().strip()

    def client(self, token: str | None = None) -> RawClient:
        tls = ssl.create_default_context(cafile=str(self.directory / "pki" / "ca.crt"))
        return RawClient(
            f"https://127.0.0.1:{self.port}", tls, self.token if token is None else token
        )

    def ready(self) -> bool:
        assert self.process.poll() is None, (self.directory / "log").read_text()
        if not (self.directory / "kubeconfig").exists():
            return False
        with self.client() as client:
            try:
                return client.send("GET", "/readyz").status == 200
            except OSError:
                return False


def start_ours(directory: Path) -> Ours:
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "tests.apiserver_alone", "--data-dir", str(directory),
                "--port", str(port),
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY,
        )  # fmt: skip
    ours = Ours(directory, port, process)
    wait_for(ours.ready, "our API server", 30)
    return ours


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    found = reference_programs()
    if found is None:
        pytest.skip("needs the reference: make reference")
    return found


@pytest.fixture(scope="session")
def reference(programs: dict[str, Path]) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="knarr-reference-") as directory:
        cluster = start_cluster(Path(directory), programs)
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def ours() -> Iterator[Ours]:
    with tempfile.TemporaryDirectory(prefix="knarr-ours-") as directory:
        started = start_ours(Path(directory) / "data")
        try:
            yield started
        finally:
            started.process.terminate()
            started.process.wait(15)
