from typing import Any

import pytest

from knarr.resources.catalog import KINDS, find_kind
from knarr.resources.columns import AGE, READY, format_selector, human_duration, since, text
from knarr.resources.core.pod_columns import pod_status
from knarr.resources.kind import Kind

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3600 * 3 - 1, "179m"),
        (3600 * 3, "3h"),
        (3600 * 7 + 60 * 5, "7h5m"),
        (3600 * 8, "8h"),
        (3600 * 47, "47h"),
        (3600 * 48, "2d"),
        (3600 * 49, "2d1h"),
        (86400 * 8, "8d"),
        (86400 * 700, "700d"),
        (86400 * 365 * 2, "2y"),
        (86400 * (365 * 3 + 4), "3y4d"),
        (86400 * 365 * 9, "9y"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_ages_of_timestamps() -> None:
    assert since("2025-12-31T23:59:00Z", NOW) == "60s"
    assert since(None, NOW) == "<unknown>"
    assert since("yesterday", NOW) == "<unknown>"


def row(kind: Kind[Any], document: dict[str, Any]) -> dict[str, object]:
    return {column.name: column.cell(document, NOW) for column in kind.columns}


def kind(group: str, version: str, plural: str) -> Kind[Any]:
    found = find_kind(group, version, plural)
    assert found is not None
    return found


def pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "creationTimestamp": "2025-12-31T23:59:00Z"},
        "spec": {"nodeName": "n", "containers": [{"name": "a"}, {"name": "b"}]},
        "status": status,
    }


RUNNING = {"ready": True, "state": {"running": {}}, "restartCount": 0}


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (pod(phase="Pending"), "Pending"),
        (pod(phase="Running", containerStatuses=[RUNNING, RUNNING]), "Running"),
        (
            pod(
                phase="Running",
                containerStatuses=[
                    RUNNING,
                    {"state": {"waiting": {"reason": "CrashLoopBackOff"}}},
                ],
            ),
            "CrashLoopBackOff",
        ),
        (
            pod(
                phase="Failed",
                containerStatuses=[{"state": {"terminated": {"exitCode": 3}}}],
            ),
            "ExitCode:3",
        ),
        (
            pod(phase="Failed", containerStatuses=[{"state": {"terminated": {"signal": 9}}}]),
            "Signal:9",
        ),
        (
            pod(
                phase="Succeeded",
                containerStatuses=[{"state": {"terminated": {"reason": "Completed"}}}],
            ),
            "Completed",
        ),
        (
            pod(
                phase="Running",
                conditions=[{"type": "Ready", "status": "True"}],
                containerStatuses=[
                    {"state": {"terminated": {"reason": "Completed"}}},
                    RUNNING,
                ],
            ),
            "Running",
        ),
        (pod(phase="Failed", reason="Evicted"), "Evicted"),
        (
            pod(
                phase="Pending",
                initContainerStatuses=[{"state": {"running": {}}}],
            )
            | {"spec": {"initContainers": [{}, {}], "containers": [{}]}},
            "Init:0/2",
        ),
        (
            pod(
                phase="Pending",
                initContainerStatuses=[{"state": {"terminated": {"exitCode": 2}}}],
            ),
            "Init:ExitCode:2",
        ),
        (
            pod(phase="Running", containerStatuses=[RUNNING])
            | {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
            "Terminating",
        ),
    ],
)
def test_status_of_pods(document: dict[str, Any], status: str) -> None:
    assert pod_status(document) == status


def test_pod_row() -> None:
    restarted = {
        "ready": False,
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2025-12-31T23:55:00Z"}},
    }
    document = pod(phase="Running", podIP="10.0.0.1", containerStatuses=[RUNNING, restarted])
    assert row(kind("", "v1", "pods"), document) == {
        "Ready": "1/2",
        "Status": "CrashLoopBackOff",
        "Restarts": "2 (5m ago)",
        "Age": "60s",
        "IP": "10.0.0.1",
        "Node": "n",
        "Nominated Node": "<none>",
        "Readiness Gates": "<none>",
    }


def test_service_rows() -> None:
    services = kind("", "v1", "services")
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 443, "nodePort": 30443, "protocol": "TCP"}]
    shown = row(services, {"spec": {"type": "ClusterIP", "clusterIP": "None", "ports": ports}})
    assert shown["Port(s)"] == "80/TCP,443:30443/TCP"
    assert (shown["Cluster-IP"], shown["External-IP"]) == ("None", "<none>")
    external = {"spec": {"type": "ExternalName", "externalName": "a.b", "selector": {"x": "1"}}}
    shown = row(services, external)
    assert (shown["External-IP"], shown["Cluster-IP"]) == ("a.b", "<none>")
    assert shown["Selector"] == "x=1"
    assert row(services, {"spec": {"type": "LoadBalancer"}})["External-IP"] == "<pending>"


def test_deployment_row() -> None:
    document = {
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
        "status": {"readyReplicas": 1, "updatedReplicas": 2},
    }
    shown = row(kind("apps", "v1", "deployments"), document)
    assert (shown["Ready"], shown["Up-to-date"], shown["Available"]) == ("1/2", 2, 0)
    assert (shown["Containers"], shown["Images"], shown["Selector"]) == ("c", "i", "app=x")


def test_service_of_knative_row() -> None:
    document = {
        "status": {
            "url": "http://hello",
            "latestCreatedRevisionName": "hello-00002",
            "latestReadyRevisionName": "hello-00001",
            "conditions": [{"type": "Ready", "status": "False", "reason": "RevisionFailed"}],
        }
    }
    assert row(kind("serving.knative.dev", "v1", "services"), document) == {
        "URL": "http://hello",
        "LatestCreated": "hello-00002",
        "LatestReady": "hello-00001",
        "Ready": "False",
        "Reason": "RevisionFailed",
    }


def test_revision_row() -> None:
    document = {
        "metadata": {
            "labels": {
                "serving.knative.dev/configuration": "hello",
                "serving.knative.dev/configurationGeneration": "3",
            }
        },
        "status": {"actualReplicas": 0, "desiredReplicas": 1},
    }
    assert row(kind("serving.knative.dev", "v1", "revisions"), document) == {
        "Config Name": "hello",
        "Generation": "3",
        "Ready": None,
        "Reason": None,
        "Actual Replicas": 0,
        "Desired Replicas": 1,
    }


def test_event_row() -> None:
    document = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "lastTimestamp": "2025-12-31T23:59:00Z",
        "source": {"component": "node", "host": "n"},
        "message": "hi\n",
        "type": "Normal",
        "reason": "Started",
    }
    shown = row(kind("", "v1", "events"), document)
    assert shown["Last Seen"] == "60s"
    assert (shown["Object"], shown["Source"], shown["Message"]) == ("pod/p", "node, n", "hi")
    assert shown["Count"] == 1


def test_node_row() -> None:
    document = {
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
            "nodeInfo": {"kubeletVersion": "v1.34.0"},
        },
    }
    shown = row(kind("", "v1", "nodes"), document)
    assert shown["Status"] == "Ready,SchedulingDisabled"
    assert (shown["Roles"], shown["Internal-IP"]) == ("control-plane", "10.0.0.9")
    assert (shown["External-IP"], shown["OS-Image"]) == ("<none>", "<unknown>")


def test_selectors_as_text() -> None:
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]},
            {"key": "d", "operator": "DoesNotExist"},
        ],
    }
    assert format_selector(selector) == "a=1,b=2,c in (x,y),!d"
    assert format_selector({}) == "<none>"


# What kube-apiserver 1.34 answers: name, priority.
BUILTIN_COLUMNS = {
    "customresourcedefinitions": "Created_At",
    "pods": "Ready Status Restarts Age IP! Node! Nominated_Node! Readiness_Gates!",
    "services": "Type Cluster-IP External-IP Port(s) Age Selector!",
    "configmaps": "Data Age",
    "secrets": "Type Data Age",
    "serviceaccounts": "Secrets Age",
    "nodes": "Status Roles Age Version Internal-IP! External-IP! OS-Image! Kernel-Version! "
    "Container-Runtime!",
    "namespaces": "Status Age",
    "events": "Last_Seen Type Reason Object Subobject! Source! Message First_Seen! Count! Name!",
    "deployments": "Ready Up-to-date Available Age Containers! Images! Selector!",
    "replicasets": "Desired Current Ready Age Containers! Images! Selector!",
    "leases": "Holder Age",
    "mutatingwebhookconfigurations": "Webhooks Age",
    "validatingwebhookconfigurations": "Webhooks Age",
    "endpoints": "Endpoints Age",
    "jobs": "Status Completions Duration Age Containers! Images! Selector!",
    "cronjobs": "Schedule Timezone Suspend Active Last_Schedule Age Containers! Images! Selector!",
    "endpointslices": "AddressType Ports Endpoints Age",
    "persistentvolumes": "Capacity Access_Modes Reclaim_Policy Status Claim StorageClass "
    "VolumeAttributesClass Reason Age VolumeMode!",
    "persistentvolumeclaims": "Status Volume Capacity Access_Modes StorageClass "
    "VolumeAttributesClass Age VolumeMode!",
    "storageclasses": "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
    "resourcequotas": "Request Limit Age",
    "limitranges": "Created_At",
    "poddisruptionbudgets": "Min_Available Max_Unavailable Allowed_Disruptions Age",
    "priorityclasses": "Value Global-Default Age PreemptionPolicy",
    "daemonsets": "Desired Current Ready Up-to-date Available Node_Selector Age Containers! Images! "
    "Selector!",
    "statefulsets": "Ready Age Containers! Images!",
    "controllerrevisions": "Controller Revision Age",
    "roles": "Created_At",
    "clusterroles": "Created_At",
    "rolebindings": "Role Age Users! Groups! ServiceAccounts!",
    "clusterrolebindings": "Role Age Users! Groups! ServiceAccounts!",
}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.builtin], ids=lambda kind: kind.kind
)
def test_columns_are_those_of_kubernetes(kind: Kind[Any]) -> None:
    shown = [column.name.replace(" ", "_") + "!" * bool(column.priority) for column in kind.columns]
    assert shown + ["Age"] * kind.age == BUILTIN_COLUMNS[kind.plural].split()


def test_cells_that_are_paths_say_so():
    labels = text("metadata", "labels", "example.com/name")
    assert labels.json_path == r".metadata.labels['example\.com/name']"
    assert labels({"metadata": {"labels": {"example.com/name": "v"}}}, 0.0) == "v"
    assert READY.cell.json_path == ".status.conditions[?(@.type=='Ready')].status"
    assert AGE.cell.json_path == ".metadata.creationTimestamp"
