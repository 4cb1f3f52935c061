from knarr.kube.cache import Change
from knarr.kube.handlers import enqueue_controller, enqueue_label, enqueue_self, owner_uids
from knarr.meta.objects import Key, ObjectMeta, OwnerReference
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.node import NODE

KEY = Key("ns", "a")


def owner(name="d", *, kind="Deployment", api_version="apps/v1", controller=True) -> OwnerReference:
    return OwnerReference(
        api_version=api_version, kind=kind, name=name, uid=f"uid-{name}", controller=controller
    )


def subject(*owners: OwnerReference, **labels: str) -> ConfigMap:
    return ConfigMap(
        metadata=ObjectMeta(
            name="a", namespace="ns", labels=labels or None, owner_references=owners or None
        )
    )


def keys_of(make, change) -> set[Key]:
    added: set[Key] = set()
    make(added.add)(change)
    return added


def test_self():
    assert keys_of(enqueue_self, Change(KEY, None, subject())) == {KEY}


def controllers(change, kind=DEPLOYMENT) -> set[str]:
    return {str(key) for key in keys_of(lambda add: enqueue_controller(add, kind), change)}


def test_the_controller_before_and_after_is_enqueued():
    moved = Change(KEY, subject(owner("old")), subject(owner("new")))

    assert controllers(moved) == {"ns/old", "ns/new"}
    assert controllers(Change(KEY, subject(owner("d")), None)) == {"ns/d"}


def test_other_owners_are_not_enqueued():
    assert controllers(Change(KEY, None, subject(owner(controller=False)))) == set()
    assert controllers(Change(KEY, None, subject(owner(kind="Other")))) == set()
    assert controllers(Change(KEY, None, subject(owner(api_version="example.com/v1")))) == set()
    assert controllers(Change(KEY, None, subject())) == set()


def test_any_version_of_the_owners_group_counts_and_cluster_scope_has_no_namespace():
    assert controllers(Change(KEY, None, subject(owner(api_version="apps/v1beta1")))) == {"ns/d"}
    node = Change(KEY, None, subject(owner("n", kind="Node", api_version="v1")))
    assert controllers(node, NODE) == {"n"}


def test_a_label_names_objects_of_the_same_namespace():
    change = Change(KEY, subject(app="x"), subject(app="y"))

    assert keys_of(lambda add: enqueue_label(add, "app"), change) == {
        Key("ns", "x"),
        Key("ns", "y"),
    }
    assert keys_of(lambda add: enqueue_label(add, "app"), Change(KEY, None, subject())) == set()


def test_all_owners_are_indexed():
    assert owner_uids(subject(owner("a"), owner("b", controller=False))) == ["uid-a", "uid-b"]
