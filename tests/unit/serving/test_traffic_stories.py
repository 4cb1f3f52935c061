"""Splits, tags, chosen names, visibility, domains and who owns what."""

from tests.unit.serving.world import NS, World

from knarr.meta.errors import NotFound
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.service import Service as CoreService
from knarr.resources.core.service import ServicePort, ServiceSpec
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE


async def two_revisions(world: World):
    await world.deploy()
    await world.until_ready()
    await world.set_traffic({"revisionName": "hello-00001", "percent": 100})
    await world.set_image("hello:2")
    await world.until_ready()


def test_a_split_with_tags(story):
    async def tell(world: World):
        await two_revisions(world)
        await world.set_traffic(
            {"revisionName": "hello-00001", "percent": 75, "tag": "current"},
            {"latestRevision": True, "percent": 25, "tag": "candidate"},
            {"revisionName": "hello-00001", "percent": 0, "tag": "old"},
        )
        await world.settle()
        service = await world.until_ready()
        assert world.split() == {"hello-00001": 75, "hello-00002": 25}
        assert world.split("candidate-hello.default.localhost") == {"hello-00002": 100}
        assert world.split("current-hello.default.svc.cluster.local") == {"hello-00001": 100}
        assert world.split("old-hello.default.localhost") == {"hello-00001": 100}
        assert [
            (item.tag, item.revision_name, item.percent, item.latest_revision, item.url)
            for item in service.status.traffic
        ] == [
            ("current", "hello-00001", 75, False, "http://current-hello.default.localhost"),
            ("candidate", "hello-00002", 25, True, "http://candidate-hello.default.localhost"),
            ("old", "hello-00001", 0, False, "http://old-hello.default.localhost"),
        ]
        assert (await world.get(CORE_SERVICE, "old-hello")).spec.type == "ExternalName"
        await world.set_traffic({"latestRevision": True, "percent": 100})
        await world.settle()
        await world.until_ready()
        assert world.split() == {"hello-00002": 100}
        names = [item.metadata.name for item in await world.client.list(CORE_SERVICE, NS)]
        assert names == ["hello"]
        assert await world.again() == []

    story(tell)


async def paths(world: World) -> dict[str, list]:
    """What each host's paths ask for, put on, and lead to."""
    ingress = await world.get(INGRESS, "hello")
    return {
        host: [
            (
                {name: match.exact for name, match in (path.headers or {}).items()},
                dict(path.append_headers or {}),
                {split.service_name: split.percent for split in path.splits},
            )
            for path in rule.http.paths
        ]
        for rule in ingress.spec.rules
        for host in rule.hosts
    }


def test_tags_by_header_when_the_flag_is_on(story):
    async def tell(world: World):
        await two_revisions(world)
        await world.set_traffic(
            {"revisionName": "hello-00001", "percent": 0, "tag": "old"},
            {"latestRevision": True, "percent": 100, "tag": "new"},
        )
        await world.settle()
        await world.until_ready()
        first, second = {"hello-00001": 100}, {"hello-00002": 100}
        plain = await paths(world)
        assert plain["hello.default.localhost"] == [({}, {}, second)]
        await world.configure("features", tag_header_based_routing="Enabled")
        await world.settle()
        await world.until_ready()
        tag, default = "Knative-Serving-Tag", {"Knative-Serving-Default-Route": "true"}
        own = [({tag: "new"}, {}, second), ({tag: "old"}, {}, first), ({}, default, second)]
        found = await paths(world)
        assert found["hello.default.localhost"] == own
        assert found["hello.default.svc.cluster.local"] == own
        assert found["old-hello.default.localhost"] == [({}, {tag: "old"}, first)]
        assert found["new-hello.default"] == [({}, {tag: "new"}, second)]
        entry = world.table.ingress("default/hello")
        (served,) = (rule for rule in entry.rules if "hello.default.localhost" in rule.hosts)
        assert [path.headers for path in served.paths] == [{tag: "new"}, {tag: "old"}, {}]
        assert await world.again() == []
        await world.client.delete(CONFIG_MAP, Key("knative-serving", "config-features"))
        await world.settle()
        assert await paths(world) == plain

    story(tell)


def test_nothing_is_redirected_to_where_nothing_listens(story):
    async def tell(world: World):
        async def option() -> str:
            return (await world.get(INGRESS, "hello")).spec.http_option

        await world.deploy(
            metadata={"annotations": {"networking.knative.dev/http-protocol": "Redirected"}}
        )
        await world.until_ready()
        assert await option() == "Enabled"
        await world.configure("network", external_domain_tls="Enabled")
        await world.settle()
        assert await option() == "Redirected"
        assert world.table.ingress("default/hello").http_option == "redirected"

    story(tell)


def test_a_missing_revision_is_named(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.set_traffic({"revisionName": "foobar", "percent": 100})
        await world.settle()
        expected = (
            "False",
            "RevisionMissing",
            'Revision "foobar" referenced in traffic not found.',
        )
        assert await world.condition(ROUTE, "hello", "AllTrafficAssigned") == expected
        assert await world.condition(ROUTE, "hello") == expected
        assert await world.condition(SERVICE, "hello", "RoutesReady") == expected
        assert world.split() == {"hello-00001": 100}

    story(tell)


def test_a_revision_of_another_service_is_refused(story):
    async def tell(world: World):
        await world.deploy()
        await world.deploy("other", "other:1")
        await world.until_ready()
        await world.until_ready("other")
        await world.set_traffic({"revisionName": "other-00001", "percent": 100})
        await world.settle()
        assert await world.condition(ROUTE, "hello") == (
            "False",
            "RevisionNotOwned",
            'Revision "other-00001" belongs to Service "other", not Service "hello".',
        )

    story(tell)


def test_a_chosen_name_and_the_way_back(story):
    async def tell(world: World):
        named = {"metadata": {"name": "hello-blue"}}
        await world.deploy()
        await world.until_ready()
        await world.set_image("hello:2", **named)
        service = await world.until_ready()
        assert service.status.latest_ready_revision_name == "hello-blue"
        await world.set_image("hello:3", metadata={"name": "hello-green"})
        service = await world.until_ready()
        assert service.status.latest_ready_revision_name == "hello-green"
        assert world.split() == {"hello-green": 100}
        await world.set_image("hello:2", **named)
        await world.settle()
        service = await world.until_ready()
        assert service.status.latest_ready_revision_name == "hello-blue"
        assert world.split() == {"hello-blue": 100}

    story(tell)


def test_a_name_that_is_taken_migrates_nothing(story):
    async def tell(world: World):
        await world.deploy()
        await world.deploy("hello-other", "other:1")
        await world.until_ready()
        await world.until_ready("hello-other")
        await world.set_image("hello:2", metadata={"name": "hello-other-00001"})
        await world.settle()
        assert await world.condition(SERVICE, "hello", "RoutesReady") == (
            "False",
            "RevisionNameTaken",
            'The revision name "hello-other-00001" is taken by a conflicting Revision, so traffic '
            "will not be migrated",
        )
        assert await world.condition(CONFIGURATION, "hello") == (
            "False",
            "RevisionFailed",
            "Revision creation failed with message: revisions.serving.knative.dev "
            '"hello-other-00001" already exists.',
        )
        assert world.split() == {"hello-00001": 100}

    story(tell)


def test_a_foreign_service_of_the_routes_name_is_left_alone(story):
    async def tell(world: World):
        foreign = CoreService(
            metadata=ObjectMeta(name="hello", namespace=NS),
            spec=ServiceSpec(ports=(ServicePort(port=80),)),
        )
        await world.client.create(CORE_SERVICE, foreign)
        await world.deploy()
        await world.settle()
        expected = (
            "False",
            "NotOwned",
            'There is an existing placeholder Service "hello" that we do not own.',
        )
        assert await world.condition(ROUTE, "hello") == expected
        assert await world.condition(SERVICE, "hello", "RoutesReady") == expected
        assert (await world.get(CORE_SERVICE, "hello")).spec.type == "ClusterIP"
        await world.client.delete(CORE_SERVICE, Key(NS, "hello"))
        await world.client.patch(
            SERVICE, Key(NS, "hello"), {"metadata": {"labels": {"touch": "1"}}}
        )
        await world.settle()
        await world.until_ready()

    story(tell)


def test_visibility_of_the_whole_and_of_one_tag(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        label = {"networking.knative.dev/visibility": "cluster-local"}
        await world.set_traffic({"latestRevision": True, "percent": 100, "tag": "blue"})
        await world.settle()
        await world.client.patch(
            CORE_SERVICE, Key(NS, "blue-hello"), {"metadata": {"labels": label}}
        )
        await world.settle()
        service = await world.until_ready()
        assert world.split("blue-hello.default.localhost") == {}
        assert world.split("blue-hello.default.svc.cluster.local") == {"hello-00001": 100}
        assert service.status.traffic[0].url == "http://blue-hello.default.svc.cluster.local"
        assert service.status.url == "http://hello.default.localhost"
        await world.client.patch(SERVICE, Key(NS, "hello"), {"metadata": {"labels": label}})
        await world.settle()
        service = await world.until_ready()
        assert service.status.url == "http://hello.default.svc.cluster.local"
        assert world.split() == {}
        assert world.split("hello.default") == {"hello-00001": 100}

    story(tell)


def test_domains_templates_and_the_port(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.configure("domain", **{"example.com": ""})
        await world.configure(
            "network",
            domain_template="{{.Name}}-{{.Namespace}}.{{.Domain}}",
            knarr_external_port="8080",
        )
        await world.settle()
        service = await world.until_ready()
        assert service.status.url == "http://hello-default.example.com:8080"
        assert world.split("hello-default.example.com") == {"hello-00001": 100}
        assert service.status.address.url == "http://hello.default.svc.cluster.local"

    story(tell)


def test_a_bad_configuration_is_told_and_changes_nothing(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        before = world.serving.config.current
        metadata = ObjectMeta(name="config-network", namespace="knative-serving")
        from knarr.kube.cache import Change
        from knarr.resources.core.configmap import ConfigMap

        bad = ConfigMap(
            api_version="v1",
            kind="ConfigMap",
            metadata=metadata,
            data={"knarr-external-port": "many"},
        )
        world.serving.config.handle(Change(bad.key, None, bad))
        assert world.serving.config.current == before

    story(tell)


def test_certificates_that_nobody_can_make_are_refused(story):
    async def tell(world: World):
        await world.deploy()
        service = await world.until_ready()
        route = await world.condition(ROUTE, "hello", "CertificateProvisioned")
        assert route == ("True", "TLSNotEnabled", "external-domain-tls is not enabled")
        await world.configure("network", external_domain_tls="Enabled")
        await world.settle()
        status, reason, message = await world.condition(SERVICE, "hello", "RoutesReady")
        assert (status, reason) == ("False", "TLSNotSupported")
        assert "external-domain-tls" in message
        assert service.status.url.startswith("http://")

    story(tell)


def test_deleting_a_service_leaves_nothing(story):
    async def tell(world: World):
        await world.deploy()
        await world.until_ready()
        await world.client.delete(SERVICE, Key(NS, "hello"), propagation="Foreground")
        await world.settle(3)
        for kind in (SERVICE, CONFIGURATION, ROUTE, REVISION, INGRESS):
            assert (await world.client.list(kind, NS)).items == ()
        assert (await world.client.list(CORE_SERVICE, NS)).items == ()
        assert await world.pods() == []
        snapshot = world.table.snapshot()
        assert (snapshot.ingresses, snapshot.revisions) == ((), ())

    story(tell)


def test_a_deleted_revision_stays_in_the_table_while_a_route_leads_there(story):
    async def tell(world: World):
        await two_revisions(world)
        assert world.split() == {"hello-00001": 100}
        await world.client.delete(REVISION, Key(NS, "hello-00001"))
        await world.settle()
        assert (await world.condition(ROUTE, "hello"))[:2] == ("False", "RevisionMissing")
        assert world.split() == {"hello-00001": 100}
        assert "default/hello-00001" in {item.key for item in world.table.snapshot().revisions}
        await world.set_traffic({"latestRevision": True, "percent": 100})
        await world.settle()
        await world.until_ready()
        assert {item.key for item in world.table.snapshot().revisions} == {"default/hello-00002"}

    story(tell)


def test_a_gradual_rollout(story):
    async def tell(world: World):
        await world.deploy(
            metadata={"annotations": {"serving.knative.dev/rollout-duration": "10s"}}
        )
        await world.until_ready()
        await world.set_image("hello:2")
        seen = []
        for _ in range(150):
            await world.settle(0.1)
            split = world.split()
            if not seen or seen[-1] != split:
                seen.append(split)
        assert seen[0] == {"hello-00001": 99, "hello-00002": 1}
        assert seen[-1] == {"hello-00002": 100}
        assert len(seen) > 5
        shares = [item.get("hello-00002", 0) for item in seen]
        assert shares == sorted(shares)
        assert all(sum(item.values()) == 100 for item in seen)
        service = await world.until_ready()
        assert [item.revision_name for item in service.status.traffic] == ["hello-00002"]

    story(tell)


def test_a_rollout_under_way_is_told(story):
    async def tell(world: World):
        await world.deploy(
            metadata={"annotations": {"serving.knative.dev/rollout-duration": "60s"}}
        )
        await world.until_ready()
        await world.set_image("hello:2")
        await world.settle(5)
        assert await world.condition(ROUTE, "hello") == (
            "Unknown",
            "RolloutInProgress",
            "A gradual rollout of the latest revision(s) is in progress.",
        )
        traffic = (await world.service()).status.traffic
        assert [item.revision_name for item in traffic] == ["hello-00001", "hello-00002"]

    story(tell)


def test_a_standalone_route_and_configuration(story):
    async def tell(world: World):
        import msgspec

        from knarr.resources.serving.configuration import Configuration
        from knarr.resources.serving.route import Route

        template = {"spec": {"containers": [{"image": "solo:1"}]}}
        await world.client.create(
            CONFIGURATION,
            msgspec.convert(
                {"metadata": {"name": "solo", "namespace": NS}, "spec": {"template": template}},
                Configuration,
            ),
        )
        traffic = [{"configurationName": "solo", "percent": 100}]
        await world.client.create(
            ROUTE,
            msgspec.convert(
                {"metadata": {"name": "way", "namespace": NS}, "spec": {"traffic": traffic}}, Route
            ),
        )
        await world.settle()
        assert (await world.condition(ROUTE, "way"))[0] == "True"
        assert world.split("way.default.localhost", "way") == {"solo-00001": 100}
        revision = await world.get(REVISION, "solo-00001")
        assert revision.metadata.annotations["serving.knative.dev/routes"] == "way"
        await world.client.delete(ROUTE, Key(NS, "way"))
        await world.settle()
        revision = await world.get(REVISION, "solo-00001")
        assert revision.metadata.labels["serving.knative.dev/routingState"] == "reserve"
        assert "serving.knative.dev/routes" not in revision.metadata.annotations
        try:
            await world.get(ROUTE, "way")
        except NotFound:
            return
        raise AssertionError("the Route is held")

    story(tell)
