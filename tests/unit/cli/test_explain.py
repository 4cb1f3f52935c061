"""Seeded faults: documents as the reconcilers and the node agent write them, and what is said of each."""

import datetime as dt
from typing import Any

import pytest

from knarr.cli.explain import candidate_ports, parse_subject, relevant_pods
from knarr.cli.explaining import Explanation, Probed, Subject, World, explain
from knarr.cli.output import CommandError

NOW = dt.datetime(2026, 1, 2, 12, 0, 0, tzinfo=dt.UTC)
SOON, LONG = "2026-01-02T11:59:59Z", "2026-01-02T11:50:00Z"
REV, POD, LABELS = (
    "hello-00001",
    "hello-00001-deployment-abc-x1",
    {
        "serving.knative.dev/service": "hello",
        "serving.knative.dev/revision": "hello-00001",
        "serving.knative.dev/configuration": "hello",
    },
)
QUEUED = "Requests to the target are being buffered as resources are provisioned."
DIGEST = "repo.test/none@sha256:" + "ab" * 32
Document = dict[str, Any]


def cond(
    kind: str, status: str, reason: str = "", message: str = "", since: str = LONG
) -> Document:
    found = {"type": kind, "status": status, "lastTransitionTime": since}
    return found | {
        key: value for key, value in (("reason", reason), ("message", message)) if value
    }


def doc(name: str, *conditions: Document, **more: Any) -> Document:
    meta = {
        "name": name, "namespace": "default", "generation": 1, "labels": LABELS,
        "creationTimestamp": LONG, **more.pop("meta", {}),
    }  # fmt: skip
    status = {"observedGeneration": 1, "conditions": list(conditions), **more.pop("status", {})}
    return {"metadata": meta, "status": status, **more}


def owned(kind: str, name: str) -> Document:
    return {"ownerReferences": [{"kind": kind, "name": name, "controller": True, "uid": "u"}]}


def pod(*statuses: Document, scheduled: Document | None = None, **more: Any) -> Document:
    container = {
        "name": "user-container", "image": "repo.test/app:1",
        "ports": [{"containerPort": 8080}], "readinessProbe": {"tcpSocket": {"port": 8080}},
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "900"}}, **more.pop("container", {}),
    }  # fmt: skip
    status = {"phase": "Pending", "containerStatuses": list(statuses), **more.pop("status", {})}
    if not scheduled:
        status |= {"startTime": LONG}
    return doc(
        POD, cond("Ready", "False", "ContainersNotReady"), *([scheduled] if scheduled else []),
        spec={"nodeName": "" if scheduled else "node", "containers": [container]}, status=status,
    )  # fmt: skip


def container(state: Document, *, last: Document | None = None, restarts: int = 0) -> Document:
    return {
        "name": "user-container", "image": "repo.test/app:1", "ready": False, "state": state,
        "lastState": {"terminated": last} if last else {}, "restartCount": restarts,
    }  # fmt: skip


def waits(reason: str, message: str = "", **more: Any) -> Document:
    return container({"waiting": {"reason": reason, "message": message}}, **more)


def ended(code: int, reason: str = "Error", message: str = "", seconds: int = 0) -> Document:
    return {
        "exitCode": code, "reason": reason, "message": message,
        "startedAt": "2026-01-02T11:58:00Z", "finishedAt": f"2026-01-02T11:58:{seconds:02d}Z",
    }  # fmt: skip


def crashed(*arguments: Any, restarts: int = 3, **more: Any) -> Document:
    last = ended(*arguments, **more)
    return pod(waits("CrashLoopBackOff", "back-off 20s", last=last, restarts=restarts))


def event(
    reason: str, message: str, kind: str = "Pod", name: str = POD, when: str = LONG
) -> Document:
    return {
        "metadata": {"name": f"e.{reason}", "namespace": "default"}, "reason": reason, "count": 2,
        "message": message, "lastTimestamp": when, "involvedObject": {"kind": kind, "name": name},
    }  # fmt: skip


def node(beat: str = SOON, **spec: Any) -> Document:
    ready = cond("Ready", "True") | {"lastHeartbeatTime": beat}
    status = {"allocatable": {"cpu": "2", "memory": "4Gi"}}
    return doc("node", ready, spec=spec, status=status, meta={"namespace": ""})


def namespace(**meta: Any) -> Document:
    return doc("default", meta={"namespace": "", **meta}, status={"phase": "Active"})


def make(
    *,
    service: Document | None = None,
    configuration: Document | None = None,
    revision: tuple[Document, ...] = (),
    revision_meta: Document | None = None,
    route: Document | None = None,
    ingress: Document | None = None,
    revisions: list[Document] | None = None,
    subject: tuple[str, str] = ("services", "hello"),
    more: dict[str, list[Document]] | None = None,
    **rest: Any,
) -> World:
    """A Service whose Revision is not ready, changed as said."""
    bad = [cond("Ready", "False", "RevisionFailed", f'Revision "{REV}" failed with message: x.')]
    waiting = cond("AllTrafficAssigned", "Unknown", "RevisionMissing",
                   'Configuration "hello" is waiting for a Revision to become ready.')  # fmt: skip
    created = {"latestCreatedRevisionName": REV}
    spec = {"containers": [{"resources": {"requests": {"cpu": "900"}}}]}
    one = doc(REV, *(revision or [cond("Ready", "Unknown", "Deploying")]), spec=spec,
              meta=revision_meta or {})  # fmt: skip
    documents = {
        "services": [
            service or doc("hello", cond("Ready", "False", "RevisionMissing"), status=created)
        ],
        "configurations": [configuration or doc("hello", *bad, status=created)],
        "revisions": [one] if revisions is None else revisions,
        "routes": [route or doc("hello", waiting)],
        "ingresses": [ingress] if ingress else [],
        "nodes": [node()],
        "namespaces": [namespace()],
        "deployments": [doc(f"{REV}-deployment", spec={"replicas": 1})],
        **(more or {}),
    }
    if "pods" in rest:
        documents["pods"] = rest.pop("pods")
    if "events" in rest:
        documents["events"] = rest.pop("events")
    return World(NOW, Subject(subject[0], "default", subject[1]), documents, **rest)


def missing(message: str, image: str = "repo.test/app:1") -> World:
    text = f'Unable to fetch image "{image}": failed to resolve image to digest: {message}'
    return make(revision=(
        cond("Ready", "False", "ContainerMissing", text),
        cond("ContainerHealthy", "False", "ContainerMissing", text),
        cond("ResourcesAvailable", "Unknown", "ResolvingDigests"),
    ))  # fmt: skip


def refused(text: str) -> World:
    message = f'pods "{REV}-deployment-abc-x9" is forbidden: {text}'
    deployment = doc(f"{REV}-deployment", cond("ReplicaFailure", "True", "FailedCreate", message))
    return make(more={"deployments": [deployment]})


def unplaced(text: str, **more: Any) -> World:
    scheduled = cond("PodScheduled", "False", "Unschedulable", f"0/1 nodes are available: {text}.")
    return make(pods=[pod(scheduled=scheduled)], **more)


def unready(
    detail: str, *, probe: Document | None = None, listening: tuple[int, ...] = ()
) -> World:
    running = container({"running": {"startedAt": LONG}})
    found = pod(running, container={"readinessProbe": probe} if probe else {})
    probes = {f"{POD}/user-container": Probed(False, detail, listening)}
    return make(pods=[found], probes=probes, logs={f"{POD}/user-container": ("ready",)})


def routed(kind: str, status: str, reason: str, message: str, **more: Any) -> World:
    """The Revision is fine, the Route is not."""
    good = [cond("AllTrafficAssigned", "True")] if kind == "IngressReady" else []
    traffic = more.pop("traffic", [{"revisionName": "gone", "percent": 100}])
    since = more.pop("since", LONG)
    route = doc("hello", *good, cond(kind, status, reason, message, since), cond("Ready", status, reason),
                spec={"traffic": traffic})  # fmt: skip
    return make(configuration=doc("hello", cond("Ready", "True")), route=route,
                revision=(cond("Ready", "True"),), **more)  # fmt: skip


def gave_up(*events: Document) -> World:
    text = "Initial scale was never achieved"
    return make(revision=(
        cond("Ready", "False", "ProgressDeadlineExceeded", text),
        cond("ResourcesAvailable", "False", "ProgressDeadlineExceeded", text),
    ), events=list(events))  # fmt: skip


def claim(kind: str, name: str) -> Document:
    text = f'There is an existing {kind} "{name}" that we do not own.'
    return doc("hello", cond("Ready", "False", "NotOwned", text),
               cond("ConfigurationsReady", "False", "NotOwned", text))  # fmt: skip


def well(replicas: int, **annotations: str) -> World:
    traffic = {"traffic": [{"revisionName": REV, "percent": 100, "latestRevision": True}],
               "url": "http://hello.default.localhost"}  # fmt: skip
    ready = doc("p", cond("Ready", "True"), status={"phase": "Running"})
    active = (
        cond("Active", "True") if replicas else cond("Active", "False", "NoTraffic", "No traffic.")
    )
    return make(
        service=doc("hello", cond("Ready", "True"), status=traffic),
        configuration=doc("hello", cond("Ready", "True"), status={"latestCreatedRevisionName": REV}),
        revision=(cond("Ready", "True"),),
        revision_meta={"annotations": annotations},
        route=doc("hello", cond("Ready", "True"), cond("AllTrafficAssigned", "True"),
                  cond("IngressReady", "True"), status=traffic),
        pods=[ready] * replicas,
        more={"podautoscalers": [doc(REV, active, status={"desiredScale": replicas})]},
        events=[event("SuccessfulDelete", "Deleted pod: old", "ReplicaSet", f"{REV}-deployment-abc")],
    )  # fmt: skip


NO_ROUTE = 'revision "gone" referenced in traffic not found.'.replace("r", "R", 1)
CRASH = "container exited"
LOG = {f"{POD}/user-container": ("Traceback", "KeyError: 'DATABASE'")}

# name: world, cause, words of the root cause, of the evidence and of the first fix
FAULTS: dict[str, tuple[World, str, str, str, str]] = {
    "image not found": (
        missing("repo.test/app:1 is not in repo.test"),
        "ImageNotFound", "has no image repo.test/app:1", "is not in repo.test", "service update hello --image",
    ),
    "image not built": (
        missing("image knarr.local/x:1 is not on this machine; build it with: knarr build", "knarr.local/x:1"),
        "ImageNotBuilt", "not on this machine", "build it with", "knarr image list",
    ),
    "registry unreachable": (
        missing("registry repo.test cannot be reached: Connect call failed ('127.0.0.1', 1)"),
        "RegistryUnreachable", "repo.test does not answer", "Connect call failed", "knarr image pull",
    ),
    "unauthorized pull": (
        missing("registry repo.test refuses the credentials given for app"),
        "PullUnauthorized", "refuses the credentials", "refuses", "create secret docker-registry",
    ),
    "no credentials": (
        missing("app does not exist in repo.test, or it needs credentials: check the name, or add imagePullSecrets"),
        "PullUnauthorized", "without credentials", "imagePullSecrets", "create secret docker-registry",
    ),
    "bad digest": (
        make(pods=[pod(waits("ImagePullBackOff", f'Back-off pulling image "{DIGEST}": ErrImagePull: {DIGEST} is not in repo.test'),
                       container={"image": DIGEST})]),
        "DigestNotFound", "no such digest", "is not in repo.test", "--image",
    ),
    "wrong platform": (
        missing("repo.test/app:1 has no image for linux/amd64; it offers: linux/s390x"),
        "WrongPlatform", "for other machines", "s390x", "--image",
    ),
    "container exits": (
        make(pods=[crashed(3, message=CRASH)], logs=LOG),
        "ContainerExited", "exit code 3", "log: KeyError: 'DATABASE'", "knarr logs",
    ),
    "crash loop after start": (
        make(pods=[crashed(7, seconds=12)], logs=LOG),
        "CrashLoop", "fails after 12 s with exit code 7; it has been restarted 3 times", "3 restarts", "knarr logs",
    ),
    "ends by itself": (
        make(pods=[crashed(0, "Completed")]), "ContainerCompleted", "must go on listening", "exit code 0", "knarr logs",
    ),
    "exit seen only in the condition": (
        make(revision=(cond("Ready", "False", "ExitCode3"),
                       cond("ContainerHealthy", "False", "ExitCode3", "Container failed with: cannot find my database\n"))),
        "ContainerExited", "exit code 3", "cannot find my database", "knarr logs hello",
    ),
    "OOMKilled": (
        make(pods=[crashed(137, "OOMKilled")]),
        "OOMKilled", "its limit of 64Mi", "OOMKilled, exit code 137", "--limit memory=",
    ),
    "readiness http 500": (
        unready("HTTP probe failed with statuscode: 500", probe={"httpGet": {"path": "/healthz", "port": 8080}}, listening=(8080,)),
        "ReadinessProbeFailing", "GET :8080/healthz is answered with status 500", "log: ready", "kubectl edit ksvc hello",
    ),
    "readiness refused": (
        unready("[Errno 111] Connect call failed ('10.0.0.2', 8080)"),
        "NotListening", "nothing listens on port 8080", "Connect call failed", "--port PORT",
    ),
    "readiness timeout": (
        unready("no answer within 1 s", probe={"httpGet": {"path": "/", "port": 8080}}, listening=(8080,)),
        "ReadinessProbeTimeout", "no answer in time", "no answer within 1 s", "kubectl edit ksvc",
    ),
    "wrong port": (
        unready("[Errno 111] Connect call failed", listening=(9999,)),
        "WrongPort", "listens on port 9999, but requests are sent to port 8080", "accepts connections on port 9999",
        "knarr service update hello --port 9999",
    ),
    "liveness": (
        make(pods=[crashed(137)], events=[event("Killing", "Container user-container failed liveness probe, will be restarted")]),
        "LivenessProbeFailing", "liveness probe fails", "failed liveness probe", "--image",
    ),
    "command not found": (
        make(pods=[crashed(128, "StartError", 'runc create failed: exec: "/nope": stat /nope: no such file or directory')]),
        "CommandNotFound", '"/nope" is not in the image', "no such file", "--cmd PROGRAM",
    ),
    "permission denied": (
        make(pods=[crashed(128, "StartError", 'runc create failed: exec: "/etc/passwd": permission denied')]),
        "PermissionDenied", "may not be executed", "permission denied", "--cmd PROGRAM",
    ),
    "ConfigMap of the environment": (
        make(pods=[pod(waits("CreateContainerConfigError", 'configmap "cfg" not found'))]),
        "ConfigMapMissing", 'ConfigMap "cfg" does not exist in namespace default', "not found", "kubectl create configmap cfg",
    ),
    "Secret of the environment": (
        make(pods=[pod(waits("CreateContainerConfigError", 'secret "sec" not found'))]),
        "SecretMissing", 'Secret "sec" does not exist', "not found", "kubectl create secret generic sec",
    ),
    "Secret of a volume": (
        make(pods=[pod(waits("ContainerCreating"))], events=[event("FailedMount", 'secret "vol" not found')]),
        "SecretMissing", "a volume needs it", "event FailedMount", "kubectl create secret generic vol",
    ),
    "key of a Secret": (
        make(pods=[pod(waits("CreateContainerConfigError", "couldn't find key pw in Secret default/sec"))]),
        "ConfigKeyMissing", 'Secret "sec" has no key "pw"', "couldn't find key", "kubectl describe secret sec",
    ),
    "key of a ConfigMap volume": (
        make(pods=[pod(waits("ContainerCreating"))],
             events=[event("FailedMount", 'references non-existent config key: a of configmap "cfg"')]),
        "ConfigKeyMissing", "does not have", "non-existent config key", "kubectl edit ksvc",
    ),
    "ServiceAccount": (
        refused('error looking up service account default/ghost: serviceaccount "ghost" not found'),
        "ServiceAccountMissing", 'ServiceAccount "ghost" does not exist', "FailedCreate", "kubectl create serviceaccount ghost",
    ),
    "quota": (
        refused("exceeded quota: rq, requested: pods=1, used: pods=0, limited: pods=0"),
        "QuotaExceeded", 'ResourceQuota "rq" leaves no room', "exceeded quota", "kubectl edit resourcequota rq",
    ),
    "LimitRange": (
        refused("maximum memory usage per Container is 10Mi, but limit is 100Mi"),
        "LimitRangeRefused", "maximum memory usage per Container is 10Mi", "forbidden", "--limit memory=",
    ),
    "webhook": (
        refused('admission webhook "policy.test" denied the request: no root please'),
        "WebhookRefused", '"policy.test" refuses the Pod: no root please', "denied", "webhookconfigurations",
    ),
    "cpu": (
        unplaced("1 Insufficient cpu"),
        "InsufficientCpu", "900 cpu where the node has 2", "1 Insufficient cpu", "--request cpu=",
    ),
    "memory": (
        unplaced("1 Insufficient memory"),
        "InsufficientMemory", "64Mi memory where the node has 4Gi", "Insufficient memory", "--request memory=",
    ),
    "cordoned": (
        unplaced("1 node(s) were unschedulable", more={"nodes": [node(unschedulable=True)]}),
        "NodeCordoned", "Node node is cordoned", "unschedulable", "kubectl uncordon node",
    ),
    "taint": (
        unplaced("1 node(s) had untolerated taint {gpu: true}"),
        "NodeTainted", "taint gpu: true", "untolerated", "kubectl taint node node gpu-",
    ),
    "claim pending": (
        unplaced("pod has unbound immediate PersistentVolumeClaims"),
        "ClaimPending", "has no volume yet", "unbound", "kubectl describe pvc",
    ),
    "claim missing": (
        unplaced('persistentvolumeclaim "data" not found'),
        "ClaimMissing", '"data" does not exist', "not found", "kubectl apply",
    ),
    "traffic to a missing revision": (
        routed("AllTrafficAssigned", "False", "RevisionMissing", NO_ROUTE),
        "TrafficToMissingRevision", '"gone", which does not exist', f"revisions that exist: {REV}", "--traffic @latest=100",
    ),
    "tag to a missing revision": (
        routed("AllTrafficAssigned", "False", "RevisionMissing", NO_ROUTE,
               traffic=[{"latestRevision": True, "percent": 100}, {"revisionName": "gone", "tag": "old"}]),
        "TagToMissingRevision", 'tag "old" names revision "gone"', "not found", "--untag old",
    ),
    "traffic to an unready revision": (
        routed("AllTrafficAssigned", "False", "RevisionMissing", 'Revision "hello-00002" failed to become ready.',
               revisions=[doc("hello-00002", cond("Ready", "False"), cond(
                   "ContainerHealthy", "False", "ExitCode3", "Container failed with: no"))]),
        "ContainerExited", "Traffic goes to revision hello-00002, which is not ready", "failed to become ready", "knarr logs",
    ),
    "revision of another service": (
        routed("AllTrafficAssigned", "False", "RevisionNotOwned", 'Revision "b-1" belongs to Service "b", not Service "hello".'),
        "RevisionNotOwned", 'belongs to Service "b"', "RevisionNotOwned", "--traffic @latest=100",
    ),
    "revision deleted": (
        make(configuration=doc("hello", cond("Ready", "False", "RevisionDeleted", f'Revision "{REV}" was deleted.')), revisions=[]),
        "RevisionDeleted", f'"{REV}", which was to serve, has been deleted', "was deleted", "knarr service update hello",
    ),
    "domain conflict": (
        routed("IngressReady", "False", "DomainConflict", 'The host "a.test" is already in use by another Ingress.',
               ingress=doc("other", meta={"namespace": "shop", **owned("Route", "other")},
                           spec={"rules": [{"hosts": ["a.test"]}]})),
        "DomainConflict", "Route/other in namespace shop", "already in use", "knarr explain route/other -n shop",
    ),
    "data plane down": (
        routed("IngressReady", "Unknown", "Uninitialized", "Waiting for load balancer to be ready", processes={"dataplane": False}),
        "DataPlaneDown", "data plane does not run", "process dataplane is not ready", "knarr status",
    ),
    "ingress not acknowledged": (
        routed("IngressReady", "Unknown", "Uninitialized", "Waiting for load balancer to be ready"),
        "IngressNotAcknowledged", "has not acknowledged the Route for 600 s", "Waiting for load balancer", "knarr status",
    ),
    "node agent down": (
        make(pods=[pod(status={"startTime": None})], processes={"node": False}),
        "NodeAgentDown", "does not run", "process node is not ready", "knarr status",
    ),
    "node agent down while the image is resolved": (
        make(revision=(cond("ResourcesAvailable", "Unknown", "ResolvingDigests"),), processes={"node": False}),
        "NodeAgentDown", "does not run", "process node is not ready", "knarr status",
    ),
    "node silent": (
        make(pods=[pod(status={"startTime": None})], more={"nodes": [node(beat=LONG)]}),
        "NodeAgentDown", "agent of node node is silent", "600 s ago", "knarr status",
    ),
    "progress deadline": (
        gave_up(event("Started", "Started container user-container")),
        "ProgressDeadlineExceeded", "progress deadline", "Initial scale was never achieved", "--port PORT",
    ),
    "progress deadline of a pull": (
        gave_up(event("Failed", 'Failed to pull image "repo.test/app:1": registry repo.test cannot be reached: refused')),
        "RegistryUnreachable", "does not answer", "cannot be reached", "knarr image pull",
    ),
    "progress deadline without a ConfigMap": (
        gave_up(event("Failed", 'Error: configmap "cfg" not found')),
        "ConfigMapMissing", '"cfg" does not exist', "Initial scale", "kubectl create configmap cfg",
    ),
    "autoscaler class": (
        make(revision=(cond("Active", "False", "UnsupportedClass", 'Knarr has no autoscaler of class "hpa.autoscaling.knative.dev"'),)),
        "UnsupportedAutoscaler", "autoscaler that Knarr does not have", "hpa.autoscaling", "class=kpa.autoscaling.knative.dev",
    ),
    "Configuration of someone else": (
        make(service=claim("Configuration", "hello")),
        "NameTaken", 'already a Configuration "hello"', "do not own", "kubectl get configuration hello",
    ),
    "Deployment of someone else": (
        make(revision=(cond("ResourcesAvailable", "False", "NotOwned", f'There is an existing Deployment "{REV}-deployment" that we do not own.'),)),
        "NameTaken", f'already a Deployment "{REV}-deployment"', "do not own", "kubectl get deployment",
    ),
    "revision name taken": (
        make(configuration=doc("hello", cond("Ready", "False", "RevisionFailed",
             'Revision creation failed with message: revisions.serving.knative.dev "hello-a" already exists.'))),
        "RevisionNameTaken", "hello-a", "already exists", "--revision-name OTHER",
    ),
    "namespace terminating": (
        make(more={"namespaces": [namespace(deletionTimestamp=LONG)]}),
        "NamespaceTerminating", "is being deleted", "namespace default", "kubectl create namespace",
    ),
    "stuck on a finalizer": (
        make(service=doc("hello", meta={"deletionTimestamp": LONG, "finalizers": ["ops.test/guard"]})),
        "StuckDeletion", "waits for the finalizer ops.test/guard", "finalizers", "kubectl patch ksvc hello",
    ),
    "gateway down under a Ready Service": (
        make(service=well(1).documents["services"][0], configuration=doc("hello", cond("Ready", "True")),
             route=well(1).documents["routes"][0], revision=(cond("Ready", "True"),), processes={"dataplane": False}),
        "DataPlaneDown", "no request is answered", "dataplane", "knarr status",
    ),
    "no such service": (make(subject=("services", "nope")), "NotFound", 'no Service "nope"', "", "knarr get ksvc"),
}  # fmt: skip

PULLING = make(
    pods=[pod(waits("ContainerCreating"))],
    events=[event("Pulling", 'Pulling image "repo.test/app:1"', when=SOON)],
)
SOME_READY = doc("p1", cond("Ready", "True"), status={"phase": "Running"})
WAITING: dict[str, tuple[World, str, str]] = {
    "pull in progress": (PULLING, "PullingImage", "being pulled since 1 s; nothing is wrong: wait"),
    "digest": (
        make(revision=(cond("ResourcesAvailable", "Unknown", "ResolvingDigests"),)),
        "ResolvingDigests", "asked for the image's digest",
    ),
    "initial scale": (
        make(revision=(cond("Ready", "Unknown", "Deploying"), cond("Active", "Unknown", "Queued", QUEUED)),
             revision_meta={"annotations": {"autoscaling.knative.dev/initial-scale": "3", "autoscaling.knative.dev/min-scale": "0"}},
             pods=[SOME_READY]),
        "InitialScaleWaiting", "1 of the 3 replicas",
    ),
    "started a moment ago": (
        make(pods=[pod(container({"running": {"startedAt": SOON}}))]), "Starting", "is not ready yet",
    ),
    "rollout": (
        routed("IngressReady", "Unknown", "RolloutInProgress", "A gradual rollout of the latest revision(s) is in progress."),
        "RolloutInProgress", "step by step",
    ),
    "ingress just made": (
        routed("IngressReady", "Unknown", "Uninitialized", "Waiting for load balancer to be ready", since=SOON),
        "IngressNotAcknowledged", "is being told",
    ),
    "newest change not seen": (make(service=doc("hello", meta={"generation": 2})), "NotReconciled", "have not seen"),
    "being deleted": (
        make(service=doc("hello", meta={"deletionTimestamp": LONG, "finalizers": ["foregroundDeletion"]})),
        "Deleting", "is being deleted",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_evidence_and_remedy(name: str) -> None:
    world, cause, text, evidence, fix = FAULTS[name]
    told = explain(world)
    assert (told.verdict, told.cause) == ("fault", cause), told
    assert text in told.root_cause
    assert evidence in "\n".join(told.evidence)
    assert told.fixes, "a fault without a remedy helps nobody"
    assert fix in told.fixes[0].command
    assert all(fix.command and fix.why for fix in told.fixes)
    assert len(told.root_cause) < 260
    assert len(told.evidence) <= 10


@pytest.mark.parametrize("name", WAITING)
def test_what_takes_time_is_no_fault(name: str) -> None:
    world, cause, text = WAITING[name]
    told = explain(world)
    assert (told.verdict, told.cause) == ("waiting", cause), told
    assert text in told.root_cause


def test_scaled_to_zero_is_no_fault_and_says_since_when() -> None:
    told = explain(well(0))
    assert (told.verdict, told.cause) == ("idle", "ScaledToZero")
    shown = "\n".join(told.evidence)
    assert "URL: http://hello.default.localhost" in shown
    assert "scaled to zero 10m ago because no request came" in shown
    assert "traffic: 100% to hello-00001 (the latest)" in shown
    assert "10m ago: Deleted pod: old" in shown


def test_replicas_of_min_scale_are_told() -> None:
    told = explain(well(2, **{"autoscaling.knative.dev/min-scale": "2"}))
    assert told.verdict == "ready"
    assert "with 2 replicas" in told.root_cause
    assert any("because min-scale is 2" in line for line in told.evidence)


def test_the_chain_leads_to_the_container() -> None:
    told = explain(FAULTS["OOMKilled"][0])
    assert [link.kind for link in told.chain] == [
        "Service", "Configuration", "Revision", "Deployment", "Pod", "Container",
    ]  # fmt: skip
    assert told.chain[-1].state == "OOMKilled"


def test_the_chain_of_a_route_leads_to_the_ingress() -> None:
    told = explain(FAULTS["domain conflict"][0])
    assert [link.kind for link in told.chain] == ["Service", "Route"]


@pytest.mark.parametrize(
    ("subject", "kinds"),
    [
        (("pods", POD), ["Pod", "Container"]),
        (("revisions", REV), ["Revision", "Deployment", "Pod", "Container"]),
        (
            ("configurations", "hello"),
            ["Configuration", "Revision", "Deployment", "Pod", "Container"],
        ),
    ],
)
def test_parts_are_explained_by_themselves(subject: tuple[str, str], kinds: list[str]) -> None:
    told = explain(make(pods=[crashed(137, "OOMKilled")], subject=subject))
    assert told.cause == "OOMKilled"
    assert [link.kind for link in told.chain] == kinds


def test_a_revision_that_still_answers_is_mentioned() -> None:
    status = {"latestCreatedRevisionName": REV, "latestReadyRevisionName": "hello-00000"}
    told = explain(
        make(service=doc("hello", cond("Ready", "False"), status=status), pods=[crashed(3)])
    )
    assert "meanwhile revision hello-00000 answers" in told.evidence[-1]


def test_what_nobody_knows_is_told_in_its_own_words() -> None:
    world = well(1)
    strange = doc("hello", cond("Ready", "False", "Odd", "the moon is wrong"))
    told = explain(World(NOW, world.subject, {**world.documents, "services": [strange]}))
    assert (told.verdict, told.cause) == ("fault", "Odd")
    assert "the moon is wrong" in told.evidence[0]


@pytest.mark.parametrize("kind", ["services", "configurations", "revisions", "routes", "pods"])
def test_nothing_at_all_is_explained_too(kind: str) -> None:
    told: Explanation = explain(World(NOW, Subject(kind, "default", "x")))
    assert told.cause == "NotFound"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("hello", ("", "hello")),
        ("ksvc/hello", ("services", "hello")),
        ("revision.serving.knative.dev/a", ("revisions", "a")),
        ("po/x", ("pods", "x")),
    ],
)
def test_names_of_subjects(text: str, parsed: tuple[str, str]) -> None:
    assert parse_subject(text) == parsed


@pytest.mark.parametrize("text", ["secret/x", "pod/"])
def test_other_subjects_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="cannot explain"):
        parse_subject(text)


def test_ports_are_guessed_from_what_the_spec_mentions() -> None:
    spec = {
        "ports": [{"containerPort": 7000}],
        "env": [{"name": "LISTEN", "value": "0.0.0.0:9999"}, {"name": "N", "value": "123456"}],
        "command": ["serve", "--port=4242"],
    }
    ports = candidate_ports(spec)
    assert ports[:4] == (7000, 8080, 9999, 4242)
    assert 12345 not in ports
    assert 3000 in ports


def test_only_pods_that_are_not_ready_are_looked_at() -> None:
    ready = doc("p", cond("Ready", "True"))
    pages = {"revisions": [doc(REV)], "pods": [ready, pod()]}
    assert [one["metadata"]["name"] for one in relevant_pods(pages, "services", "hello")] == [POD]
    assert relevant_pods(pages, "services", "other") == []
