"""Paths that lead to the Service of a Route lead to that Route's own shares; pure.

In Knative such a request passes the gateway twice: the first pass rewrites its host to the Route's name
inside, and the placeholder Service of that name is the gateway itself. Here the second pass is compiled
into the first: a path that rewrites to the name of its only backend takes over the paths of the rule that
serves this name, so a request passes once, and whatever the Route changes is taken over with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from knarr.dataplane import messages
from knarr.resources.networking.ingress import Ingress

ORIGINAL_HOST = "k-original-host"
"""What a queue-proxy gives to the application as its host, and takes off."""

RuleOf = Callable[[str], messages.Rule | None]


@dataclass(frozen=True, slots=True)
class Followed:
    """An entry whose paths lead to revisions.

    Attributes:
        entry: with the paths of the hosts that are served.
        absent: hosts to which paths lead and that nobody serves; sorted.
        divided: hosts to which only a share of a path leads, which cannot be followed; sorted.
    """

    entry: messages.Ingress
    absent: tuple[str, ...] = ()
    divided: tuple[str, ...] = ()


def rewritten_hosts(ingress: Ingress) -> tuple[str, ...]:
    """Index function: the hosts that an Ingress rewrites to."""
    rules = ingress.spec.rules if ingress.spec else ()
    paths = (path for rule in rules if rule.http for path in rule.http.paths)
    return tuple(dict.fromkeys(path.rewrite_host for path in paths if path.rewrite_host))


def follow(entry: messages.Ingress, cluster_domain: str, rule_of: RuleOf) -> Followed:
    """Replace the paths that lead to Services by those of the rules that serve these.

    Args:
        entry: as compiled.
        cluster_domain: of names inside.
        rule_of: the compiled rule that serves a host inside, or None.
    """
    absent: set[str] = set()
    divided: set[str] = set()

    def paths_of(path: messages.Path) -> Iterable[messages.Path]:
        if not _leads_to_service(path, cluster_domain):
            return (path,)
        target = rule_of(path.rewrite_host)
        if target is None:
            absent.add(path.rewrite_host)
            return (path,)
        if len(path.splits) > 1:
            divided.add(path.rewrite_host)
            return (path,)
        return _joined(path, target)

    rules = tuple(
        replace(rule, paths=tuple(new for path in rule.paths for new in paths_of(path)))
        for rule in entry.rules
    )
    return Followed(replace(entry, rules=rules), tuple(sorted(absent)), tuple(sorted(divided)))


def _leads_to_service(path: messages.Path, cluster_domain: str) -> bool:
    host = path.rewrite_host
    return bool(host) and any(
        host == ".".join((*reversed(split.revision.split("/")), "svc", cluster_domain))
        for split in path.splits
    )


def _joined(path: messages.Path, target: messages.Rule) -> list[messages.Path]:
    given = {**path.append_headers, **path.splits[0].append_headers}
    kept = {name: value for name, value in given.items() if name.lower() != ORIGINAL_HOST}
    original = next((given[name] for name in given if name not in kept), "")
    joined = []
    for inner in target.paths:
        longer, shorter = sorted((path.prefix, inner.prefix), key=len, reverse=True)
        if not longer.startswith(shorter):
            continue
        joined.append(
            replace(
                inner,
                prefix=longer,
                headers={**path.headers, **inner.headers},
                append_headers={**kept, **inner.append_headers},
                rewrite_host=original or path.rewrite_host,
            )
        )
    return joined
