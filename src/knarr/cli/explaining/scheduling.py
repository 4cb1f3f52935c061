"""Why a Pod is on no node, or its node does nothing, or it may not even exist; pure."""

import re

from knarr.cli.explaining.place import Place
from knarr.cli.explaining.world import (
    NODES,
    Document,
    Finding,
    Fix,
    World,
    name_of,
    quoted,
    state_of,
)
from knarr.resources.columns import get, items

# The agent writes its heartbeat once a minute.
_SILENT_S = 150.0
_SHORT = re.compile(r"Insufficient ([\w/-]+(?:\.[\w/-]+)*)")
_QUOTA = re.compile(r"exceeded quota: ([\w.-]+), (.*)$")
_HOOK = re.compile(r'admission webhook "([^"]+)" denied the request:?\s*(.*)$', re.DOTALL)


def placement_finding(world: World, place: Place, pod: Document, message: str) -> Finding:
    """The finding for a Pod that the scheduler cannot place."""
    evidence = (f"PodScheduled is False: Unschedulable: {message}",)
    lower = message.lower()
    if "persistentvolumeclaim" in lower or "volume" in lower:
        return _claim(place, evidence, message)
    if "were unschedulable" in lower:
        nodes = [name_of(node) for node in world.every(NODES) if get(node, "spec", "unschedulable")]
        text = f"Node {', '.join(nodes) or '(unknown)'} is cordoned: it takes no new Pods."
        fixes = tuple(Fix(f"kubectl uncordon {name}", "let it take Pods again") for name in nodes)
        return Finding("NodeCordoned", text, evidence, fixes)
    if "not ready" in lower or "no nodes available" in lower:
        return node_finding(world, pod) or Finding(
            "NodeNotReady", "No node is ready.", evidence, (Fix("knarr status", "see what runs"),)
        )
    if "untolerated taint" in lower:
        taint = message.partition("{")[2].partition("}")[0]
        text = f"The node has the taint {taint}, which the Pod does not tolerate."
        node = next((name_of(one) for one in world.every(NODES)), "NODE")
        key = taint.partition(":")[0]
        return Finding(
            "NodeTainted", text, evidence, (Fix(f"kubectl taint node {node} {key}-", "remove it"),)
        )
    if "too many pods" in lower:
        text = "The node runs as many Pods as it may."
        return Finding("TooManyPods", text, evidence, (Fix("kubectl get pods -A", "see which"),))
    return _insufficient(world, place, pod, message, evidence)


def _insufficient(
    world: World, place: Place, pod: Document, message: str, evidence: tuple[str, ...]
) -> Finding:
    short = _SHORT.findall(message)
    if not short:
        return Finding("Unschedulable", f"No node takes the Pod: {message}", evidence)
    parts = []
    for resource in short:
        asked = [
            str(amount)
            for one in items(pod, "spec", "containers")
            if (
                amount := get(one, "resources", "requests", resource)
                or get(one, "resources", "limits", resource)
            )
        ]
        offered = [
            str(get(node, "status", "allocatable", resource) or 0) for node in world.every(NODES)
        ]
        parts.append(
            f"{' + '.join(asked) or 'some'} {resource} where the node has "
            f"{', '.join(offered) or 'none'} in all"
        )
    text = f"The Pod asks for {'; '.join(parts)}, less what other Pods have set aside."
    flags = " ".join(f"--request {resource}=LESS" for resource in short)
    return Finding(
        f"Insufficient{short[0].capitalize()}",
        text,
        evidence,
        (
            Fix(place.update(flags), "ask for less"),
            Fix("kubectl get pods -A -o wide", "see who has it"),
        ),
    )


def _claim(place: Place, evidence: tuple[str, ...], message: str) -> Finding:
    names = quoted(message)
    name = names[0] if names else ""
    if name and "not found" in message:
        text = f'PersistentVolumeClaim "{name}" does not exist, and a volume needs it.'
        return Finding(
            "ClaimMissing", text, evidence, (Fix("kubectl apply -f CLAIM.yaml", "make it"),)
        )
    shown = f' "{name}"' if name else ""
    text = f"A PersistentVolumeClaim{shown} that the Pod mounts has no volume yet."
    show = Fix(f"kubectl describe pvc {name}".rstrip() + place.flag, "see what it waits for")
    return Finding("ClaimPending", text, evidence, (show,))


def node_finding(world: World, pod: Document | None = None) -> Finding | None:
    """The finding for a node agent that does not do its work; None when all do."""
    fixes = (
        Fix("knarr status", "see which process does not answer"),
        Fix("knarr doctor", "check what this machine lacks"),
        Fix("knarr down && knarr up --detach", "start everything again; containers go on running"),
    )
    if world.processes.get("node") is False:
        evidence = ("knarr status: process node is not ready",)
        return Finding(
            "NodeAgentDown", "The node agent does not run: no Pod can start.", evidence, fixes
        )
    bound = str(get(pod, "spec", "nodeName") or "")
    for node in world.every(NODES):
        if bound and name_of(node) != bound:
            continue
        beat = _heartbeat(node)
        silent_s = world.age_s(beat)
        if state_of(node) != "True" or silent_s > _SILENT_S:
            said = (
                f"node {name_of(node)}: last heartbeat {silent_s:.0f} s ago, Ready={state_of(node)}"
            )
            text = f"The agent of node {name_of(node)} is silent: no Pod can start there."
            return Finding("NodeAgentDown", text, (said,), fixes)
    return None


def _heartbeat(node: Document) -> str | None:
    for item in items(node, "status", "conditions"):
        if get(item, "type") == "Ready":
            found = get(item, "lastHeartbeatTime")
            return str(found) if found else None
    return None


def refused_pod_finding(  # noqa: PLR0911 - one per refusal
    place: Place, message: str
) -> Finding:
    """The finding for Pods that the API server refuses to create (``FailedCreate``)."""
    evidence = (f"FailedCreate: {message.strip()}",)
    quota, hook = _QUOTA.search(message), _HOOK.search(message)
    if quota is not None:
        text = f'ResourceQuota "{quota[1]}" leaves no room for another Pod ({quota[2]}).'
        command = f"kubectl edit resourcequota {quota[1]} -n {place.namespace}"
        used = f"kubectl describe resourcequota {quota[1]} -n {place.namespace}"
        return Finding(
            "QuotaExceeded",
            text,
            evidence,
            (Fix(command, "raise it"), Fix(used, "see what is used")),
        )
    if "error looking up service account" in message:
        name = next((part for part in quoted(message) if "-deployment" not in part), "")
        account = message.partition('serviceaccount "')[2].partition('"')[0] or name
        text = f'ServiceAccount "{account}" does not exist in namespace {place.namespace}.'
        command = f"kubectl create serviceaccount {account} -n {place.namespace}"
        other = place.update("--service-account default")
        return Finding(
            "ServiceAccountMissing",
            text,
            evidence,
            (Fix(command, "make it"), Fix(other, "or use another")),
        )
    if hook is not None:
        text = (
            f'The webhook "{hook[1]}" refuses the Pod: {hook[2].strip() or "it does not say why"}.'
        )
        show = Fix(
            "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations", "find it"
        )
        return Finding("WebhookRefused", text, evidence, (show,))
    if "failed calling webhook" in message or "failed to call webhook" in message:
        text = "A webhook for Pods does not answer."
        show = Fix(
            "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations", "find it"
        )
        return Finding("WebhookUnreachable", text, evidence, (show,))
    if re.search(
        r"(maximum|minimum) \S+ usage per|LimitRequestRatio|limit to request ratio", message
    ):
        said = message.partition("is forbidden: ")[2].strip() or message
        text = f"A LimitRange of namespace {place.namespace} does not allow the Pod: {said}."
        show = Fix(f"kubectl describe limitrange -n {place.namespace}", "see the bounds")
        change = Fix(place.update("--limit memory=SIZE"), "stay within them")
        return Finding("LimitRangeRefused", text, evidence, (change, show))
    if "being terminated" in message:
        return terminating_finding(place.namespace, evidence)
    return Finding("PodRefused", f"The API server refuses the Pod: {message.strip()}", evidence)


def terminating_finding(namespace: str, evidence: tuple[str, ...]) -> Finding:
    """The finding for a namespace that is being deleted."""
    text = f"Namespace {namespace} is being deleted: nothing new can be made in it."
    fix = Fix(f"kubectl get namespace {namespace} -o yaml", "see what its deletion waits for")
    other = Fix("kubectl create namespace OTHER", "and deploy there")
    return Finding("NamespaceTerminating", text, evidence, (other, fix))
