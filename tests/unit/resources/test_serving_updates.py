"""What Knative says about changes, word for word."""

from typing import Any

import pytest
from tests.unit.resources.builders import admission, decode, problems
from tests.unit.resources.serving_builders import (
    pod,
    service,
)

from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.service import SERVICE


def test_changes_under_a_chosen_name() -> None:
    def document(image: str, *env: str) -> dict[str, Any]:
        variables = [{"name": name, "value": "1"} for name in env]
        metadata = {"name": "hello-one"}
        return service({"containers": [{"image": image, "env": variables}]}, metadata=metadata)

    assert SERVICE.default is not None
    stored = SERVICE.default(decode(SERVICE, document("busybox")), admission())
    spec = decode(SERVICE, document("helloworld", "A"))
    given = admission(stored)
    assert SERVICE.validate is not None
    changed = SERVICE.default(spec, given)
    # The client sends what it read: defaults included.
    details = [
        error.details
        for error in SERVICE.validate(changed, given)
        if error.paths == ("spec.template.metadata.name",)
    ]
    root = "{*v1.RevisionTemplateSpec}.Spec.PodSpec.Containers[0]"
    assert details[0].startswith(
        f'{root}.Name:\n\t-: "user-container"\n\t+: ""\n'
        f'{root}.Image:\n\t-: "busybox"\n\t+: "helloworld"\n'
        f'{root}.Env:\n\t-: "[]"\n\t+: "[{{Name:A Value:1 ValueFrom:<nil>}}]"\n'
    )


def revision(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "r"},
        "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec},
    }


@pytest.mark.parametrize(
    ("before", "after", "details"),
    [
        (
            revision(),
            revision(containers=[{"name": "c", "image": "helloworld"}]),
            '{v1.RevisionSpec}.PodSpec.Containers[0].Image:\n\t-: "busybox"\n\t+: "helloworld"\n',
        ),
        (
            revision(containerConcurrency=2),
            revision(containerConcurrency=1),
            '*{v1.RevisionSpec}.ContainerConcurrency:\n\t-: "2"\n\t+: "1"\n',
        ),
        (
            revision(),
            revision(serviceAccountName="foobar"),
            '{v1.RevisionSpec}.PodSpec.ServiceAccountName:\n\t-: ""\n\t+: "foobar"\n',
        ),
        (
            revision(nodeSelector={"a": "1", "b": "2"}),
            revision(nodeSelector={"a": "3", "c": "2"}),
            '{v1.RevisionSpec}.PodSpec.NodeSelector["a"]:\n\t-: "1"\n\t+: "3"\n'
            '{v1.RevisionSpec}.PodSpec.NodeSelector["b"]:\n\t-: "2"\n'
            '{v1.RevisionSpec}.PodSpec.NodeSelector["c"]:\n\t+: "2"\n',
        ),
        (
            revision(containers=[{"readinessProbe": {"httpGet": {"path": "/a"}}}]),
            revision(containers=[{"readinessProbe": {"httpGet": {"path": "/b"}}}]),
            "{v1.RevisionSpec}.PodSpec.Containers[0].ReadinessProbe.ProbeHandler.HTTPGet.Path:\n"
            '\t-: "/a"\n\t+: "/b"\n',
        ),
        (
            revision(volumes=[{"name": "v"}]),
            revision(volumes=[{"name": "v"}, {"name": "w"}]),
            "{v1.RevisionSpec}.PodSpec.Volumes[?->1]:\n\t+: v1.Volume: ",
        ),
    ],
)
def test_revisions_never_change(
    before: dict[str, Any], after: dict[str, Any], details: str
) -> None:
    text = problems(REVISION, after, admission(decode(REVISION, before)))
    assert text.startswith(f"Immutable fields changed (-old +new): spec\n{details}")


def test_labels_name_real_owners() -> None:
    owner = {"apiVersion": "v1", "kind": "Configuration", "name": "c", "uid": "u"}
    label = {"serving.knative.dev/configuration": "c"}
    metadata = {"name": "r", "labels": label}
    document = {**revision(), "metadata": metadata}
    path = "metadata.labels.serving.knative.dev/configuration"
    assert problems(REVISION, document) == f"missing field(s): {path}"
    document["metadata"] = {**metadata, "ownerReferences": [owner]}
    assert problems(REVISION, document) == ""
    document = {"metadata": {"name": "c", "labels": {"serving.knative.dev/service": "s"}}}
    assert "missing field(s): metadata.labels.serving.knative.dev/service" in problems(
        CONFIGURATION, document
    )


def test_history_is_not_rewritten() -> None:
    creator, modifier = "serving.knative.dev/creator", "serving.knative.dev/lastModifier"
    assert SERVICE.default is not None
    stored = SERVICE.default(decode(SERVICE, pod(enableServiceLinks=False)), admission())
    document = pod(enableServiceLinks=False)
    document["metadata"]["annotations"] = {creator: "eve", modifier: "eve"}
    assert problems(SERVICE, document, admission(stored)) == (
        f"annotation value is immutable: metadata.annotations.{creator}\n"
        f"invalid value: eve: metadata.annotations.{modifier}"
    )


def test_status_updates_are_not_judged() -> None:
    document = service({})
    given = admission(decode(SERVICE, document), subresource="status")
    assert problems(SERVICE, document, given) == ""
