"""One server for all contract tests that need no server of their own."""

from collections.abc import Iterator

import pytest
from tests.contract.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace()
