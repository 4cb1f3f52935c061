"""A tour of kr8s, in a process of its own because it never closes its connections.

``python -m tests.contract.tours.with_kr8s KUBECONFIG NAMESPACE``; ends with 0 when every assertion held.
"""

import asyncio
import sys

import kr8s
import kr8s.asyncio
from kr8s.objects import ConfigMap as Kr8sConfigMap
from kr8s.objects import Deployment as Kr8sDeployment
from kr8s.objects import Pod as Kr8sPod
from kr8s.objects import new_class
from tests.harness import wait_for

KSVC = {"template": {"spec": {"containers": [{"image": "hello"}]}}}


def synchronous(kubeconfig: str, namespace: str) -> None:
    api = kr8s.api(kubeconfig=kubeconfig, namespace=namespace)
    assert api.version()["minor"] == "34"
    kinds = {item["kind"] for item in api.api_resources()}
    assert {"Pod", "Deployment", "Revision"} <= kinds
    made = Kr8sConfigMap(
        {"metadata": {"name": "a", "namespace": namespace}, "data": {"a": "b"}}, api=api
    )
    made.create()
    made.patch({"data": {"x": "y"}})
    made.label(q="r")
    made.annotate({"ex.dev/n": "1"})
    made.refresh()
    assert (made.data.a, made.data.x, made.labels["q"]) == ("b", "y", "r")
    for number in range(105):
        Kr8sConfigMap(
            {"metadata": {"name": f"n{number:03}", "namespace": namespace}}, api=api
        ).create()
    listed = [item.name for item in api.get("configmaps", namespace=namespace)]
    assert len(listed) == 107, "two pages of a hundred"
    assert [
        item.name for item in api.get("configmaps", namespace=namespace, label_selector={"q": "r"})
    ] == ["a"]
    made.delete()
    wait_for(lambda: not made.exists(), "deleted")
    pod = Kr8sPod(
        {
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
        api=api,
    )
    pod.create()
    pod.wait("condition=Ready", timeout=30)
    assert list(pod.logs()) == ["first line", "second line"]
    deployment = Kr8sDeployment(
        {
            "metadata": {"name": "d", "namespace": namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"a": "d"}},
                "template": {
                    "metadata": {"labels": {"a": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
                },
            },
        },
        api=api,
    )
    deployment.create()
    deployment.wait("condition=Available", timeout=30)
    deployment.scale(3)
    wait_for(
        lambda: (deployment.refresh() or deployment.status.get("readyReplicas")) == 3, "scaled"
    )
    assert len(deployment.pods()) == 3
    deployment.delete(propagation_policy="Foreground")
    deployment.wait("delete", timeout=30)
    service = new_class(
        kind="Service", version="serving.knative.dev/v1", namespaced=True, plural="services"
    )
    made = service({"metadata": {"name": "k", "namespace": namespace}, "spec": KSVC}, api=api)
    made.create()
    # Before it has a status kr8s does not wait but fails, on every server.
    wait_for(lambda: made.refresh() or "status" in made.raw, "a status")
    made.wait("condition=Ready", timeout=30)
    assert made.status.url.startswith("http://k.")
    (found,) = api.get("services.serving.knative.dev", namespace=namespace)
    assert found.name == "k"
    made.delete()


async def asynchronous(kubeconfig: str, namespace: str) -> None:
    api = await kr8s.asyncio.api(kubeconfig=kubeconfig, namespace=namespace)
    seen = []

    async def follow():
        async for kind, item in api.watch("configmaps", namespace=namespace):
            if item.name == "w":
                seen.append(kind)
            if kind == "DELETED":
                return

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(follow())
        made = await kr8s.asyncio.objects.ConfigMap(
            {"metadata": {"name": "w", "namespace": namespace}}, api=api
        )
        await made.create()
        while seen != ["ADDED"]:
            await asyncio.sleep(0.01)
        await made.patch({"data": {"a": "b"}})
        await made.delete()
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


if __name__ == "__main__":
    synchronous(*sys.argv[1:])
    asyncio.run(asynchronous(*sys.argv[1:]))
    print("done")
