"""From flags to a Service document; pure."""

import copy
import re
from collections.abc import Iterable
from typing import Any

from knarr.cli.nouns.flags import Edit
from knarr.cli.nouns.traffic import edit_traffic
from knarr.cli.output import CommandError, ExitCode
from knarr.resources.serving.service import SERVICE

Document = dict[str, Any]
_AUTOSCALING = "autoscaling.knative.dev/"
_ONLY_SERVICE = ("serving.knative.dev/rollout-duration", "serving.knative.dev/rolloutDuration")
_VISIBILITY = "networking.knative.dev/visibility"
_SOURCES = {
    "cm": "configMap",
    "config-map": "configMap",
    "configmap": "configMap",
    "secret": "secret",
    "sc": "secret",
}


def new_service(name: str, namespace: str) -> Document:
    """A Service without anything in it."""
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [{}]}}},
    }


def edit_service(document: Document, edit: Edit) -> Document:
    """The document with what the flags say; the one given stays as it is.

    Raises:
        CommandError: a flag's value makes no sense.
    """
    service: Document = copy.deepcopy(document)
    before = copy.deepcopy(service["spec"].get("template"))
    template = service["spec"].setdefault("template", {})
    pod = template.setdefault("spec", {})
    containers = pod.setdefault("containers", [{}])
    container = next((one for one in containers if one.get("ports")), containers[0])
    _container(container, edit)
    _environment(container, edit)
    _resources(container, edit)
    _volumes(pod, container, edit)
    _pod(pod, edit)
    _metadata(service, template, edit)
    _scaling(template, edit)
    _name(service, template, edit, changed=template != before)
    traffic = edit_traffic(service["spec"].get("traffic") or [], edit)
    if traffic:
        service["spec"]["traffic"] = traffic
    return service


# --- the container --------------------------------------------------------------------------------------


def _container(container: Document, edit: Edit) -> None:
    if edit.image is not None:
        container["image"] = edit.image
    if edit.cmd:
        container["command"] = list(edit.cmd)
    if edit.arg:
        container["args"] = list(edit.arg)
    if edit.pull_policy is not None:
        container["imagePullPolicy"] = edit.pull_policy
    if edit.user is not None:
        container.setdefault("securityContext", {})["runAsUser"] = edit.user
    if edit.port is not None:
        name, _, number = edit.port.rpartition(":")
        if not number.isdigit():
            raise _wrong("--port", edit.port, "PORT or NAME:PORT")
        port: Document = {"containerPort": int(number)}
        container["ports"] = [{"name": name, **port} if name else port]


def _environment(container: Document, edit: Edit) -> None:
    env = {one["name"]: one for one in container.get("env") or []}
    for text in edit.env or ():
        name, value = pair("--env", text)
        if value is None:
            env.pop(name, None)
        else:
            env[name] = {"name": name, "value": value}
    for text in edit.env_value_from or ():
        name, value = pair("--env-value-from", text)
        if value is None:
            env.pop(name, None)
            continue
        parts = value.split(":")
        if len(parts) != 3 or parts[0] not in _SOURCES:
            raise _wrong("--env-value-from", text, "NAME=cm:MAP:KEY or NAME=secret:SECRET:KEY")
        source = f"{_SOURCES[parts[0]]}KeyRef"
        env[name] = {"name": name, "valueFrom": {source: {"name": parts[1], "key": parts[2]}}}
    _put(container, "env", list(env.values()))
    sources = list(container.get("envFrom") or [])
    for text in edit.env_from or ():
        kind, name = _source("--env-from", text.removesuffix("-"))
        entry = {f"{kind}Ref": {"name": name}}
        sources = [one for one in sources if one != entry]
        if not text.endswith("-"):
            sources.append(entry)
    _put(container, "envFrom", sources)


def _resources(container: Document, edit: Edit) -> None:
    resources = dict(container.get("resources") or {})
    for key, flag, texts in (
        ("requests", "--request", edit.request),
        ("limits", "--limit", edit.limit),
    ):
        amounts = dict(resources.get(key) or {})
        _merge(amounts, flag, (part for text in texts or () for part in text.split(",")))
        _put(resources, key, amounts)
    _put(container, "resources", resources)


def _volumes(pod: Document, container: Document, edit: Edit) -> None:
    volumes = {one["name"]: one for one in pod.get("volumes") or []}
    mounts = {one["mountPath"]: one for one in container.get("volumeMounts") or []}
    for text in edit.volume or ():
        name, value = pair("--volume", text)
        if value is None:
            volumes.pop(name, None)
        else:
            volumes[name] = _volume(name, *_source("--volume", value))
    for text in edit.mount or ():
        path, value = pair("--mount", text)
        if value is None:
            gone = mounts.pop(path, None)
            used = {one["name"] for one in mounts.values()}
            if gone is not None and gone["name"] not in used:
                volumes.pop(gone["name"], None)
            continue
        name = value
        if ":" in value:
            kind, source = _source("--mount", value)
            name = re.sub(r"[^a-z0-9-]+", "-", f"{source}{path}".lower()).strip("-")[:63]
            volumes[name] = _volume(name, kind, source)
        elif value not in volumes:
            raise _wrong("--mount", text, "PATH=cm:NAME, PATH=secret:NAME or PATH=VOLUME")
        mounts[path] = {"mountPath": path, "name": name, "readOnly": True}
    _put(pod, "volumes", list(volumes.values()))
    _put(container, "volumeMounts", list(mounts.values()))


def _volume(name: str, kind: str, source: str) -> Document:
    reference = {"secretName": source} if kind == "secret" else {"name": source}
    return {"name": name, kind: reference}


def _pod(pod: Document, edit: Edit) -> None:
    if edit.service_account is not None:
        _put(pod, "serviceAccountName", edit.service_account)
    if edit.pull_secret is not None:
        _put(pod, "imagePullSecrets", [{"name": edit.pull_secret}] if edit.pull_secret else [])
    if edit.timeout is not None:
        pod["timeoutSeconds"] = edit.timeout
    if edit.concurrency_limit is not None:
        pod["containerConcurrency"] = edit.concurrency_limit


# --- metadata -------------------------------------------------------------------------------------------


def _metadata(service: Document, template: Document, edit: Edit) -> None:
    both = list(edit.annotation or ())
    only = [text for text in both if text.startswith(_ONLY_SERVICE)]
    scaling = [text for text in both if text.startswith(_AUTOSCALING)]
    common = [text for text in both if text not in only and text not in scaling]
    service_labels = [*(edit.label or ()), *(edit.label_service or ())]
    if edit.cluster_local is not None:
        service_labels.append(f"{_VISIBILITY}{'=cluster-local' if edit.cluster_local else '-'}")
    _map(service, "labels", "--label", service_labels)
    _map(template, "labels", "--label", [*(edit.label or ()), *(edit.label_revision or ())])
    flag = "--annotation"
    _map(service, "annotations", flag, [*common, *only, *(edit.annotation_service or ())])
    _map(template, "annotations", flag, [*common, *scaling, *(edit.annotation_revision or ())])


def _map(owner: Document, key: str, flag: str, texts: list[str]) -> None:
    if not texts:
        return
    metadata = owner.setdefault("metadata", {})
    values = dict(metadata.get(key) or {})
    _merge(values, flag, texts)
    _put(metadata, key, values)


def _scaling(template: Document, edit: Edit) -> None:
    least, most = edit.scale_min, edit.scale_max
    if edit.scale is not None:
        found = re.fullmatch(r"(\d*)(\.\.)?(\d*)", edit.scale)
        if found is None or not (found[1] or found[3]):
            raise _wrong("--scale", edit.scale, "N, MIN.., ..MAX or MIN..MAX")
        least = int(found[1]) if found[1] else None
        most = (int(found[3]) if found[3] else None) if found[2] else least
    target = edit.scale_target if edit.scale_target is not None else edit.concurrency_target
    wanted = {
        "min-scale": least,
        "max-scale": most,
        "initial-scale": edit.scale_init,
        "target": target,
        "metric": edit.scale_metric,
        "window": edit.scale_window,
        "target-utilization-percentage": edit.scale_utilization,
        "activation-scale": edit.scale_activation,
    }
    texts = [f"{_AUTOSCALING}{key}={value}" for key, value in wanted.items() if value is not None]
    _map(template, "annotations", "--scale", texts)


def _name(service: Document, template: Document, edit: Edit, *, changed: bool) -> None:
    """A chosen name holds for one Revision only: a changed template needs another, or none."""
    if edit.revision_name:
        metadata = service["metadata"]
        generation = int(metadata.get("generation") or 0) + 1
        name = edit.revision_name.replace("{{.Service}}", metadata["name"])
        name = name.replace("{{.Generation}}", f"{generation:05d}")
        if not name.startswith(f"{metadata['name']}-"):
            name = f"{metadata['name']}-{name}"
        template.setdefault("metadata", {})["name"] = name
    elif changed and (template.get("metadata") or {}).get("name"):
        del template["metadata"]["name"]


# --- values ---------------------------------------------------------------------------------------------


def pair(flag: str, text: str) -> tuple[str, str | None]:
    """``NAME=VALUE``, or ``NAME-`` with None for the value.

    Raises:
        CommandError: it is neither.
    """
    name, separator, value = text.partition("=")
    if separator and name:
        return name, value
    if not separator and text.endswith("-") and len(text) > 1:
        return text[:-1], None
    raise _wrong(flag, text, "NAME=VALUE, or NAME- to remove")


def _merge(values: dict[str, str], flag: str, texts: Iterable[str]) -> None:
    for text in texts:
        name, value = pair(flag, text)
        if value is None:
            values.pop(name, None)
        else:
            values[name] = value


def _source(flag: str, text: str) -> tuple[str, str]:
    kind, separator, name = text.partition(":")
    if not separator or not name or kind not in _SOURCES:
        raise _wrong(flag, text, "cm:NAME or secret:NAME")
    return _SOURCES[kind], name


def _put(owner: Document, key: str, value: Any) -> None:
    """Set a field, or leave it out when there is nothing in it."""
    if value:
        owner[key] = value
    else:
        owner.pop(key, None)


def _wrong(flag: str, text: str, form: str) -> CommandError:
    return CommandError(f"{flag} {text!r} is not {form}", code=ExitCode.USAGE)
