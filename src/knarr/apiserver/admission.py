"""Defaulting and validation of an object before it is stored, and what of the world they may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Case:
    """One write on its way through admission.

    Attributes:
        served: the kind.
        request: who asks, and how.
        key: of the object.
        admission: what the kind's own rules may look at.
    """

    served: Served
    request: ApiRequest
    key: Key
    admission: Admission

    @property
    def old(self) -> Any:
        """The stored object of an update, None on create."""
        return self.admission.old

    @property
    def subresource(self) -> str:
        """``status`` or empty."""
        return self.admission.subresource


class Hooks(Protocol):
    """Admission by others: webhooks."""

    def concerned(self, case: Case) -> bool:
        """Whether anybody is to be asked; cheap."""
        ...

    async def mutate(self, case: Case, subject: Any) -> tuple[Any, list[str]]:
        """The object as the hooks want it, and their warnings.

        Raises:
            StatusError: one of them refused, or could not be asked.
        """
        ...

    async def validate(self, case: Case, subject: Any) -> list[str]:
        """The warnings of hooks that agree.

        Raises:
            StatusError: one of them refused, or could not be asked.
        """
        ...


class Quota(Protocol):
    """Limits on what a namespace may hold."""

    def check(self, served: Served, subject: Any, old: Any | None) -> None:
        """Count the object in.

        Raises:
            Forbidden: a quota would be exceeded.
        """
        ...


class Guard(Protocol):
    """Decides what only the object itself shows: whether its sender may write it."""

    def check(self, served: Served, subject: Any, request: ApiRequest, old: Any | None) -> None:
        """Look at a valid object before it is stored.

        Raises:
            StatusError: its sender may not write it.
        """
        ...


class Admissions:
    """Runs the kinds' own rules and the namespace's, and asks webhooks.

    Args:
        store: for the Namespaces and the configuration.
        clock: for timestamps.
        allocators: by collection, in order.
        hooks: webhooks, None without.
        quota: None without.
        guard: None to let everybody write what was authorized by its name alone.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        allocators: Mapping[str, Sequence[Allocator]] | None = None,
        *,
        hooks: Hooks | None = None,
        quota: Quota | None = None,
        guard: Guard | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._config = ConfigSource(store)
        self._allocators = allocators or {}
        self._hooks = hooks
        self._quota = quota
        self._guard = guard

    def now(self) -> str:
        """The time as objects carry it."""
        return format_timestamp(self._clock.wall())

    def case(
        self, served: Served, request: ApiRequest, key: Key, old: Any = None, subresource: str = ""
    ) -> Case:
        """A write that is to be admitted."""
        operation: Operation = "CREATE" if old is None else "UPDATE"
        admission = Admission(
            operation=operation,
            user=request.user,
            old=old,
            now=self.now(),
            config=self._config.current(),
            subresource=subresource,
        )
        return Case(served, request, key, admission)

    def decode_defaults(self, case: Case, subject: Any) -> Any:
        """The defaults that Kubernetes sets before anything else looks at an object.

        A custom kind's defaults are set by its webhook, later: nobody owns them.
        """
        kind = case.served.kind
        if kind.default is not None and not kind.webhook:
            subject = kind.default(subject, case.admission)
        return case.served.codec.with_some_status(subject)

    async def admit(self, case: Case, subject: Any) -> tuple[Any, list[str]]:
        """Complete and judge an object.

        Returns:
            The object as it may be stored, and warnings.

        Raises:
            Invalid: of Kubernetes' own kinds, or metadata that is wrong.
            BadRequest: a custom kind's validation refused it.
            Forbidden: a quota is used up.
            StatusError: a webhook's.
        """
        hooks = self._hooks
        if hooks is None or not hooks.concerned(case):
            return self._settle(case, subject)
        subject, mutating = await hooks.mutate(case, subject)
        subject = self.decode_defaults(case, subject)
        judged, _ = self._settle(case, subject)
        validating = await hooks.validate(case, judged)
        # others may have written while the webhooks were asked
        settled, warnings = self._settle(case, judged)
        return settled, [*mutating, *warnings, *validating]

    def _settle(self, case: Case, subject: Any) -> tuple[Any, list[str]]:
        """The part of admission that decides on one state of the store."""
        if case.subresource and case.served.custom is None:
            return subject, []
        kind = case.served.kind
        found: tuple[FieldError, ...] = ()
        if not case.subresource:
            subject, found = self._completed(case, subject)
        if kind.validate is not None:
            found = (*found, *kind.validate(subject, case.admission))
        errors = [error for error in found if error.level == "error"]
        if errors and kind.webhook:
            raise BadRequest(
                f'admission webhook "{kind.webhook}" denied the request: validation failed: '
                f"{format_field_errors(errors)}"
            )
        _refuse_invalid(case.served, subject, errors)
        if self._guard is not None and not case.subresource:
            self._guard.check(case.served, subject, case.request, case.old)
        if self._quota is not None and not case.subresource:
            self._quota.check(case.served, subject, case.old)
        return subject, [_warning(each) for each in found if each.level == "warning"]

    def _completed(self, case: Case, subject: Any) -> tuple[Any, tuple[FieldError, ...]]:
        """The object with what the server adds, and what is wrong with what it asks for."""
        kind = case.served.kind
        if kind.default is not None and kind.webhook:
            subject = kind.default(subject, case.admission)
        if not kind.builtin:
            errors = metadata_errors(subject.metadata, builtin=False)
            _refuse_invalid(case.served, subject, errors)
        if kind.prepare is not None:
            subject = kind.prepare(subject, case.admission)
        found: tuple[FieldError, ...] = ()
        for allocator in self._allocators.get(case.served.collection, ()):
            subject, more = allocator.allocate(subject, case.old)
            found += more
        return subject, found

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


def _warning(found: FieldError) -> str:
    return format_field_errors([found]) if found.paths else found.message


def _refuse_invalid(served: Served, subject: Any, errors: list[FieldError]) -> None:
    if errors:
        metadata = subject.metadata
        causes = {(cause.field, cause.message): cause for cause in causes_of(errors)}
        raise served.invalid(metadata.name or metadata.generate_name, causes.values())
