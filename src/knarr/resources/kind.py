"""What the rest of Knarr must know of a kind: its name in the API, its model and its rules.

A ``Kind`` is a constant beside its model. ``knarr.resources.catalog`` lists them all; the API server,
discovery, tables, OpenAPI and the clients read nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Key, Resource

T = TypeVar("T", bound=Resource)
D = TypeVar("D")

Operation = Literal["CREATE", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who sends a request.

    Attributes:
        extra: what else is known of them, such as the Pod that a token is bound to; shown to those who ask.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


class ConfigData(dict[str, Mapping[str, str]]):
    """ConfigMaps' ``data`` by name at one moment, and what was parsed from it.

    A change makes a new object, so what is derived from one of them stays right.
    """

    __slots__ = ("_derived",)

    def __init__(self, data: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(data)
        self._derived: dict[object, Any] = {}

    def derive(self, key: object, parse: Callable[[Mapping[str, Mapping[str, str]]], D]) -> D:
        """What ``parse`` makes of the data; it runs once per ``key``."""
        if key not in self._derived:
            self._derived[key] = parse(self)
        found: D = self._derived[key]
        return found


@dataclass(frozen=True, slots=True)
class Admission:
    """What defaulting and validation may look at besides the object itself.

    Attributes:
        operation: of the request.
        user: who asks; Knative writes it into creator and lastModifier.
        old: the stored object on UPDATE, already typed.
        now: RFC 3339, for fields that carry a time.
        config: a ConfigMap's ``data`` by name in the system namespace (``config-defaults``, …);
            absent ones are empty.
        subresource: ``status``, ``scale`` or empty.
    """

    operation: Operation
    user: UserInfo
    old: Resource | None = None
    now: str = ""
    config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of ``kubectl get``.

    ``cell`` receives the decoded JSON document and the current time in seconds since the epoch;
    ages are strings already ("62s", "5m").
    """

    name: str
    type: str
    cell: Callable[[Mapping[str, Any], float], object]
    priority: int = 0
    description: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class StoredAs:
    """A kind whose objects are those of another version or group.

    Attributes:
        kind: in which the objects are stored.
        to_stored, from_stored: pure; between JSON documents of the two.
    """

    kind: "Kind[Any]"
    to_stored: Callable[[dict[str, Any]], dict[str, Any]]
    from_stored: Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[T]):
    """A resource type of the API.

    Attributes:
        model: the typed document.
        list_kind: of lists, unless it is the kind with List behind it.
        builtin: a kind of Kubernetes itself: list items carry no kind, PUT without a resourceVersion
            is allowed, strategic merge patch is offered, generation follows ``spec`` alone, errors
            are 422 with causes. Otherwise a custom resource: generation follows everything outside
            metadata and status, errors are a webhook's 400.
        webhook: name of the validating webhook in rejections of a custom resource.
        durable: acknowledged after the fsync. False for runtime state (Pods, Events, Endpoints).
        columns: of ``kubectl get``; the API server puts Name first when ``named`` holds and, when
            ``age`` holds, Age last.
        prepare: pure; what the server adds after defaulting: nobody who writes owns it in managedFields.
        default, validate: pure; ``validate`` returns field errors and warnings.
        stored_as: when the objects are stored as another kind.
        definition_labels: of the CustomResourceDefinition that stands for a custom kind.
        selectable: field selector path → how to read it from the JSON document; metadata.name and
            metadata.namespace are always offered.
    """

    group: str
    version: str
    kind: str
    plural: str
    model: type[T]
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    builtin: bool = False
    webhook: str = ""
    durable: bool = True
    has_status: bool = True
    has_scale: bool = False
    columns: tuple[Column, ...] = ()
    age: bool = True
    named: bool = True
    default: Callable[[T, Admission], T] | None = None
    prepare: Callable[[T, Admission], T] | None = None
    validate: Callable[[T, Admission], tuple[FieldError, ...]] | None = None
    stored_as: StoredAs | None = None
    definition_labels: Mapping[str, str] = field(default_factory=dict)
    selectable: Mapping[str, Callable[[Mapping[str, Any]], str]] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        """``group/version``, or the bare version of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def listed(self) -> str:
        """The kind of a list of these."""
        return self.list_kind or f"{self.kind}List"

    @property
    def qualified_plural(self) -> str:
        """The plural as error messages write it: with the group unless that is the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def collection_path(self, namespace: str = "") -> str:
        """The URL path of the collection, of one namespace or (empty) of all."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{scope}/{self.plural}"

    def object_path(self, key: Key, subresource: str = "") -> str:
        """The URL path of one object or of one of its subresources."""
        path = f"{self.collection_path(key.namespace)}/{key.name}"
        return f"{path}/{subresource}" if subresource else path
