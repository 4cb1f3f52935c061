"""ConfigMaps as they come and go."""

import pytest

from knarr.kube.cache import Change
from knarr.meta.objects import ObjectMeta
from knarr.resources.core.configmap import ConfigMap
from knarr.serving.config import ConfigStore, ServingSettings


class Recorder:
    def __init__(self):
        self.events = []

    def record(self, about, type_, reason, message):
        self.events.append((about.metadata.name, type_, reason, message))


def config_map(name, namespace="knative-serving", **data):
    return ConfigMap(
        metadata=ObjectMeta(name=f"config-{name}", namespace=namespace),
        data={key.replace("_", "-"): value for key, value in data.items()},
    )


@pytest.fixture
def store():
    return ConfigStore(ServingSettings(), Recorder())


def change(store, subject):
    store.handle(Change(subject.key, None, subject))


def test_changes_take_effect_and_are_told_once(store):
    seen = []
    store.on_change(lambda: seen.append(store.current.autoscaler.min_scale))
    subject = config_map("autoscaler", min_scale="2")
    change(store, subject)
    change(store, subject)
    assert seen == [2]
    store.handle(Change(subject.key, subject, None))
    assert seen == [2, 0]


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (config_map("autoscaler", max_scale_up_rate="1"), "max-scale-up-rate = 1"),
        (config_map("network", knarr_external_port="0"), "knarr-external-port must be a port"),
        (config_map("network", domain_template="{{.Nope}}"), "Nope"),
        (config_map("gc", min_non_active_revisions="-1"), "must be non-negative"),
        (config_map("deployment", progress_deadline="0s"), "progress-deadline"),
        (config_map("domain", **{"a.b": "selector: ["}), "a.b"),
    ],
)
def test_what_cannot_be_used_leaves_the_last_good_values(store, subject, text):
    before = store.current
    change(store, subject)
    assert store.current == before
    ((name, type_, reason, message),) = store._recorder.events
    assert (name, type_, reason) == (subject.metadata.name, "Warning", "InvalidConfiguration")
    assert text in message


def test_other_namespaces_and_names_do_not_count(store):
    before = store.current
    change(store, config_map("autoscaler", "default", min_scale="2"))
    change(store, config_map("else", min_scale="2"))
    assert store.current == before


def test_the_template_of_log_urls(store):
    subject = ConfigMap(
        metadata=ObjectMeta(name="config-observability", namespace="knative-serving"),
        data={"logging.revision-url-template": "http://logs/${REVISION_UID}"},
    )
    change(store, subject)
    assert store.current.log_url_template == "http://logs/${REVISION_UID}"
