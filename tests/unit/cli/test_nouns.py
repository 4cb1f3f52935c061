"""From flags to documents, and from documents to what is shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from knarr.cli.main import build_app
from knarr.cli.nouns.documents import condition_columns, condition_lines
from knarr.cli.nouns.edit import edit_service, new_service
from knarr.cli.nouns.flags import Edit
from knarr.cli.nouns.serviceviews import describe_lines
from knarr.cli.nouns.traffic import edit_traffic
from knarr.cli.output import CommandError
from knarr.cli.revision import revision_row, unused
from knarr.cli.route import describe_lines as route_lines
from knarr.cli.service import base_document
from knarr.resources.columns import get

RUNNER = CliRunner()
SCALING = "autoscaling.knative.dev/"
LATEST = {"latestRevision": True, "percent": 100}
NOW = 1767355200.0  # 2026-01-02T12:00:00Z


def made(**flags: Any) -> dict[str, Any]:
    return edit_service(new_service("hello", "default"), Edit(**flags))


def container(**flags: Any) -> dict[str, Any]:
    return made(**flags)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"image": "a/b"}, {"image": "a/b"}),
        ({"env": ["A=1", "B=x=y", "C="]}, {"env": [
            {"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}, {"name": "C", "value": ""}]}),
        ({"env": ["A=1", "A-"]}, {}),
        ({"env_from": ["cm:one", "secret:two", "cm:one-"]}, {"envFrom": [{"secretRef": {"name": "two"}}]}),
        ({"env_value_from": ["A=secret:s:k", "B=cm:m:k"]}, {"env": [
            {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]}),
        ({"port": "9999"}, {"ports": [{"containerPort": 9999}]}),
        ({"port": "h2c:9999"}, {"ports": [{"name": "h2c", "containerPort": 9999}]}),
        ({"cmd": ["serve"], "arg": ["-v", "x"]}, {"command": ["serve"], "args": ["-v", "x"]}),
        ({"request": ["cpu=100m,memory=64Mi"], "limit": ["memory=1Gi"]},
         {"resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}}),
        ({"user": 1001}, {"securityContext": {"runAsUser": 1001}}),
        ({"pull_policy": "Never"}, {"imagePullPolicy": "Never"}),
    ],
    ids=str,
)  # fmt: skip
def test_flags_of_the_container(flags: dict[str, Any], expected: dict[str, Any]) -> None:
    assert container(**flags) == expected


@pytest.mark.parametrize(
    ("flags", "annotations"),
    [
        ({"scale_min": 1, "scale_max": 3}, {"min-scale": "1", "max-scale": "3"}),
        ({"scale": "2"}, {"min-scale": "2", "max-scale": "2"}),
        ({"scale": "1..4"}, {"min-scale": "1", "max-scale": "4"}),
        ({"scale": "..4"}, {"max-scale": "4"}),
        ({"scale": "1.."}, {"min-scale": "1"}),
        ({"scale_init": 0}, {"initial-scale": "0"}),
        ({"scale_target": 7, "scale_metric": "rps"}, {"target": "7", "metric": "rps"}),
        ({"concurrency_target": 9}, {"target": "9"}),
        ({"scale_window": "20s"}, {"window": "20s"}),
        ({"scale_utilization": 50}, {"target-utilization-percentage": "50"}),
        ({"scale_activation": 2}, {"activation-scale": "2"}),
    ],
    ids=str,
)
def test_flags_of_scaling(flags: dict[str, Any], annotations: dict[str, str]) -> None:
    found = get(made(**flags), "spec", "template", "metadata", "annotations")
    assert found == {f"{SCALING}{key}": value for key, value in annotations.items()}


def test_flags_of_the_pod() -> None:
    spec = made(
        service_account="bot", pull_secret="reg", timeout=20, concurrency_limit=5,
        volume=["data=secret:s"], mount=["/data=data", "/cfg=cm:settings"],
    )["spec"]["template"]["spec"]  # fmt: skip
    assert spec["serviceAccountName"] == "bot"
    assert spec["imagePullSecrets"] == [{"name": "reg"}]
    assert (spec["timeoutSeconds"], spec["containerConcurrency"]) == (20, 5)
    assert spec["volumes"] == [
        {"name": "data", "secret": {"secretName": "s"}},
        {"name": "settings-cfg", "configMap": {"name": "settings"}},
    ]
    assert spec["containers"][0]["volumeMounts"] == [
        {"mountPath": "/data", "name": "data", "readOnly": True},
        {"mountPath": "/cfg", "name": "settings-cfg", "readOnly": True},
    ]
    emptied = edit_service({**made(mount=["/cfg=cm:settings"])}, Edit(mount=["/cfg-"]))
    assert emptied["spec"]["template"]["spec"] == {"containers": [{}]}


def test_labels_and_annotations_reach_their_objects() -> None:
    service = made(
        label=["a=1"], label_service=["b=2"], label_revision=["c=3"],
        annotation=["x=1", f"{SCALING}min-scale=1", "serving.knative.dev/rollout-duration=5s"],
        annotation_service=["y=2"], annotation_revision=["z=3"], cluster_local=True,
    )  # fmt: skip
    assert service["metadata"]["labels"] == {
        "a": "1", "b": "2", "networking.knative.dev/visibility": "cluster-local",
    }  # fmt: skip
    template = service["spec"]["template"]["metadata"]
    assert template["labels"] == {"a": "1", "c": "3"}
    assert service["metadata"]["annotations"] == {
        "x": "1", "serving.knative.dev/rollout-duration": "5s", "y": "2",
    }  # fmt: skip
    assert template["annotations"] == {"x": "1", f"{SCALING}min-scale": "1", "z": "3"}
    public = edit_service(service, Edit(cluster_local=False, label=["a-"]))
    assert public["metadata"]["labels"] == {"b": "2"}


def test_revision_names_are_completed_and_given_up_when_the_template_changes() -> None:
    assert made(revision_name="blue")["spec"]["template"]["metadata"]["name"] == "hello-blue"
    named = made(image="a", revision_name="{{.Service}}-v{{.Generation}}")
    assert named["spec"]["template"]["metadata"]["name"] == "hello-v00001"
    changed = edit_service(named, Edit(env=["A=1"]))
    assert "name" not in changed["spec"]["template"]["metadata"]
    routed = edit_service(named, Edit(traffic=["@latest=100"]))
    assert routed["spec"]["template"] == named["spec"]["template"]


def test_an_edit_changes_nothing_else_and_not_its_input() -> None:
    before = made(image="a", env=["A=1"])
    copy = json.loads(json.dumps(before))
    after = edit_service(before, Edit(env=["B=2"]))
    assert before == copy
    after["spec"]["template"]["spec"]["containers"][0]["env"].pop()
    assert after == before


def test_the_container_with_the_port_is_the_one_that_is_edited() -> None:
    service = new_service("hello", "default")
    service["spec"]["template"]["spec"]["containers"] = [
        {"name": "side"},
        {"ports": [{"containerPort": 1}]},
    ]
    found = edit_service(service, Edit(image="x"))["spec"]["template"]["spec"]["containers"]
    assert [one.get("image") for one in found] == [None, "x"]


def revision(name: str, **more: Any) -> dict[str, Any]:
    return {"revisionName": name, "latestRevision": False, **more}


@pytest.mark.parametrize(
    ("targets", "flags", "expected"),
    [
        ([LATEST], {}, [LATEST]),
        ([], {"tag": ["@latest=now"]}, [{**LATEST, "tag": "now"}]),
        ([LATEST], {"tag": ["a-1=old"]}, [LATEST, revision("a-1", percent=0, tag="old")]),
        ([LATEST], {"traffic": ["a-1=50,@latest=50"]},
         [{**LATEST, "percent": 50}, revision("a-1", percent=50)]),
        ([LATEST, revision("a-1", percent=0, tag="old")], {"traffic": ["old=100"]},
         [revision("a-1", percent=100, tag="old")]),
        ([LATEST, revision("a-1", percent=0, tag="old")], {"untag": ["old"]}, [LATEST]),
        ([LATEST, revision("a-1", percent=0, tag="x")], {"untag": ["x"], "tag": ["a-2=x"]},
         [LATEST, revision("a-2", percent=0, tag="x")]),
        ([revision("a-1", percent=100)], {"traffic": ["@latest=100"]}, [LATEST]),
    ],
    ids=str,
)  # fmt: skip
def test_traffic(targets: list[Any], flags: dict[str, Any], expected: list[Any]) -> None:
    assert edit_traffic(targets, Edit(**flags)) == expected


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"env": ["A"]}, "--env 'A' is not NAME=VALUE"),
        ({"env_from": ["x:y"]}, "cm:NAME or secret:NAME"),
        ({"env_value_from": ["A=cm:x"]}, "NAME=cm:MAP:KEY"),
        ({"port": "http"}, "PORT or NAME:PORT"),
        ({"scale": "many"}, "MIN..MAX"),
        ({"scale": ".."}, "MIN..MAX"),
        ({"mount": ["/x=nothing"]}, "PATH=VOLUME"),
        ({"traffic": ["a=50"]}, "sum up to 50"),
        ({"traffic": ["a=-1", "b=101"]}, "no percentage"),
        ({"traffic": ["a"]}, "not REVISION=VALUE"),
        ({"untag": ["x"]}, "no target has the tag 'x'"),
        ({"tag": ["a-1=x", "a-2=x"]}, "is on another revision"),
    ],
    ids=str,
)
def test_nonsense_is_refused_with_the_form_that_is_wanted(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError) as caught:
        made(**flags)
    assert said in caught.value.message
    assert caught.value.code == 2


def test_a_file_is_the_base_of_a_service(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(json.dumps(made(image="a")))
    found = base_document("", "shop", str(file))
    assert found["metadata"] == {"name": "hello", "namespace": "shop"}
    with pytest.raises(CommandError, match="is about 'hello'"):
        base_document("other", "shop", str(file))
    with pytest.raises(CommandError, match="has no name"):
        base_document("", "shop", "")


@pytest.mark.parametrize(
    "words",
    [
        ["service", "create"], ["service", "update"], ["service", "apply"], ["service", "list"],
        ["service", "describe"], ["service", "delete"], ["service", "wait"], ["revision", "list"],
        ["revision", "describe"], ["revision", "delete"], ["route", "list"], ["route", "describe"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_verb_has_help_with_an_example(words: list[str]) -> None:
    app = build_app([words[0]])
    shown = RUNNER.invoke(app, [*words, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert "Example:" in shown.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "hello"], 2, "names no image"),
        (["create", "--image", "x"], 2, "has no name"),
        (["update", "hello"], 2, "nothing to change"),
        (["delete"], 2, "which services"),
        (["create", "hello", "--image", "x"], 3, "not running"),
    ],
    ids=str,
)
def test_wrong_usage_is_told_before_anything_is_asked(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    shown = RUNNER.invoke(build_app(["service"]), ["--data-dir", str(tmp_path), "service", *words])
    assert (shown.exit_code, said in shown.output) == (code, True), shown.output


SERVICE = {
    "metadata": {"name": "hello", "namespace": "default", "creationTimestamp": "2026-01-02T11:00:00Z"},
    "status": {
        "url": "http://hello.test",
        "latestCreatedRevisionName": "hello-00003",
        "latestReadyRevisionName": "hello-00003",
        "traffic": [
            {"revisionName": "hello-00003", "percent": 90, "latestRevision": True},
            {"revisionName": "hello-00001", "percent": 10, "tag": "old", "url": "http://old-hello.test"},
        ],
        "conditions": [
            {"type": "RoutesReady", "status": "False", "reason": "Odd", "message": "why"},
            {"type": "Ready", "status": "False", "reason": "Odd", "message": "why",
             "lastTransitionTime": "2026-01-02T11:59:00Z"},
        ],
    },
}  # fmt: skip


def snapshot(number: int) -> dict[str, Any]:
    labels = {
        "serving.knative.dev/service": "hello",
        "serving.knative.dev/configurationGeneration": str(number),
    }
    return {
        "metadata": {"name": f"hello-{number:05d}", "namespace": "default", "labels": labels},
        "spec": {"containers": [{"image": "a/b"}]},
        "status": {"actualReplicas": 1, "desiredReplicas": 2},
    }


def test_a_description_has_revisions_and_conditions() -> None:
    lines = describe_lines(SERVICE, [snapshot(3), snapshot(1)], NOW)
    assert "Age:        60m" in lines
    assert "   90%  @latest (hello-00003) ()" in lines
    assert "   10%  hello-00001 #old ()" in lines
    assert "        Replicas:  1/2" in lines
    assert lines[-2].split() == ["!!", "Ready", "60s", "Odd"]


def test_conditions_are_counted() -> None:
    assert condition_columns(SERVICE) == ("0 OK / 2", "False", "Odd : why")
    assert condition_columns({}) == ("0 OK / 0", "Unknown", "")
    assert condition_lines({}, NOW) == []


def test_a_row_of_a_revision_has_its_traffic_and_tags() -> None:
    row = revision_row(snapshot(1), [SERVICE], NOW)
    assert row[:5] == ("hello-00001", "hello", "10%", "old", "1")
    assert revision_row(snapshot(2), [SERVICE], NOW)[2:4] == ("", "")


def test_only_revisions_that_nothing_needs_are_pruned() -> None:
    assert unused(SERVICE, [snapshot(1), snapshot(2), snapshot(3)]) == ["hello-00002"]


def test_a_route_tells_where_its_tags_lead() -> None:
    lines = route_lines(SERVICE, NOW)
    assert "   10%  hello-00001 #old http://old-hello.test" in lines
