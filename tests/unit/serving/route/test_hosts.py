"""Names outside and inside."""

import msgspec
import pytest

from knarr.resources.serving.route import Route
from knarr.serving.config import ServingSettings, initial_config, parse_serving
from knarr.serving.route.hosts import DomainError, Naming, expanded

SETTINGS = ServingSettings()


def naming(network=None, domain=None):
    config = initial_config(SETTINGS)
    if network is not None:
        config = parse_serving(SETTINGS, config, "config-network", network)
    if domain is not None:
        config = parse_serving(SETTINGS, config, "config-domain", domain)
    return Naming(SETTINGS, config)


def route(labels=None, traffic=()):
    return msgspec.convert(
        {
            "metadata": {"namespace": "ns", "name": "app", "labels": labels or {}},
            "spec": {"traffic": list(traffic)},
        },
        Route,
    )


@pytest.mark.parametrize(
    ("network", "domain", "labels", "tag", "url"),
    [
        pytest.param(None, None, {}, "", "http://app.ns.localhost", id="defaults"),
        pytest.param(None, None, {}, "blue", "http://blue-app.ns.localhost", id="a tag"),
        pytest.param(
            {"knarr-external-port": "8080"}, None, {}, "", "http://app.ns.localhost:8080", id="port"
        ),
        pytest.param(
            {"default-external-scheme": "https", "knarr-external-port": "443"},
            None,
            {},
            "",
            "https://app.ns.localhost",
            id="the usual port of another scheme",
        ),
        pytest.param(
            {"tag-template": "{{.Name}}-{{.Tag}}"},
            None,
            {},
            "b",
            "http://app-b.ns.localhost",
            id="tag template",
        ),
        pytest.param(
            {"domain-template": '{{.Name}}-{{index .Labels "team"}}.{{.Domain}}'},
            None,
            {"team": "x"},
            "",
            "http://app-x.localhost",
            id="a template with a label",
        ),
        pytest.param(
            None, {"example.com": ""}, {}, "", "http://app.ns.example.com", id="a domain for all"
        ),
        pytest.param(
            None,
            {"prod.com": "selector:\n  env: prod"},
            {"env": "prod"},
            "",
            "http://app.ns.prod.com",
            id="a domain for some",
        ),
        pytest.param(
            None,
            {"prod.com": "selector:\n  env: prod"},
            {},
            "",
            "http://app.ns.localhost",
            id="and the default for the others",
        ),
    ],
)
def test_urls(network, domain, labels, tag, url):
    assert naming(network, domain).url(route(labels), tag, "ExternalIP") == url


def test_inside_the_template_does_not_count():
    found = naming({"domain-template": "{{.Name}}.x", "knarr-external-port": "8080"})
    assert found.url(route(), "blue", "ClusterLocal") == "http://blue-app.ns.svc.cluster.local"


@pytest.mark.parametrize(
    "template", ["{{.Name}}_{{.Domain}}", "{{.Name}}..{{.Domain}}", "{{.Annotations.no}}-"]
)
def test_a_template_that_makes_no_host_is_told(template):
    with pytest.raises(DomainError, match="domain name error"):
        naming({"domain-template": template}).host(route(), "", "ExternalIP")


def test_visibility():
    subject = route(traffic=[{"tag": "blue"}, {"tag": "green"}])
    local = {"networking.knative.dev/visibility": "cluster-local"}
    assert naming().visibilities(subject, {"blue-app": local}) == {
        "": "ExternalIP",
        "blue": "ClusterLocal",
        "green": "ExternalIP",
    }
    assert set(naming().visibilities(route(local), {}).values()) == {"ClusterLocal"}
    only_inside = naming(domain={"svc.cluster.local": ""})
    assert set(only_inside.visibilities(subject, {}).values()) == {"ClusterLocal"}


def test_all_names_inside():
    assert expanded("app", "ns", "cluster.local") == (
        "app.ns",
        "app.ns.svc",
        "app.ns.svc.cluster.local",
    )
