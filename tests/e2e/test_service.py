"""A Knative Service on one machine, real all the way through."""

import collections
import concurrent.futures
import json
import time

import pytest
from tests.harness import Instance, Load, manifest_list, service, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]


def test_deploys_by_kubectl_apply_and_answers(instance: Instance, hello_image: str) -> None:
    instance.kubectl(
        "apply", "-f", "-", stdin=service("first", hello_image, env={"TARGET": "voyage"})
    )
    instance.wait_ready("first")
    status, body, _ = instance.request("first.default.localhost")
    assert status == 200
    assert b"voyage" in body
    ready = instance.get("ksvc", "first")
    assert ready["status"]["url"] == f"http://first.default.localhost:{instance.http_port}"
    assert ready["status"]["latestReadyRevisionName"] == "first-00001"
    assert ready["status"]["traffic"] == [
        {"latestRevision": True, "percent": 100, "revisionName": "first-00001"}
    ]
    assert (
        "@sha256:"
        in instance.get("revision", "first-00001")["status"]["containerStatuses"][0]["imageDigest"]
    )


def test_100_cycles_to_zero_and_back_fail_no_request(instance: Instance, probe_image: str) -> None:
    """Twenty Services, five cycles each, at once: the shortest window is six seconds."""
    names = [f"cycle-{number:02d}" for number in range(20)]
    documents = [service(name, probe_image) for name in names]
    instance.kubectl("apply", "-f", "-", stdin=manifest_list(documents))
    for name in names:
        instance.wait_ready(name)
    failures, cold = [], 0
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        for cycle in range(5):
            for name in names:
                instance.wait_scaled_to_zero(name)
            hosts = [f"{name}.default.localhost" for name in names]
            for name, (status, body, headers) in zip(
                names, pool.map(instance.request, hosts), strict=True
            ):
                if status != 200:
                    failures.append((cycle, name, status, body))
                cold += "server-timing" in headers
    assert failures == []
    assert cold == 100


def test_deleted_pods_fail_no_request(instance: Instance, probe_image: str) -> None:
    """The Deployment makes a new Pod while the gateway activates one: whoever wins, requests are answered."""
    instance.kubectl("apply", "-f", "-", stdin=service("victim", probe_image))
    instance.wait_ready("victim")
    failures = []
    for round_ in range(50):
        for pod in instance.pods("victim"):
            instance.api("DELETE", f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}")
        status, body, _ = instance.request("victim.default.localhost")
        if status != 200:
            failures.append((round_, status, body))
    assert failures == []


def test_splits_traffic_between_revisions(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("split", probe_image, env={"TARGET": "one"}))
    instance.wait_ready("split")
    instance.kubectl("apply", "-f", "-", stdin=service("split", probe_image, env={"TARGET": "two"}))
    wait_for(
        lambda: (
            instance.get("ksvc", "split")["status"].get("latestReadyRevisionName") == "split-00002"
        ),
        "second revision",
    )
    traffic = [
        {"revisionName": "split-00001", "percent": 50, "tag": "old"},
        {"revisionName": "split-00002", "percent": 50},
    ]
    instance.kubectl(
        "apply",
        "-f",
        "-",
        stdin=service("split", probe_image, env={"TARGET": "two"}, traffic=traffic),
    )
    wait_for(
        lambda: len(instance.get("ksvc", "split")["status"].get("traffic", [])) == 2, "both targets"
    )
    instance.wait_ready("split")
    seen: collections.Counter[bytes] = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, body, _ in pool.map(
            lambda _: instance.request("split.default.localhost"), range(1000)
        ):
            assert status == 200
            seen[body.split()[0]] += 1
    assert 450 <= seen[b"one"] <= 550, seen
    status, body, _ = instance.request("old-split.default.localhost")
    assert (status, body.split()[0]) == (200, b"one")


def test_new_revision_under_load_fails_no_request(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("roll", probe_image, env={"TARGET": "v0"}))
    instance.wait_ready("roll")
    with Load(instance, "roll.default.localhost") as load:
        for number in range(1, 4):
            instance.kubectl(
                "apply", "-f", "-", stdin=service("roll", probe_image, env={"TARGET": f"v{number}"})
            )
            revision = f"roll-{number + 1:05d}"
            wait_for(
                lambda revision=revision: load.bodies[revision.encode()] > 20,
                f"answers of {revision}",
                60,
            )
    assert load.failures == []
    assert sum(load.bodies.values()) > 100


def test_container_concurrency_one_is_never_exceeded(instance: Instance, probe_image: str) -> None:
    instance.kubectl(
        "apply", "-f", "-",
        stdin=service("single", probe_image, annotations={"autoscaling.knative.dev/max-scale": "2"}, containerConcurrency=1),
    )  # fmt: skip
    instance.wait_ready("single")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: instance.request("single.default.localhost", "/?ms=20"), range(200))
        )
    assert {status for status, _, _ in answers} == {200}
    for _ in range(10):
        status, body, _ = instance.request("single.default.localhost", "/max")
        assert (status, body) == (200, b"1")


def test_a_crashing_app_says_why(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("crash", probe_image, env={"CRASH": "7"}))

    def failed() -> object:
        conditions = instance.get("ksvc", "crash").get("status", {}).get("conditions", [])
        return next(
            (
                one
                for one in conditions
                if one["type"] == "ConfigurationsReady" and one["status"] == "False"
            ),
            None,
        )

    ready = wait_for(failed, "Ready is False", 60)
    assert "cannot find my database" in ready["message"], ready
    revision = instance.get("revision", "crash-00001")
    healthy = next(
        one for one in revision["status"]["conditions"] if one["type"] == "ContainerHealthy"
    )
    assert healthy["reason"] == "ExitCode7"


def test_a_missing_image_says_which(instance: Instance) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("absent", "knarr.local/never-built:latest"))

    def failed() -> object:
        conditions = instance.get("ksvc", "absent").get("status", {}).get("conditions", [])
        return next(
            (
                one
                for one in conditions
                if one["type"] == "ConfigurationsReady" and one["status"] == "False"
            ),
            None,
        )

    ready = wait_for(failed, "Ready is False", 60)
    assert "knarr.local/never-built:latest" in ready["message"]


def test_config_and_secret_volumes_and_env(instance: Instance, probe_image: str) -> None:
    instance.kubectl("create", "configmap", "settings", "--from-literal=colour=blue")
    instance.kubectl("create", "secret", "generic", "hidden", "--from-literal=word=sesame")
    document = json.loads(service("mounts", probe_image))
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["volumeMounts"] = [
        {"name": "c", "mountPath": "/etc/c"},
        {"name": "s", "mountPath": "/etc/s"},
    ]
    container["env"] = [
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
    ]
    document["spec"]["template"]["spec"]["volumes"] = [
        {"name": "c", "configMap": {"name": "settings"}},
        {"name": "s", "secret": {"secretName": "hidden"}},
    ]
    instance.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    instance.wait_ready("mounts")
    host = "mounts.default.localhost"
    assert instance.request(host, "/file?path=/etc/c/colour")[1] == b"blue"
    assert instance.request(host, "/file?path=/etc/s/word")[1] == b"sesame"
    environment = dict(
        line.split(b"=", 1) for line in instance.request(host, "/env")[1].splitlines()
    )
    assert environment[b"WORD"] == b"sesame"
    assert environment[b"COLOUR"] == b"blue"
    assert environment[b"K_SERVICE"] == b"mounts"
    assert environment[b"K_REVISION"] == b"mounts-00001"
    assert environment[b"PORT"] == b"8080"


def test_logs_follow_the_container(instance: Instance, probe_image: str) -> None:
    instance.kubectl(
        "apply",
        "-f",
        "-",
        stdin=service("talk", probe_image, annotations={"autoscaling.knative.dev/min-scale": "1"}),
    )
    instance.wait_ready("talk")
    instance.request("talk.default.localhost", "/a-line")
    pod = instance.pods("talk")[0]["metadata"]["name"]
    wait_for(
        lambda: "request /a-line" in instance.kubectl("logs", pod, "-c", "user-container"),
        "the line",
        10,
    )
    assert "request /a-line" in instance.knarr("logs", "talk")


def test_delete_removes_everything(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("gone", probe_image))
    instance.wait_ready("gone")
    instance.kubectl("delete", "ksvc", "gone")
    for kind in (
        "configurations",
        "revisions",
        "routes",
        "podautoscalers",
        "kingress",
        "deployments",
        "replicasets",
        "pods",
    ):
        wait_for(
            lambda kind=kind: not [
                one for one in json.loads(instance.kubectl("get", kind, "-o", "json"))["items"]
                if one["metadata"]["name"].startswith("gone")
            ],
            f"{kind} gone",
        )  # fmt: skip
    assert instance.request("gone.default.localhost")[0] == 404


def test_timeout_answers_504(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("slow", probe_image, timeoutSeconds=1))
    instance.wait_ready("slow")
    start = time.monotonic()
    status, body, _ = instance.request("slow.default.localhost", "/?ms=5000")
    assert status == 504
    assert b"request timeout" in body
    assert time.monotonic() - start < 4


def test_services_reach_each_other_by_cluster_names(instance: Instance, probe_image: str) -> None:
    """The callee is at zero: its name leads to the gateway, which starts it."""
    instance.kubectl("apply", "-f", "-", stdin=service("caller", probe_image))
    instance.kubectl(
        "apply", "-f", "-", stdin=service("callee", probe_image, env={"TARGET": "neighbour"})
    )
    instance.wait_ready("caller")
    instance.wait_ready("callee")
    for name in ("callee.default.svc.cluster.local", "callee.default.svc", "callee.default"):
        status, body, _ = instance.request("caller.default.localhost", f"/fetch?url=http://{name}/")
        assert (status, body.split()[:1]) == (200, [b"neighbour"]), (name, status, body)


def test_a_cluster_local_service_is_not_reached_from_outside(
    instance: Instance, probe_image: str
) -> None:
    document = json.loads(service("private", probe_image))
    document["metadata"]["labels"] = {"networking.knative.dev/visibility": "cluster-local"}
    instance.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    instance.wait_ready("private")
    assert (
        instance.get("ksvc", "private")["status"]["url"]
        == "http://private.default.svc.cluster.local"
    )
    for host in ("private.default.svc.cluster.local", "private.default.localhost"):
        assert instance.request(host)[0] == 404
