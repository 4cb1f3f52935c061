"""A container's declared variables with their values looked up. Pure."""

from collections.abc import Iterator, Mapping

from knarr.node.bundle import BadContainer
from knarr.node.environment import valid_variable_name
from knarr.node.podfacts import PodFacts, Sources, field_value, resource_value
from knarr.node.servicelinks import service_variables
from knarr.resources.core.container import (
    Container,
    EnvFromSource,
    EnvSource,
    EnvVarSource,
    KeySelector,
)


def declared_variables(
    container: Container, facts: PodFacts, sources: Sources
) -> tuple[tuple[str, str], ...]:
    """Names and values in order, those of Services first, ``$(NAME)`` not expanded yet.

    Raises:
        BadContainer: an object or key that is not optional is missing.
    """
    links = facts.spec.enable_service_links is not False
    result = list(service_variables(sources.linked_services(facts.namespace, links=links)))
    for origin in container.env_from:
        for name, value in sorted(_all_keys(origin, facts.namespace, sources).items()):
            if valid_variable_name(origin.prefix + name):
                result.append((origin.prefix + name, value))
    for variable in container.env:
        if variable.value_from is None:
            result.append((variable.name, variable.value))
            continue
        looked_up = _look_up(variable.value_from, container, facts, sources)
        if looked_up is not None:
            result.append((variable.name, looked_up))
    return tuple(result)


def _all_keys(origin: EnvFromSource, namespace: str, sources: Sources) -> Mapping[str, str]:
    result: dict[str, str] = {}
    if origin.config_map_ref is not None:
        config = sources.config_map(namespace, origin.config_map_ref.name)
        _require(config is not None, "configmap", origin.config_map_ref)
        result |= (config.data if config else None) or {}
    if origin.secret_ref is not None:
        secret = sources.secret(namespace, origin.secret_ref.name)
        _require(secret is not None, "secret", origin.secret_ref)
        result |= dict(_decoded((secret.data if secret else None) or {}))
    return result


def _require(present: bool, kind: str, reference: EnvSource | KeySelector) -> None:  # noqa: FBT001
    if not present and not reference.optional:
        raise BadContainer(f'{kind} "{reference.name}" not found')


def _decoded(data: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, value in data.items():
        yield name, value.decode(errors="replace")


def _look_up(
    source: EnvVarSource, container: Container, facts: PodFacts, sources: Sources
) -> str | None:
    if source.field_ref is not None:
        return field_value(source.field_ref, facts)
    if source.resource_field_ref is not None:
        return resource_value(source.resource_field_ref, container, facts)
    if source.config_map_key_ref is not None:
        selector = source.config_map_key_ref
        config = sources.config_map(facts.namespace, selector.name)
        _require(config is not None, "configmap", selector)
        data: Mapping[str, str] = (config.data if config else None) or {}
        return _key(data, selector, f"ConfigMap {facts.namespace}/{selector.name}")
    if source.secret_key_ref is not None:
        selector = source.secret_key_ref
        secret = sources.secret(facts.namespace, selector.name)
        _require(secret is not None, "secret", selector)
        text = dict(_decoded((secret.data if secret else None) or {}))
        return _key(text, selector, f"Secret {facts.namespace}/{selector.name}")
    raise BadContainer("env.valueFrom names no source")


def _key(data: Mapping[str, str], selector: KeySelector, where: str) -> str | None:
    value = data.get(selector.key)
    if value is None and not selector.optional:
        raise BadContainer(f"couldn't find key {selector.key} in {where}")
    return value
