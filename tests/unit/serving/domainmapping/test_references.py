"""What a DomainMapping may refer to, and what it is told otherwise."""

import pytest

from knarr.meta.objects import ObjectMeta
from knarr.resources.serving.domainmapping import DomainMapping, DomainMappingSpec, KReference
from knarr.serving.domainmapping.references import (
    Found,
    Target,
    Unresolved,
    references_of,
    resolve,
)


def mapping(kind: str = "Service", version: str = "serving.knative.dev/v1") -> DomainMapping:
    ref = KReference(kind=kind, api_version=version, name="hello", namespace="default")
    metadata = ObjectMeta(name="a.com", namespace="default")
    return DomainMapping(metadata=metadata, spec=DomainMappingSpec(ref=ref))


def resolved(subject: DomainMapping, found: Found | None) -> Target | Unresolved:
    plural = "services.serving.knative.dev"
    finders = {
        ("serving.knative.dev", "Service"): (plural, lambda _: found),
        ("", "Service"): ("services", lambda _: found),
    }
    return resolve(subject, finders, "cluster.local")


@pytest.mark.parametrize("path", ["", "/"])
def test_an_address_inside_leads_to_its_service(path: str) -> None:
    found = Found(f"http://hello.default.svc.cluster.local{path}")
    target = Target(host="hello.default.svc.cluster.local", service="hello")
    assert resolved(mapping(), found) == target


PROBLEMS = [
    (None, 'failed to get object default/hello: services.serving.knative.dev "hello" not found'),
    (
        Found(""),
        "address not set for &ObjectReference{Kind:Service,Namespace:default,Name:hello,UID:,"
        "APIVersion:serving.knative.dev/v1,ResourceVersion:,FieldPath:,}",
    ),
    (
        Found("http://hello.default.svc.cluster.local/x"),
        'resolved URI "http://hello.default.svc.cluster.local/x" contains a path',
    ),
    (
        Found("http://a.com"),
        'resolved URI "http://a.com" must be of the form {name}.{namespace}.svc.cluster.local',
    ),
    (
        Found("http://hello.other.svc.cluster.local"),
        'resolved URI "http://hello.other.svc.cluster.local" must be in same namespace as '
        "DomainMapping",
    ),
]


@pytest.mark.parametrize(("found", "text"), PROBLEMS)
def test_what_leads_nowhere_is_told(found: Found | None, text: str) -> None:
    assert resolved(mapping(), found) == Unresolved(text)


def test_other_kinds_are_named() -> None:
    text = "a Broker of eventing.knative.dev/v1 cannot be mapped to; supported: "
    text += "Service, Service.serving.knative.dev"
    assert resolved(mapping("Broker", "eventing.knative.dev/v1"), None) == Unresolved(text)


def test_references_are_indexed_by_group_and_name() -> None:
    assert list(references_of(mapping())) == ["serving.knative.dev/Service:default/hello"]
    assert list(references_of(mapping(version="v1"))) == ["/Service:default/hello"]
