"""The official Python client: typed, dynamic, watches, YAML, leader election."""

import gc
import json
import threading
import time

import kubernetes
import pytest
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from tests.harness import wait_for

pytestmark = [
    pytest.mark.contract,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def api(cluster):
    config.load_kube_config(config_file=str(cluster.kubeconfig))
    with client.ApiClient() as opened:
        yield opened
    gc.collect()


def pod(name, image="nginx", **labels):
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels=labels or None),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image=image)]),
    )


def test_typed_objects(api, namespace):
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="a"), data={"k": "v"})
    )
    assert made.metadata.uid
    assert made.metadata.creation_timestamp.year >= 2026
    patched = core.patch_namespaced_config_map("a", namespace, {"data": {"x": "y"}})
    assert patched.data == {"k": "v", "x": "y"}
    listed = core.patch_namespaced_config_map("a", namespace, [{"op": "remove", "path": "/data/x"}])
    assert listed.data == {"k": "v"}
    made.data = {"stale": "yes"}
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("a", namespace, made)
    assert (conflict.value.status, json.loads(conflict.value.body)["reason"]) == (409, "Conflict")
    listed.data = {"new": "yes"}
    assert core.replace_namespaced_config_map("a", namespace, listed).data == {"new": "yes"}
    dry = core.create_namespaced_config_map(
        namespace,
        client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="g-")),
        dry_run="All",
    )
    assert dry.metadata.name.startswith("g-")
    names = [item.metadata.name for item in core.list_namespaced_config_map(namespace).items]
    assert names == ["a", "kube-root-ca.crt"]
    core.delete_namespaced_config_map("a", namespace, propagation_policy="Background")
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("a", namespace)
    assert missing.value.status == 404


def test_every_list_of_the_typed_client_is_readable(api, cluster, namespace):
    """Models with required fields read what the server sends for everything there is."""
    core, apps, batch = client.CoreV1Api(api), client.AppsV1Api(api), client.BatchV1Api(api)
    core.create_namespaced_pod(namespace, pod("p"))
    core.create_namespaced_secret(
        namespace, client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"a": "b"})
    )
    wait_for(lambda: core.read_namespaced_pod("p", namespace).status.phase == "Running", "running")
    assert core.read_namespaced_secret("s", namespace).data == {"a": "Yg=="}
    for listing in (
        core.list_namespace, core.list_node, core.list_pod_for_all_namespaces, core.list_secret_for_all_namespaces,
        core.list_config_map_for_all_namespaces, core.list_service_for_all_namespaces, core.list_endpoints_for_all_namespaces,
        core.list_event_for_all_namespaces, core.list_service_account_for_all_namespaces, apps.list_deployment_for_all_namespaces,
        apps.list_replica_set_for_all_namespaces, batch.list_job_for_all_namespaces, batch.list_cron_job_for_all_namespaces,
        client.DiscoveryV1Api(api).list_endpoint_slice_for_all_namespaces, client.CoordinationV1Api(api).list_lease_for_all_namespaces,
    ):  # fmt: skip
        assert listing().metadata.resource_version
    served = {item["name"] for item in cluster.request("GET", "/apis").json["groups"]}
    if "rbac.authorization.k8s.io" in served:
        assert client.RbacAuthorizationV1Api(api).list_cluster_role().items
    if "apiextensions.k8s.io" in served:
        assert client.ApiextensionsV1Api(api).list_custom_resource_definition().metadata
    assert client.VersionApi(api).get_code().minor == "34"
    review = client.AuthorizationV1Api(api).create_self_subject_access_review(
        client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(
                resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods")
            )
        )
    )
    assert review.status.allowed


def test_pages_and_selectors(api, namespace):
    core = client.CoreV1Api(api)
    for number in range(7):
        core.create_namespaced_config_map(
            namespace,
            client.V1ConfigMap(
                metadata=client.V1ObjectMeta(name=f"m{number}", labels={"odd": str(number % 2)})
            ),
        )
    seen, token = [], None
    while True:
        page = core.list_namespaced_config_map(
            namespace, limit=2, _continue=token, label_selector="odd"
        )
        seen += [item.metadata.name for item in page.items]
        assert len(page.items) <= 2
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"m{number}" for number in range(7)]
    odd = core.list_namespaced_config_map(namespace, label_selector="odd in (1),odd!=0")
    assert [item.metadata.name for item in odd.items] == ["m1", "m3", "m5"]
    one = core.list_namespaced_config_map(namespace, field_selector="metadata.name=m3")
    assert [item.metadata.name for item in one.items] == ["m3"]


def test_deployments_and_scale(api, namespace):
    apps = client.AppsV1Api(api)
    labels = {"app": "d"}
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="d"),
        spec=client.V1DeploymentSpec(
            replicas=2,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels), spec=pod("x").spec
            ),
        ),
    )
    apps.create_namespaced_deployment(namespace, deployment)
    wait_for(
        lambda: (
            apps.read_namespaced_deployment_status("d", namespace).status.available_replicas == 2
        ),
        "two replicas",
    )
    scale = apps.read_namespaced_deployment_scale("d", namespace)
    assert scale.status.selector == "app=d"
    scale.spec.replicas = 1
    assert apps.replace_namespaced_deployment_scale("d", namespace, scale).spec.replicas == 1
    patched = apps.patch_namespaced_deployment_scale("d", namespace, {"spec": {"replicas": 3}})
    assert patched.spec.replicas == 3
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}}}}
    apps.patch_namespaced_deployment("d", namespace, template)
    wait_for(
        lambda: apps.read_namespaced_deployment("d", namespace).status.updated_replicas == 3,
        "rolled out",
    )
    apps.delete_namespaced_deployment(
        "d", namespace, body=client.V1DeleteOptions(propagation_policy="Background")
    )
    wait_for(lambda: not apps.list_namespaced_replica_set(namespace).items, "collected")


def test_watches(api, namespace):
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="w"))
    )
    listed = core.list_namespaced_config_map(namespace)
    watcher, seen = watch.Watch(), []

    def change():
        core.patch_namespaced_config_map("w", namespace, {"data": {"n": "1"}})
        core.delete_namespaced_config_map("w", namespace)

    thread = threading.Thread(target=change)
    thread.start()
    stream = watcher.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=30,
    )
    for event in stream:
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    thread.join()
    assert seen == [("MODIFIED", "w"), ("DELETED", "w")]


def test_custom_objects(api, namespace):
    custom = client.CustomObjectsApi(api)
    place = {
        "group": "serving.knative.dev",
        "version": "v1",
        "namespace": namespace,
        "plural": "services",
    }
    body = {
        "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "k"},
        "spec": {"template": {"spec": {"containers": [{"image": "hello"}]}}},
    }  # fmt: skip
    made = custom.create_namespaced_custom_object(**place, body=body)
    assert made["metadata"]["generation"] == 1

    def ready():
        status = custom.get_namespaced_custom_object(**place, name="k").get("status") or {}
        return any(
            item["type"] == "Ready" and item["status"] == "True"
            for item in status.get("conditions", [])
        )

    wait_for(ready, "the Service is ready")
    change = {"metadata": {"labels": {"a": "b"}}}
    patched = custom.patch_namespaced_custom_object(**place, name="k", body=change)
    assert patched["metadata"]["labels"] == {"a": "b"}
    operations = [{"op": "remove", "path": "/metadata/labels/a"}]
    patched = custom.patch_namespaced_custom_object(
        **place, name="k", body=operations, _content_type="application/json-patch+json"
    )
    assert not patched["metadata"].get("labels")
    listed = custom.list_cluster_custom_object("serving.knative.dev", "v1", "revisions")
    assert listed["kind"] == "RevisionList"
    assert all(item["kind"] == "Revision" for item in listed["items"])
    custom.delete_namespaced_custom_object(**place, name="k")
    wait_for(
        lambda: (
            not custom.list_namespaced_custom_object(
                "serving.knative.dev", "v1", namespace, "revisions"
            )["items"]
        ),
        "revisions are collected",
    )


def test_the_dynamic_client(api, cluster, namespace):
    found = dynamic.DynamicClient(api, cache_file=str(cluster.home / f"discovery-{namespace}"))
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    services = found.resources.get(api_version="serving.knative.dev/v1", kind="Service")
    assert (services.namespaced, services.name, services.short_names) == (
        True,
        "services",
        ["kservice", "ksvc"],
    )
    made = maps.create(
        namespace=namespace,
        body={
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "d"},
            "data": {"a": "b"},
        },
    )
    assert made.metadata.namespace == namespace
    patched = maps.patch(
        name="d",
        namespace=namespace,
        body={"data": {"c": "d"}},
        content_type="application/merge-patch+json",
    )
    assert patched.data.to_dict() == {"a": "b", "c": "d"}
    stale = made.to_dict() | {"data": {}}
    with pytest.raises(ConflictError):
        maps.replace(body=stale, namespace=namespace)
    applied = maps.server_side_apply(
        namespace=namespace,
        body={
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "ssa"},
            "data": {"x": "1"},
        },
        field_manager="dynamic",
    )
    assert applied.metadata.managedFields[0].manager == "dynamic"
    with pytest.raises(ConflictError):
        maps.server_side_apply(
            namespace=namespace,
            body={
                "kind": "ConfigMap",
                "apiVersion": "v1",
                "metadata": {"name": "ssa"},
                "data": {"x": "2"},
            },
            field_manager="other",
        )
    forced = maps.server_side_apply(
        namespace=namespace,
        body={
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "ssa"},
            "data": {"x": "2"},
        },
        field_manager="other",
        force_conflicts=True,
    )
    assert forced.data.x == "2"
    events = []
    for event in maps.watch(namespace=namespace, timeout=2):
        events.append((event["type"], event["object"].metadata.name))
    assert {("ADDED", "d"), ("ADDED", "ssa")} <= set(events)
    assert {item.metadata.name for item in maps.get(namespace=namespace).items} >= {"d", "ssa"}
    maps.delete(name="d", namespace=namespace)
    with pytest.raises(NotFoundError):
        maps.get(name="d", namespace=namespace)
    scales = found.resources.get(api_version="apps/v1", kind="Deployment").subresources
    assert {"scale", "status"} <= set(scales)


MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx}]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}], selector: {app: web}}}
- {apiVersion: v1, kind: Secret, metadata: {name: web}, stringData: {a: b}}
"""


def test_create_from_yaml(api, namespace, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(MANIFESTS)
    utils.create_from_yaml(api, str(file), namespace=namespace)
    core = client.CoreV1Api(api)
    assert core.read_namespaced_service("web", namespace).spec.cluster_ip
    assert core.read_namespaced_secret("web", namespace).type == "Opaque"
    with pytest.raises(utils.FailToCreateError) as again:
        utils.create_from_dict(api, next(yaml.safe_load_all(MANIFESTS)), namespace=namespace)
    assert again.value.api_exceptions[0].status == 409


def test_logs(api, namespace):
    core = client.CoreV1Api(api)
    core.create_namespaced_pod(namespace, pod("l"))
    wait_for(lambda: core.read_namespaced_pod("l", namespace).status.phase == "Running", "running")
    assert core.read_namespaced_pod_log("l", namespace) == "first line\nsecond line\n"
    assert core.read_namespaced_pod_log("l", namespace, tail_lines=1) == "second line\n"
    followed = list(watch.Watch().stream(core.read_namespaced_pod_log, "l", namespace, follow=True))
    assert followed == ["first line", "second line", "third line"]


def test_leader_election(api, namespace):
    """Two candidates: one leads at a time; when it stops, the other takes over."""
    led, stop = [], threading.Event()

    class Stop(Exception):
        pass

    def candidate(name):
        def lead():
            led.append(name)
            while not stop.is_set() and len(led) < 2:
                time.sleep(0.02)
            raise Stop

        lock = ConfigMapLock("leader", namespace, name)
        settings = electionconfig.Config(
            lock,
            lease_duration=3,
            renew_deadline=2,
            retry_period=1,
            onstarted_leading=lead,
            onstopped_leading=None,
        )
        try:
            leaderelection.LeaderElection(settings).run()
        except Exception:
            return

    threads = [threading.Thread(target=candidate, args=(name,), daemon=True) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    wait_for(lambda: led, "somebody leads", 30)
    core = client.CoreV1Api(api)
    record = core.read_namespaced_config_map("leader", namespace).metadata.annotations
    held = json.loads(record["control-plane.alpha.kubernetes.io/leader"])
    assert held["holderIdentity"] == led[0]
    time.sleep(0.1)
    assert len(led) == 1
    stop.set()


def test_the_client_is_the_one_that_users_have():
    assert int(kubernetes.__version__.split(".")[0]) >= 32
