"""The decision: what is wrong with the subject, or that all is well; pure."""

from collections.abc import Callable
from dataclasses import replace

from knarr.cli.explaining.healthy import revision_is_well, route_is_well
from knarr.cli.explaining.place import Place
from knarr.cli.explaining.revisions import (
    configuration_finding,
    pod_chain,
    pod_subject_finding,
    revision_chain,
    revision_finding,
    taken_finding,
)
from knarr.cli.explaining.routes import gateway_finding, route_chain, route_finding
from knarr.cli.explaining.scheduling import node_finding, terminating_finding
from knarr.cli.explaining.world import (
    CONFIGURATIONS,
    NAMESPACES,
    PODS,
    REVISIONS,
    ROUTES,
    SERVICES,
    Document,
    Explanation,
    Finding,
    Fix,
    Link,
    World,
    condition,
    link_of,
    name_of,
    said,
    state_of,
)
from knarr.resources.columns import get, items

Chain = tuple[Link, ...]
_ROUTE_CAUSES = frozenset(
    {
        "TrafficToMissingRevision",
        "TagToMissingRevision",
        "RevisionNotOwned",
        "DomainConflict",
        "IngressNotAcknowledged",
        "DataPlaneDown",
        "RolloutInProgress",
        "RouteMissing",
    }
)


def explain(world: World) -> Explanation:
    """What is wrong with the subject and how to correct it, or why all is well.

    Args:
        world: what was read, all at about the same time.
    """
    decide: dict[str, Callable[[World], Explanation]] = {
        SERVICES: _service,
        CONFIGURATIONS: _configuration,
        REVISIONS: _revision,
        ROUTES: _route,
        PODS: _pod,
    }
    return decide[world.subject.kind](world)


def _told(findings: list[Finding], chain: Callable[[Finding], Chain]) -> Explanation | None:
    """The explanation of the first fault, or of what is waited for; the others are told shortly."""
    if not findings:
        return None
    first = next((one for one in findings if not one.waiting), findings[0])
    others = {one.text for one in findings if first.text not in one.text and not one.waiting}
    return Explanation(
        "waiting" if first.waiting else "fault",
        first.cause,
        first.text,
        first.evidence,
        first.fixes,
        chain(first),
        tuple(sorted(others)),
    )


def _with_node(world: World, findings: list[Finding]) -> list[Finding]:
    """What is only waited for waits for ever when the node agent does nothing."""
    down = node_finding(world) if findings and all(one.waiting for one in findings) else None
    return findings if down is None else [down, *findings]


# --- a Service ------------------------------------------------------------------------------------------


def _service(world: World) -> Explanation:
    name = world.subject.name
    service = world.find(SERVICES, name)
    if service is None:
        return _absent("Service", name, "knarr get ksvc -A")
    findings = _service_findings(world, service)
    told = _told(findings, lambda found: _service_chain(world, service, found))
    if told is not None:
        return told
    chain = (*_service_chain(world, service, None), *route_chain(world, name))
    if state_of(service) != "True":
        found = _unexplained(service, f"Service {name}")
        return _told([found], lambda _: chain) or route_is_well(world, service, "", chain)
    return route_is_well(world, service, f"Service {name}", chain)


def _service_findings(world: World, service: Document) -> list[Finding]:
    """Everything that is wrong or on its way, the deepest causes first."""
    name = name_of(service)
    place = Place(world.subject.namespace, name)
    early = _ending(world, service, place) or _not_seen(world, service)
    if early is not None:
        return [early]
    owned = _not_owned(service, place)
    if owned is not None:
        return [owned]
    found = [configuration_finding(world, name), route_finding(world, name)]
    targets = dict.fromkeys(
        str(get(one, "revisionName") or "") for one in items(service, "status", "traffic")
    )
    if found == [None, None]:
        found += [revision_finding(world, target) for target in targets if target]
        found += [gateway_finding(world), node_finding(world)]
    findings = _with_node(world, [one for one in found if one is not None])
    return _with_old_revision(service, findings)


def _with_old_revision(service: Document, findings: list[Finding]) -> list[Finding]:
    """Tells which Revision serves meanwhile, when a newer one fails."""
    serving = str(get(service, "status", "latestReadyRevisionName") or "")
    latest = str(get(service, "status", "latestCreatedRevisionName") or "")
    if not findings or not serving or serving == latest or findings[0].waiting:
        return findings
    line = f"meanwhile revision {serving} answers; {latest} is the new one"
    return [replace(findings[0], evidence=(*findings[0].evidence, line)), *findings[1:]]


def _ending(world: World, document: Document, place: Place) -> Finding | None:
    """A namespace or an object that is being deleted."""
    namespace = world.find(NAMESPACES, place.namespace, "")
    if get(document, "metadata", "deletionTimestamp"):
        return _deleting(world, document, place)
    if namespace is not None and get(namespace, "metadata", "deletionTimestamp"):
        phase = str(get(namespace, "status", "phase") or "")
        return terminating_finding(place.namespace, (f"namespace {place.namespace}: {phase}",))
    return None


def _deleting(world: World, document: Document, place: Place) -> Finding:
    since_s = world.age_s(get(document, "metadata", "deletionTimestamp"))
    finalizers = [str(one) for one in items(document, "metadata", "finalizers")]
    foreign = [one for one in finalizers if one != "foregroundDeletion"]
    if not foreign:
        text = "The Service is being deleted; it ends when all that belongs to it has ended."
        return Finding("Deleting", text, waiting=True)
    names = ", ".join(foreign)
    text = (
        f"The Service was deleted {since_s:.0f} s ago and waits for the finalizer {names}: the program "
        "that set it must remove it."
    )
    command = (
        f"kubectl patch ksvc {name_of(document)}{place.flag} --type merge "
        """-p '{"metadata":{"finalizers":null}}'"""
    )
    fix = Fix(command, "remove it by hand when that program is gone")
    return Finding("StuckDeletion", text, (f"finalizers: {names}",), (fix,))


def _not_seen(world: World, service: Document) -> Finding | None:
    generation = get(service, "metadata", "generation") or 0
    if (get(service, "status", "observedGeneration") or 0) >= generation:
        return None
    text = "The controllers have not seen the Service's newest change yet."
    fixes = (Fix("knarr status", "see whether the server is ready"),)
    waiting = world.processes.get("server") is not False
    return Finding("NotReconciled", text, fixes=fixes, waiting=waiting)


def _not_owned(service: Document, place: Place) -> Finding | None:
    for kind in ("ConfigurationsReady", "RoutesReady"):
        found = condition(service, kind)
        message = str(found.get("message") or "")
        if found.get("reason") == "NotOwned" and "existing Ingress" not in message:
            return taken_finding(place, message)
        if found.get("reason") == "RevisionNameTaken":
            fix = Fix(place.update("--revision-name OTHER"), "choose another name")
            return Finding("RevisionNameTaken", message + ".", (said(service, kind),), (fix,))
    return None


def _service_chain(world: World, service: Document, found: Finding | None) -> Chain:
    name = name_of(service)
    head = link_of("Service", service, name)
    if found is not None and found.cause in _ROUTE_CAUSES:
        return (head, *route_chain(world, name))
    configuration = world.find(CONFIGURATIONS, name)
    links = [head, link_of("Configuration", configuration, name)]
    latest = str(get(configuration, "status", "latestCreatedRevisionName") or "")
    if found is not None and found.cause in ("NameTaken", "StuckDeletion", "NamespaceTerminating"):
        return tuple(links)
    return (*links, *revision_chain(world, latest, found)) if latest else tuple(links)


# --- the others -----------------------------------------------------------------------------------------


def _configuration(world: World) -> Explanation:
    name = world.subject.name
    configuration = world.find(CONFIGURATIONS, name)
    if configuration is None:
        return _absent("Configuration", name, "knarr get configurations -A")
    latest = str(get(configuration, "status", "latestCreatedRevisionName") or "")
    found = configuration_finding(world, name)

    def chain(finding: Finding | None) -> Chain:
        below = revision_chain(world, latest, finding) if latest else ()
        return (link_of("Configuration", configuration, name), *below)

    told = _told(_with_node(world, [found] if found else []), chain)
    return told or revision_is_well(world, latest, chain(None))


def _revision(world: World) -> Explanation:
    name = world.subject.name
    if world.find(REVISIONS, name) is None:
        return _absent("Revision", name, "knarr get revisions -A")
    found = revision_finding(world, name)
    findings = _with_node(world, [found] if found else [])
    told = _told(findings, lambda one: revision_chain(world, name, one))
    return told or revision_is_well(world, name, revision_chain(world, name, None))


def _route(world: World) -> Explanation:
    name = world.subject.name
    route = world.find(ROUTES, name)
    if route is None:
        return _absent("Route", name, "knarr get routes -A")
    chain = route_chain(world, name)
    findings = [one for one in (route_finding(world, name), gateway_finding(world)) if one]
    if not findings and state_of(route) != "True":
        findings = [_unexplained(route, f"Route {name}")]
    told = _told(findings, lambda _: chain)
    return told or route_is_well(world, route, f"Route {name}", chain)


def _pod(world: World) -> Explanation:
    name = world.subject.name
    pod = world.find(PODS, name)
    if pod is None:
        return _absent("Pod", name, "knarr get pods -A")
    found = pod_subject_finding(world, name)
    told = _told([found] if found else [], lambda one: pod_chain(pod, one))
    if told is not None:
        return told
    text = f"All is well: Pod {name} is {get(pod, 'status', 'phase')}."
    return Explanation("ready", "Ready", text, (), (), pod_chain(pod, None))


def _absent(kind: str, name: str, command: str) -> Explanation:
    text = f'There is no {kind} "{name}" in this namespace.'
    return Explanation("fault", "NotFound", text, (), (Fix(command, "see what there is"),))


def _unexplained(document: Document, shown: str) -> Finding:
    """Not Ready for a reason that nothing here knows: its own words, and nothing invented."""
    line = said(document, "Ready")
    waiting = state_of(document) == "Unknown"
    text = f"{shown} is not Ready{' yet' if waiting else ''}."
    return Finding(
        str(condition(document, "Ready").get("reason") or "NotReady"),
        text,
        tuple(filter(None, (line,))),
        (Fix("knarr status", "see whether everything runs"),),
        waiting=waiting,
    )
