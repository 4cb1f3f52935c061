"""Defaulting and validation of an object before it is stored, and what of the world they may see."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from knarr.apiserver.request import ApiRequest
from knarr.apiserver.served import Served
from knarr.kits.clock import Clock, format_timestamp
from knarr.meta.errors import BadRequest, Cause, NotFound
from knarr.meta.fielderrors import FieldError, causes_of, format_field_errors
from knarr.meta.objects import Key
from knarr.resources.kind import Admission, ConfigData, Operation
from knarr.resources.metadata import metadata_errors
from knarr.store.store import Store

SYSTEM_NAMESPACE = "knative-serving"
_CONFIG_MAPS = "configmaps"


class _ConfigDocument(msgspec.Struct, frozen=True):
    class _Meta(msgspec.Struct, frozen=True):
        name: str = ""

    metadata: _Meta = _Meta()
    data: Mapping[str, str] | None = None


class ConfigSource:
    """The ConfigMaps of the system namespace, decoded again only when one of them changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._decoder = msgspec.json.Decoder(_ConfigDocument)
        self._rv = -1
        self._current = ConfigData({})

    def current(self) -> ConfigData:
        """The ``data`` of each ConfigMap by name."""
        rv = self._store.changed_rv(_CONFIG_MAPS)
        if rv != self._rv:
            page = self._store.page(_CONFIG_MAPS, namespace=SYSTEM_NAMESPACE)
            documents = [self._decoder.decode(item) for item in page.items]
            self._current = ConfigData({each.metadata.name: each.data or {} for each in documents})
            self._rv = rv
        return self._current


class Allocator(Protocol):
    """Completes objects of one kind with what must be unique among all of them."""

    def allocate(self, subject: Any, old: Any | None = None) -> tuple[Any, tuple[FieldError, ...]]:
        """The object after defaulting with what it gets, and what is wrong with what it asks for.

        Nothing may be kept of an object that is refused or not written in the end.
        """
        ...


class Admissions:
    """Runs the kinds' own rules and the namespace's.

    Args:
        store: for the Namespaces and the configuration.
        clock: for timestamps.
        allocators: by collection.
    """

    def __init__(
        self, store: Store, clock: Clock, allocators: Mapping[str, Allocator] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = ConfigSource(store)
        self._allocators = allocators or {}

    def now(self) -> str:
        """The time as objects carry it."""
        return format_timestamp(self._clock.wall())

    def admit(
        self, served: Served, subject: Any, request: ApiRequest, old: Any = None
    ) -> tuple[Any, list[str]]:
        """Default and validate an object.

        Returns:
            The object with its defaults, and warnings.

        Raises:
            Invalid: of Kubernetes' own kinds, or metadata that is wrong.
            BadRequest: a custom kind's validation refused it.
        """
        kind = served.kind
        operation: Operation = "CREATE" if old is None else "UPDATE"
        admission = Admission(
            operation=operation,
            user=request.user,
            old=old,
            now=self.now(),
            config=self._config.current(),
        )
        if kind.default is not None:
            subject = kind.default(subject, admission)
        if not kind.builtin:
            _refuse_invalid(served, subject, metadata_errors(subject.metadata))
        allocator = self._allocators.get(served.collection)
        found: tuple[FieldError, ...] = ()
        if allocator is not None:
            subject, found = allocator.allocate(subject, old)
        if kind.validate is not None:
            found = (*found, *kind.validate(subject, admission))
        errors = [error for error in found if error.level == "error"]
        if errors and kind.webhook:
            raise BadRequest(
                f'admission webhook "{kind.webhook}" denied the request: validation failed: '
                f"{format_field_errors(errors)}"
            )
        _refuse_invalid(served, subject, errors)
        return subject, [format_field_errors([each]) for each in found if each.level == "warning"]

    def check_namespace(self, served: Served, namespace: str, name: str) -> None:
        """New objects need a namespace that exists and stays.

        Raises:
            NotFound: it does not exist.
            Forbidden: it is being deleted.
        """
        entry = self._store.newest("namespaces", Key("", namespace))
        if entry is None:
            raise NotFound(f'namespaces "{namespace}" not found', kind="namespaces", name=namespace)
        if b'"deletionTimestamp":"' in entry.data:
            message = f"namespace {namespace} is being terminated"
            raise served.forbidden(
                name,
                f"unable to create new content in namespace {namespace} because it is being terminated",
                [Cause(reason="NamespaceTerminating", message=message, field="metadata.namespace")],
            )


def _refuse_invalid(served: Served, subject: Any, errors: list[FieldError]) -> None:
    if errors:
        metadata = subject.metadata
        causes = {(cause.field, cause.message): cause for cause in causes_of(errors)}
        raise served.invalid(metadata.name or metadata.generate_name, causes.values())
