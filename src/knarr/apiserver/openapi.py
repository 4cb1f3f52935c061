"""OpenAPI v3: an index and one document per group and version.

kubectl wants to see that PATCH takes ``fieldValidation``; ``kubectl explain`` wants the schemas, which
come from the models. Documents are built when first asked for; their hash is in their URL, so clients
keep them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from knarr.apiserver.request import ApiRequest, ApiResponse, json_response
from knarr.apiserver.served import Registry, Served
from knarr.resources.kind import Kind

Schema = Callable[[Kind[Any]], Mapping[str, Any]]
_YEAR_S = 31_536_000
_PROTO_VERSION_2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# openapi.v2.Document {1: swagger, 2: Info {1: title, 2: version}, 8: Paths {}}
_EMPTY_VERSION_2 = b"\x0a\x032.0\x12\x0b\x0a\x05Knarr\x12\x02v1\x42\x00"
_ENVELOPE: Mapping[str, Any] = {
    "apiVersion": {"type": "string", "description": "The version of this representation."},
    "kind": {"type": "string", "description": "The kind of this object."},
    "metadata": {"type": "object", "description": "Standard object metadata."},
}
_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")


class OpenApi:
    """The documents.

    Args:
        registry: what is served.
        schema: the schema of a kind's document.
    """

    def __init__(self, registry: Registry, schema: Schema) -> None:
        self._registry = registry
        self._schema = schema
        self._built = -1
        self._documents: dict[str, tuple[bytes, str]] = {}

    def answer(self, segments: Sequence[str], request: ApiRequest) -> ApiResponse | None:
        """The document below ``/openapi/v3``, None when there is none."""
        if self._built != self._registry.version:
            self._built = self._registry.version
            self._documents = {}
        if len(segments) == 2:
            return self._index()
        wanted = "/".join(segments[2:])
        if wanted not in self._paths():
            return None
        body, digest = self._document(wanted)
        etag = f'"{digest}"'
        headers: tuple[tuple[str, str], ...] = (("ETag", etag), ("Vary", "Accept"))
        if request.text("hash") == digest:
            headers += (("Cache-Control", f"public, immutable, max-age={_YEAR_S}"),)
        if request.if_none_match == etag:
            return ApiResponse(304, headers=headers)
        return ApiResponse(200, body, headers=headers)

    def _paths(self) -> dict[str, list[Served]]:
        paths: dict[str, list[Served]] = {}
        for served in self._registry.all:
            kind = served.kind
            root = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
            paths.setdefault(root, []).append(served)
        return paths

    def _index(self) -> ApiResponse:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._document(path)[1]}"}
            for path in self._paths()
        }
        return json_response({"paths": paths})

    def _document(self, path: str) -> tuple[bytes, str]:
        if path not in self._documents:
            body = msgspec.json.encode(self._build(path))
            self._documents[path] = (body, hashlib.sha256(body).hexdigest()[:32].upper())
        return self._documents[path]

    def _schema_of(self, served: Served) -> Mapping[str, Any]:
        if served.custom is None:
            return self._schema(served.kind)
        schema = served.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        properties = {**_ENVELOPE, **(schema.get("properties") or {})}
        return {**schema, "properties": properties | {"metadata": _ENVELOPE["metadata"]}}

    def _build(self, path: str) -> dict[str, Any]:
        paths: dict[str, Any] = {}
        schemas: dict[str, Any] = {}
        for served in self._paths()[path]:
            kind = served.kind
            identity = [{"group": kind.group, "version": kind.version, "kind": kind.kind}]
            name = _schema_name(kind)
            schemas[name] = {
                **self._schema_of(served),
                "x-kubernetes-group-version-kind": identity,
            }
            scope = "/namespaces/{namespace}" if kind.namespaced else ""
            place = f"/{path}{scope}/{kind.plural}/{{name}}"
            paths[place] = {"patch": _patch_operation(identity[0], name)}
        return {
            "openapi": "3.0.0",
            "info": {"title": "Knarr", "version": "v1"},
            "paths": paths,
            "components": {"schemas": schemas},
        }


def version_2(request: ApiRequest) -> ApiResponse:
    """An OpenAPI v2 document that describes nothing.

    Only for kubectl: it validates manifests of kind List against version 2 alone and skips what the
    document does not know; their items are validated by the server, one by one.
    """
    if "proto-openapi" not in request.accept:
        info = {"title": "Knarr", "version": "v1"}
        return json_response({"swagger": "2.0", "info": info, "paths": {}})
    return ApiResponse(200, _EMPTY_VERSION_2, _PROTO_VERSION_2)


def _schema_name(kind: Kind[Any]) -> str:
    group = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{group}.{kind.version}.{kind.kind}"


def _patch_operation(identity: dict[str, str], schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in _PARAMETERS
        ],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": reference}}}
        },
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": identity,
    }
