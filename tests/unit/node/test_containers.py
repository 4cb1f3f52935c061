import msgspec
import pytest

from knarr.node.bundle import BadContainer, Limits
from knarr.node.containers import (
    ALL_CAPABILITIES,
    plan_capabilities,
    plan_limits,
    plan_oom_score,
    plan_process,
    settle_identity,
)
from knarr.node.environment import (
    compose_arguments,
    compose_environment,
    expand,
    valid_variable_name,
)
from knarr.node.images.records import ImageConfig
from knarr.node.podfacts import PodFacts, Reference, needs_identity, references
from knarr.node.quantities import milli_units, parse_quantity, whole_units
from knarr.node.servicelinks import kubernetes_service
from knarr.node.users import Identity, UnknownUser, resolve_identity
from knarr.node.variables import declared_variables
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.container import Container, SecurityContext
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.secret import Secret
from knarr.resources.core.service import Service

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken line\n"
GROUP = "root:x:0:\napp:x:1001:\nextra:x:2000:app,other\nhuge:x:99999:app\n"


class Sources:
    def config_map(self, namespace, name):
        return ConfigMap(data={"k": "v", "with space": "no"}) if name == "cm" else None

    def secret(self, namespace, name):
        return Secret(data={"pw": b"s3"}) if name == "sec" else None

    def linked_services(self, namespace, *, links):
        yield kubernetes_service("10.96.0.1")
        if links:
            spec = {
                "clusterIP": "10.96.0.9",
                "ports": [{"name": "web-ui", "port": 80, "protocol": "UDP"}],
            }
            document = {"metadata": {"name": "my-db", "namespace": namespace}, "spec": spec}
            yield msgspec.convert(document, Service)
            headless = {"metadata": {"name": "none"}, "spec": {"clusterIP": "None"}}
            yield msgspec.convert(headless, Service)


def container(document: dict) -> Container:
    return msgspec.convert({"name": "c", **document}, Container)


def facts(spec: dict | None = None, **changes) -> PodFacts:
    values = {
        "namespace": "ns", "name": "p", "uid": "u", "labels": {"app": "x", "a": 'q"'}, "pod_ip": "10.0.0.2",
        "host_ip": "192.0.2.1", "node_name": "n", "capacity": {"cpu": "4", "memory": "1024Ki"},
    }  # fmt: skip
    return PodFacts(spec=msgspec.convert(spec or {}, PodSpec), **{**values, **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$(NO)", "$(NO)"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"),
        ("$A", "$A"), ("$(A", "$(A"), ("$", "$"), ("$$", "$"), ("$()", "$()"),
    ],
)  # fmt: skip
def test_references_are_expanded_as_kubernetes_does(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_variables_see_those_before_them_only():
    result = compose_environment(
        ["PATH=/img", "BAD", "X=img"], [("A", "1"), ("B", "$(A)$(C)"), ("C", "$(X)")], {"PATH": "/d", "H": "h"}
    )  # fmt: skip
    assert result == {"PATH": "/img", "H": "h", "X": "img", "A": "1", "B": "1$(C)", "C": "$(X)"}


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ((), (), ("ep", "cmd")),
        ((), ("a",), ("ep", "a")),
        (("c",), (), ("c",)),
        (("c", "$(V)"), ("a",), ("c", "1", "a")),
    ],
)
def test_command_and_args_override_the_image(command, args, expected):
    assert compose_arguments(command, args, ("ep",), ("cmd",), {"V": "1"}) == expected


@pytest.mark.parametrize(
    ("name", "valid"), [("A_b.c-1", True), ("1A", False), ("a b", False), ("", False)]
)
def test_which_keys_can_be_variables(name, valid):
    assert valid_variable_name(name) is valid


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("app", Identity(1000, 1001, (2000,), "/home/app")),
        ("1000", Identity(1000, 1001, (2000,), "/home/app")),
        ("app:root", Identity(1000, 0, (), "/home/app")),
        ("65532", Identity(65532, 0, (), "/")),
        ("65532:7", Identity(65532, 7, (), "/")),
    ],
)
def test_users_are_looked_up_in_the_image(user, expected):
    assert resolve_identity(user, PASSWD, GROUP) == expected


def test_the_security_context_wins_over_the_image():
    found = resolve_identity("app:root", PASSWD, GROUP, run_as_user=5, run_as_group=6)
    assert found == Identity(5, 6, (), "/")


@pytest.mark.parametrize("user", ["nobody-here", "app:nogroup", "70000", "1:70000"])
def test_odd_users_are_refused(user):
    with pytest.raises(UnknownUser):
        resolve_identity(user, PASSWD, GROUP)


def test_variables_come_from_everywhere():
    spec = container(
        {
            "envFrom": [{"configMapRef": {"name": "cm"}, "prefix": "P_"}, {"secretRef": {"name": "no", "optional": True}}],
            "env": [
                {"name": "PLAIN", "value": "1"},
                {"name": "CM", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}},
                {"name": "SEC", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
                {"name": "OPT", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "x", "optional": True}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "LAB", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
            ],
            "resources": {"requests": {"memory": "1500Ki"}},
        }
    )  # fmt: skip
    declared = declared_variables(spec, facts({"enableServiceLinks": False}), Sources())
    assert {name for name, _ in declared[:7]} == {
        "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_PORT",
        "KUBERNETES_PORT_443_TCP", "KUBERNETES_PORT_443_TCP_PROTO", "KUBERNETES_PORT_443_TCP_PORT",
    }  # fmt: skip
    assert declared[8:] == (
        ("P_k", "v"), ("PLAIN", "1"), ("CM", "v"), ("SEC", "s3"), ("IP", "10.0.0.2"), ("LAB", "x"),
        ("CPU", "4"), ("MEM", "2"),
    )  # fmt: skip


def test_services_of_the_namespace_are_told_of_unless_nobody_wants_to_know():
    told = dict(declared_variables(container({}), facts(), Sources()))
    assert told["KUBERNETES_PORT"] == "tcp://10.96.0.1:443"
    assert {name: value for name, value in told.items() if not name.startswith("KUBERNETES")} == {
        "MY_DB_SERVICE_HOST": "10.96.0.9", "MY_DB_SERVICE_PORT": "80", "MY_DB_SERVICE_PORT_WEB_UI": "80",
        "MY_DB_PORT": "udp://10.96.0.9:80", "MY_DB_PORT_80_UDP": "udp://10.96.0.9:80",
        "MY_DB_PORT_80_UDP_PROTO": "udp", "MY_DB_PORT_80_UDP_PORT": "80", "MY_DB_PORT_80_UDP_ADDR": "10.96.0.9",
    }  # fmt: skip
    own = container(
        {"env": [{"name": "MY_DB_PORT", "value": "1"}, {"name": "U", "value": "$(MY_DB_PORT)"}]}
    )
    image = ImageConfig(env=("MY_DB_SERVICE_HOST=x",))
    plan = plan_process(own, image, facts(), Sources())
    found = {name: plan.environment[name] for name in ("MY_DB_PORT", "U", "MY_DB_SERVICE_HOST")}
    assert found == {"MY_DB_PORT": "1", "U": "1", "MY_DB_SERVICE_HOST": "10.96.0.9"}


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"secretKeyRef": {"name": "sec", "key": "x"}}, "couldn't find key x in Secret ns/sec"),
        ({"fieldRef": {"fieldPath": "spec.secret"}}, "fieldRef 'spec.secret' is not supported"),
        ({}, "names no source"),
    ],
)
def test_what_is_missing_is_named(env, message):
    spec = container({"env": [{"name": "A", "valueFrom": env}]})
    with pytest.raises(BadContainer, match=message):
        declared_variables(spec, facts(), Sources())


def test_a_process_is_planned_from_container_image_and_pod():
    image = ImageConfig(
        entrypoint=("/ep",), cmd=("x",), env=("E=img",), user="app", working_dir="/w"
    )
    spec = {"securityContext": {"runAsUser": 7, "runAsNonRoot": True}, "hostname": "own"}
    plan = plan_process(
        container({"env": [{"name": "A", "value": "$(E)"}]}), image, facts(spec), Sources()
    )
    assert plan.arguments == ("/ep", "x")
    assert (plan.run_as_user, plan.must_be_non_root, plan.working_dir) == (7, True, "/w")
    assert plan.environment["HOSTNAME"] == "own"
    assert plan.no_new_privileges
    assert plan.confined
    assert plan.capabilities == ()


def test_root_is_refused_when_it_must_not_be():
    plan = plan_process(
        container({"securityContext": {"runAsNonRoot": True}}), ImageConfig(cmd=("x",)), facts(), Sources()
    )  # fmt: skip
    with pytest.raises(BadContainer, match="runAsNonRoot"):
        settle_identity(plan, Identity(0, 0))
    assert settle_identity(plan, Identity(1, 1, (), "/home")).uid == 1
    assert plan.environment["HOME"] == "/home"


def test_capabilities_are_those_asked_for_and_never_those_of_the_machine():
    def wanted(*names):
        return plan_capabilities(msgspec.convert({"capabilities": {"add": names}}, SecurityContext))

    assert wanted("NET_BIND_SERVICE", "CAP_CHOWN") == ("CHOWN", "NET_BIND_SERVICE")
    assert wanted("ALL") == ALL_CAPABILITIES
    with pytest.raises(BadContainer, match="SYS_ADMIN"):
        wanted("SYS_ADMIN")
    with pytest.raises(BadContainer, match="privileged"):
        plan_process(
            container({"securityContext": {"privileged": True}}), ImageConfig(), facts(), Sources()
        )


def test_limits_and_scores():
    spec = container({"resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}}})
    assert plan_limits(spec, 10) == Limits(500, 500, 64 << 20, 10)
    assert plan_limits(container({}), 10) == Limits(0, None, None, 10)
    assert plan_oom_score(container({}), 1 << 30, 0) == 1000
    assert plan_oom_score(spec, 1 << 30, 0) == 1000 - 62
    assert plan_oom_score(spec, 1 << 20, 500) == 500


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1Ki", 1024), ("1.5k", 1500), ("100m", 1), (2, 2), ("1e3", 1000), ("0.1", 1)]
)  # fmt: skip
def test_quantities_round_up(text, value):
    assert whole_units(text) == value


def test_quantities_that_are_none():
    assert milli_units("0.25") == 250
    for text in ("", "x", "1KiB", "--1", "1 Ki"):
        with pytest.raises(ValueError, match="not a quantity"):
            parse_quantity(text)


def test_what_a_pod_refers_to():
    spec = {
        "containers": [{
            "name": "c", "envFrom": [{"secretRef": {"name": "s1"}}],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m1", "key": "k"}}}],
        }],
        "volumes": [
            {"name": "v", "configMap": {"name": "m2"}},
            {"name": "w", "projected": {"sources": [{"secret": {"name": "s2"}}]}},
        ],
    }  # fmt: skip
    found = references(msgspec.convert(spec, PodSpec))
    assert found == {
        Reference("Secret", "s1"), Reference("ConfigMap", "m1"), Reference("ConfigMap", "m2"),
        Reference("Secret", "s2"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "needed"), [("metadata.name", True), ("metadata.uid", True), ("status.podIP", False)]
)
def test_fields_that_only_the_real_pod_has(path, needed):
    variable = {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    spec = {"containers": [{"name": "c", "env": [variable]}]}
    assert needs_identity(msgspec.convert(spec, PodSpec)) is needed
