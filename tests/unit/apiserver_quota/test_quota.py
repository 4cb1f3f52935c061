"""ResourceQuota and LimitRange as clients meet them."""

import asyncio

from tests.unit.apiserver.kit import CONFIG_MAPS, PODS, config_map, pod

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
RANGES = "/api/v1/namespaces/default/limitranges"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
SERVICES = "/api/v1/namespaces/default/services"


def quota(name, hard, **spec):
    return {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}


def sized(name, **resources):
    return pod(name, containers=[{"name": "c", "image": "i", "resources": resources}])


def claim(name, storage="1Gi", **spec):
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
            **spec,
        },
    }


async def test_pods_beyond_the_number_are_refused(api):
    await api.post(QUOTAS, quota("few", {"pods": "1"}))
    assert (await api.post(PODS, pod("a"))).status == 201
    answer = await api.post(PODS, pod("b"))
    assert answer.status == 403
    assert answer.json["message"] == (
        'pods "b" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1'
    )
    assert answer.json["details"] == {"name": "b", "kind": "pods"}
    await api.delete(f"{PODS}/a")
    assert (await api.post(PODS, pod("b"))).status == 201


async def test_writes_at_once_do_not_share_the_last_piece(api):
    await api.post(QUOTAS, quota("maps", {"configmaps": "3", "count/configmaps": "3"}))
    posts = [api.post(CONFIG_MAPS, config_map(f"m{number}")) for number in range(10)]
    answers = [answer.status for answer in await asyncio.gather(*posts)]
    assert sorted(answers) == [201] * 3 + [403] * 7


async def test_compute_resources(api):
    hard = {"requests.cpu": "1", "limits.memory": "1Gi", "memory": "512Mi"}
    await api.post(QUOTAS, quota("compute", hard))
    bare = await api.post(PODS, pod("bare"))
    assert bare.json["message"] == (
        'pods "bare" is forbidden: failed quota: compute: must specify limits.memory for: c; '
        "memory for: c; requests.cpu for: c"
    )
    first = sized("a", requests={"cpu": "600m", "memory": "100Mi"}, limits={"memory": "400Mi"})
    assert (await api.post(PODS, first)).status == 201
    second = sized("b", requests={"cpu": "0.5", "memory": "100Mi"}, limits={"memory": "700Mi"})
    answer = await api.post(PODS, second)
    assert answer.json["message"].endswith(
        "exceeded quota: compute, requested: limits.memory=700Mi,requests.cpu=500m, "
        "used: limits.memory=400Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1"
    )


async def test_pods_that_ended_take_nothing(api):
    await api.post(QUOTAS, quota("few", {"pods": "1"}))
    await api.post(PODS, pod("a"))
    await api.patch(f"{PODS}/a/status", {"status": {"phase": "Succeeded"}})
    assert (await api.post(PODS, pod("b"))).status == 201


async def test_scopes(api):
    await api.post(QUOTAS, quota("besteffort", {"pods": "0"}, scopes=["BestEffort"]))
    assert (await api.post(PODS, pod("best"))).status == 403
    assert (await api.post(PODS, sized("burst", requests={"cpu": "1m"}))).status == 201


async def test_priority_scopes(api):
    await api.post(
        "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 10}
    )
    expression = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    await api.post(
        QUOTAS, quota("high", {"pods": "0"}, scopeSelector={"matchExpressions": [expression]})
    )
    assert (await api.post(PODS, pod("low"))).status == 201
    assert (await api.post(PODS, pod("high", priorityClassName="high"))).status == 403


async def test_services_and_claims(api):
    await api.post(
        QUOTAS,
        quota(
            "objects",
            {
                "services.nodeports": "1", "persistentvolumeclaims": "2", "requests.storage": "3Gi",
                "knarr-local.storageclass.storage.k8s.io/requests.storage": "2Gi",
            },
        ),
    )  # fmt: skip
    service = {
        "metadata": {"name": "s"},
        "spec": {"type": "NodePort", "ports": [{"port": 1}], "selector": {"a": "b"}},
    }
    assert (await api.post(SERVICES, service)).status == 201
    again = await api.post(SERVICES, service | {"metadata": {"name": "t"}})
    assert "services.nodeports=1" in again.json["message"]
    assert (await api.post(CLAIMS, claim("a"))).status == 201
    answer = await api.post(CLAIMS, claim("b", "2Gi"))
    assert "knarr-local.storageclass.storage.k8s.io/requests.storage=2Gi" in answer.json["message"]
    assert (await api.post(CLAIMS, claim("c", "2Gi", storageClassName="other"))).status == 201
    assert (await api.post(CLAIMS, claim("d", "1"))).status == 403


async def test_a_quota_is_validated(api):
    answer = await api.post(QUOTAS, quota("bad", {"foo": "1", "pods": "1.5", "cpu": "-1"}))
    assert answer.status == 422
    fields = {cause["field"] for cause in answer.json["details"]["causes"]}
    assert fields == {"spec.hard[foo]", "spec.hard[pods]", "spec.hard[cpu]"}
    scoped = await api.post(QUOTAS, quota("bad", {"configmaps": "1"}, scopes=["BestEffort"]))
    assert "unsupported scope applied to resource configmaps" in scoped.json["message"]


# --- LimitRange -----------------------------------------------------------------------------------------


def limits(name, *items):
    return {"metadata": {"name": name}, "spec": {"limits": list(items)}}


async def test_containers_get_defaults(api):
    item = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "1Gi"},
        "defaultRequest": {"cpu": "100m"},
    }
    stored = await api.post(RANGES, limits("defaults", item))
    assert stored.json["spec"]["limits"][0]["defaultRequest"] == {"cpu": "100m", "memory": "1Gi"}
    made = (await api.post(PODS, pod("a"))).json
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "100m", "memory": "1Gi"},
    }
    assert made["metadata"]["annotations"] == {
        "kubernetes.io/limit-ranger": (
            "LimitRanger plugin set: cpu, memory request for container c; "
            "cpu, memory limit for container c"
        )
    }
    assert made["status"]["qosClass"] == "Burstable"


async def test_bounds_of_containers(api):
    item = {
        "type": "Container",
        "min": {"cpu": "100m"},
        "max": {"cpu": "1"},
        "maxLimitRequestRatio": {"cpu": "2"},
    }
    await api.post(RANGES, limits("bounds", item))
    small = await api.post(PODS, sized("s", requests={"cpu": "50m"}, limits={"cpu": "2"}))
    assert small.status == 403
    assert small.json["message"] == (
        'pods "s" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, '
        "maximum cpu usage per Container is 1, but limit is 2, cpu max limit to request ratio per "
        "Container is 2, but provided ratio is 40.000000]"
    )
    assert (await api.post(PODS, pod("fine"))).status == 201


async def test_bounds_of_pods_and_claims(api):
    await api.post(
        RANGES,
        limits(
            "bounds",
            {"type": "Pod", "max": {"memory": "1Gi"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}, "min": {"storage": "1Mi"}},
        ),
    )
    big = await api.post(PODS, sized("p", limits={"memory": "2Gi"}))
    assert "maximum memory usage per Pod is 1Gi, but limit is 2Gi" in big.json["message"]
    none = await api.post(PODS, pod("p"))
    assert "maximum memory usage per Pod is 1Gi.  No limit is specified" in none.json["message"]
    wide = await api.post(CLAIMS, claim("c", "2Gi"))
    assert wide.json["message"] == (
        'persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is '
        "1Gi, but request is 2Gi"
    )


async def test_a_limit_range_is_validated(api):
    answer = await api.post(
        RANGES,
        limits(
            "bad",
            {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}},
            {"type": "Container"},
            {"type": "Pod", "default": {"cpu": "1"}},
            {"type": "Rack"},
        ),
    )
    message = answer.json["message"]
    assert "min value 2 is greater than max value 1" in message
    assert 'spec.limits[1].type: Duplicate value: "Container"' in message
    assert "may not be specified when `type` is 'Pod'" in message
    assert 'supported values: "Container", "PersistentVolumeClaim", "Pod"' in message


# --- classes --------------------------------------------------------------------------------------------


async def test_claims_get_the_default_class(api):
    made = (await api.post(CLAIMS, claim("a"))).json
    assert made["spec"]["storageClassName"] == "knarr-local"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert made["status"] == {"phase": "Pending"}
    none = (await api.post(CLAIMS, claim("b", storageClassName=""))).json
    assert none["spec"]["storageClassName"] == ""


async def test_priorities(api):
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await api.post(classes, {"metadata": {"name": "high"}, "value": 1000})
    made = (await api.post(PODS, pod("p", priorityClassName="high"))).json
    assert made["spec"]["priority"] == 1000
    assert (await api.post(PODS, pod("q"))).json["spec"]["priority"] == 0
    missing = await api.post(PODS, pod("r", priorityClassName="none"))
    assert missing.json["message"] == (
        'pods "r" is forbidden: no PriorityClass with name none was found'
    )
    critical = await api.post(PODS, pod("s", priorityClassName="system-node-critical"))
    assert critical.json["spec"]["priority"] == 2_000_001_000
    forged = await api.post(PODS, pod("t", priority=7))
    assert forged.status == 403
    too_high = await api.post(classes, {"metadata": {"name": "x"}, "value": 1_000_000_001})
    assert too_high.status == 422
    await api.post(classes, {"metadata": {"name": "d"}, "value": 5, "globalDefault": True})
    assert (await api.post(PODS, pod("u"))).json["spec"]["priorityClassName"] == "d"
