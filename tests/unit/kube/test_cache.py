import msgspec
import pytest

from knarr.kube.cache import Cache
from knarr.kube.handlers import LabelIndex, label_value
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import ConfigMap


def config_map(name: str, namespace: str = "ns", **labels: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or None))


class Counted:
    def __init__(self, limit: int) -> None:
        self.decoded = 0
        self.cache: Cache[ConfigMap] = Cache(self._decode, limit)

    def _decode(self, document: bytes) -> ConfigMap:
        self.decoded += 1
        return msgspec.json.decode(document, type=ConfigMap)

    def put(self, subject: ConfigMap):
        return self.cache.put(subject.key, msgspec.json.encode(subject), subject)


def test_objects_are_listed_by_namespace_in_the_order_of_their_keys():
    held = Counted(10)
    for name, namespace in [("b", "x"), ("a", "x"), ("c", "y")]:
        held.put(config_map(name, namespace))

    assert [str(item.key) for item in held.cache.list("x")] == ["x/a", "x/b"]
    assert [str(item.key) for item in held.cache.list()] == ["x/a", "x/b", "y/c"]
    assert held.cache.list("nowhere") == ()


def test_changes_say_what_was_and_what_is():
    held = Counted(10)
    added = held.put(config_map("a"))
    changed = held.put(config_map("a", app="1"))
    gone = held.cache.remove(Key("ns", "a"))

    assert [added.type, changed.type, gone.type] == ["added", "modified", "deleted"]
    assert changed.old.metadata.labels is None
    assert gone.subject.metadata.labels == {"app": "1"}
    assert held.cache.remove(Key("ns", "a")) is None


def test_an_index_follows_changes_and_forgets_what_is_gone():
    held = Counted(10)
    held.put(config_map("early", app="x"))
    held.cache.add_index("app", LabelIndex("app"))
    held.put(config_map("a", app="x"))
    held.put(config_map("b", app="y"))
    held.put(config_map("a", app="y"))

    assert held.cache.keys_by_index("app", label_value("ns", "x")) == (Key("ns", "early"),)
    assert [item.metadata.name for item in held.cache.by_index("app", "ns/y")] == ["a", "b"]
    held.cache.remove(Key("ns", "b"))
    held.cache.remove(Key("ns", "a"))
    assert held.cache.by_index("app", "ns/y") == ()
    assert held.cache._indexes["app"] == {"ns/x": {Key("ns", "early")}}


def test_one_index_name_means_one_function():
    held = Counted(10)
    held.cache.add_index("app", LabelIndex("app"))
    held.cache.add_index("app", LabelIndex("app"))

    with pytest.raises(ValueError, match="another function"):
        held.cache.add_index("app", LabelIndex("other"))


def test_only_so_many_decoded_objects_are_held():
    held = Counted(3)
    for number in range(10):
        held.put(config_map(f"n{number}"))

    assert len(held.cache._decoded) == 3
    held.cache.get(Key("ns", "n9"))
    assert held.decoded == 0, "the youngest are still decoded"
    held.cache.get(Key("ns", "n0"))
    held.cache.get(Key("ns", "n0"))
    assert held.decoded == 1
    assert held.cache.size_bytes > 100
