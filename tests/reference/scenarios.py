"""Scenarios out of ``cases/*.yaml``: sequences of requests that both servers get.

A file holds either flows or variants of documents. *Flows* are named lists of steps, one line each::

    flows:
      config map with a taken name:
      - [POST cm, {metadata: {name: a}, data: {x: y}}]
      - [POST cm, {metadata: {name: a}}]
      - UPDATE cm/a {"data": {"x": "z"}}

A step is ``VERB path``, optionally with a body and a mapping of options. Verbs are HTTP methods and

=========== =============================================================================================
MERGE, JSON, SMP, APPLY   a PATCH of that type (APPLY: ``fieldManager=one`` unless the path names another)
UPDATE      GET, apply the body as a merge patch here, PUT the result; the PUT's answer counts
TABLE, META, METAS GET as a Table, as PartialObjectMetadata, as a list of those
AWAIT       GET until it is answered with 200; the answer does not count
WATCH       GET with ``watch=true``; option ``events``: how many to read
=========== =============================================================================================

Paths start with ``/`` or with a short name (``cm``, ``cm/a/status``, ``deploy?limit=1``), which stands for the collection
in the scenario's own namespace (``$ns``). ``$(step.metadata.uid)`` in a path or a body is a value out of an earlier answer;
a step is named by the option ``as``. Other options: ``headers``, ``user`` (``bob`` or ``nobody``), ``raw`` (a body that is
sent as it is).

*Variants* are documents that are sent with ``dryRun=All``, one request each::

    resource: deploy
    base: {...}
    create: [merge patches of the base, POSTed]
    update: [merge patches of the stored base, PUT]

A merge patch cannot replace one element of a list: ``{"spec.template.spec.containers[0].image": x}`` sets a path instead.
"""

import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CASES = Path(__file__).parent / "cases"

SHORT = {
    "cm": "/api/v1/namespaces/$ns/configmaps",
    "secret": "/api/v1/namespaces/$ns/secrets",
    "sa": "/api/v1/namespaces/$ns/serviceaccounts",
    "svc": "/api/v1/namespaces/$ns/services",
    "pod": "/api/v1/namespaces/$ns/pods",
    "ep": "/api/v1/namespaces/$ns/endpoints",
    "event": "/api/v1/namespaces/$ns/events",
    "pvc": "/api/v1/namespaces/$ns/persistentvolumeclaims",
    "limitrange": "/api/v1/namespaces/$ns/limitranges",
    "quota": "/api/v1/namespaces/$ns/resourcequotas",
    "rc": "/api/v1/namespaces/$ns/replicationcontrollers",
    "podtemplate": "/api/v1/namespaces/$ns/podtemplates",
    "ns": "/api/v1/namespaces",
    "node": "/api/v1/nodes",
    "pv": "/api/v1/persistentvolumes",
    "deploy": "/apis/apps/v1/namespaces/$ns/deployments",
    "rs": "/apis/apps/v1/namespaces/$ns/replicasets",
    "ds": "/apis/apps/v1/namespaces/$ns/daemonsets",
    "sts": "/apis/apps/v1/namespaces/$ns/statefulsets",
    "controllerrevision": "/apis/apps/v1/namespaces/$ns/controllerrevisions",
    "job": "/apis/batch/v1/namespaces/$ns/jobs",
    "cronjob": "/apis/batch/v1/namespaces/$ns/cronjobs",
    "lease": "/apis/coordination.k8s.io/v1/namespaces/$ns/leases",
    "eps": "/apis/discovery.k8s.io/v1/namespaces/$ns/endpointslices",
    "eventv1": "/apis/events.k8s.io/v1/namespaces/$ns/events",
    "role": "/apis/rbac.authorization.k8s.io/v1/namespaces/$ns/roles",
    "rolebinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/$ns/rolebindings",
    "clusterrole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "clusterrolebinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "hpa": "/apis/autoscaling/v2/namespaces/$ns/horizontalpodautoscalers",
    "pdb": "/apis/policy/v1/namespaces/$ns/poddisruptionbudgets",
    "netpol": "/apis/networking.k8s.io/v1/namespaces/$ns/networkpolicies",
    "k8singress": "/apis/networking.k8s.io/v1/namespaces/$ns/ingresses",
    "ingressclass": "/apis/networking.k8s.io/v1/ingressclasses",
    "sc": "/apis/storage.k8s.io/v1/storageclasses",
    "pc": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "crd": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "vwc": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "mwc": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ksvc": "/apis/serving.knative.dev/v1/namespaces/$ns/services",
    "kroute": "/apis/serving.knative.dev/v1/namespaces/$ns/routes",
    "kconfig": "/apis/serving.knative.dev/v1/namespaces/$ns/configurations",
    "krev": "/apis/serving.knative.dev/v1/namespaces/$ns/revisions",
    "widget": "/apis/stable.example.com/v1/namespaces/$ns/widgets",
    "gadget": "/apis/stable.example.com/v1/gadgets",
    "ssar": "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    "sar": "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "lsar": "/apis/authorization.k8s.io/v1/namespaces/$ns/localsubjectaccessreviews",
    "rules": "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "tokenreview": "/apis/authentication.k8s.io/v1/tokenreviews",
    "whoami": "/apis/authentication.k8s.io/v1/selfsubjectreviews",
}  # fmt: skip
TYPE_OF = {
    "cm": ("v1", "ConfigMap"), "secret": ("v1", "Secret"), "sa": ("v1", "ServiceAccount"),
    "svc": ("v1", "Service"), "pod": ("v1", "Pod"), "ep": ("v1", "Endpoints"),
    "event": ("v1", "Event"), "ns": ("v1", "Namespace"), "node": ("v1", "Node"),
    "deploy": ("apps/v1", "Deployment"), "rs": ("apps/v1", "ReplicaSet"),
    "job": ("batch/v1", "Job"), "cronjob": ("batch/v1", "CronJob"),
    "lease": ("coordination.k8s.io/v1", "Lease"),
    "eps": ("discovery.k8s.io/v1", "EndpointSlice"),
}  # fmt: skip
_STEP = re.compile(r"^([A-Z]+) (\S+)(?: (.*))?$", re.DOTALL)
_SEGMENT = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class Step:
    """One request; see the module for the verbs."""

    verb: str
    path: str
    body: Any = None
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    raw: str | None = None
    events: int = 50

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


@dataclass(frozen=True)
class Scenario:
    """A sequence of requests in a namespace of its own; ``shared``: the namespace of all variants."""

    name: str
    steps: tuple[Step, ...]
    shared: bool = False


def load_scenarios() -> list[Scenario]:
    """Every scenario of every file, in order."""
    found: list[Scenario] = []
    for path in sorted(CASES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            found.extend(_scenarios_of(path.stem, document or {}))
    names = [scenario.name for scenario in found]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"scenarios share a name: {sorted(repeated)}")
    return found


def _scenarios_of(stem: str, document: Mapping[str, Any]) -> Iterator[Scenario]:
    for name, steps in (document.get("flows") or {}).items():
        yield Scenario(f"{stem}: {name}", tuple(parse_step(step) for step in steps))
    if "resource" in document:
        yield from _variants(stem, document)


def parse_step(item: Any) -> Step:
    """A step out of its line or list.

    Raises:
        ValueError: it is none.
    """
    line, *more = [item] if isinstance(item, str) else item
    matched = _STEP.match(line)
    if matched is None or len(more) > 2:
        raise ValueError(f"not a step: {item!r}")
    verb, path, inline = matched.groups()
    body = more[0] if more else (yaml.safe_load(inline) if inline else None)
    options = dict(more[1]) if len(more) == 2 else {}
    return Step(
        verb,
        expand(path.strip('"')),
        body,
        name=options.pop("as", ""),
        **options,
    )


def expand(path: str) -> str:
    """A path with its short name replaced."""
    if path.startswith("/"):
        return path
    head = re.split(r"[/?]", path, maxsplit=1)[0]
    if head not in SHORT:
        raise ValueError(f"{head!r} is no short name of a resource")
    return SHORT[head] + path[len(head) :]


def _variants(stem: str, document: Mapping[str, Any]) -> Iterator[Scenario]:
    resource, base = document["resource"], document.get("base") or {}
    label = f"{stem}: {document.get('name', resource)}"
    path = expand(resource)
    for number, change in enumerate(document.get("create") or ()):
        step = Step("POST", f"{path}?dryRun=All", changed(base, change))
        yield Scenario(f"{label} create {number} {_short(change)}", (step,), shared=True)
    updates = document.get("update") or ()
    if updates:
        base = changed(base, document.get("stored") or {})
        name = base["metadata"]["name"]
        steps = [Step("POST", path, base)]
        steps += [Step("UPDATE", f"{path}/{name}?dryRun=All", change) for change in updates]
        yield Scenario(f"{label} updates", tuple(steps))


def _short(change: Any) -> str:
    text = yaml.safe_dump(change, default_flow_style=True, width=10_000).strip()
    return text if len(text) <= 100 else text[:97] + "..."


def changed(document: Any, change: Any) -> Any:
    """A document after a merge patch whose keys may be paths."""
    if not isinstance(change, dict):
        return change
    result = copy.deepcopy(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        if "[" in key or ("." in key and key.startswith(("spec.", "metadata.", "status."))):
            _set(result, key, value)
        elif value is None:
            result.pop(key, None)
        elif key.endswith("="):
            result[key[:-1]] = value
        else:
            result[key] = changed(result.get(key), value)
    return result


def _set(document: Any, path: str, value: Any) -> None:
    """Set, or with None remove, what a path leads to; ``x[n]`` one past the end appends."""
    steps = [int(index) if index else name for name, index in _SEGMENT.findall(path)]
    target = document
    for step, following in itertools.pairwise(steps):
        if isinstance(step, str):
            target = target.setdefault(step, [] if isinstance(following, int) else {})
        else:
            if step == len(target):
                target.append([] if isinstance(following, int) else {})
            target = target[step]
    last = steps[-1]
    if value is None:
        del target[last]
    elif isinstance(last, int) and last == len(target):
        target.append(value)
    else:
        target[last] = value
