"""Services of Knative for the tests of its webhook."""

from typing import Any

SPEC = "spec.template.spec"
FIRST = f"{SPEC}.containers[0]"
LABEL_1035 = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
    "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
YET = "Knarr does not support this field yet; remove it"


def service(spec: dict[str, Any], **template: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"template": {"spec": spec, **template}},
    }


def pod(**fields: Any) -> dict[str, Any]:
    return service({"containers": [{"image": "app"}], **fields})


def container(**fields: Any) -> dict[str, Any]:
    return service({"containers": [{"image": "app", **fields}]})


def containers(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return service({"containers": [{"image": "app", **item} for item in items], **fields})


def flags(**values: str) -> dict[str, dict[str, str]]:
    return {"config-features": {name.replace("_", "-"): value for name, value in values.items()}}


def kubernetes(name: str, value: str = "Enabled") -> dict[str, dict[str, str]]:
    return {"config-features": {f"kubernetes.{name}": value}}


def mounted(volume: dict[str, Any], mount: dict[str, Any] | None = None) -> dict[str, Any]:
    return service(
        {
            "containers": [
                {
                    "image": "app",
                    "volumeMounts": [{"name": "v", "mountPath": "/v", **(mount or {})}],
                }
            ],
            "volumes": [{"name": "v", **volume}],
        }
    )
