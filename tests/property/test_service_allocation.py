"""Whatever is asked of the API, in whatever order: no address and no node port has two holders."""

import asyncio
import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.handler import Handler
from knarr.apiserver.request import ApiRequest
from knarr.kits.clock import ManualClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

PATH = "/api/v1/namespaces/default/services"
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
SPECS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"]),
        "selector": st.sampled_from([{}, {"app": "x"}]),
        "ports": st.lists(
            st.fixed_dictionaries(
                {
                    "port": st.sampled_from([80, 81]),
                    "protocol": st.sampled_from(["TCP", "UDP"]),
                },
                optional={"nodePort": st.sampled_from([30080, 30081, 80])},
            ),
            min_size=1,
            max_size=2,
        ).map(lambda ports: [{"name": f"p{n}", **port} for n, port in enumerate(ports)]),
    },
    optional={"clusterIP": st.sampled_from(["10.96.0.2", "10.96.0.3", "None", "10.96.0.1"])},
)
EXTERNAL = st.just({"type": "ExternalName", "externalName": "a.b"})
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "create", "create", "replace", "patch", "delete", "dry"]),
        NAMES,
        st.one_of(SPECS, SPECS, EXTERNAL),
    ),
    max_size=25,
)


async def call(handler, method, path, body=None, **query):
    media = "application/merge-patch+json" if method == "PATCH" else "application/json"
    raw = b"" if body is None else json.dumps(body).encode()
    request = ApiRequest(method, path, ADMIN, query=query, body=raw, content_type=media)
    answer = await handler.handle(request)
    assert answer.status < 500 or answer.status == 503, answer.body
    return json.loads(answer.body)


async def carry_out(handler, step) -> None:
    action, name, spec = step
    document = {"metadata": {"name": name}, "spec": spec}
    match action:
        case "create":
            await call(handler, "POST", PATH, document)
        case "dry":
            await call(handler, "POST", PATH, document, dryRun="All")
        case "replace":
            await call(handler, "PUT", f"{PATH}/{name}", document)
        case "patch":
            await call(handler, "PATCH", f"{PATH}/{name}", {"spec": spec})
        case _:
            await call(handler, "DELETE", f"{PATH}/{name}")


async def story(steps, seed: int, *, at_once: bool) -> None:
    async with Store(None) as store:
        rng = random.Random(seed)
        handler = Handler(store, KINDS, ManualClock(), rng, service_cidr="10.96.0.0/28")
        await call(handler, "POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
        if at_once:
            await asyncio.gather(*(carry_out(handler, step) for step in steps))
        for step in steps:
            await carry_out(handler, step)
            specs = [item["spec"] for item in (await call(handler, "GET", PATH))["items"]]
            addresses = [
                spec["clusterIP"] for spec in specs if spec.get("clusterIP", "None") != "None"
            ]
            assert len(set(addresses)) == len(addresses)
            assert "10.96.0.1" not in addresses
            ports = [
                {port["nodePort"] for port in spec["ports"] if "nodePort" in port}
                for spec in specs
                if "ports" in spec
            ]
            assert len(set().union(*ports)) == sum(map(len, ports))
            for spec in specs:
                assert ("clusterIP" in spec) == (spec["type"] != "ExternalName")
                assert spec.get("clusterIPs", [""])[0] == spec.get("clusterIP", "")


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(), st.booleans())
def test_never_twice(steps, seed, at_once):
    asyncio.run(story(steps, seed, at_once=at_once))
