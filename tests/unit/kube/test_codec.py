import pytest

from knarr.kube.codec import Codec, Undecodable
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap


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
