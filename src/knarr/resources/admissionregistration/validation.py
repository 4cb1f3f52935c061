"""Rules for webhooks (``pkg/apis/admissionregistration/validation``, ``apiserver/pkg/util/webhook``)."""

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import urlsplit

from knarr.meta.fielderrors import FieldError, at
from knarr.meta.names import dns1035_label_problems, dns1123_subdomain_problems
from knarr.meta.qualified import qualified_name_problems
from knarr.resources.admissionregistration.webhook import (
    MatchCondition,
    MutatingWebhook,
    RuleWithOperations,
    ServiceReference,
    ValidatingWebhook,
    WebhookClientConfig,
)
from knarr.resources.core.references import LabelSelector
from knarr.resources.core.references_validation import selector_errors
from knarr.resources.fielderrors import duplicate, duplicates, invalid, not_supported, required

_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_REINVOCATION = ("IfNeeded", "Never")
_SCOPES = ("*", "Cluster", "Namespaced")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
REVIEW_VERSIONS = ("v1", "v1beta1")
_MAX_CONDITIONS = 64
_URL_FORM = "; desired format: https://host[/path]"


def webhooks_errors(webhooks: Sequence[ValidatingWebhook]) -> list[FieldError]:
    """What is wrong with the webhooks of a configuration."""
    errors: list[FieldError] = []
    for index, webhook in enumerate(webhooks):
        errors += at(f"webhooks[{index}]", _webhook_errors(webhook))
    return errors + duplicates("webhooks", [webhook.name for webhook in webhooks])


def _webhook_errors(webhook: ValidatingWebhook) -> list[FieldError]:
    errors = _name_errors(webhook.name)
    for index, rule in enumerate(webhook.rules):
        errors += at(f"rules[{index}]", _rule_errors(rule))
    errors += _one_of("failurePolicy", webhook.failure_policy, _FAILURE_POLICIES)
    errors += _one_of("matchPolicy", webhook.match_policy, _MATCH_POLICIES)
    if webhook.side_effects is None:
        errors.append(required("sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}"))
    errors += _one_of("sideEffects", webhook.side_effects, _SIDE_EFFECTS)
    timeout = webhook.timeout_seconds
    if timeout is not None and not 1 <= timeout <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        errors.append(invalid("timeoutSeconds", timeout, detail))
    errors += at("namespaceSelector", _selector_errors(webhook.namespace_selector))
    errors += at("objectSelector", _selector_errors(webhook.object_selector))
    errors += at("clientConfig", _client_errors(webhook.client_config))
    if isinstance(webhook, MutatingWebhook):
        errors += _one_of("reinvocationPolicy", webhook.reinvocation_policy, _REINVOCATION)
    errors += at("matchConditions", _condition_errors(webhook.match_conditions))
    return errors + _version_errors(webhook.admission_review_versions)


def _name_errors(name: str) -> list[FieldError]:
    if not name:
        return [required("name")]
    problems = dns1123_subdomain_problems(name)
    if problems:
        return [invalid("name", name, ",".join(problems))]
    if name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        return [invalid("name", name, detail)]
    return []


def _one_of(path: str, value: str | None, known: Sequence[str]) -> list[FieldError]:
    return [] if value is None or value in known else [not_supported(path, value, known)]


def _selector_errors(selector: LabelSelector | None) -> tuple[FieldError, ...]:
    if selector is None or not (selector.match_labels or selector.match_expressions):
        return ()
    return selector_errors(selector)


# Rules


def _rule_errors(rule: RuleWithOperations) -> list[FieldError]:
    errors = _listed("operations", rule.operations, "operations")
    for index, operation in enumerate(rule.operations):
        errors += _one_of(f"operations[{index}]", operation, _OPERATIONS)
    errors += _listed("apiGroups", rule.api_groups, "API groups")
    errors += _listed("apiVersions", rule.api_versions, "API versions")
    errors += [
        required(f"apiVersions[{index}]")
        for index, version in enumerate(rule.api_versions)
        if not version
    ]
    errors += _resource_errors(rule.resources)
    return errors + _one_of("scope", rule.scope, _SCOPES)


def _listed(path: str, values: tuple[str, ...], what: str) -> list[FieldError]:
    if not values:
        return [required(path)]
    if len(values) > 1 and "*" in values:
        return [invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resource_errors(resources: tuple[str, ...]) -> list[FieldError]:
    errors = [] if resources else [required("resources")]
    whole: set[str] = set()
    everywhere: set[str] = set()
    for index, text in enumerate(resources):
        path = f"resources[{index}]"
        name, slash, sub = text.partition("/")
        if not text:
            errors.append(required(path))
        if not slash:
            continue
        if name in whole:
            detail = f"if '{name}/*' is present, must not specify {text}"
            errors.append(invalid(path, text, detail))
        if sub in everywhere:
            errors.append(invalid(path, text, f"if '*/{sub}' is present, must not specify {text}"))
        if sub == "*":
            whole.add(name)
        if name == "*":
            everywhere.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        detail = "if '*/*' is present, must not specify other resources"
        errors.append(invalid("resources", resources, detail))
    if "*" in resources and any(text and text != "*" and "/" not in text for text in resources):
        detail = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid("resources", resources, detail))
    return errors


# Where it is


def _client_errors(config: WebhookClientConfig) -> list[FieldError]:
    if (config.url is None) == (config.service is None):
        return [required("", "exactly one of url or service is required")]
    errors = _bundle_errors(config.ca_bundle)
    if config.url is not None:
        return [*errors, *_url_errors(config.url)]
    if config.service is not None:
        errors += at("service", _service_errors(config.service))
    return errors


def _bundle_errors(bundle: str | None) -> list[FieldError]:
    try:
        base64.b64decode(bundle or "", validate=True)
    except (binascii.Error, ValueError):
        return [invalid("caBundle", bundle, "must be PEM certificates in base64")]
    return []


def _url_errors(url: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [required("url", f"url must be a valid URL: {error}{_URL_FORM}")]
    errors = []
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme != "https":
        detail = f"'https' is the only allowed URL scheme{_URL_FORM}"
        errors.append(invalid("url", parts.scheme, detail))
    if not host:
        errors.append(invalid("url", host, f"host must be specified{_URL_FORM}"))
    for value, what in (
        (parts.netloc.rpartition("@")[0], "user information is"),
        (parts.fragment, "fragments are"),
        (parts.query, "query parameters are"),
    ):
        if value:
            errors.append(invalid("url", value, f"{what} not permitted in the URL"))
    return errors


def _service_errors(service: ServiceReference) -> list[FieldError]:
    errors = [] if service.name else [required("name")]
    if not service.namespace:
        errors.append(required("namespace"))
    port = service.port
    if port is not None and not 1 <= port <= 65535:
        detail = "port is not valid: must be between 1 and 65535, inclusive"
        errors.append(invalid("port", port, detail))
    return errors + _path_errors(service.path or "")


def _path_errors(path: str) -> list[FieldError]:
    if path in ("", "/"):
        return []
    if path == "//":
        return [invalid("path", path, "segment[0] may not be empty")]
    errors = [] if path.startswith("/") else [invalid("path", path, "must start with a '/'")]
    for index, step in enumerate(path[1:].removesuffix("/").split("/")):
        problems = dns1123_subdomain_problems(step) if step else []
        if not step:
            errors.append(invalid("path", path, f"segment[{index}] may not be empty"))
        errors += [invalid("path", path, f"segment[{index}]: {text}") for text in problems]
    return errors


# Conditions and versions


def _condition_errors(conditions: tuple[MatchCondition, ...]) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(conditions) > _MAX_CONDITIONS:
        errors.append(
            FieldError(
                message=f"Too many: {len(conditions)}",
                paths=("",),
                details=f"must have at most {_MAX_CONDITIONS} items",
                reason="FieldValueTooMany",
            )
        )
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        if not condition.expression.strip():
            errors.append(required(f"[{index}].expression"))
        path = f"[{index}].name"
        if not condition.name:
            errors.append(required(path))
            continue
        errors += [
            invalid(path, condition.name, t) for t in qualified_name_problems(condition.name)
        ]
        if condition.name in seen:
            errors.append(duplicate(path, condition.name))
        seen.add(condition.name)
    return errors


def _version_errors(versions: tuple[str, ...]) -> list[FieldError]:
    path, known = "admissionReviewVersions", ", ".join(REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}")]
    errors = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            errors.append(invalid(f"{path}[{index}]", version, "duplicate version"))
            continue
        problems = dns1035_label_problems(version)
        errors += [invalid(f"{path}[{index}]", version, text) for text in problems]
    if not set(versions) & set(REVIEW_VERSIONS):
        errors.append(invalid(path, versions, f"must include at least one of {known}"))
    return errors
