"""The real kn against a server with controllers and a node that starts everything at once."""

import json
import re

import pytest
import yaml
from tests.contract.gotools import kn as find_kn

pytestmark = [pytest.mark.contract]


@pytest.fixture
def kn(cluster, namespace):
    program = str(find_kn())

    def run(line, *more, check=True, stdin=None):
        done = cluster.run(program, *line.split(), *more, "--namespace", namespace, stdin=stdin)
        if check:
            assert done.returncode == 0, f"kn {line}\n{done.stdout}\n{done.stderr}"
            return done.stdout
        assert done.returncode != 0, f"kn {line}\n{done.stdout}"
        return done.stderr

    def get(kind, name=""):
        path = f"/apis/serving.knative.dev/v1/namespaces/{namespace}/{kind}"
        return cluster.request("GET", f"{path}/{name}" if name else path).json

    run.get = get
    return run


def test_create_waits_until_ready_and_delete_until_gone(kn):
    said = kn("service create hello --image example.com/hello --env A=b --port 8080")
    assert "Service 'hello' created to latest revision 'hello-00001'" in said
    assert re.search(r"http://hello\.\S+", said)
    again = kn("service create hello --image example.com/hello", check=False)
    assert "already exists and no --force option" in again
    assert "successfully deleted" in kn("service delete hello --wait")
    assert "not found" in kn("service describe hello", check=False)


def test_a_service_that_fails_says_why(kn):
    failed = kn(
        "service create bad --image example.com/absent --wait-timeout 20 --wait-window 1",
        check=False,
    )
    assert "RevisionFailed" in failed or "ContainerMissing" in failed or "absent" in failed, failed
    assert kn("service list").count("bad") >= 1


def test_force_replaces_and_keeps_the_creator(kn):
    kn("service create f --image example.com/one")
    before = kn.get("services", "f")["metadata"]["annotations"]["serving.knative.dev/creator"]
    replaced = kn("service create f --image example.com/two --force")
    assert "Service 'f' replaced" in replaced
    assert "f-00002" in replaced
    after = kn.get("services", "f")
    assert after["metadata"]["annotations"]["serving.knative.dev/creator"] == before
    same = kn("service create f --image example.com/two --force")
    assert "replaced" in same


def test_updates_make_revisions_and_no_change_makes_none(kn):
    kn("service create u --image example.com/app-u")
    said = kn("service update u --env C=d")
    assert "Service 'u' updated to latest revision 'u-00002' is available at URL" in said
    kn(
        "service update u --env C- --scale-min 1 --concurrency-limit 5 --request cpu=100m --limit memory=100Mi"
    )
    revision = kn.get("revisions", "u-00003")
    assert revision["spec"]["containerConcurrency"] == 5
    assert revision["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "1"
    label = kn("service update u --label team=x")
    assert "updated" in label


def test_apply(kn):
    assert "Service 'a' created" in kn("service apply a --image example.com/app-a --env Q=1")
    unchanged = kn("service apply a --image example.com/app-a --env Q=1")
    assert "No changes to apply to service 'a'" in unchanged
    applied = kn("service apply a --image example.com/app-a --env Q=2")
    assert "applied" in applied
    assert "a-00002" in applied
    containers = kn.get("services", "a")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["env"] == [{"name": "Q", "value": "2"}]


def test_apply_and_create_from_files(kn, cluster):
    manifest = cluster.home / "service.yaml"
    manifest.write_text(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: file}\n"
        "spec: {template: {spec: {containers: [{image: example.com/file}]}}}\n"
    )
    assert "created" in kn(f"service create file -f {manifest}")
    assert "No changes" in kn(f"service apply file -f {manifest}")
    assert kn.get("services", "file")["status"]["latestReadyRevisionName"] == "file-00001"


def test_listings_and_descriptions(kn):
    kn("service create l --image example.com/app-l")
    listed = kn("service list")
    assert listed.split()[:4] == ["NAME", "URL", "LATEST", "AGE"]
    assert re.search(r"l +http://l\.\S+ +l-00001 +\S+ +\d+ OK / \d+ +True", listed), listed
    assert json.loads(kn("service list -o json"))["items"][0]["metadata"]["name"] == "l"
    described = kn("service describe l")
    assert re.search(r"Name: +l\n", described)
    assert re.search(r"100% +@latest \(l-00001\)", described), described
    assert "++ Ready" in described
    assert kn("service describe l -o url").strip().startswith("http://l.")
    routes = kn("route list")
    assert re.search(r"l +http://l\.\S+ +True", routes), routes
    assert "100%" in kn("route describe l")
    revisions = kn("revision list -s l")
    assert "l-00001" in revisions
    assert "Reason" in revisions or "REASON" in revisions
    assert "l-00001" in kn("revision describe l-00001")
    assert "No services found" in kn("service list", "nobody")


def test_traffic(kn):
    kn("service create t --image example.com/app-t --revision-name t-one")
    kn("service update t --env V=2 --revision-name t-two")
    said = kn("service update t --traffic t-one=30 --traffic @latest=70 --tag t-one=old")
    assert "Service 't' with latest revision 't-two' (unchanged) is available" in said
    service = kn.get("services", "t")
    split = {item.get("revisionName"): item["percent"] for item in service["status"]["traffic"]}
    assert split == {"t-one": 30, "t-two": 70}
    (tagged,) = [item for item in service["status"]["traffic"] if item.get("tag")]
    assert tagged["url"].startswith("http://old-t.")
    described = kn("service describe t")
    assert "30%" in described
    assert "#old" in described
    kn("service update t --untag old --traffic @latest=100")
    assert [item["percent"] for item in kn.get("services", "t")["status"]["traffic"]] == [100]
    assert "deleted" in kn("revision delete t-one")
    assert "t-one" not in kn("revision list -s t")
    kn("service update t --env V=3 --revision-name t-three")
    assert "deleted" in kn("revision delete --prune t")
    assert [item["metadata"]["name"] for item in kn.get("revisions")["items"]] == ["t-three"]


def test_secrets(kn, cluster, namespace):
    assert "Secret 's' created" in kn("secret create s --from-literal a=b")
    stored = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets/s").json
    assert (stored["data"], stored["type"]) == ({"a": "Yg=="}, "Opaque")
    assert re.search(r"^s +", kn("secret list"), re.MULTILINE)
    kn("service create m --image example.com/app-m --env-from secret:s --mount /etc/s=secret:s")
    kn("secret delete s")
    assert cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets/s").status == 404


def test_export_and_import(kn, cluster):
    kn("service create x --image example.com/app-x --env V=1 --revision-name x-one")
    kn("service update x --env V=2 --revision-name x-two")
    # With @latest in its traffic kn writes what no Knative accepts.
    kn("service update x --traffic x-one=50 --traffic x-two=50")
    exported = kn("service export x --with-revisions --mode export -o yaml")
    document = yaml.safe_load(exported)
    assert document["kind"] == "Export"
    file = cluster.home / "exported.yaml"
    file.write_text(exported)
    kn("service delete x --wait")
    assert "imported" in kn(f"service import {file}")
    (container,) = kn.get("services", "x")["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("example.com/app-x@sha256:")
    again = yaml.safe_load(kn("service export x -o yaml"))
    assert again["spec"]["service"]["metadata"]["name"] == "x", again


def test_what_is_not_served_is_said(kn, cluster):
    groups = {item["name"] for item in cluster.request("GET", "/apis").json["groups"]}
    if "eventing.knative.dev" not in groups:
        assert "no or newer Knative Eventing API found on the backend" in kn(
            "broker list", check=False
        )
