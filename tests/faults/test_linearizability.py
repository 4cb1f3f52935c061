"""Concurrent reads, writes and watches while the server is killed: nothing acknowledged is lost.

``KNARR_KILLS`` says how often the server is killed (8 by default), ``KNARR_SEED`` repeats a run's choices.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.faults.linear import LOST, Connection, Life, Operation, live, take_list, watch_problems
from tests.harness import REPOSITORY, free_port, wait_for

CHECKER = Path(__file__).parent / "linearizability"
KILLS = int(os.environ.get("KNARR_KILLS", "8"))

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120 + 10 * KILLS)]


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that looks for an order of the operations."""
    if shutil.which("go") is None:
        pytest.skip("needs Go")
    program = tmp_path_factory.mktemp("checker") / "linearizability"
    built = subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", str(program), "."],
        cwd=CHECKER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return program


class Server:
    """The API server alone, on one data directory, killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "api.sock"
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "tests.apiserver_alone", "--data-dir", str(self.directory),
                    "--port", str(self.port), "--socket", str(self.socket),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=REPOSITORY,
            )  # fmt: skip
        try:
            wait_for(self.ready, "the server", 60)
        except AssertionError as error:
            # where it stands
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(1)
            error.add_note((self.directory / "log").read_text()[-4000:])
            raise

    def ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        connection = Connection(self.socket)
        try:
            return connection.ask("GET", "/api/v1/namespaces/default")[0] == 200
        except LOST:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """``kill -9``; nothing happens any more when this returns."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def after_restart(server: Server, life: Life) -> None:
    """Read everything once more; that is the last operation of the life before."""
    connection = Connection(server.socket)
    operation = Operation(0, "list", call=time.monotonic_ns(), outcome="ok")
    listed = take_list(connection)
    connection.close()
    operation.end = time.monotonic_ns()
    operation.rv, operation.items = listed.rv, listed.items
    life.operations.append(operation)


def test_what_was_acknowledged_survives_kills(checker: Path, tmp_path_factory) -> None:
    seed = int(os.environ.get("KNARR_SEED") or random.SystemRandom().getrandbits(32))
    rng = random.Random(seed)
    server = Server(tmp_path_factory.mktemp("k"))
    lives: list[Life] = []
    try:
        server.start()
        for number in range(KILLS):
            life = live(number, server.socket, rng, server.kill, rng.uniform(0.2, 1.0))
            server.start()
            problems = watch_problems(life)
            assert problems == [], f"seed {seed}, life {number}"
            after_restart(server, life)
            lives.append(life)
    finally:
        server.kill()
    checked = subprocess.run(
        [str(checker)],
        input=b"".join(life.line() for life in lives),
        capture_output=True,
        check=False,
    )
    operations = [operation for life in lives for operation in life.operations]
    lost = sum(operation.outcome == "lost" for operation in operations)
    events = sum(len(watched.events) for life in lives for watched in life.watched)
    resumes = sum(watched.resumes for life in lives for watched in life.watched)
    print(
        f"{KILLS} kills, {len(operations)} operations, {lost} without an answer, {events} watch events, "
        f"{resumes} resumed watches, seed {seed}"
    )
    if checked.returncode != 0:
        kept = Path(tempfile.gettempdir()) / f"knarr-history-{seed}.jsonl"
        kept.write_bytes(b"".join(life.line() for life in lives))
        pytest.fail(f"seed {seed}: {checked.stdout.decode()}\nthe history is in {kept}")
    assert len(operations) > 20 * KILLS
