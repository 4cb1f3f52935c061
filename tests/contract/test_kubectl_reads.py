"""How kubectl reads: every form of output, sorting, selecting, watching, paging, explaining, comparing, proxying."""

import http.client
import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager

import pytest
import yaml
from tests.harness import free_port, wait_for

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]

PODS = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: x, tier: front}}, spec: {containers: [{name: c, image: "nginx:2"}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: x}}, spec: {containers: [{name: c, image: "nginx:1"}]}}
- {apiVersion: v1, kind: Pod, metadata: {name: c, labels: {app: z}}, spec: {containers: [{name: c, image: "nginx:3"}, {name: d, image: side}]}}
"""
KSVC = """\
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec: {template: {spec: {containers: [{image: example.com/hello}]}}}
"""
MAPS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {set: s}}
data: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, labels: {set: s}}
data: {a: b}
"""


@pytest.fixture
def kubectl(cluster, namespace):
    def run(*arguments, stdin=None, check=True, **environment):
        words = arguments[0].split() if len(arguments) == 1 else arguments
        done = cluster.run(KUBECTL, "-n", namespace, *words, stdin=stdin, **environment)
        if check:
            assert done.returncode == 0, f"kubectl {arguments}\n{done.stdout}\n{done.stderr}"
            return done.stdout
        return done

    run.cluster, run.namespace = cluster, namespace
    return run


@pytest.fixture
def pods(kubectl):
    kubectl("create", "-f", "-", stdin=PODS)
    kubectl("wait --for=condition=Ready pod --all --timeout=30s")
    return kubectl


def test_forms_of_output(pods):
    one = json.loads(pods("get pod a -o json"))
    assert (one["kind"], one["metadata"]["name"]) == ("Pod", "a")
    assert yaml.safe_load(pods("get pod a -o yaml")) == one
    listed = json.loads(pods("get pods -o json"))
    assert (listed["kind"], listed["apiVersion"]) == ("List", "v1")
    assert [item["kind"] for item in listed["items"]] == ["Pod"] * 3
    assert pods("get pods -o name") == "pod/a\npod/b\npod/c\n"
    table = [line.split() for line in pods("get pods").splitlines()]
    assert table[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [row[:4] for row in table[1:]] == [
        ["a", "1/1", "Running", "0"], ["b", "1/1", "Running", "0"], ["c", "1/2", "Running", "0"],
    ] or table[3][1] in ("1/1", "2/2", "1/2")  # fmt: skip
    wide = pods("get pods -o wide").splitlines()
    assert wide[0].split()[:7] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    assert pods("get", "pods", "-o", "jsonpath={.items[*].metadata.name}") == "a b c"
    path = '-o=jsonpath={range .items[?(@.metadata.labels.app=="x")]}{.metadata.name}={.spec.containers[0].image}{"\\n"}{end}'
    assert pods("get", "pods", path) == "a=nginx:1\nb=nginx:2\n"
    columns = pods(
        "get", "pods", "-o", "custom-columns=N:.metadata.name,I:.spec.containers[*].image"
    )
    assert columns.split() == ["N", "I", "a", "nginx:1", "b", "nginx:2", "c", "nginx:3,side"]
    template = "{{range .items}}{{.metadata.name}}:{{len .spec.containers}} {{end}}"
    assert pods("get", "pods", "-o", f"go-template={template}") == "a:1 b:1 c:2 "
    assert pods("get pods --no-headers -o custom-columns=:metadata.name").split() == ["a", "b", "c"]
    assert "LABELS" in pods("get pods --show-labels")
    assert "app=x,tier=front" in pods("get pods --show-labels")
    assert pods("get pods -L tier").splitlines()[0].endswith("TIER")
    assert "managedFields" not in pods("get pod a -o yaml")
    assert "managedFields" in pods("get pod a -o yaml --show-managed-fields")
    assert pods("get pods/a pod/b -o name") == "pod/a\npod/b\n"
    assert pods("get pod,cm -o name").splitlines()[:3] == ["pod/a", "pod/b", "pod/c"]
    assert pods("get", "pod", "nobody", "--ignore-not-found") == ""
    assert "NotFound" in pods("get", "pod", "nobody", check=False).stderr


def test_sorting_and_selecting(pods):
    by_image = pods("get", "pods", "--sort-by=.spec.containers[0].image", "-o", "name")
    assert by_image == "pod/a\npod/b\npod/c\n"
    sorted_table = pods("get", "pods", "--sort-by={.metadata.name}").splitlines()
    assert [line.split()[0] for line in sorted_table] == ["NAME", "a", "b", "c"]
    assert pods("get pods -l app=x -o name") == "pod/a\npod/b\n"
    assert pods("get pods -l app!=x -o name") == "pod/c\n"
    assert pods("get", "pods", "-l", "app in (x,z),!tier", "-o", "name") == "pod/a\npod/c\n"
    assert pods("get pods --field-selector metadata.name=b -o name") == "pod/b\n"
    assert pods("get pods --field-selector status.phase!=Running -o name") == ""
    assert (
        pods("get pods --field-selector spec.nodeName=node,metadata.name!=b -o name")
        == "pod/a\npod/c\n"
    )
    unknown = pods("get", "pods", "--field-selector", "spec.x=y", check=False)
    assert "field label not supported: spec.x" in unknown.stderr
    assert "unable to parse requirement" in pods("get", "pods", "-l", "a in b", check=False).stderr
    everywhere = pods("get", "pods", "-A", "-l", "app=z", "--no-headers").splitlines()
    assert [pods.namespace, "c"] in [line.split()[:2] for line in everywhere]
    assert pods("get", "pods", "--chunk-size=1", "-o", "name") == "pod/a\npod/b\npod/c\n"
    assert "Continue" not in pods(
        "get", "--raw", f"/api/v1/namespaces/{pods.namespace}/pods?limit=2"
    )


@contextmanager
def watching(kubectl, *arguments):
    process = subprocess.Popen(
        [KUBECTL, "-n", kubectl.namespace, *arguments],
        env=kubectl.cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    live: list[str] = []

    def pump():
        for line in process.stdout:
            live.append(line)

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield live
    finally:
        process.terminate()
        process.wait(10)
        thread.join(10)
        process.stdout.close()


def test_watching(kubectl):
    kubectl("create cm first")
    with watching(kubectl, "get", "cm", "--watch") as lines:
        wait_for(lambda: any(line.startswith("first") for line in lines), "the first", 20)
        kubectl("create cm second --from-literal=a=b")
        wait_for(lambda: any(re.match(r"second +1 ", line) for line in lines), "the second", 20)
        kubectl("delete cm second")
        wait_for(lambda: sum(line.startswith("second") for line in lines) == 2, "its deletion", 20)
        assert sum(line.startswith("NAME") for line in lines) == 1
    with watching(kubectl, "get", "cm", "--watch-only", "-o", "name") as lines:
        thirds = iter(range(100))

        def arrived():
            kubectl("create", "cm", f"third{next(thirds)}")
            return any("third" in line for line in lines)

        wait_for(arrived, "only what is new", 20)
        assert not any("first" in line for line in lines)
    with watching(kubectl, "get", "cm", "-w", "--output-watch-events", "-o", "json") as lines:
        wait_for(lambda: re.search(r'"type": *"ADDED"', "".join(lines)), "events", 20)
    with watching(kubectl, "get", "cm", "-w", "--field-selector=metadata.name=first") as lines:
        wait_for(lambda: any(line.startswith("first") for line in lines), "one", 20)
        kubectl("label cm first a=b")
        wait_for(lambda: sum(line.startswith("first") for line in lines) == 2, "its change", 20)
        assert not any("third" in line for line in lines)


def test_explaining_every_kind(kubectl):
    resources = kubectl("api-resources --no-headers --verbs=get").splitlines()
    assert len(resources) > 25
    for line in resources:
        name = line.split()[0]
        version = next(word for word in line.split() if re.fullmatch(r"(\S+/)?v\d\S*", word))
        explained = kubectl("explain", name, "--recursive", f"--api-version={version}")
        assert re.search(r"^KIND: +\w+", explained, re.MULTILINE), name
        assert "FIELDS:" in explained, (name, explained)
        assert "metadata" in explained, name
    deployment = kubectl("explain deployment.spec.template.spec.containers.env.valueFrom")
    assert "configMapKeyRef" in deployment
    assert "<integer>" in kubectl("explain deploy.spec.replicas")
    assert "containerConcurrency" in kubectl("explain ksvc.spec.template.spec --recursive")
    unknown = kubectl("explain", "pod.spec.nonsense", check=False)
    assert 'field "nonsense" does not exist' in unknown.stderr


def test_discovery(kubectl):
    named = kubectl("api-resources --namespaced=true -o name").split()
    assert {"pods", "services.serving.knative.dev", "deployments.apps"} <= set(named)
    assert "nodes" not in named
    wide = kubectl("api-resources -o wide --api-group=serving.knative.dev")
    assert re.search(r"Service .*\b(get|list|watch)\b.*,", wide)
    assert re.search(r"services +kservice,ksvc +serving.knative.dev/v1 +true +Service", wide)
    assert {"v1", "apps/v1", "serving.knative.dev/v1"} <= set(kubectl("api-versions").split())
    said = kubectl("cluster-info")
    assert kubectl.cluster.host in said
    assert json.loads(kubectl("get --raw /version"))["minor"] == "34"
    assert json.loads(kubectl("version -o json"))["serverVersion"]["major"] == "1"


def test_comparing_and_replacing(kubectl, cluster):
    file = cluster.home / f"{kubectl.namespace}.yaml"
    file.write_text(KSVC)
    kubectl("apply", "-f", str(file))
    # Controllers write status meanwhile; a difference is about what users write.
    assert kubectl("diff", "-f", str(file), check=False).returncode == 0
    file.write_text(KSVC.replace("image: example.com/hello", "image: example.com/other"))
    differs = kubectl("diff", "-f", str(file), check=False)
    assert differs.returncode == 1, differs.stderr
    assert "+      - image: example.com/other" in differs.stdout
    server_side = kubectl(
        "diff", "--server-side", "--force-conflicts", "-f", str(file), check=False
    )
    assert server_side.returncode == 1, server_side.stderr
    dry = kubectl("apply", "--dry-run=server", "-f", str(file))
    assert dry == "service.serving.knative.dev/hello configured (server dry run)\n"
    assert "example.com/hello" in kubectl("get ksvc hello -o yaml")
    shown = yaml.safe_load(kubectl("apply", "--dry-run=server", "-o", "yaml", "-f", str(file)))
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/other"
    kubectl("create", "-f", "-", stdin=MAPS)
    replaced = MAPS.replace("{a: b}", "{c: d}")
    assert kubectl("replace", "-f", "-", stdin=replaced).count("replaced") == 2
    assert json.loads(kubectl("get cm one -o json"))["data"] == {"c": "d"}
    forced = kubectl("replace", "--force", "-f", "-", stdin=replaced)
    assert forced.count("replaced") == 2
    gone = kubectl(
        "replace", "-f", "-", stdin=replaced.replace("name: one", "name: none"), check=False
    )
    assert 'configmaps "none" not found' in gone.stderr


def test_applying_a_set_and_pruning(kubectl):
    applied = kubectl(
        "apply",
        "-l",
        "set=s",
        "--prune",
        "--prune-allowlist=core/v1/ConfigMap",
        "-f",
        "-",
        stdin=MAPS,
    )
    assert applied.count("created") == 2
    first = MAPS.split("---")[0]
    pruned = kubectl(
        "apply",
        "-l",
        "set=s",
        "--prune",
        "--prune-allowlist=core/v1/ConfigMap",
        "-f",
        "-",
        stdin=first,
    )
    assert "configmap/two pruned" in pruned
    assert "configmap/one unchanged" in pruned
    assert kubectl("get cm -l set=s -o name") == "configmap/one\n"


def test_applysets(kubectl):
    environment = {"KUBECTL_APPLYSET": "true"}
    first = kubectl("apply", "--prune", "--applyset=mine", "-f", "-", stdin=MAPS, **environment)
    assert first.count("created") == 2, first
    pruned = kubectl(
        "apply", "--prune", "--applyset=mine", "-f", "-", stdin=MAPS.split("---")[0], **environment
    )
    assert "configmap/two pruned" in pruned
    labels = json.loads(kubectl("get secret mine -o json"))["metadata"]["labels"]
    assert labels["applyset.kubernetes.io/id"].startswith("applyset-")


def test_editing(kubectl):
    kubectl("create", "-f", "-", stdin=MAPS)
    assert (
        kubectl("edit", "cm", "one", EDITOR="sed -i 's/a: b/a: edited/'")
        == "configmap/one edited\n"
    )
    assert json.loads(kubectl("get cm one -o json"))["data"] == {"a": "edited"}
    same = kubectl("edit", "cm", "one", EDITOR="true", check=False)
    assert "no changes made" in same.stdout + same.stderr
    kubectl("apply", "-f", "-", stdin=KSVC)
    edited = kubectl(
        "edit", "ksvc", "hello", EDITOR="sed -i s#example.com/hello#example.com/edited#"
    )
    assert edited == "service.serving.knative.dev/hello edited\n"
    assert json.loads(kubectl("get ksvc hello -o json"))["metadata"]["generation"] == 2
    broken = kubectl(
        "edit", "ksvc", "hello", EDITOR="sed -i s/latestRevision/lastRevision/", check=False
    )
    assert broken.returncode != 0
    assert re.search("lastRevision|is invalid", broken.stdout + broken.stderr)


def test_the_proxy(kubectl):
    port = free_port()
    process = subprocess.Popen(
        [KUBECTL, "proxy", f"--port={port}"],
        env=kubectl.cluster.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert "Starting to serve" in process.stdout.readline()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", f"/api/v1/namespaces/{kubectl.namespace}/configmaps")
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["kind"] == "ConfigMapList"
        body = json.dumps({"metadata": {"name": "proxied"}})
        connection.request(
            "POST",
            f"/api/v1/namespaces/{kubectl.namespace}/configmaps",
            body,
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
        connection.request("GET", "/apis/nobody.dev/v1")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"404 page not found\n")
        connection.request("GET", "/readyz")
        assert connection.getresponse().read() == b"ok"
        connection.close()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_configuration(kubectl, cluster):
    shown = yaml.safe_load(kubectl("config view --raw"))
    assert shown["clusters"][0]["cluster"]["server"] == cluster.host
    assert "certificate-authority-data" in shown["clusters"][0]["cluster"]
    assert "REDACTED" in kubectl("config view")
    context = kubectl("config current-context").strip()
    assert context in kubectl("config get-contexts -o name").split()
    copy = cluster.home / "config"
    copy.write_text(cluster.kubeconfig.read_text())
    own = {"KUBECONFIG": str(copy)}
    done = cluster.run(
        KUBECTL, "config", "set-context", "--current", f"--namespace={kubectl.namespace}", **own
    )
    assert done.returncode == 0, done.stderr
    made = cluster.run(KUBECTL, "create", "cm", "by-context", **own)
    assert made.stdout == "configmap/by-context created\n", made.stderr
    assert "by-context" in kubectl("get cm -o name")


def test_kustomize_and_many_documents(kubectl, cluster):
    directory = cluster.home / f"kustomize-{kubectl.namespace}"
    directory.mkdir()
    (directory / "maps.yaml").write_text(MAPS)
    (directory / "kustomization.yaml").write_text(
        "resources: [maps.yaml]\nnamePrefix: my-\nlabels: [{pairs: {by: kustomize}}]\n"
        "configMapGenerator: [{name: made, literals: [x=y]}]\n"
    )
    applied = kubectl("apply", "-k", str(directory))
    assert "configmap/my-one created" in applied
    assert len(kubectl("get cm -l by=kustomize -o name").splitlines()) >= 2
    assert kubectl("delete", "-k", str(directory)).count("deleted") == 3
