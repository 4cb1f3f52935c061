"""Tokens of ServiceAccounts for containers: asked for through the API, renewed long before they expire.

A token of a Pod is bound to it and ends with it. A sandbox that is made before its Pod exists gets one that
is bound to the account alone, which all such sandboxes of the account share; once the Pod is there it is
exchanged. Tokens of accounts are kept fresh while nobody needs them, so that a cold start asks nobody.
"""

import random
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from knarr.kits.clock import Clock, parse_timestamp
from knarr.kube.transport import Transport
from knarr.meta.errors import KnarrError, StatusError
from knarr.node.bundle import BadContainer
from knarr.node.podfacts import PodFacts, TokenQuestion
from knarr.resources.core.tokenvolume import DEFAULT_ACCOUNT

DEFAULT_SECONDS = 3600
_RENEW_AT = 0.8
_JITTER_S = 10.0
_MAX_TOKENS = 8192


class TokenRefused(KnarrError):
    """The API server gave no token."""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    expiration_timestamp: str = ""


class _Answer(msgspec.Struct, frozen=True):
    status: _Status = _Status()


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when, by both clocks, it must be renewed and is of no use any more (seconds)."""

    text: str
    renew_at: float
    renew_at_wall: float
    useless_at: float


class TokenSource(Protocol):
    """Who gives tokens."""

    async def ensure(self, questions: Iterable[TokenQuestion]) -> None:
        """Have every token, fresh.

        Raises:
            TokenRefused: one that is not here cannot be had.
        """
        ...

    def due_in(self, questions: Iterable[TokenQuestion]) -> float | None:
        """Seconds until the first of them must be renewed, 0 when one is missing, None for no questions."""
        ...

    def forget(self, pod_uid: str) -> None:
        """A Pod is gone, and its tokens with it."""
        ...


class Tokens:
    """Asks for tokens and keeps them: at most 8,192, those go first that were needed longest ago."""

    def __init__(self, transport: Transport, clock: Clock, rng: random.Random) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._kept: OrderedDict[TokenQuestion, Token] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, question: TokenQuestion) -> str:
        """A token that ``ensure`` brought.

        Raises:
            BadContainer: it did not.
        """
        token = self._kept.get(question)
        if token is None:
            raise BadContainer(f"there is no token of service account {question.account!r} yet")
        return token.text

    async def ensure(self, questions: Iterable[TokenQuestion]) -> None:
        """Have every token, fresh; one that is good for some time still does when there is no other.

        Raises:
            TokenRefused: one that is not here cannot be had.
        """
        for question in questions:
            if self._left_s(question) > 0:
                self._kept.move_to_end(question)
                continue
            try:
                token = await self._ask(question)
            except StatusError as error:
                known = self._kept.get(question)
                if known is not None and self._clock.monotonic() < known.useless_at:
                    continue
                raise TokenRefused(f"failed to fetch token: {error.message}") from error
            self._kept[question] = token
            self._kept.move_to_end(question)
            if len(self._kept) > _MAX_TOKENS:
                self._kept.popitem(last=False)

    def due_in(self, questions: Iterable[TokenQuestion]) -> float | None:
        """Seconds until the first of them must be renewed, 0 when one is missing, None for no questions."""
        return min((self._left_s(question) for question in questions), default=None)

    def forget(self, pod_uid: str) -> None:
        """A Pod is gone, and its tokens with it."""
        for question in [one for one in self._kept if one.pod_uid == pod_uid]:
            del self._kept[question]

    def _left_s(self, question: TokenQuestion) -> float:
        token = self._kept.get(question)
        if token is None:
            return 0.0
        by_wall = token.renew_at_wall - self._clock.wall().timestamp()
        return max(0.0, min(token.renew_at - self._clock.monotonic(), by_wall))

    async def _ask(self, question: TokenQuestion) -> Token:
        path = f"/api/v1/namespaces/{question.namespace}/serviceaccounts/{question.account}/token"
        body = msgspec.json.encode(request_document(question))
        answer = msgspec.json.decode(
            await self._transport.request("POST", path, body=body), type=_Answer
        )
        now, wall = self._clock.monotonic(), self._clock.wall().timestamp()
        try:
            life_s = parse_timestamp(answer.status.expiration_timestamp).timestamp() - wall
        except ValueError as error:
            raise StatusError(f"the answer says no time of expiry: {error}") from error
        if not answer.status.token or life_s <= 0:
            raise StatusError("the answer has no token that is good now")
        pause_s = max(0.0, life_s * _RENEW_AT - self._rng.uniform(0, min(_JITTER_S, life_s / 10)))
        return Token(answer.status.token, now + pause_s, wall + pause_s, now + life_s)


def request_document(question: TokenQuestion) -> dict[str, Any]:
    """The TokenRequest for a question."""
    spec: dict[str, Any] = {"expirationSeconds": question.seconds}
    if question.audience:
        spec["audiences"] = [question.audience]
    if question.pod_uid:
        spec["boundObjectRef"] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": question.pod,
            "uid": question.pod_uid,
        }
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def questions_of(facts: PodFacts) -> tuple[TokenQuestion, ...]:
    """The tokens that a Pod's volumes hold."""
    return tuple(
        question_of(facts, wanted.audience, wanted.expiration_seconds)
        for volume in facts.spec.volumes
        for source in (volume.projected.sources if volume.projected else ())
        if (wanted := source.service_account_token) is not None
    )


def question_of(facts: PodFacts, audience: str, seconds: int | None) -> TokenQuestion:
    """The question for one token of a Pod, or of one that is to be."""
    return TokenQuestion(
        namespace=facts.namespace,
        account=facts.spec.service_account_name or DEFAULT_ACCOUNT,
        audience=audience,
        seconds=seconds or DEFAULT_SECONDS,
        pod=facts.name if facts.uid else "",
        pod_uid=facts.uid,
    )
