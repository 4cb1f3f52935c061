"""What is wrong with a Route: its targets, its hosts, the gateway; pure."""

from dataclasses import replace

from knarr.cli.explaining.place import Place
from knarr.cli.explaining.revisions import configuration_finding, revision_finding, taken_finding
from knarr.cli.explaining.world import (
    INGRESSES,
    REVISIONS,
    ROUTES,
    SERVICE_LABEL,
    Document,
    Finding,
    Fix,
    Link,
    World,
    condition,
    label,
    link_of,
    name_of,
    owner_of,
    quoted,
    said,
    state_of,
)
from knarr.resources.columns import get, items

# A gateway acknowledges within milliseconds; it may be starting.
_PATIENCE_S = 10.0


def route_finding(world: World, name: str) -> Finding | None:
    """What keeps a Route from sending its traffic; None when nothing does."""
    route = world.find(ROUTES, name)
    if route is None:
        return Finding("RouteMissing", "The Route is not made yet.", waiting=True)
    place = Place(world.subject.namespace, label(route, SERVICE_LABEL))
    if state_of(route, "AllTrafficAssigned") != "True":
        found = _targets(world, place, route)
        if found is not None:
            return found
    if (
        state_of(route, "IngressReady") != "True"
        and state_of(route, "AllTrafficAssigned") == "True"
    ):
        return _ingress(world, place, route)
    return None


def _targets(  # noqa: PLR0911 - one per reason
    world: World, place: Place, route: Document
) -> Finding | None:
    found = condition(route, "AllTrafficAssigned")
    message, reason = str(found.get("message") or ""), str(found.get("reason") or "")
    name = next(iter(quoted(message)), "")
    evidence = tuple(filter(None, (said(route, "AllTrafficAssigned"),)))
    if "referenced in traffic not found" in message:
        return _missing_target(world, place, route, name, evidence)
    if reason == "RevisionNotOwned":
        fix = Fix(place.update("--traffic @latest=100"), "send traffic to its own revisions")
        return Finding("RevisionNotOwned", message, evidence, (fix,))
    if message.startswith("Configuration"):
        return configuration_finding(world, name)
    if message.startswith("Revision"):
        below = revision_finding(world, name)
        if below is None:
            return None
        text = f"Traffic goes to revision {name}, which is not ready: {below.text}"
        latest = Fix(place.update("--traffic @latest=100"), "send it to the newest revision")
        fixes = (*below.fixes, latest) if place.service else below.fixes
        return replace(below, text=text, fixes=fixes, evidence=(*evidence, *below.evidence))
    if not message:
        return Finding("Deploying", "The Route is being made; wait.", waiting=True)
    return Finding(reason or "TrafficNotAssigned", message, evidence)


def _missing_target(
    world: World, place: Place, route: Document, name: str, evidence: tuple[str, ...]
) -> Finding:
    targets = [one for one in items(route, "spec", "traffic") if get(one, "revisionName") == name]
    tags = [str(get(one, "tag")) for one in targets if get(one, "tag")]
    shares = any(get(one, "percent") for one in targets)
    existing = sorted(
        name_of(one) for one in world.every(REVISIONS) if label(one, SERVICE_LABEL) == place.service
    )
    known = f"revisions that exist: {', '.join(existing) or 'none'}"
    if tags and not shares:
        text = f'The tag "{tags[0]}" names revision "{name}", which does not exist.'
        fixes = (
            Fix(place.update(f"--untag {tags[0]}"), "remove the tag"),
            Fix(place.update(f"--tag REVISION={tags[0]}"), "or let it name another"),
        )
        return Finding("TagToMissingRevision", text, (*evidence, known), fixes)
    text = f'Traffic is sent to revision "{name}", which does not exist (never made, or deleted).'
    fixes = (
        Fix(place.update("--traffic @latest=100"), "send it to the newest revision"),
        Fix(f"knarr revision list -s {place.service}{place.flag}", "see which exist"),
    )
    return Finding("TrafficToMissingRevision", text, (*evidence, known), fixes)


def _ingress(  # noqa: PLR0911 - one per reason
    world: World, place: Place, route: Document
) -> Finding:
    found = condition(route, "IngressReady")
    reason, message = str(found.get("reason") or ""), str(found.get("message") or "")
    evidence = tuple(filter(None, (said(route, "IngressReady"),)))
    match reason:
        case "DomainConflict":
            return _conflict(world, route, message, evidence)
        case "NotOwned":
            return taken_finding(place, message)
        case "RolloutInProgress":
            text = "Traffic moves to the newest revision step by step; nothing is wrong: wait."
            return Finding("RolloutInProgress", text, evidence, waiting=True)
        case "RevisionMissing":
            fix = Fix(place.update("--traffic @latest=100"), "send traffic to the newest revision")
            return Finding("TrafficToMissingRevision", message, evidence, (fix,))
        case _ if found.get("status") == "False":
            return Finding(
                reason or "IngressFailed", f"The gateway refuses the Route: {message}", evidence
            )
    down = gateway_finding(world, evidence)
    if down is not None:
        return down
    waited_s = world.age_s(found.get("lastTransitionTime"))
    if waited_s < _PATIENCE_S:
        text = "The gateway is being told of the Route; wait."
        return Finding("IngressNotAcknowledged", text, evidence, waiting=True)
    text = f"The gateway has not acknowledged the Route for {waited_s:.0f} s."
    return Finding("IngressNotAcknowledged", text, evidence, _GATEWAY_FIXES)


_GATEWAY_FIXES = (
    Fix("knarr status", "see whether the data plane answers"),
    Fix("knarr doctor", "check what this machine lacks"),
    Fix("knarr down && knarr up --detach", "start everything again"),
)


def gateway_finding(world: World, evidence: tuple[str, ...] = ()) -> Finding | None:
    """The finding for a gateway that does not run; None when it does."""
    if world.processes.get("dataplane") is not False:
        return None
    text = "The data plane does not run: no request is answered, and no Route can become ready."
    said_so = "knarr status: process dataplane is not ready"
    return Finding("DataPlaneDown", text, (said_so, *evidence), _GATEWAY_FIXES)


def _conflict(world: World, route: Document, message: str, evidence: tuple[str, ...]) -> Finding:
    host = next(iter(quoted(message)), "")
    owners = [
        one
        for one in world.every(INGRESSES)
        if any(host in items(rule, "hosts") for rule in items(one, "spec", "rules"))
        and owner_of(one) != f"Route/{name_of(route)}"
    ]
    text = f'The host "{host}" belongs to another Route already'
    fixes = []
    if owners:
        owner, namespace = owner_of(owners[0]), str(get(owners[0], "metadata", "namespace"))
        text += f": {owner or name_of(owners[0])} in namespace {namespace}"
        name = owner.partition("/")[2] or name_of(owners[0])
        fixes.append(Fix(f"knarr explain route/{name} -n {namespace}", "see whose it is"))
    fixes.append(Fix("kubectl get ingresses.networking.internal.knative.dev -A", "see all hosts"))
    return Finding("DomainConflict", f"{text}.", evidence, tuple(fixes))


def route_chain(world: World, name: str) -> tuple[Link, ...]:
    """Route and Ingress."""
    links = [link_of("Route", world.find(ROUTES, name), name)]
    ingress = world.find(INGRESSES, name)
    if ingress is not None:
        links.append(link_of("Ingress", ingress, name))
    return tuple(links)
