"""Ingresses that others made: classes, conflicts, what is not supported."""

import msgspec
from tests.unit.serving.world import NS, World

from knarr.meta.objects import Key
from knarr.resources.networking.ingress import INGRESS, Ingress

CLASS = "networking.knative.dev/ingress.class"
OURS = "knarr.ingress.networking.knarr.dev"


def ingress(name, host, revision="hello-00001", ingress_class=OURS, **spec):
    split = {
        "serviceNamespace": NS,
        "serviceName": revision,
        "servicePort": 80,
        "percent": 100,
    }
    rule = {
        "hosts": [host],
        "visibility": "ExternalIP",
        "http": {"paths": [{"splits": [split]}]},
    }
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": NS,
                "annotations": {CLASS: ingress_class} if ingress_class else {},
            },
            "spec": {"rules": [rule], "httpOption": "Enabled", **spec},
        },
        Ingress,
    )


def test_foreign_classes_are_left_alone_and_may_be_switched(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        created = await world.client.create(INGRESS, ingress("x", "x.com", ingress_class="else"))
        await world.settle()
        assert await world.get(INGRESS, "x") == created
        assert world.split("x.com", "x") == {}
        patch = {"metadata": {"annotations": {CLASS: OURS}}}
        await world.client.patch(INGRESS, Key(NS, "x"), patch)
        await world.settle()
        assert world.split("x.com", "x") == {"hello-00001": 100}
        await world.client.patch(
            INGRESS, Key(NS, "x"), {"metadata": {"annotations": {CLASS: "else"}}}
        )
        await world.settle()
        assert world.split("x.com", "x") == {}

    story(tell)


def test_the_first_owner_of_a_host_keeps_it(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.client.create(INGRESS, ingress("first", "x.com"))
        await world.settle(2)
        await world.client.create(INGRESS, ingress("another", "x.com"))
        await world.settle()
        assert await world.condition(INGRESS, "another") == (
            "False",
            "DomainConflict",
            'The host "x.com" is already in use by another Ingress.',
        )
        assert world.split("x.com", "another") == {}
        await world.client.delete(INGRESS, Key(NS, "first"))
        await world.settle()
        assert (await world.condition(INGRESS, "another"))[0] == "True"
        assert world.split("x.com", "another") == {"hello-00001": 100}

    story(tell)


def test_a_missing_revision_is_told_and_waited_for(story):
    async def tell(world: World):
        await world.client.create(INGRESS, ingress("early", "x.com"))
        await world.settle()
        assert await world.condition(INGRESS, "early") == (
            "False",
            "RevisionMissing",
            'Splits refer to revisions that do not exist: "default/hello-00001".',
        )
        await world.deploy()
        await world.settle()
        assert (await world.condition(INGRESS, "early"))[0] == "True"

    story(tell)


def test_tls_is_refused(story):
    async def tell(world: World):
        tls = [{"hosts": ["x.com"], "secretName": "s", "secretNamespace": NS}]
        await world.client.create(INGRESS, ingress("secure", "x.com", tls=tls))
        await world.settle()
        assert (await world.condition(INGRESS, "secure"))[:2] == ("False", "NotSupported")

    story(tell)
