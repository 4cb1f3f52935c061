"""Resolves the images of Revisions to digests, in the background and bounded.

``lookup`` answers at once: resolved, failed, or not yet; when an answer comes, the listener is called with
the Revision's key. At most ``PARALLEL`` resolutions run at a time, each with a deadline; the others wait
for a slot. An answer stands until ``forget``; a failure stands until its back-off is over, which grows with
every failure, and is then sought again.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from knarr.kits.backoff import Backoff
from knarr.kits.clock import Clock
from knarr.kits.tasks import TaskScope
from knarr.meta.errors import KnarrError
from knarr.meta.objects import Key
from knarr.resources.config.deployment import DeploymentConfig
from knarr.resources.serving.revision import Revision

PARALLEL = 8
RETRY = Backoff(initial_s=1.0, max_s=1000.0)


class DigestResolver(Protocol):
    """Asks registries, or the images that are here, for digests."""

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        """The reference by digest (``host/name@sha256:…``), or empty to run it as it is.

        Args:
            reference: as the user wrote it.
            namespace: of the secrets.
            pull_secrets: names of Secrets with credentials.

        Raises:
            KnarrError, OSError: it cannot be resolved; the text says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Digests:
    """The answer for all images of a Revision.

    Attributes:
        by_reference: digest, or empty to run an image as it is named.
        failed: the image that could not be resolved; empty when all were.
        cause: why.
    """

    by_reference: dict[str, str]
    failed: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    digests: Digests
    again_at_s: float


@dataclass(frozen=True, slots=True)
class _Sought:
    key: Key
    images: tuple[str, ...]
    known: dict[str, str]
    pull_secrets: tuple[str, ...]


def registry_of(reference: str) -> str:
    """The registry's host in a reference; Docker Hub's when it names none."""
    head, slash, _ = reference.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return head
    return "index.docker.io"


def images_of(revision: Revision) -> tuple[str, ...]:
    """The distinct images of a Revision, in order."""
    spec = revision.spec
    if spec is None:
        return ()
    containers = (*spec.init_containers, *spec.containers)
    return tuple(dict.fromkeys(item.image for item in containers))


def is_resolved(revision: Revision) -> bool:
    """Whether the status names the image of every container."""
    spec, status = revision.spec, revision.status
    if spec is None or status is None:
        return False
    return len(status.container_statuses) == len(spec.containers) and len(
        status.init_container_statuses
    ) == len(spec.init_containers)


class BackgroundDigests:
    """Resolutions by Revision; an async context manager.

    Args:
        resolver: does the asking.
        clock: measures the back-off of failures (monotonic).
        rng: spreads retries.
    """

    def __init__(self, resolver: DigestResolver, clock: Clock, rng: random.Random) -> None:
        self._resolver = resolver
        self._clock = clock
        self._rng = rng
        self._notify: Callable[[Key], None] = lambda _key: None
        self._slots = asyncio.Semaphore(PARALLEL)
        self._answers: dict[Key, _Answer | None] = {}
        self._failures: dict[Key, int] = {}
        self._scope: TaskScope | None = None

    async def __aenter__(self) -> Self:
        self._scope = TaskScope()
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, trace)

    def on_answer(self, notify: Callable[[Key], None]) -> None:
        """Call ``notify`` with a Revision's key when its answer is there."""
        self._notify = notify

    def lookup(
        self, revision: Revision, config: DeploymentConfig, pull_secrets: tuple[str, ...] = ()
    ) -> Digests | None:
        """The answer for a Revision, or None while it is sought.

        Args:
            revision: whose images.
            config: registries that are not asked, and the deadline.
            pull_secrets: names of Secrets with credentials, in the Revision's namespace.
        """
        key = revision.key
        skipped = config.registries_skipping_tag_resolving
        known = {
            image: image if "@" in image else ""
            for image in images_of(revision)
            if "@" in image or registry_of(image) in skipped
        }
        sought = tuple(image for image in images_of(revision) if image not in known)
        if not sought:
            return Digests(known)
        answer = self._answers.get(key)
        if answer is not None and not self._is_over(answer):
            return answer.digests
        if answer is not None or key not in self._answers:
            if self._scope is None:
                raise RuntimeError("digests are looked up outside their context")
            self._answers[key] = None
            sought_for = _Sought(key, sought, known, pull_secrets)
            work = self._resolve(sought_for, config.digest_resolution_timeout_s)
            self._scope.start(work, name=f"digests-{key}")
        return None

    def _is_over(self, answer: _Answer) -> bool:
        return bool(answer.digests.failed) and answer.again_at_s <= self._clock.monotonic()

    def again_in_s(self, key: Key) -> float:
        """Seconds until a failure is to be looked up again."""
        answer = self._answers.get(key)
        return max(0.0, answer.again_at_s - self._clock.monotonic()) if answer else 0.0

    def forget(self, key: Key) -> None:
        """The Revision's status names its digests, or the Revision is gone."""
        self._failures.pop(key, None)
        if self._answers.get(key) is not None:
            del self._answers[key]

    async def _resolve(self, sought: _Sought, timeout_s: float) -> None:
        key = sought.key
        found = dict(sought.known)
        failed = cause = ""
        for image in sought.images:
            try:
                async with self._slots, asyncio.timeout(timeout_s):
                    found[image] = await self._resolver.resolve(
                        image, key.namespace, sought.pull_secrets
                    )
            except (KnarrError, OSError) as error:
                # TimeoutError is an OSError.
                failed, cause = image, str(error) or f"no answer within {timeout_s:g} s"
                break
        again_in_s = 0.0
        if failed:
            attempt = self._failures.get(key, 0)
            self._failures[key] = attempt + 1
            again_in_s = RETRY.delay_s(attempt, self._rng)
        self._answers[key] = _Answer(
            Digests(found, failed, cause), self._clock.monotonic() + again_in_s
        )
        self._notify(key)
