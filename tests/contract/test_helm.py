"""helm 3: a chart with workloads, hooks and a custom resource, installed, changed, rolled back and removed."""

import json

import pytest
from tests.contract.gotools import helm as find_helm

pytestmark = [pytest.mark.contract, pytest.mark.slow, pytest.mark.timeout(1800)]

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: tiny\nversion: 0.1.0\nappVersion: '1'\n",
    "values.yaml": "replicas: 1\nimage: example.com/tiny\ncolor: red\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-map, labels: {app: tiny}}
data: {color: {{ .Values.color }}}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: tiny}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: tiny}}
  template:
    metadata: {labels: {app: tiny}}
    spec: {containers: [{name: c, image: {{ .Values.image }}, env: [{name: COLOR, value: {{ .Values.color }}}]}]}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: {{ .Release.Name }}-k}
spec: {template: {spec: {containers: [{image: {{ .Values.image }}, env: [{name: COLOR, value: {{ .Values.color }}}]}]}}}
""",
    "templates/hook.yaml": """
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: "post-install,post-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.com/once}]}}}
""",
}


@pytest.fixture
def chart(tmp_path):
    for name, text in CHART.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def helm(cluster, namespace):
    program = str(find_helm())

    def run(*arguments, check=True):
        done = cluster.run(program, *arguments, "--namespace", namespace, timeout_s=120)
        assert (done.returncode == 0) == check, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout if check else done.stderr

    run.get = lambda path: cluster.request("GET", path.replace("NS", namespace)).json
    return run


def test_the_life_of_a_release(helm, chart, cluster, namespace):
    maps, deployments = (
        "/api/v1/namespaces/NS/configmaps",
        "/apis/apps/v1/namespaces/NS/deployments",
    )
    services = "/apis/serving.knative.dev/v1/namespaces/NS/services"
    installed = json.loads(
        helm("install", "r", str(chart), "--wait", "--timeout", "60s", "-o", "json")
    )
    assert (installed["info"]["status"], installed["version"]) == ("deployed", 1)
    assert helm.get(f"{deployments}/r")["status"]["availableReplicas"] == 1
    assert helm.get("/apis/batch/v1/namespaces/NS/jobs/r-hook")["status"]["succeeded"] == 1
    (stored,) = helm.get("/api/v1/namespaces/NS/secrets?labelSelector=owner=helm")["items"]
    assert stored["type"] == "helm.sh/release.v1"
    again = helm("install", "r", str(chart), check=False)
    assert "cannot re-use a name that is still in use" in again
    helm("upgrade", "r", str(chart), "--set", "color=blue,replicas=2", "--wait", "--timeout", "60s")
    assert helm.get(f"{maps}/r-map")["data"] == {"color": "blue"}
    container = helm.get(f"{deployments}/r")["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "COLOR", "value": "blue"}]
    assert helm.get(f"{services}/r-k")["metadata"]["generation"] == 2
    patch = {"data": {"other": "kept"}}
    cluster.request(
        "PATCH", f"/api/v1/namespaces/{namespace}/configmaps/r-map", patch,
        headers={"Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    helm("rollback", "r", "1", "--wait", "--timeout", "60s")
    assert helm.get(f"{maps}/r-map")["data"] == {"color": "red", "other": "kept"}
    assert helm.get(f"{deployments}/r")["spec"]["replicas"] == 1
    history = json.loads(helm("history", "r", "-o", "json"))
    assert [item["revision"] for item in history] == [1, 2, 3]
    assert [item["name"] for item in json.loads(helm("list", "-o", "json"))] == ["r"]
    assert "COLOR" in helm("get", "manifest", "r")
    helm("uninstall", "r", "--wait", "--timeout", "60s")
    assert helm.get(f"{maps}/r-map")["code"] == 404
    assert json.loads(helm("list", "-o", "json")) == []


def test_mistakes_are_said(helm, chart):
    wrong = CHART["templates/all.yaml"].replace(
        "replicas: {{ .Values.replicas }}", "replicas: many"
    )
    (chart / "templates/all.yaml").write_text(wrong)
    refused = helm("install", "w", str(chart), check=False)
    assert "replicas" in refused or "integer" in refused, refused
