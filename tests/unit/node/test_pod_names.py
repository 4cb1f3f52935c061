"""Names of single Pods inside: host.service.namespace."""

import msgspec
import pytest

from knarr.node.names import Answer, ClusterNames
from knarr.resources.core.pod import Pod
from knarr.resources.core.service import Service


def pod(name, ip, *, host=None, subdomain="db", ready=True, **labels):
    ready_condition = {"type": "Ready", "status": "True" if ready else "False"}
    document = {
        "metadata": {"name": name, "namespace": "ns", "labels": labels or {"app": "db"}},
        "spec": {"hostname": host or name, "subdomain": subdomain},
        "status": {"podIP": ip, "conditions": [ready_condition]},
    }
    return msgspec.convert(document, Pod)


class Directory:
    def __init__(self, *pods, **spec):
        document = {
            "metadata": {"name": "db", "namespace": "ns"},
            "spec": {"clusterIP": "None", "selector": {"app": "db"}, **spec},
        }
        self._service = msgspec.convert(document, Service)
        self._pods = pods

    def service(self, namespace, name):
        return self._service if (namespace, name) == ("ns", "db") else None

    def pods(self, namespace):
        return self._pods

    def slices(self, namespace, name):
        return ()


PODS = (pod("db-0", "10.0.0.2"), pod("db-1", "10.0.0.3", ready=False))


@pytest.mark.parametrize(
    ("host", "directory", "address"),
    [
        ("db-0", Directory(*PODS), "10.0.0.2"),
        ("db-1", Directory(*PODS), None),
        ("db-1", Directory(*PODS, publishNotReadyAddresses=True), "10.0.0.3"),
        ("db-2", Directory(*PODS), None),
        ("db-0", Directory(*PODS, clusterIP="10.96.0.9"), None),
        ("db-0", Directory(pod("db-0", "10.0.0.2", subdomain="")), None),
        ("db-0", Directory(pod("db-0", "10.0.0.2", app="other")), None),
    ],
)
def test_a_pod_of_a_headless_service(host, directory, address):
    names = ClusterNames(directory, "10.0.0.1")
    found = names.look_up(f"{host}.db.ns.svc.cluster.local")
    assert found == (Answer((address,)) if address else None)


def test_more_labels_are_no_name():
    names = ClusterNames(Directory(*PODS), "10.0.0.1")
    assert names.look_up("a.db-0.db.ns.svc.cluster.local") is None
    assert names.look_up("db.ns.svc.cluster.local") == Answer(("10.0.0.2",))
