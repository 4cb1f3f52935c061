"""From Service to routing table: all controllers together."""

from tests.unit.serving.world import NS, World

from knarr.resources.apps.deployment import DEPLOYMENT
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


def test_children_look_as_knative_makes_them(story):
    async def tell(world: World):
        await world.deploy(metadata={"labels": {"team": "a"}, "annotations": {"note": "b"}})
        await world.until_ready()
        await world.settle()
        configuration = await world.get(CONFIGURATION, "hello")
        assert configuration.metadata.labels["team"] == "a"
        assert configuration.metadata.annotations["note"] == "b"
        assert configuration.metadata.annotations["serving.knative.dev/routes"] == "hello"
        revision = await world.get(REVISION, "hello-00001")
        meta = revision.metadata
        assert meta.labels["serving.knative.dev/routingState"] == "active"
        assert meta.labels["serving.knative.dev/configurationGeneration"] == "1"
        assert "team" not in meta.labels
        assert meta.annotations["serving.knative.dev/creator"] == "system:admin"
        assert revision.status.container_statuses[0].image_digest.startswith("hello@sha256:")
        assert (revision.status.actual_replicas, revision.status.desired_replicas) == (1, 1)
        deployment = await world.get(DEPLOYMENT, "hello-00001-deployment")
        pod = deployment.spec.template.spec
        container = pod.containers[0]
        assert container.image == revision.status.container_statuses[0].image_digest
        assert [(item.name, item.value) for item in container.env] == [
            ("PORT", "8080"),
            ("K_REVISION", "hello-00001"),
            ("K_CONFIGURATION", "hello"),
            ("K_SERVICE", "hello"),
        ]
        assert (container.ports[0].name, container.ports[0].container_port) == ("user-port", 8080)
        assert container.readiness_probe.tcp_socket.port == 8080
        assert container.termination_message_policy == "FallbackToLogsOnError"
        assert pod.termination_grace_period_seconds == 300
        assert deployment.spec.selector.match_labels == {
            "serving.knative.dev/revisionUID": meta.uid
        }
        placeholder = await world.get(CORE_SERVICE, "hello")
        assert placeholder.spec.type == "ExternalName"
        assert placeholder.spec.external_name == ("knarr-gateway.knative-serving.svc.cluster.local")
        ingress = await world.get(INGRESS, "hello")
        assert ingress.status.public_load_balancer.ingress[0].domain_internal.startswith("knarr-")
        assert [rule.visibility for rule in ingress.spec.rules] == ["ClusterLocal", "ExternalIP"]
        assert (await world.get(ROUTE, "hello")).metadata.finalizers == (
            "routes.serving.knative.dev",
        )

    story(tell)


def test_removed_metadata_is_removed_from_the_children(story):
    async def tell(world: World):
        await world.deploy(metadata={"labels": {"team": "a"}, "annotations": {"note": "b"}})
        await world.until_ready()
        patch = {"metadata": {"labels": {"team": None}, "annotations": {"note": None}}}
        await world.client.patch(SERVICE, (await world.service()).key, patch)
        await world.settle()
        for kind in (CONFIGURATION, ROUTE):
            meta = (await world.get(kind, "hello")).metadata
            assert "team" not in meta.labels
            assert "note" not in (meta.annotations or {})
        assert await world.get(REVISION, "hello-00001")
        assert len((await world.client.list(REVISION, NS)).items) == 1

    story(tell)


def test_a_new_image_moves_the_traffic_when_it_is_ready(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        world.node.running = False
        await world.set_image("hello:2")
        await world.settle()
        assert world.split() == {"hello-00001": 100}
        assert await world.condition(SERVICE, "hello", "ConfigurationsReady") == ("Unknown", "", "")
        world.node.running = True
        for pod in await world.pods():
            await world.node.reconcile(pod.key)
        service = await world.until_ready()
        assert service.status.latest_ready_revision_name == "hello-00002"
        assert world.split() == {"hello-00002": 100}
        assert world.replicas("hello-00002") == 1
        await world.settle(90)
        old = await world.get(REVISION, "hello-00001")
        assert old.metadata.labels["serving.knative.dev/routingState"] == "reserve"
        assert world.replicas("hello-00001") == 0
        assert await world.again() == []

    story(tell)


def test_no_version_of_the_table_routes_to_a_revision_without_replicas(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        seen = []

        def check(delta):
            split = world.split()
            seen.append(sum(max(0, world.replicas(name)) for name in split))

        world.table.join("watcher", 0, check)
        for number in range(2, 6):
            await world.set_image(f"hello:{number}")
            world.table.acknowledge("watcher", world.table.version + 100)
            await world.until_ready()
            assert list(world.split()) == [f"hello-{number:05d}"]
        assert seen
        assert min(seen) >= 1

    story(tell)


def test_a_broken_image_leaves_the_old_revision_serving(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        world.digests.problems["absent:2"] = "manifest unknown"
        await world.set_image("absent:2")
        await world.settle()
        message = (
            'Revision "hello-00002" failed with message: Unable to fetch image "absent:2": failed '
            "to resolve image to digest: manifest unknown."
        )
        assert await world.condition(SERVICE, "hello") == ("False", "RevisionFailed", message)
        assert (await world.condition(REVISION, "hello-00002"))[1] == "ContainerMissing"
        assert world.split() == {"hello-00001": 100}
        assert world.digests.asked == ["hello:1", "absent:2"]
        await world.settle(1)
        assert world.digests.asked == ["hello:1", "absent:2", "absent:2"]
        world.digests.problems.clear()
        await world.settle(20)
        assert world.digests.asked[3:] == ["absent:2"]
        revision = await world.get(REVISION, "hello-00002")
        assert revision.status.container_statuses[0].image_digest.startswith("absent@sha256")

    story(tell)


def test_a_crash_is_told_with_its_exit_code_and_last_words(story):
    async def tell(world: World):
        await world.deploy(image="crash:1")
        await world.settle()
        expected = ("False", "ExitCode5", "Container failed with: no money")
        assert await world.condition(REVISION, "hello-00001") == expected
        assert await world.condition(CONFIGURATION, "hello") == (
            "False",
            "RevisionFailed",
            'Revision "hello-00001" failed with message: Container failed with: no money.',
        )
        assert (await world.condition(ROUTE, "hello")) == (
            "False",
            "RevisionMissing",
            'Configuration "hello" does not have any ready Revision.',
        )

    story(tell)


def test_why_a_container_waits_is_told_before_the_deadline(story):
    async def tell(world: World):
        await world.deploy(image="absent:1")
        await world.settle()
        assert await world.condition(REVISION, "hello-00001") == (
            "Unknown",
            "ImagePullBackOff",
            "no such image",
        )

    story(tell)


def test_a_pod_that_fits_nowhere_is_told(story):
    async def tell(world: World):
        template = {"containers": [{"image": "big:1", "resources": {"requests": {"cpu": "50"}}}]}
        await world.deploy(template=template)
        await world.settle()
        status, reason, message = await world.condition(REVISION, "hello-00001")
        assert (status, reason) == ("False", "Unschedulable")
        assert "Insufficient cpu" in message

    story(tell)


def test_the_gateways_acknowledgement_makes_the_route_ready(story):
    async def tell(world: World):
        world.gateway.acknowledges = False
        await world.deploy()
        await world.settle()
        assert await world.condition(ROUTE, "hello") == (
            "Unknown",
            "Uninitialized",
            "Waiting for load balancer to be ready",
        )
        world.gateway.catch_up()
        await world.until_ready()

    story(tell)


def test_without_a_gateway_nothing_is_ready_and_one_that_comes_settles_it(story):
    async def tell(world: World):
        world.table.leave("g1")
        await world.deploy()
        await world.settle()
        assert (await world.condition(INGRESS, "hello"))[:2] == ("Unknown", "Uninitialized")
        world.gateway.connect()
        await world.until_ready()

    story(tell)


def test_a_restart_flaps_nothing(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.settle(2)
        world.gateway.acknowledges = False
        await world.restart()
        await world.settle(0.5)
        assert world.transport.writes == []
        assert world.split() == {"hello-00001": 100}
        assert world.replicas() == 1

    story(tell)


def test_pull_secrets_of_the_service_account_count(story):
    async def tell(world: World):
        from knarr.meta.objects import Key
        from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT

        await world.client.patch(
            SERVICE_ACCOUNT, Key(NS, "default"), {"imagePullSecrets": [{"name": "inherited"}]}
        )
        await world.settle()
        template = {
            "containers": [{"image": "private:1"}],
            "imagePullSecrets": [{"name": "own"}],
        }
        await world.deploy(template=template)
        await world.until_ready()
        assert world.digests.secrets == [("own", "inherited")]

    story(tell)


def test_a_revision_name_that_somebody_else_has_is_told(story):
    async def tell(world: World):
        import msgspec

        from knarr.resources.serving.revision import Revision

        foreign = {"metadata": {"name": "hello-00001", "namespace": NS}}
        foreign["spec"] = {"containers": [{"image": "foreign:1"}]}
        await world.client.create(REVISION, msgspec.convert(foreign, Revision))
        await world.deploy()
        await world.settle()
        assert await world.condition(SERVICE, "hello", "ConfigurationsReady") == (
            "False",
            "RevisionFailed",
            "Revision creation failed with message: revisions.serving.knative.dev "
            '"hello-00001" already exists.',
        )
        await world.client.delete(REVISION, (await world.get(REVISION, "hello-00001")).key)
        await world.settle(60)
        await world.until_ready()

    story(tell)
