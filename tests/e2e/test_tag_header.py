"""Tags chosen by a header, behind Knative's flag, on a whole instance."""

import json
from collections.abc import Iterator

import pytest
from tests.harness import Instance, service, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]

HOST = "tagged.default.localhost"
TAG = "Knative-Serving-Tag"
FLAG = "tag-header-based-routing"


def set_flag(instance: Instance, value: str | None) -> None:
    instance.kubectl(
        "-n", "knative-serving", "patch", "configmap", "config-features", "--type=merge",
        "-p", json.dumps({"data": {FLAG: value}}),
    )  # fmt: skip


@pytest.fixture
def tagged(instance: Instance, probe_image: str) -> Iterator[Instance]:
    """Two revisions: all requests go to the second, the first has a tag."""
    set_flag(instance, "Enabled")
    instance.kubectl(
        "apply", "-f", "-", stdin=service("tagged", probe_image, env={"TARGET": "one"})
    )
    instance.wait_ready("tagged")
    traffic = [
        {"revisionName": "tagged-00001", "percent": 0, "tag": "old"},
        {"revisionName": "tagged-00002", "percent": 100},
    ]
    second = service("tagged", probe_image, env={"TARGET": "two"}, traffic=traffic)
    instance.kubectl("apply", "-f", "-", stdin=second)
    instance.wait_ready("tagged")
    yield instance
    instance.kubectl("delete", "ksvc", "tagged")
    set_flag(instance, None)


def answer(instance: Instance, path: str = "/", host: str = HOST, **headers: str) -> str:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    status, body, _ = instance.request(host, path, headers=given)
    assert status == 200, body
    return body.decode()


def seen(text: str) -> dict[str, str]:
    """The headers of Knative that the application got."""
    pairs = [line.partition(": ") for line in text.lower().splitlines()]
    return {
        name: value
        for name, _, value in pairs
        if name in {"knative-serving-tag", "knative-serving-default-route", "k-network-hash"}
    }


def test_a_request_chooses_a_tag_by_its_header(tagged: Instance) -> None:
    tag, default = "knative-serving-tag", {"knative-serving-default-route": "true"}
    assert answer(tagged).split()[0] == "two"
    assert answer(tagged, Knative_Serving_Tag="old").split()[0] == "one"
    assert answer(tagged, Knative_Serving_Tag="wrong").split()[0] == "two"
    assert answer(tagged, host=f"old-{HOST}").split()[0] == "one"
    assert seen(answer(tagged, "/headers")) == default
    assert seen(answer(tagged, "/headers", Knative_Serving_Tag="wrong")) == default
    assert seen(answer(tagged, "/headers", Knative_Serving_Tag="old")) == {tag: "old"}
    assert seen(answer(tagged, "/headers", f"old-{HOST}")) == {tag: "old"}
    hashed = seen(answer(tagged, "/headers", K_Network_Hash="override"))["k-network-hash"]
    assert len(hashed) == 64
    set_flag(tagged, "Disabled")
    wait_for(
        lambda: answer(tagged, Knative_Serving_Tag="old").split()[0] == "two",
        "the header means nothing any more",
    )
    assert seen(answer(tagged, "/headers")) == {}
