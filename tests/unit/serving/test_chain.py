"""From Service to routing table: all controllers together."""

from tests.unit.serving.world import NS, World

from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE


def test_a_service_becomes_ready(story):
    async def tell(world: World):
        await world.deploy()
        started = world.clock.monotonic()
        service = await world.until_ready()
        assert world.clock.monotonic() - started < 0.5
        status = service.status
        assert status.url == "http://hello.default.localhost"
        assert status.address.url == "http://hello.default.svc.cluster.local"
        assert status.latest_created_revision_name == "hello-00001"
        assert status.latest_ready_revision_name == "hello-00001"
        assert [(item.revision_name, item.percent) for item in status.traffic] == [
            ("hello-00001", 100)
        ]
        assert {item.type: item.status for item in status.conditions} == {
            "ConfigurationsReady": "True",
            "Ready": "True",
            "RoutesReady": "True",
        }
        assert world.split() == {"hello-00001": 100}
        assert world.split("hello.default") == {"hello-00001": 100}
        assert world.replicas() == 1
        assert world.faults() == 0

    story(tell)


def test_a_second_pass_writes_nothing(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.settle(3)
        assert await world.again() == []

    story(tell)
