"""Which ConfigMaps of the system namespace are checked when they are written, and how.

A ConfigMap that does not parse is refused, so that controllers always find one that does.
"""

import re
import zlib
from collections.abc import Callable, Mapping

from knarr.meta.fielderrors import FieldError
from knarr.resources.config import autoscaler, defaults, deployment, domain, features, gc, network
from knarr.resources.config.values import ConfigError

SYSTEM_NAMESPACE = "knative-serving"
EXAMPLE_KEY = "_example"
CHECKSUM_ANNOTATION = "knative.dev/example-checksum"
EXAMPLE_TEXT = (
    'the update modifies a key in "_example" which is probably not what you want. Instead, copy the '
    'respective setting to the top-level of the ConfigMap, directly below "data"'
)
_NEWLINES = re.compile("(?:\r?\n)+")

PARSERS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    autoscaler.NAME: autoscaler.parse_autoscaler,
    defaults.NAME: defaults.parse_defaults,
    deployment.NAME: deployment.parse_deployment,
    domain.NAME: domain.parse_domain,
    features.NAME: features.parse_features,
    gc.NAME: gc.parse_gc,
    network.NAME: network.parse_network,
}


def example_checksum(text: str) -> str:
    """The checksum of an ``_example`` that must not be edited."""
    normalized = _NEWLINES.sub(r"\\n", text.strip())
    return f"{zlib.crc32(normalized.encode()):08x}"


def config_errors(
    name: str, data: Mapping[str, str], annotations: Mapping[str, str]
) -> list[FieldError]:
    """What is wrong with one of Knative's ConfigMaps; nothing for others."""
    parse = PARSERS.get(name)
    if parse is None:
        return []
    example, checksum = data.get(EXAMPLE_KEY), annotations.get(CHECKSUM_ANNOTATION)
    if example is not None and checksum is not None and checksum != example_checksum(example):
        return [FieldError(message=EXAMPLE_TEXT, paths=(f"data[{EXAMPLE_KEY}]",))]
    try:
        parsed = parse(data)
    except ConfigError as error:
        return [FieldError(message=str(error), paths=("data",))]
    return _unsupported(parsed) if isinstance(parsed, features.Features) else []


def _unsupported(parsed: features.Features) -> list[FieldError]:
    return [
        FieldError(
            message=f'the feature "{flag}" is not supported by Knarr yet',
            paths=(f"data[{flag}]",),
            details="set it to Disabled, or remove it",
        )
        for flag in features.UNSUPPORTED
        if not parsed.disabled(flag)
    ]
