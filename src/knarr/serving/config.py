"""What governs Serving besides the objects themselves: fixed settings and Knative's ConfigMaps.

``ConfigStore.current`` is the parsed state of the ConfigMaps in the system namespace. One that cannot
be used leaves the last good values in force, and says so in an Event on the ConfigMap and in the log.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from knarr.kube.cache import Change
from knarr.kube.events import EventType
from knarr.meta.objects import Resource
from knarr.resources.config.autoscaler import AutoscalerConfig, parse_autoscaler
from knarr.resources.config.deployment import DeploymentConfig, parse_deployment
from knarr.resources.config.domain import DomainConfig, parse_domain
from knarr.resources.config.features import Features, parse_features
from knarr.resources.config.gc import GcConfig, parse_gc
from knarr.resources.config.network import NetworkConfig, parse_network
from knarr.resources.config.values import ConfigError
from knarr.resources.core.configmap import ConfigMap

_log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Reports Events (``knarr.kube.events.EventRecorder``)."""

    def record(self, about: Resource, type_: EventType, reason: str, message: str) -> None:
        """Report something about an object; never waits, never fails."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """What the composition root decides.

    Attributes:
        system_namespace: where the ConfigMaps are.
        cluster_domain: of names inside, ``cluster.local``.
        default_domain: of Routes when config-domain names none for all.
        ingress_class: of the Ingresses that our gateway serves.
        gateway_service: name inside under which the gateway is reached; without the cluster domain.
    """

    system_namespace: str = "knative-serving"
    cluster_domain: str = "cluster.local"
    default_domain: str = "localhost"
    ingress_class: str = "knarr.ingress.networking.knarr.dev"
    gateway_service: str = "knarr-gateway.knative-serving.svc"

    @property
    def gateway_host(self) -> str:
        """The full name of the gateway inside."""
        return f"{self.gateway_service}.{self.cluster_domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """The parsed ConfigMaps.

    Attributes:
        external_port: of the external listener (``knarr-external-port`` in config-network).
        log_url_template: ``${REVISION_UID}`` stands for the revision's uid; empty is none.
    """

    autoscaler: AutoscalerConfig = field(default_factory=AutoscalerConfig)
    deployment: DeploymentConfig = field(default_factory=DeploymentConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    domain: DomainConfig = field(default_factory=lambda: DomainConfig(selectors={}))
    gc: GcConfig = field(default_factory=GcConfig)
    features: Features = field(default_factory=Features)
    external_port: int = 80
    log_url_template: str = ""


def parse_serving(
    settings: ServingSettings, before: ServingConfig, name: str, data: Mapping[str, str]
) -> ServingConfig:
    """The configuration after one ConfigMap changed; unknown names change nothing.

    Raises:
        ConfigError: a value cannot be used.
    """
    changed: dict[str, Any] = {}
    match name:
        case "config-autoscaler":
            changed["autoscaler"] = parse_autoscaler(data)
        case "config-deployment":
            changed["deployment"] = parse_deployment(data)
        case "config-network":
            changed["network"] = parse_network(data)
            changed["external_port"] = _external_port(data)
        case "config-domain":
            changed["domain"] = _domain(settings, data)
        case "config-features":
            changed["features"] = parse_features(data)
        case "config-gc":
            changed["gc"] = parse_gc(data)
        case "config-observability":
            changed["log_url_template"] = data.get("logging.revision-url-template", "")
        case _:
            return before
    return replace(before, **changed)


def initial_config(settings: ServingSettings) -> ServingConfig:
    """What holds without any ConfigMap."""
    return ServingConfig(domain=_domain(settings, {}))


def _external_port(data: Mapping[str, str]) -> int:
    text = data.get("knarr-external-port", "80")
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ConfigError(f"knarr-external-port must be a port, was: {text!r}")
    return int(text)


def _domain(settings: ServingSettings, data: Mapping[str, str]) -> DomainConfig:
    parsed = parse_domain(data, cluster_domain=settings.cluster_domain)
    local = parsed.cluster_domain
    if local in data or local not in parsed.selectors:
        return parsed
    extended = {**data, settings.default_domain: ""}
    return parse_domain(extended, cluster_domain=settings.cluster_domain)


class ConfigStore:
    """The configuration now; fed by an informer's handler."""

    def __init__(self, settings: ServingSettings, recorder: Recorder) -> None:
        self.settings = settings
        self.current = initial_config(settings)
        self._recorder = recorder
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change that took effect."""
        self._listeners.append(listener)

    def handle(self, change: Change[Any]) -> None:
        """Take a ConfigMap's change into account."""
        subject: ConfigMap = change.subject
        if subject.metadata.namespace != self.settings.system_namespace:
            return
        data = (change.new.data if change.new is not None else None) or {}
        try:
            new = parse_serving(self.settings, self.current, subject.metadata.name, data)
        except ConfigError as error:
            name = subject.metadata.name
            _log.error("%s is not usable, the last good values stay: %s", name, error)
            self._recorder.record(subject, "Warning", "InvalidConfiguration", str(error))
            return
        if new != self.current:
            self.current = new
            for listener in self._listeners:
                listener()
