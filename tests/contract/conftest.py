"""One server for all contract tests that need no server of their own, and one to be attacked."""

from collections.abc import Iterator

import pytest
from tests.contract.attacker import (
    DEPLOYMENT,
    DEPLOYMENTS,
    GROWTH_BYTES,
    KSVC,
    KSVCS,
    MAPS,
    Attacker,
)
from tests.contract.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace()


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """A server to be attacked, whose memory and log are looked at in the end."""
    with Cluster(nodes=False) as running:
        for path, document in (
            (MAPS, {"metadata": {"name": "victim"}, "data": {"a": "b"}}),
            (DEPLOYMENTS, DEPLOYMENT),
            (KSVCS, KSVC),
        ):
            answer = running.request("POST", path, document)
            assert answer.status == 201, answer.body
        before = running.resident_bytes()
        yield running
        grown = running.resident_bytes() - before
        assert running.alive, running.log()
        assert grown < GROWTH_BYTES, f"grown by {grown >> 20} MiB"
        assert "Traceback" not in running.log(), running.log()
        for path in (f"{MAPS}/victim", f"{DEPLOYMENTS}/victim", f"{KSVCS}/victim"):
            assert running.request("GET", path).status == 200


@pytest.fixture
def attack(server: Cluster) -> Iterator[Attacker]:
    attacker = Attacker(server)
    yield attacker
    attacker.close()
