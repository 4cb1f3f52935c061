import pytest

from knarr.kube.codec import Codec, CompletingCodec, Undecodable
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.kind import ConfigData
from knarr.resources.rbac.role import CLUSTER_ROLE
from knarr.resources.serving.service import SERVICE


def test_an_object_comes_back_as_it_went():
    codec = Codec()
    subject = ConfigMap(metadata=ObjectMeta(name="a", namespace="ns"), data={"k": "v"})
    decoded = codec.decode(CONFIG_MAP, codec.encode(CONFIG_MAP, subject))

    assert (decoded.kind, decoded.api_version) == ("ConfigMap", "v1")
    assert (decoded.metadata, decoded.data) == (subject.metadata, subject.data)
    assert codec.document(decoded)["data"] == {"k": "v"}


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"metadata": 1}', b'{"data": {"k": 1}}'])
def test_what_is_no_object_is_undecodable(document):
    with pytest.raises(Undecodable, match="ConfigMap does not fit its model"):
        Codec().decode(CONFIG_MAP, document)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"type": "ADDED"}', b"[1]"])
def test_what_is_no_event_is_undecodable(line):
    with pytest.raises(Undecodable, match="no event"):
        Codec().decode_event(line)


def test_what_is_no_list_is_undecodable():
    with pytest.raises(Undecodable, match="no List"):
        Codec().decode_list(b"[]")


def test_null_means_absent_as_go_writes_empty_lists():
    document = b'{"metadata": {"name": "a", "labels": null, "finalizers": null}, "data": null}'
    decoded = Codec().decode(CLUSTER_ROLE, b'{"metadata": {"name": "r"}, "rules": null}')
    assert decoded.metadata.name == "r"
    assert Codec().decode(CONFIG_MAP, document).metadata.finalizers is None


def test_custom_kinds_are_completed_where_no_admission_does_it():
    config = ConfigData({"config-defaults": {"revision-timeout-seconds": "77"}})
    document = b'{"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": [{"image": "i"}]}}}}'
    codec = CompletingCodec(config)
    spec = codec.decode(SERVICE, document).spec.template.spec
    assert (spec.timeout_seconds, spec.containers[0].name) == (77, "user-container")
    assert codec.decode(SERVICE, document).metadata.annotations is None
    assert Codec().decode(SERVICE, document).spec.template.spec.timeout_seconds is None
