"""Domains of one's own: claims, what answers, and the end."""

import msgspec
from tests.unit.serving.world import NS, World

from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.namespace import NAMESPACE, Namespace
from knarr.resources.core.pod import POD, Pod
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.service import Service as CoreService
from knarr.resources.networking.clusterdomainclaim import (
    CLUSTER_DOMAIN_CLAIM,
    ClusterDomainClaim,
    ClusterDomainClaimSpec,
)
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.domainmapping import DOMAIN_MAPPING, DomainMapping
from knarr.resources.serving.service import SERVICE

DOMAIN = "custom.example.com"
CLAIMED = "The domain name is already in use by another DomainMapping"


def mapping(name: str = DOMAIN, namespace: str = NS, to: str = "hello", **extra) -> DomainMapping:
    ref = {"kind": "Service", "apiVersion": "serving.knative.dev/v1", "name": to}
    document = {
        "metadata": {"name": name, "namespace": namespace, **extra.pop("metadata", {})},
        "spec": {"ref": {**ref, **extra.pop("ref", {})}, **extra},
    }
    return msgspec.convert(document, DomainMapping)


async def autocreate(world: World) -> None:
    await world.configure("network", autocreate_cluster_domain_claims="true")


async def conditions(world: World, namespace: str = NS) -> dict[str, tuple[str, str, str]]:
    found = await world.client.get(DOMAIN_MAPPING, Key(namespace, DOMAIN))
    return {item.type: (item.status, item.reason, item.message) for item in found.status.conditions}


async def exists(world: World, kind, key: Key) -> bool:
    try:
        await world.client.get(kind, key)
    except NotFound:
        return False
    return True


def test_a_domain_leads_to_the_shares_of_its_service(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        assert await conditions(world) == {
            "CertificateProvisioned": (
                "True",
                "TLSNotEnabled",
                "external-domain-tls is not enabled",
            ),
            "DomainClaimed": ("True", "", ""),
            "IngressReady": ("True", "", ""),
            "Ready": ("True", "", ""),
            "ReferenceResolved": ("True", "", ""),
        }
        found = await world.get(DOMAIN_MAPPING, DOMAIN)
        assert found.status.url == found.status.address.url == f"http://{DOMAIN}"
        assert found.metadata.finalizers == ("domainmappings.serving.knative.dev",)
        claim = await world.client.get(CLUSTER_DOMAIN_CLAIM, Key("", DOMAIN))
        assert claim.spec == ClusterDomainClaimSpec(namespace=NS)
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}
        path = world.table.ingress(f"{NS}/{DOMAIN}").rules[0].paths[0]
        assert path.rewrite_host == DOMAIN
        assert await world.again() == []
        # The Service's next Revision answers for the domain too.
        await world.set_image("hello:2")
        await world.settle(3)
        assert world.split(DOMAIN, DOMAIN) == {"hello-00002": 100}
        assert world.faults() == 0

    story(tell)


def test_the_ingress_is_knatives(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        notes = {"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
        metadata = {"labels": {"team": "a"}, "annotations": notes}
        created = await world.client.create(DOMAIN_MAPPING, mapping(metadata=metadata))
        await world.settle()
        ingress = await world.get(INGRESS, DOMAIN)
        assert ingress.metadata.labels == {
            "team": "a",
            "serving.knative.dev/domainMappingUID": created.metadata.uid,
            "serving.knative.dev/domainMappingNamespace": NS,
        }
        assert ingress.metadata.annotations == {
            "note": "x",
            "networking.knative.dev/ingress.class": "knarr.ingress.networking.knarr.dev",
            "serving.knative.dev/creator": "system:admin",
            "serving.knative.dev/lastModifier": "system:admin",
        }
        assert msgspec.to_builtins(ingress.spec) == {
            "httpOption": "Enabled",
            "rules": (
                {
                    "hosts": (DOMAIN,),
                    "visibility": "ExternalIP",
                    "http": {
                        "paths": (
                            {
                                "rewriteHost": "hello.default.svc.cluster.local",
                                "splits": (
                                    {
                                        "serviceNamespace": NS,
                                        "serviceName": "hello",
                                        "servicePort": 80,
                                        "percent": 100,
                                        "appendHeaders": {"K-Original-Host": DOMAIN},
                                    },
                                ),
                            },
                        )
                    },
                },
            ),
        }

    story(tell)


def test_without_a_claim_nothing_is_served(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        text = (
            f'no ClusterDomainClaim found for domain "{DOMAIN}" '
            "(and autocreate-cluster-domain-claims property is not true)"
        )
        assert (await conditions(world))["Ready"] == ("False", "DomainClaimFailed", text)
        assert not await exists(world, INGRESS, Key(NS, DOMAIN))
        claim = ClusterDomainClaim(
            metadata=ObjectMeta(name=DOMAIN), spec=ClusterDomainClaimSpec(namespace=NS)
        )
        await world.client.create(CLUSTER_DOMAIN_CLAIM, claim)
        await world.settle()
        assert (await conditions(world))["Ready"][0] == "True"
        # A claim that somebody made is not the DomainMapping's to take away.
        await world.client.delete(DOMAIN_MAPPING, Key(NS, DOMAIN))
        await world.settle()
        assert not await exists(world, DOMAIN_MAPPING, Key(NS, DOMAIN))
        assert await exists(world, CLUSTER_DOMAIN_CLAIM, Key("", DOMAIN))
        assert world.split(DOMAIN, DOMAIN) == {}

    story(tell)


async def _two(world: World) -> None:
    await autocreate(world)
    await world.client.create(NAMESPACE, Namespace(metadata=ObjectMeta(name="other")))
    service = await world.deploy()
    await world.until_ready()
    again = msgspec.structs.replace(service, metadata=ObjectMeta(name="hello", namespace="other"))
    await world.client.create(SERVICE, msgspec.structs.replace(again, status=None))
    await world.settle(3)
    await world.client.create(DOMAIN_MAPPING, mapping())
    await world.settle()
    await world.client.create(DOMAIN_MAPPING, mapping(namespace="other"))
    await world.settle()


def test_the_first_namespace_keeps_a_domain_until_it_gives_it_up(story):
    async def tell(world: World):
        await _two(world)
        assert (await conditions(world))["Ready"][0] == "True"
        refused = await conditions(world, "other")
        assert refused["DomainClaimed"] == ("False", "DomainAlreadyClaimed", CLAIMED)
        assert refused["Ready"] == refused["DomainClaimed"]
        assert not await exists(world, INGRESS, Key("other", DOMAIN))
        # The loser's end does not end the winner's claim.
        await world.client.delete(DOMAIN_MAPPING, Key("other", DOMAIN))
        await world.settle()
        assert await exists(world, CLUSTER_DOMAIN_CLAIM, Key("", DOMAIN))
        await world.client.create(DOMAIN_MAPPING, mapping(namespace="other"))
        await world.settle()
        await world.client.delete(DOMAIN_MAPPING, Key(NS, DOMAIN))
        await world.settle(2)
        assert (await conditions(world, "other"))["Ready"][0] == "True"
        claim = await world.client.get(CLUSTER_DOMAIN_CLAIM, Key("", DOMAIN))
        assert claim.spec.namespace == "other"
        (split,) = world.table.ingress(f"other/{DOMAIN}").rules[0].paths[0].splits
        assert split.revision == "other/hello-00001"

    story(tell)


def test_a_claim_that_is_given_away_takes_the_domain_along(story):
    async def tell(world: World):
        await _two(world)
        patch = {"spec": {"namespace": "other"}}
        await world.client.patch(CLUSTER_DOMAIN_CLAIM, Key("", DOMAIN), patch)
        await world.settle(2)
        assert (await conditions(world))["Ready"] == ("False", "DomainAlreadyClaimed", CLAIMED)
        assert (await conditions(world, "other"))["Ready"][0] == "True"
        assert not await exists(world, INGRESS, Key(NS, DOMAIN))

    story(tell)


def test_a_reference_is_waited_for_and_followed(story):
    async def tell(world: World):
        await autocreate(world)
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        text = 'failed to get object default/hello: services.serving.knative.dev "hello" not found'
        assert (await conditions(world))["ReferenceResolved"] == ("False", "ResolveFailed", text)
        await world.deploy()
        await world.deploy("another", "another:1")
        await world.settle(3)
        assert (await conditions(world))["Ready"][0] == "True"
        route = {"kind": "Route", "name": "another"}
        await world.client.patch(DOMAIN_MAPPING, Key(NS, DOMAIN), {"spec": {"ref": route}})
        await world.settle()
        assert (await conditions(world))["Ready"][0] == "True"
        assert world.split(DOMAIN, DOMAIN) == {"another-00001": 100}
        # What goes is not served under the domain either, and comes back with it.
        await world.client.delete(SERVICE, Key(NS, "another"), propagation="Foreground")
        await world.settle(3)
        assert world.split(DOMAIN, DOMAIN) == {}
        text = (
            'failed to get object default/another: routes.serving.knative.dev "another" not found'
        )
        assert (await conditions(world))["ReferenceResolved"][2] == text
        assert (await conditions(world))["Ready"][0] == "False"
        await world.deploy("another", "another:1")
        await world.settle(3)
        assert (await conditions(world))["Ready"][0] == "True"
        assert world.split(DOMAIN, DOMAIN) == {"another-00001": 100}

    story(tell)


def test_what_goes_before_the_gateways_know_it_goes_too(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        world.gateway.acknowledges = False
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        assert (await conditions(world))["IngressReady"][:2] == ("Unknown", "Uninitialized")
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}
        await world.client.delete(SERVICE, Key(NS, "hello"), propagation="Foreground")
        await world.settle(3)
        assert world.split(DOMAIN, DOMAIN) == {}

    story(tell)


def test_what_is_served_stays_until_the_new_target_is_there(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        patch = {"spec": {"ref": {"name": "later"}}}
        await world.client.patch(DOMAIN_MAPPING, Key(NS, DOMAIN), patch)
        await world.settle()
        assert (await conditions(world))["Ready"][:2] == ("False", "ResolveFailed")
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}
        await world.deploy("later", "crash:1")
        await world.settle(3)
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}
        await world.set_image("fine:1", "later")
        await world.settle(3)
        assert world.split(DOMAIN, DOMAIN) == {"later-00002": 100}
        assert (await conditions(world))["Ready"][0] == "True"

    story(tell)


def plain(port: int = 80) -> CoreService:
    document = {
        "metadata": {"name": "plain", "namespace": NS},
        "spec": {"ports": [{"port": port, "targetPort": 8080}], "selector": {"app": "x"}},
    }
    return msgspec.convert(document, CoreService)


def test_core_services_lead_to_their_routes(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping(ref={"apiVersion": "v1"}))
        await world.settle()
        assert (await conditions(world))["Ready"][0] == "True"
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}

    story(tell)


def test_other_core_services_lead_to_their_endpoints(story):
    async def tell(world: World):
        await autocreate(world)
        await world.client.create(CORE_SERVICE, plain())
        await world.client.create(DOMAIN_MAPPING, mapping(to="plain", ref={"apiVersion": "v1"}))
        await world.settle()
        assert (await conditions(world))["Ready"][0] == "True"
        assert world.split(DOMAIN, DOMAIN) == {"service:plain": 100}
        assert world.replicas("service:plain") == 0
        pod = {
            "metadata": {"name": "p", "namespace": NS, "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": "app"}]},
        }
        await world.client.create(POD, msgspec.convert(pod, Pod))
        await world.settle(2)
        assert world.replicas("service:plain") == 1
        await world.client.delete(POD, Key(NS, "p"))
        await world.settle(2)
        assert world.replicas("service:plain") == 0
        await world.client.delete(CORE_SERVICE, Key(NS, "plain"))
        await world.settle()
        assert world.replicas("service:plain") == -1
        assert (await conditions(world))["Ready"][:2] == ("False", "ResolveFailed")
        assert world.faults() == 0

    story(tell)


def test_a_core_service_without_the_port_is_refused(story):
    async def tell(world: World):
        await autocreate(world)
        await world.client.create(CORE_SERVICE, plain(81))
        await world.client.create(DOMAIN_MAPPING, mapping(to="plain", ref={"apiVersion": "v1"}))
        await world.settle()
        assert (await conditions(world))["ReferenceResolved"] == ("True", "", "")
        assert (await conditions(world))["IngressReady"] == (
            "False",
            "BackendNotServed",
            'No Route serves "plain.default.svc.cluster.local", and no Service of this name has a '
            "port 80.",
        )
        ports = [{"port": 80, "targetPort": 8080}]
        await world.client.patch(CORE_SERVICE, Key(NS, "plain"), {"spec": {"ports": ports}})
        await world.settle()
        assert (await conditions(world))["Ready"][0] == "True"

    story(tell)


def test_a_domain_that_a_route_has_is_refused(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.settle(2)
        await world.client.create(DOMAIN_MAPPING, mapping("hello.default.localhost"))
        await world.settle()
        status = await world.condition(DOMAIN_MAPPING, "hello.default.localhost", "IngressReady")
        assert status[:2] == ("False", "DomainConflict")

    story(tell)


def test_certificates_and_redirects(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping(tls={"secretName": "mine"}))
        odd = {"annotations": {"networking.knative.dev/http-protocol": "odd"}}
        await world.client.create(DOMAIN_MAPPING, mapping("odd.com", metadata=odd))
        off = {"annotations": {"networking.knative.dev/disable-external-domain-tls": "true"}}
        await world.client.create(DOMAIN_MAPPING, mapping("off.com", metadata=off))
        await world.client.create(DOMAIN_MAPPING, mapping("on.com"))
        await world.settle()
        assert (await conditions(world))["CertificateProvisioned"] == (
            "True",
            "CertificateExternallyProvided",
            "TLS certificate was provided externally",
        )
        found = await world.get(DOMAIN_MAPPING, DOMAIN)
        assert found.status.url == f"https://{DOMAIN}"
        ingress = await world.get(INGRESS, DOMAIN)
        assert [(tls.hosts, tls.secret_name) for tls in ingress.spec.tls] == [((DOMAIN,), "mine")]
        assert await world.condition(DOMAIN_MAPPING, "odd.com", "IngressReady") == (
            "False",
            "InvalidHttpProtocol",
            'incorrect http-protocol annotation: "odd"',
        )
        key = Key("knative-serving", "config-network")
        await world.client.patch(CONFIG_MAP, key, {"data": {"external-domain-tls": "Enabled"}})
        await world.settle()
        certificate = "CertificateProvisioned"
        on = await world.condition(DOMAIN_MAPPING, "on.com", certificate)
        assert on[:2] == ("False", "TLSNotSupported")
        assert (await world.condition(DOMAIN_MAPPING, "off.com", certificate))[0] == "True"

    story(tell)


def test_a_restart_changes_nothing(story):
    async def tell(world: World):
        await autocreate(world)
        await world.deploy()
        await world.until_ready()
        await world.client.create(DOMAIN_MAPPING, mapping())
        await world.settle()
        before = await world.get(DOMAIN_MAPPING, DOMAIN)
        await world.restart()
        await world.settle()
        assert world.split(DOMAIN, DOMAIN) == {"hello-00001": 100}
        assert await world.get(DOMAIN_MAPPING, DOMAIN) == before

    story(tell)
