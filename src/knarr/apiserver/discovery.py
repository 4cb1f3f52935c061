"""Discovery in both forms, version and health: what clients ask before they ask for objects."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from knarr.apiserver.negotiation import negotiate
from knarr.apiserver.request import JSON, ApiRequest, ApiResponse, json_response, text_response
from knarr.apiserver.served import Registry, Served
from knarr.resources.kind import Kind

GIT_VERSION = "v1.34.0+knarr"
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_CUSTOM_VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
_AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

# Resources that are answered without being stored: (group, version, plural, kind, namespaced).
REVIEWS = (
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False),
    ("authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", True),
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False),
)

_EVICTION = {"group": "policy", "version": "v1", "kind": "Eviction"}
_BINDING = {"group": "", "version": "v1", "kind": "Binding"}

_POD_STREAMS = {
    "attach": "PodAttachOptions",
    "exec": "PodExecOptions",
    "portforward": "PodPortForwardOptions",
}


def _response_kind(kind: Kind[Any]) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _subresources(served: Served) -> list[tuple[str, dict[str, str], list[str]]]:
    """Name, kind of the answer and verbs of each subresource."""
    own = _response_kind(served.kind)
    result = []
    if served.stores_status:
        result.append(("status", own, ["get", "patch", "update"]))
    if served.kind.has_scale:
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        result.append(("scale", scale, ["get", "patch", "update"]))
    if served.collection == "pods":
        result.append(("log", own, ["get"]))
        for name, options in _POD_STREAMS.items():
            result.append((name, {**own, "kind": options}, ["create", "get"]))
        result.append(("eviction", _EVICTION, ["create"]))
        result.append(("binding", _BINDING, ["create"]))
    if served.collection == "namespaces":
        result.append(("finalize", own, ["update"]))
    if served.collection == "serviceaccounts":
        token = {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
        result.append(("token", token, ["create"]))
    return result


class Discovery:
    """Documents about what is served; built again when the kinds change."""

    def __init__(self, registry: Registry, ready: Callable[[], bool]) -> None:
        self._registry = registry
        self._ready = ready
        self._built = -1
        self._versions: dict[str, list[str]] = {}
        self._aggregated: dict[bool, tuple[bytes, str]] = {}

    def _refresh(self) -> None:
        if self._built == self._registry.version:
            return
        self._built = self._registry.version
        self._versions = self._registry.group_versions()
        for group, version, *_ in REVIEWS:
            versions = self._versions.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        self._aggregated = {}

    def answer(self, segments: Sequence[str], request: ApiRequest) -> ApiResponse | None:
        """The document at a path, None when there is none."""
        self._refresh()
        match segments:
            case ["api" | "apis" as root]:
                return self._root(request, core=root == "api")
            case ["version"]:
                return json_response(_version())
            case ["healthz" | "livez" | "readyz" as probe, *_]:
                return self._health(probe)
            case ["api", "v1"]:
                return json_response(self._resources("", "v1"))
            case ["apis", group, *rest] if group:
                return self._of_group(group, rest)
            case _:
                return None

    def _health(self, probe: str) -> ApiResponse:
        if probe == "readyz" and not self._ready():
            return text_response("controllers are starting", 503)
        return text_response("ok")

    # Legacy

    def _root(self, request: ApiRequest, *, core: bool) -> ApiResponse:
        if negotiate(request.accept, discovery=True).form == "discovery":
            return self._aggregated_response(request, core=core)
        if core:
            return json_response(
                {
                    "kind": "APIVersions",
                    "versions": ["v1"],
                    "serverAddressByClientCIDRs": [],
                }
            )
        groups = [self._group(group) for group in self._versions if group]
        return json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def _of_group(self, group: str, rest: Sequence[str]) -> ApiResponse | None:
        if not rest and group in self._versions:
            return json_response({"kind": "APIGroup", "apiVersion": "v1", **self._group(group)})
        if len(rest) == 1 and rest[0] in self._versions.get(group, ()):
            return json_response(self._resources(group, rest[0]))
        return None

    def _group(self, group: str) -> dict[str, Any]:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for version in self._versions[group]
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for served in self._of(group, version):
            rows += _legacy_rows(served)
        rows += [
            {
                "name": plural, "singularName": kind.lower(), "namespaced": namespaced,
                "kind": kind, "verbs": ["create"],
            }
            for each_group, each_version, plural, kind, namespaced in REVIEWS
            if (each_group, each_version) == (group, version)
        ]  # fmt: skip
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": rows,
        }

    def _of(self, group: str, version: str) -> Iterable[Served]:
        return (
            served
            for served in self._registry.all
            if (served.kind.group, served.kind.version) == (group, version)
        )

    # Aggregated

    def _aggregated_response(self, request: ApiRequest, *, core: bool) -> ApiResponse:
        if core not in self._aggregated:
            body = msgspec.json.encode(self._aggregate(core=core))
            self._aggregated[core] = (body, f'"{hashlib.sha256(body).hexdigest().upper()}"')
        body, etag = self._aggregated[core]
        headers = (("ETag", etag), ("Cache-Control", "public"), ("Vary", "Accept"))
        if request.if_none_match == etag:
            return ApiResponse(304, content_type=_AGGREGATED, headers=headers)
        return ApiResponse(200, body, _AGGREGATED, headers)

    def _aggregate(self, *, core: bool) -> dict[str, Any]:
        items = [
            {
                "metadata": {"name": group, "creationTimestamp": None},
                "versions": [
                    {
                        "version": version,
                        "resources": self._aggregated_resources(group, version),
                        "freshness": "Current",
                    }
                    for version in versions
                ],
            }
            for group, versions in self._versions.items()
            if core == (not group)
        ]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _aggregated_resources(self, group: str, version: str) -> list[dict[str, Any]]:
        rows = [_aggregated_row(served) for served in self._of(group, version)]
        rows += [
            {
                "resource": plural,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": kind.lower(),
                "verbs": ["create"],
            }
            for each_group, each_version, plural, kind, namespaced in REVIEWS
            if (each_group, each_version) == (group, version)
        ]
        return rows


def _legacy_rows(served: Served) -> list[dict[str, Any]]:
    kind = served.kind
    row: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular or kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _VERBS if kind.builtin else _CUSTOM_VERBS,
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    rows = [row]
    for name, answer, verbs in _subresources(served):
        subrow: dict[str, Any] = {
            "name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced,
            "kind": answer["kind"], "verbs": verbs,
        }  # fmt: skip
        if answer["group"] != kind.group:
            subrow |= {"group": answer["group"], "version": answer["version"]}
        rows.append(subrow)
    return rows


def _aggregated_row(served: Served) -> dict[str, Any]:
    kind = served.kind
    row: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular or kind.kind.lower(),
        "verbs": _VERBS if kind.builtin else _CUSTOM_VERBS,
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    subresources = [
        {"subresource": name, "responseKind": answer, "verbs": verbs}
        for name, answer, verbs in _subresources(served)
    ]
    if subresources:
        row["subresources"] = subresources
    return row


def _version() -> dict[str, str]:
    major, minor = GIT_VERSION.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.24.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    }
