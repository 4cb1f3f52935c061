"""To zero, from zero, up and down: time is under control."""

from tests.unit.serving.world import NS, World

from knarr.meta.objects import Key
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.service import SERVICE

SHORT = {"autoscaling.knative.dev/window": "6s"}
REV = "hello-00001"


async def replicas_wanted(world: World, revision: str = REV) -> int:
    return (await world.get(DEPLOYMENT, f"{revision}-deployment")).spec.replicas


def test_idle_goes_to_zero_and_a_request_brings_it_back(story):
    async def tell(world: World):
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        for _ in range(10):
            world.traffic(1)
            await world.settle()
            assert world.replicas() == 1
        await world.settle(12)
        assert world.replicas() == 0
        assert await world.pods() == []
        assert await world.condition(POD_AUTOSCALER, REV, "Active") == (
            "False",
            "NoTraffic",
            "The target is not receiving traffic.",
        )
        assert (await world.condition(REVISION, REV, "Active"))[:2] == ("False", "NoTraffic")
        assert (await world.condition(SERVICE, "hello"))[0] == "True"
        assert world.gateway.asked == [(f"{NS}/{REV}", 1)]
        assert world.split() == {REV: 100}
        asleep = world.serving.autoscaler.awake
        assert asleep == 0
        before = world.clock.monotonic()
        world.demand()
        while world.replicas() == 0:
            await world.settle(0.001)
        assert world.clock.monotonic() - before < 0.1
        await world.settle()
        assert (await world.condition(POD_AUTOSCALER, REV, "Active"))[0] == "True"
        revision = await world.get(REVISION, REV)
        assert (revision.status.actual_replicas, revision.status.desired_replicas) == (1, 1)
        assert world.faults() == 0

    story(tell)


def test_demand_scales_the_deployment_before_anything_else_is_written(story):
    async def tell(world: World):
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        await world.settle(15)
        assert world.replicas() == 0
        world.transport.writes.clear()
        world.demand()
        await world.settle(0.02)
        path = f"PATCH /apis/apps/v1/namespaces/{NS}/deployments/{REV}-deployment/scale"
        assert world.transport.writes[0] == path

    story(tell)


def test_many_cycles(story):
    async def tell(world: World):
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        for _ in range(10):
            await world.settle(15)
            assert world.replicas() == 0
            world.demand()
            await world.settle(0.5)
            assert world.replicas() == 1
        assert world.faults() == 0

    story(tell)


def test_load_scales_up_and_down_with_idle_replicas_first(story):
    async def tell(world: World):
        await world.deploy(
            annotations={**SHORT, "autoscaling.knative.dev/target": "10"},
            template={"containers": [{"image": "hello:1"}]},
        )
        await world.until_ready()
        for _ in range(8):
            world.traffic(20)
            await world.settle()
        assert world.replicas() == 3
        entry = world.table.revision(f"{NS}/{REV}")
        keep = entry.replicas[0].id
        for _ in range(20):
            world.traffic(3)
            await world.settle()
        assert world.replicas() == 1
        assert world.table.revision(f"{NS}/{REV}").replicas[0].id == keep
        assert sum(count for _, count in world.gateway.asked) == 2
        assert world.gateway.resumed == []

    story(tell)


def test_waiting_requests_scale_up_at_once(story):
    async def tell(world: World):
        await world.deploy(
            template={"containers": [{"image": "hello:1"}], "containerConcurrency": 1}
        )
        await world.until_ready()
        world.traffic(6, queued=5)
        await world.settle(0.2)
        assert world.replicas() > 1

    story(tell)


def test_a_decision_that_is_taken_back_puts_replicas_into_service_again(story):
    async def tell(world: World):
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        pod = (await world.pods())[0]
        cost = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-100"}}}
        from knarr.resources.core.pod import POD

        await world.client.patch(POD, pod.key, cost)
        world.traffic(5)
        await world.settle(3)
        assert world.gateway.resumed == [pod.metadata.uid]
        pod = (await world.pods())[0]
        assert "controller.kubernetes.io/pod-deletion-cost" not in (pod.metadata.annotations or {})

    story(tell)


def test_min_scale_holds_and_follows_the_revisions_annotation(story):
    async def tell(world: World):
        await world.deploy(annotations={**SHORT, "autoscaling.knative.dev/min-scale": "2"})
        await world.until_ready()
        assert world.replicas() == 2
        await world.settle(30)
        assert world.replicas() == 2
        patch = {"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "3"}}}
        await world.client.patch(REVISION, Key(NS, REV), patch)
        await world.settle(3)
        assert world.replicas() == 3
        patch = {"metadata": {"annotations": {"autoscaling.knative.dev/min-scale": None}}}
        await world.client.patch(REVISION, Key(NS, REV), patch)
        await world.settle(60)
        assert world.replicas() == 0

    story(tell)


def test_a_replaced_revision_keeps_its_minimum_until_the_new_one_serves(story):
    async def tell(world: World):
        annotations = {**SHORT, "autoscaling.knative.dev/min-scale": "2"}
        await world.deploy(annotations=annotations)
        await world.until_ready()
        world.node.running = False
        await world.set_image("hello:2", metadata={"annotations": annotations})
        await world.settle(20)
        assert world.replicas() == 2
        world.node.running = True
        for pod in await world.pods():
            await world.node.reconcile(pod.key)
        await world.until_ready()
        assert world.replicas("hello-00002") == 2
        await world.settle(20)
        assert world.replicas("hello-00001") == 0

    story(tell)


def test_initial_scale(story):
    async def tell(world: World):
        await world.deploy(annotations={**SHORT, "autoscaling.knative.dev/initial-scale": "3"})
        service = await world.until_ready()
        assert world.replicas() == 3
        assert service.status.latest_ready_revision_name == REV
        await world.settle(120)
        assert world.replicas() == 0

    story(tell)


def test_initial_scale_of_zero(story):
    async def tell(world: World):
        await world.configure("autoscaler", allow_zero_initial_scale="true", initial_scale="0")
        await world.settle()
        await world.deploy()
        await world.until_ready()
        assert world.replicas() == 0
        assert await world.pods() == []
        assert (await world.condition(REVISION, REV, "Active"))[:2] == ("False", "NoTraffic")
        world.demand()
        await world.settle(0.5)
        assert world.replicas() == 1

    story(tell)


def test_a_start_that_never_succeeds_is_given_up(story):
    async def tell(world: World):
        world.node.running = False
        annotations = {"serving.knative.dev/progress-deadline": "10s"}
        await world.deploy(annotations=annotations)
        await world.settle(30)
        assert (await world.condition(REVISION, REV, "ResourcesAvailable"))[:2] == (
            "False",
            "ProgressDeadlineExceeded",
        )
        assert await replicas_wanted(world) == 1
        await world.settle(15)
        assert await replicas_wanted(world) == 0
        assert await world.condition(POD_AUTOSCALER, REV, "Active") == (
            "False",
            "TimedOut",
            "The target could not be activated.",
        )

    story(tell)


def test_scale_to_zero_can_be_forbidden(story):
    async def tell(world: World):
        await world.configure("autoscaler", enable_scale_to_zero="false")
        await world.settle()
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        await world.settle(60)
        assert world.replicas() == 1

    story(tell)


def test_the_last_replica_is_retained(story):
    async def tell(world: World):
        key = "autoscaling.knative.dev/scale-to-zero-pod-retention-period"
        await world.deploy(annotations={**SHORT, key: "30s"})
        await world.until_ready()
        await world.settle(25)
        assert (await world.condition(POD_AUTOSCALER, REV, "Active"))[:2] == ("False", "NoTraffic")
        assert world.replicas() == 1
        await world.settle(20)
        assert world.replicas() == 0

    story(tell)


def test_without_a_gateway_nothing_scales_down(story):
    async def tell(world: World):
        await world.deploy(annotations=SHORT)
        await world.until_ready()
        world.table.leave("g1")
        await world.settle(60)
        assert world.replicas() == 1

    story(tell)


def test_a_restart_keeps_what_runs_for_a_window(story):
    async def tell(world: World):
        await world.deploy(annotations={"autoscaling.knative.dev/window": "30s"})
        await world.until_ready()
        await world.settle(20)
        await world.restart()
        await world.settle(15)
        assert world.replicas() == 1
        await world.settle(40)
        assert world.replicas() == 0

    story(tell)


def test_an_autoscaler_that_knarr_has_not_is_named(story):
    async def tell(world: World):
        key = "autoscaling.knative.dev/class"
        await world.deploy(annotations={key: "hpa.autoscaling.knative.dev"})
        await world.settle()
        status, reason, message = await world.condition(POD_AUTOSCALER, REV, "Active")
        assert (status, reason) == ("False", "UnsupportedClass")
        assert "hpa.autoscaling.knative.dev" in message

    story(tell)


def test_old_revisions_are_collected(story):
    async def tell(world: World):
        await world.configure("gc", min_non_active_revisions="0", max_non_active_revisions="1")
        await world.deploy()
        await world.until_ready()
        for number in range(2, 6):
            await world.set_image(f"hello:{number}")
            await world.settle(2)
            await world.until_ready()
        names = [item.metadata.name for item in await world.client.list(REVISION, NS)]
        assert names == ["hello-00004", "hello-00005"]

    story(tell)
