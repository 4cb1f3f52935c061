"""Kinds that users define, with unmodified kubectl, against a server that is restarted."""

import json
import signal
from collections.abc import Iterator

import pytest
import yaml
from tests.contract.cluster import Cluster
from tests.harness import wait_for

pytestmark = pytest.mark.contract

TABS = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: crontabs.stable.example.com
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Schedule, type: string, jsonPath: .spec.schedule, description: When it runs}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        description: A schedule with a command.
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [schedule]
            properties:
              schedule: {type: string, pattern: '^[0-9*/ ]+$', description: Five fields of cron.}
              color: {type: string, enum: [red, green], default: red}
              replicas: {type: integer, format: int32, minimum: 0, maximum: 10, default: 1}
              port: {x-kubernetes-int-or-string: true}
              steps:
                type: array
                maxItems: 3
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties:
                    name: {type: string}
                    retries: {type: integer, default: 2}
              free: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              message: {type: string}
"""
TAB = """\
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: one}
spec:
  schedule: '* * * * */5'
  port: http
  steps: [{name: a}, {name: b, retries: 5}]
  free: {anything: {goes: [1, two]}}
"""
GADGETS = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.org}
spec:
  group: example.org
  scope: Cluster
  names: {plural: gadgets, kind: Gadget}
  versions:
  - name: v1beta1
    served: true
    storage: false
    deprecated: true
    deprecationWarning: example.org/v1beta1 Gadget is old
    schema: &schema
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {size: {type: integer}}}
  - name: v1
    served: true
    storage: true
    schema: *schema
"""
UPSTREAM = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: services.serving.knative.dev
  labels: {knative.dev/crd-install: "true", app.kubernetes.io/version: "1.20.0", duck.knative.dev/addressable: "true"}
spec:
  group: serving.knative.dev
  scope: Namespaced
  names: {kind: Service, plural: services, singular: service, categories: [all, knative, serving], shortNames: [kservice, ksvc]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: URL, type: string, jsonPath: .status.url}]
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with Cluster(nodes=False) as running:
        yield running


def kubectl(server: Cluster, line: str, stdin: str | None = None) -> str:
    return server.call("kubectl", *line.split(), stdin=stdin)


def refused(server: Cluster, line: str, stdin: str | None = None) -> str:
    done = server.run("kubectl", *line.split(), stdin=stdin)
    assert done.returncode != 0, done.stdout
    return done.stderr


def document(server: Cluster, line: str) -> dict:
    return json.loads(kubectl(server, f"get {line} -o json"))


@pytest.fixture
def tabs(server: Cluster) -> Iterator[Cluster]:
    """The definition is there, and established; afterwards it is gone with all its objects."""
    assert kubectl(server, "apply -f -", TABS) == (
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created\n"
    )
    kubectl(
        server, "wait --for=condition=Established crd/crontabs.stable.example.com --timeout=30s"
    )
    yield server
    kubectl(server, "delete crd crontabs.stable.example.com --ignore-not-found --timeout=30s")


def test_apply_read_and_change(tabs: Cluster) -> None:
    assert kubectl(tabs, "apply -f -", TAB) == "crontab.stable.example.com/one created\n"
    spec = document(tabs, "ct one")["spec"]
    assert spec == {
        "schedule": "* * * * */5", "color": "red", "replicas": 1, "port": "http",
        "steps": [{"name": "a", "retries": 2}, {"name": "b", "retries": 5}],
        "free": {"anything": {"goes": [1, "two"]}},
    }  # fmt: skip
    # kubectl compares lists as a whole: only one without defaults in its items is seen as equal
    full = TAB.replace("{name: a}", "{name: a, retries: 2}")
    assert kubectl(tabs, "apply -f -", full) == "crontab.stable.example.com/one configured\n"
    assert kubectl(tabs, "apply -f -", full) == "crontab.stable.example.com/one unchanged\n"
    assert document(tabs, "crontab one")["metadata"]["generation"] == 1
    changed = full.replace("port: http", "port: 80")
    assert kubectl(tabs, "apply -f -", changed) == "crontab.stable.example.com/one configured\n"
    assert document(tabs, "crontab one")["metadata"]["generation"] == 2
    narrow, wide = kubectl(tabs, "get crontabs"), kubectl(tabs, "get crontabs -o wide")
    assert narrow.split()[:3] == ["NAME", "SCHEDULE", "AGE"]
    assert wide.split()[:4] == ["NAME", "SCHEDULE", "REPLICAS", "AGE"]
    assert "crontab.stable.example.com/one" in kubectl(tabs, "get all")
    assert "* * * * */5" in kubectl(tabs, "describe ct one")
    assert "Five fields of cron." in kubectl(tabs, "explain crontab.spec.schedule")
    assert "A schedule with a command." in kubectl(tabs, "explain ct")
    listed = kubectl(tabs, "api-resources --api-group=stable.example.com")
    assert listed.split("\n")[1].split() == [
        "crontabs",
        "ct",
        "stable.example.com/v1",
        "true",
        "CronTab",
    ]


def test_other_ways_to_change(tabs: Cluster) -> None:
    kubectl(tabs, "apply -f -", TAB)
    kubectl(tabs, "scale ct one --replicas=4")
    assert document(tabs, "ct one")["spec"]["replicas"] == 4
    kubectl(tabs, 'patch ct one --type=merge -p {"spec":{"color":"green"}}')
    kubectl(
        tabs,
        'patch ct one --subresource=status --type=merge -p {"status":{"replicas":4,"message":"up"}}',
    )
    one = document(tabs, "ct one")
    assert (one["spec"]["color"], one["status"]) == ("green", {"replicas": 4, "message": "up"})
    assert kubectl(tabs, "get ct --field-selector=spec.color=green -o name").split() == [
        "crontab.stable.example.com/one"
    ]
    assert kubectl(tabs, "get ct --field-selector=spec.color=red -o name") == ""
    applied = TAB.replace("schedule: '* * * * */5'", "schedule: '1 * * * *'")
    kubectl(tabs, "apply --server-side --force-conflicts -f -", applied)
    assert document(tabs, "ct one")["spec"]["schedule"] == "1 * * * *"
    kubectl(tabs, "label ct one a=b")
    kubectl(tabs, "delete ct -l a=b")
    assert kubectl(tabs, "get ct -o name") == ""


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("port: http", "port: [1]", "spec.port: Invalid value"),
        ("schedule: '* * * * */5'", "schedule: daily", "should match '^[0-9*/ ]+$'"),
        ("schedule: '* * * * */5'\n", "\n", "spec.schedule: Required value"),
        ("port: http", "color: blue", 'supported values: "red", "green"'),
        ("port: http", "replicas: 11", "should be less than or equal to 10"),
        ("{name: a}", "{name: b}", "spec.steps[1]: Duplicate value"),
        ("port: http", "ports: http", 'unknown field "spec.ports"'),
    ],
)
def test_what_does_not_fit_is_refused(tabs: Cluster, old: str, new: str, text: str) -> None:
    assert text in refused(tabs, "apply -f -", TAB.replace(old, new))


def test_unknown_fields_are_dropped_with_a_warning_unless_strict(tabs: Cluster) -> None:
    odd = TAB.replace("port: http", "bogus: 1")
    done = tabs.run("kubectl", "create", "--validate=warn", "-f", "-", stdin=odd)
    assert 'Warning: unknown field "spec.bogus"' in done.stderr
    assert "bogus" not in document(tabs, "ct one")["spec"]


def test_a_watch_goes_on_over_a_change_of_the_definition(tabs: Cluster) -> None:
    kubectl(tabs, "apply -f -", TAB)
    more = TABS.replace(
        "color: {type: string,",
        "added: {type: string, default: new}\n              color: {type: string,",
    )
    kubectl(tabs, "apply -f -", more)
    assert document(tabs, "ct one")["spec"]["added"] == "new"
    kubectl(tabs, "apply -f -", TAB.replace("name: one", "name: two"))
    assert document(tabs, "ct two")["spec"]["added"] == "new"


def test_a_restart_keeps_everything(tabs: Cluster) -> None:
    kubectl(tabs, "apply -f -", TAB)
    for number in (signal.SIGTERM, signal.SIGKILL):
        tabs.stop(number)
        tabs.start()
        # the first request after ready
        path = "/apis/stable.example.com/v1/namespaces/default/crontabs/one"
        assert tabs.request("GET", path).json["spec"]["replicas"] == 1
        body = yaml.safe_load(TAB) | {"metadata": {"generateName": "more-"}}
        assert tabs.request("POST", path.removesuffix("/one"), body).status == 201


def test_deletion_waits_for_finalizers(tabs: Cluster) -> None:
    kubectl(
        tabs, "apply -f -", TAB.replace("name: one", "name: held, finalizers: [example.com/hold]")
    )
    kubectl(tabs, "apply -f -", TAB)
    kubectl(tabs, "delete crd crontabs.stable.example.com --wait=false")

    def message() -> str:
        status = document(tabs, "crd crontabs.stable.example.com")["status"]
        found = {each["type"]: each["message"] for each in status["conditions"]}
        return found.get("Terminating", "")

    wait_for(lambda: "example.com/hold in 1" in message(), "the progress is told", 20)
    assert "1 instance remaining" in message()
    late = refused(tabs, "create -f -", TAB.replace("name: one", "name: late"))
    assert "create not allowed while custom resource definition is terminating" in late
    kubectl(tabs, 'patch ct held --type=merge -p {"metadata":{"finalizers":null}}')
    kubectl(tabs, "wait --for=delete crd/crontabs.stable.example.com --timeout=20s")
    answer = tabs.request("GET", "/apis/stable.example.com/v1/namespaces/default/crontabs")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_namespaces_and_owners(tabs: Cluster) -> None:
    namespace = tabs.namespace("custom")
    kubectl(tabs, f"apply -n {namespace} -f -", TAB)
    owner = document(tabs, f"ct one -n {namespace}")["metadata"]["uid"]
    child = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "child", "ownerReferences": [
                {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "name": "one", "uid": owner}
            ],
        },
    }  # fmt: skip
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    assert tabs.request("POST", maps, child).status == 201
    kubectl(tabs, f"delete ct one -n {namespace}")
    wait_for(
        lambda: tabs.request("GET", f"{maps}/child").status == 404, "the child is collected", 20
    )
    kubectl(tabs, f"apply -n {namespace} -f -", TAB)
    kubectl(tabs, f"delete namespace {namespace} --timeout=30s")
    assert kubectl(tabs, "get ct -A -o name") == ""


def test_versions_and_a_cluster_wide_kind(server: Cluster) -> None:
    kubectl(server, "apply -f -", GADGETS)
    kubectl(server, "wait --for=condition=Established crd/gadgets.example.org --timeout=30s")
    gadget = "apiVersion: example.org/v1beta1\nkind: Gadget\nmetadata: {name: g}\nspec: {size: 3}\n"
    done = server.run("kubectl", "apply", "-f", "-", stdin=gadget)
    assert "Warning: example.org/v1beta1 Gadget is old" in done.stderr
    assert document(server, "gadget g")["apiVersion"] == "example.org/v1"
    assert document(server, "gadgets.v1beta1.example.org g")["apiVersion"] == "example.org/v1beta1"
    moved = GADGETS.replace("storage: false", "storage: maybe").replace(
        "storage: true", "storage: false"
    )
    kubectl(server, "apply -f -", moved.replace("storage: maybe", "storage: true"))
    found = document(server, "crd gadgets.example.org")["status"]["storedVersions"]
    assert found == ["v1", "v1beta1"]
    kubectl(server, "delete crd gadgets.example.org --timeout=30s")


def test_knative_kinds_are_definitions_too(server: Cluster) -> None:
    names = kubectl(server, "get crd -o name")
    assert "customresourcedefinition.apiextensions.k8s.io/services.serving.knative.dev" in names
    assert kubectl(server, "get crd").split()[:3] == ["NAME", "CREATED", "AT"]
    kubectl(
        server, "wait --for=condition=Established crd/services.serving.knative.dev --timeout=5s"
    )
    podspecable = kubectl(server, "get crd -l duck.knative.dev/podspecable=true -o name")
    assert "services.serving.knative.dev" in podspecable
    assert "routes.serving.knative.dev" not in podspecable


def test_knatives_own_definitions_can_be_applied_and_change_nothing(server: Cluster) -> None:
    done = server.run("kubectl", "apply", "-f", "-", stdin=UPSTREAM)
    assert done.returncode == 0, done.stderr
    kubectl(server, "apply --server-side --force-conflicts -f -", UPSTREAM)
    service = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}\nspec: {template: {spec: {containers: [{image: nginx}]}}}\n"
    kubectl(server, "apply -f -", service)
    strict = refused(
        server, "apply -f -", service.replace("image: nginx", "image: nginx, bogus: 1")
    )
    assert 'unknown field "spec.template.spec.containers[0].bogus"' in strict
    text = refused(server, "delete crd services.serving.knative.dev")
    assert "this kind is part of Knarr and always served" in text
    server.stop()
    server.start()
    kept = document(server, "crd services.serving.knative.dev")["metadata"]["labels"]
    assert kept["app.kubernetes.io/version"] == "1.20.0"
    kubectl(server, "delete ksvc s")


def test_the_definitions_for_clusters_fit_this_one(server: Cluster) -> None:
    import sys

    printed = server.run(sys.executable, "-m", "knarr.cli.main", "crds")
    assert printed.returncode == 0, printed.stderr
    kubectl(server, "apply -f -", printed.stdout)
