"""Nobody learns of a write before it is durable.

A write is judged by the newest state, which may still be on its way to the disk. An answer that depends
on such a state (a refusal, a dry run) waits until that state is durable: otherwise a client would be told
that a name is taken, and then find nobody there.
"""

from collections.abc import Awaitable, Callable, Mapping

from knarr.apiserver.request import ApiRequest, ApiResponse
from knarr.apiserver.routing import Route
from knarr.meta.errors import StatusError
from knarr.store.store import Store

Verb = Callable[[Route, ApiRequest], Awaitable[ApiResponse]]


def settled(store: Store, verbs: Mapping[tuple[str, str], Verb]) -> dict[tuple[str, str], Verb]:
    """The same verbs; those that write answer only of what is durable."""
    return {
        (method, place): verb if method == "GET" else _settled(store, verb)
        for (method, place), verb in verbs.items()
    }


def _settled(store: Store, verb: Verb) -> Verb:
    async def answer(route: Route, request: ApiRequest) -> ApiResponse:
        try:
            response = await verb(route, request)
        except StatusError:
            await store.settle()
            raise
        if request.text("dryRun"):
            await store.settle()
        return response

    return answer
