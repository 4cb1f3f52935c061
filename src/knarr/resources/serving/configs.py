"""The ConfigMaps that defaulting and validation of Serving's kinds read."""

from collections.abc import Mapping

from knarr.resources.config import autoscaler, defaults, features
from knarr.resources.kind import Admission, ConfigData
from knarr.resources.serving.podspec_validation import Configs

WEBHOOK = "validation.webhook.serving.knative.dev"


def configs_of(admission: Admission) -> Configs:
    """The parsed ConfigMaps of a request.

    Raises:
        ConfigError: one of them does not parse. Writing such a ConfigMap is refused, so this means
            that it was stored by an older version.
    """
    data = admission.config
    if isinstance(data, ConfigData):
        return data.derive(Configs, _parse)
    return _parse(data)


def _parse(data: Mapping[str, Mapping[str, str]]) -> Configs:
    return Configs(
        defaults=defaults.parse_defaults(data.get(defaults.NAME, {})),
        features=features.parse_features(data.get(features.NAME, {})),
        autoscaler=autoscaler.parse_autoscaler(data.get(autoscaler.NAME, {})),
    )
