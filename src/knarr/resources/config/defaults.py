"""``config-defaults`` (Knative ``pkg/apis/config/defaults.go``)."""

from collections.abc import Mapping

import msgspec

from knarr.meta.fielderrors import format_field_errors, out_of_bounds
from knarr.meta.objects import ObjectMeta
from knarr.resources.config.values import ConfigError, ConfigReader
from knarr.resources.gotemplate import Template, TemplateError, parse_template

NAME = "config-defaults"
_MAX_INT32 = 2**31 - 1


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What Revisions get when they do not say otherwise; quantities are canonical or absent."""

    revision_timeout_seconds: int = 300
    max_revision_timeout_seconds: int = 600
    revision_response_start_timeout_seconds: int = 300
    revision_idle_timeout_seconds: int = 0
    container_name_template: str = "user-container"
    init_container_name_template: str = "init-container"
    container_concurrency: int = 0
    container_concurrency_max_limit: int = 1000
    allow_container_concurrency_zero: bool = True
    enable_service_links: bool | None = False
    cpu_request: str | None = None
    cpu_limit: str | None = None
    memory_request: str | None = None
    memory_limit: str | None = None
    ephemeral_storage_request: str | None = None
    ephemeral_storage_limit: str | None = None

    def user_container_name(self, parent: ObjectMeta) -> str:
        """The name of a container without one, in an object with this metadata."""
        return _container_name(self.container_name_template, parent)

    def init_container_name(self, parent: ObjectMeta) -> str:
        """The name of an init container without one."""
        return _container_name(self.init_container_name_template, parent)


def _container_name(template: str, parent: ObjectMeta) -> str:
    if "{{" not in template:
        return template
    return parse_template(template).render(_template_values(parent))


def _template_values(parent: ObjectMeta) -> dict[str, object]:
    return {
        "Name": parent.name,
        "GenerateName": parent.generate_name,
        "Namespace": parent.namespace,
        "Labels": parent.labels or {},
        "Annotations": parent.annotations or {},
    }


def parse_defaults(data: Mapping[str, str]) -> Defaults:
    """Read ``config-defaults``.

    Raises:
        ConfigError: a value does not parse or contradicts another; names the key.
    """
    read = ConfigReader(data)
    timeout = read.integer(300, "revision-timeout-seconds")
    config = Defaults(
        revision_timeout_seconds=timeout,
        max_revision_timeout_seconds=read.integer(600, "max-revision-timeout-seconds"),
        revision_response_start_timeout_seconds=read.integer(
            timeout, "revision-response-start-timeout-seconds"
        ),
        revision_idle_timeout_seconds=read.integer(0, "revision-idle-timeout-seconds"),
        container_name_template=_template(read, "user-container", "container-name-template"),
        init_container_name_template=_template(
            read, "init-container", "init-container-name-template"
        ),
        container_concurrency=read.integer(0, "container-concurrency"),
        container_concurrency_max_limit=read.integer(1000, "container-concurrency-max-limit"),
        allow_container_concurrency_zero=read.flag(
            "allow-container-concurrency-zero", default=True
        ),
        enable_service_links=_tri_state(read),
        cpu_request=read.quantity(None, "revision-cpu-request"),
        cpu_limit=read.quantity(None, "revision-cpu-limit"),
        memory_request=read.quantity(None, "revision-memory-request"),
        memory_limit=read.quantity(None, "revision-memory-limit"),
        ephemeral_storage_request=read.quantity(None, "revision-ephemeral-storage-request"),
        ephemeral_storage_limit=read.quantity(None, "revision-ephemeral-storage-limit"),
    )
    problem = _timeout_problem(config) or _concurrency_problem(config)
    if problem:
        raise ConfigError(problem)
    return config


def _template(read: ConfigReader, default: str, key: str) -> str:
    source = read.raw(key)
    if source is None:
        return default
    try:
        template: Template = parse_template(source)
        template.render(_template_values(ObjectMeta()))
    except TemplateError as error:
        raise ConfigError(f"error executing template: {key}: {error}") from None
    return source


def _tri_state(read: ConfigReader) -> bool | None:
    raw = read.raw("enable-service-links")
    if raw is None:
        return False
    return {"true": True, "false": False}.get(raw.lower())


def _timeout_problem(config: Defaults) -> str:
    timeout, most = config.revision_timeout_seconds, config.max_revision_timeout_seconds
    if timeout > most:
        return (
            f"revision-timeout-seconds ({timeout}) cannot be greater than "
            f"max-revision-timeout-seconds ({most})"
        )
    for key, value in (
        ("revision-response-start-timeout-seconds", config.revision_response_start_timeout_seconds),
        ("revision-idle-timeout-seconds", config.revision_idle_timeout_seconds),
    ):
        if value > 0 and value > timeout:
            return f"{key} ({value}) cannot be greater than revision-timeout-seconds ({timeout})"
    return ""


def _concurrency_problem(config: Defaults) -> str:
    limit, value = config.container_concurrency_max_limit, config.container_concurrency
    if limit < 1:
        path = "container-concurrency-max-limit"
        return format_field_errors([out_of_bounds(limit, 1, _MAX_INT32, path)])
    if not 0 <= value <= limit:
        return format_field_errors([out_of_bounds(value, 0, limit, "container-concurrency")])
    return ""
