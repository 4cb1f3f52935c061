"""Every verb of an unmodified kubectl, told as stories: what is typed and what must be said.

A line that begins with ``!`` must fail. ``{name}`` is filled in from what an earlier line ``name=…`` printed.
"""

import re
import shlex
import shutil
from collections.abc import Iterator

import pytest
from tests.contract.cluster import Cluster

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]

Line = tuple[str, str]


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A server whose node may be drained."""
    with Cluster() as running:
        yield running


class Teller:
    """Types lines and compares what is said."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.values: dict[str, str] = {}

    def tell(self, story: list[Line], stdin: str | None = None) -> None:
        for line, said in story:
            name, given, rest = line.partition("=:")
            text = rest if given else line
            output = self._type(text, stdin)
            expected = self._fill(said)
            assert re.search(expected, output, re.DOTALL | re.MULTILINE), (
                f"{text}\nsaid: {output}\nwanted: {expected}\n{self.cluster.log()[-1500:]}"
            )
            if given:
                self.values[name] = output.strip()

    def _fill(self, text: str) -> str:
        for name, value in self.values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def _type(self, line: str, stdin: str | None) -> str:
        must_fail = line.startswith("!")
        words = shlex.split(self._fill(line.removeprefix("!")))
        assert KUBECTL is not None
        done = self.cluster.run(KUBECTL, "-n", self.namespace, *words, stdin=stdin)
        assert (done.returncode != 0) == must_fail, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture
def teller(own: Cluster) -> Teller:
    return Teller(own, own.namespace())


CREATE: list[Line] = [
    ("create configmap cm --from-literal=a=b", "configmap/cm created"),
    ("create secret generic s --from-literal=p=q", "secret/s created"),
    ("create secret docker-registry r --docker-username=u --docker-password=p", "secret/r created"),
    ("create serviceaccount robot", "serviceaccount/robot created"),
    ("create quota q --hard=pods=20,services=5", "resourcequota/q created"),
    ("create priorityclass verbs-high --value=1000 --description=x", "verbs-high created"),
    ("create poddisruptionbudget b --selector=app=x --min-available=1", "poddisruptionbudget.* created"),
    ("create service clusterip c --tcp=80:8080", "service/c created"),
    ("create service nodeport n --tcp=80", "service/n created"),
    ("create service externalname e --external-name=example.com", "service/e created"),
    ("create deployment d --image=one --replicas=2 --port=80", "deployment.apps/d created"),
    ("create job j --image=once", "job.batch/j created"),
    ("create cronjob cj --image=once --schedule=@daily", "cronjob.batch/cj created"),
    ("create role reader --verb=get --resource=pods", "role.* created"),
    ("create rolebinding rb --role=reader --serviceaccount=x:robot", "rolebinding.* created"),
    ("run single --image=one --labels=app=single", "pod/single created"),
    ("!create ingress i --rule=a/b=c:80", "the server could not find the requested resource|no matches"),
    ("!autoscale deployment d --max=3", "the server could not find the requested resource|no matches"),
    ("get cm,secret,sa,quota,pdb,svc,deploy,job,cj,role,rolebinding -o name", "deployment.apps/d"),
    ("get quota q", r"pods: \d+/20, services: 3/5"),
    ("get priorityclass verbs-high", r"verbs-high\s+1000\s+false"),
    ("delete priorityclass verbs-high", "deleted"),
    ("get all", r"pod/single.*service/c.*deployment.apps/d.*replicaset.apps/d-.*cronjob.batch/cj.*job.batch/j"),
]  # fmt: skip


def test_create_everything(teller: Teller) -> None:
    teller.tell(CREATE)


ROLLOUT: list[Line] = [
    ("create deployment web --image=one --replicas=2", "created"),
    ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
    ("annotate deployment web kubernetes.io/change-cause=first", "annotated"),
    ("set image deployment/web one=two", "image updated"),
    ("annotate deployment web kubernetes.io/change-cause=second --overwrite", "annotated"),
    ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
    ("rollout history deployment/web", r"1\s+first.*2\s+second"),
    ("rollout history deployment/web --revision=1", r"Image:\s+one"),
    ("rollout undo deployment/web", "rolled back"),
    ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", "^one$"),
    ("rollout history deployment/web", r"^2 .*^3 "),
    ("rollout undo deployment/web --to-revision=2", "rolled back"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", "^two$"),
    ("rollout restart deployment/web", "restarted"),
    ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
    ("get deployment web -o yaml", "kubectl.kubernetes.io/restartedAt"),
    ("rollout pause deployment/web", "paused"),
    ("set image deployment/web one=three", "image updated"),
    ("get rs -o jsonpath={.items[*].spec.template.spec.containers[0].image}", "^(?!.*three).*$"),
    ("rollout resume deployment/web", "resumed"),
    ("rollout status deployment/web --timeout=60s", "successfully rolled out"),
    ("scale deployment/web --replicas=3", "scaled"),
    ("!scale deployment/web --current-replicas=9 --replicas=1", "Expected replicas to be 9, was 3"),
    ("wait deployment/web --for=jsonpath={.status.readyReplicas}=3 --timeout=60s", "condition met"),
    ("get deployment web -o jsonpath='{.metadata.annotations.deployment\\.kubernetes\\.io/revision}'", r"^\d+$"),
]  # fmt: skip


def test_rollouts(teller: Teller) -> None:
    teller.tell(ROLLOUT)


SETS = """\
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: one}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, image: one}]}
"""
SET_VERBS: list[Line] = [
    ("rollout status statefulset/db --timeout=60s", "roll out complete: 2 new pods"),
    ("rollout status daemonset/agent --timeout=60s", "successfully rolled out"),
    ("get pods -o name", "pod/agent-.*pod/db-0.*pod/db-1"),
    ("set image statefulset/db c=two", "image updated"),
    ("rollout status statefulset/db --timeout=60s", "roll out complete"),
    ("set image daemonset/agent c=two", "image updated"),
    ("rollout status daemonset/agent --timeout=60s", "successfully rolled out"),
    ("rollout history statefulset/db", r"^1 .*^2 "),
    ("rollout history daemonset/agent --revision=1", r"Image:\s+one"),
    ("rollout undo statefulset/db", "rolled back"),
    ("rollout status statefulset/db --timeout=60s", "roll out complete"),
    ("get pod db-0 -o jsonpath={.spec.containers[0].image}", "^one$"),
    ("rollout undo daemonset/agent --to-revision=1", "rolled back"),
    ("rollout status daemonset/agent --timeout=60s", "successfully rolled out"),
    ("rollout restart statefulset/db daemonset/agent", "restarted"),
    ("rollout status statefulset/db --timeout=60s", "roll out complete"),
    ("get controllerrevisions", r"statefulset.apps/db\s+\d+"),
    ("get sts db", r"db\s+2/2"),
    ("get ds agent", r"agent\s+1\s+1\s+1\s+1\s+1"),
    ("scale statefulset/db --replicas=1", "scaled"),
    ("wait pod/db-1 --for=delete --timeout=60s", "condition met|^$"),
    ("describe sts db", r"Replicas:\s+1 desired \| 1 total.*SuccessfulCreate"),
    ("describe ds agent", r"Desired Number of Nodes Scheduled: 1.*SuccessfulCreate"),
]  # fmt: skip


def test_rollouts_of_sets(teller: Teller) -> None:
    teller.tell([("apply -f -", "statefulset.apps/db created")], SETS)
    teller.tell(SET_VERBS)


CHANGES: list[Line] = [
    ("create deployment web --image=one", "created"),
    ("wait deployment/web --for=condition=Available --timeout=60s", "condition met"),
    ("set env deployment/web A=b C-", "env updated"),
    ("set env deployment/web --list", "A=b"),
    ("set resources deployment/web --requests=cpu=10m --limits=memory=64Mi", "resource requirements updated"),
    ("set serviceaccount deployment/web default", "serviceaccount updated"),
    ("get deployment web -o jsonpath={.spec.template.spec.containers[0].resources}", '"cpu":"10m"'),
    ("label deployment web team=a", "labeled"),
    ("label deployment web team=b --overwrite", "labeled"),
    ("!label deployment web team=c", "already has a value"),
    ("get deployments -l team=b -o name", "deployment.apps/web"),
    ("label deployment web team-", "unlabeled"),
    ("annotate deployment web note=x", "annotated"),
    ("annotate deployment web note-", "annotated"),
    ("patch deployment web -p '{\"spec\":{\"minReadySeconds\":1}}'", "patched"),
    ("patch deployment web --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/minReadySeconds\"}]'", "patched"),
    ("patch deployment web --subresource=status --type=merge -p '{\"status\":{\"replicas\":1}}'", "patched"),
    ("expose deployment web --port=80 --target-port=8080 --name=front", "service/front exposed"),
    ("get service front -o jsonpath={.spec.ports[0].targetPort}", "^8080$"),
    ("set selector service front app=web", "selector updated"),
    ("get deployment web -o wide", r"CONTAINERS\s+IMAGES\s+SELECTOR"),
    ("get deployment web --show-labels", "LABELS"),
    ("get pods --sort-by=.metadata.name", "web-"),
    ("get pods -o custom-columns=NAME:.metadata.name --no-headers", "^web-"),
    ("get pods --field-selector=status.phase=Running -o name", "pod/web-"),
    ("get pods --field-selector=spec.nodeName=node,spec.restartPolicy=Always -o name", "pod/web-"),
    ("!get pods --field-selector=spec.x=y", "field label not supported: spec.x"),
    ("explain statefulset.spec.volumeClaimTemplates", "storage that outlives Pods"),
    ("explain pvc.spec.resources", "requests"),
    ("explain resourcequota.status.used", "used"),
    ("explain events.regarding --api-version=events.k8s.io/v1", "namespace"),
    ("api-resources --api-group=policy", "poddisruptionbudgets"),
    ("delete deployment,service --all", "deleted"),
]  # fmt: skip


def test_changes(teller: Teller) -> None:
    teller.tell(CHANGES)


WAITS: list[Line] = [
    ("run fine --image=one", "created"),
    ("run bad --image=crash", "created"),
    ("wait pod/fine --for=condition=Ready --timeout=60s", "pod/fine condition met"),
    ("wait pod/bad --for=condition=Ready=false --timeout=60s", "pod/bad condition met"),
    ("wait pod/fine --for=jsonpath={.status.phase}=Running --timeout=30s", "condition met"),
    ("wait pod --all --for=jsonpath={.spec.nodeName} --timeout=30s", "condition met"),
    ("!wait pod/bad --for=condition=Ready --timeout=1s", "timed out waiting for the condition"),
    ("!wait pod/none --for=condition=Ready --timeout=1s", 'pods "none" not found'),
    ("delete pod bad --wait=false", "deleted"),
    ("wait pod/bad --for=delete --timeout=30s", "condition met|^$"),
    ("create configmap later", "created"),
    ("wait configmap/later --for=create --timeout=10s", "condition met"),
]  # fmt: skip


def test_waits(teller: Teller) -> None:
    teller.tell(WAITS)


EVENTS: list[Line] = [
    ("create deployment web --image=one", "created"),
    ("wait deployment/web --for=condition=Available --timeout=60s", "condition met"),
    ("events", r"LAST SEEN\s+TYPE\s+REASON\s+OBJECT\s+MESSAGE.*ScalingReplicaSet"),
    ("events --for deployment/web --types=Normal", "ScalingReplicaSet"),
    ("get events --sort-by=.lastTimestamp", r"^LAST SEEN\s+TYPE\s+REASON\s+OBJECT\s+MESSAGE"),
    ("get events.events.k8s.io -o jsonpath={.items[0].regarding.namespace}", "{namespace}"),
    ("get events --field-selector=reason=ScalingReplicaSet -o name", "event/web"),
    ("describe deployment web", r"Events:.*ScalingReplicaSet.*Scaled up replica set"),
]  # fmt: skip


def test_events(teller: Teller) -> None:
    teller.values["namespace"] = teller.namespace
    teller.tell(EVENTS)


DRAIN: list[Line] = [
    ("create deployment web --image=one --replicas=2", "created"),
    ("run alone --image=one", "created"),
    ("wait pod --all --for=condition=Ready --timeout=60s", "condition met"),
    ("create pdb web --selector=app=web --max-unavailable=50%", "created"),
    ("wait pdb/web --for=jsonpath={.status.disruptionsAllowed}=1 --timeout=30s", "condition met"),
    ("cordon node", "node/node cordoned"),
    ("get node node", "SchedulingDisabled"),
    ("get nodes --field-selector=spec.unschedulable=true -o name", "node/node"),
    ("run late --image=one", "created"),
    ("wait pod/late --for=jsonpath={.status.conditions[0].reason}=Unschedulable --timeout=30s", "condition met"),
    ("!drain node --pod-selector=app=web --timeout=8s", "violate the pod's disruption budget"),
    ("drain node --pod-selector=run=alone --force --timeout=30s", "node/node drained"),
    ("delete pdb web", "deleted"),
    ("drain node --pod-selector=app=web --timeout=30s", "node/node drained"),
    ("uncordon node", "node/node uncordoned"),
    ("wait deployment/web --for=condition=Available --timeout=60s", "condition met"),
    ("taint node node k=v:NoSchedule", "tainted"),
    ("run tainted --image=one", "created"),
    ("wait pod/tainted --for=jsonpath={.status.conditions[0].reason}=Unschedulable --timeout=30s", "condition met"),
    ("describe node node", r"Taints:\s+k=v:NoSchedule"),
    ("taint node node k-", "untainted"),
    ("wait pod/tainted --for=condition=Ready --timeout=30s", "condition met"),
]  # fmt: skip


def test_cordon_drain_and_taint(teller: Teller) -> None:
    try:
        teller.tell(DRAIN)
    finally:
        teller.tell([("uncordon node", "uncordoned")])


STORAGE = """\
apiVersion: v1
kind: PersistentVolume
metadata: {name: verbs}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  local: {path: /nowhere}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: absent, operator: DoesNotExist}]}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  storageClassName: ""
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 500Mi}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits: [{type: Container, default: {cpu: 500m}, defaultRequest: {cpu: 100m}}]
"""
STORED: list[Line] = [
    ("wait pvc/data --for=jsonpath={.status.phase}=Bound --timeout=30s", "condition met"),
    ("get pvc", r"data\s+Bound\s+verbs\s+1Gi\s+RWO"),
    ("get pv verbs", r"verbs\s+1Gi\s+RWO\s+Retain\s+Bound\s+[-a-z0-9]+/data"),
    ("get sc", r"knarr-local \(default\)\s+knarr.dev/local\s+Delete\s+Immediate\s+true"),
    ("get limits", r"limits\s+\d{4}-"),
    ("describe pvc data", r"Status:\s+Bound.*Used By:\s+<none>"),
    ("describe pv verbs", r"Source:\s+Type:\s+LocalVolume.*Path:\s+/nowhere"),
    ("describe sc knarr-local", r"IsDefaultClass:\s+Yes"),
    ("describe limitrange limits", r"Container\s+cpu\s+-\s+-\s+100m\s+500m"),
    ("create quota q --hard=requests.cpu=150m", "created"),
    ("wait quota/q --for=jsonpath={.status.used} --timeout=30s", "condition met"),
    ("run one --image=one", "created"),
    ("!run two --image=one", "exceeded quota: q, requested: requests.cpu=100m, used: requests.cpu=100m"),
    ("describe quota q", r"requests.cpu\s+100m\s+150m"),
    ("describe pod one", r"LimitRanger plugin set.*QoS Class:\s+Burstable"),
    ("delete pvc data", "deleted"),
    ("wait pv/verbs --for=jsonpath={.status.phase}=Released --timeout=30s", "condition met"),
    ("delete pv verbs", "deleted"),
]  # fmt: skip


def test_storage_and_quotas(teller: Teller) -> None:
    teller.tell([("apply -f -", "persistentvolumeclaim/data created")], STORAGE)
    teller.tell(STORED)


DESCRIBED = (
    "configmap", "secret", "serviceaccount", "service", "endpoints", "endpointslices", "deployment",
    "replicaset", "pod", "job", "cronjob", "poddisruptionbudget", "resourcequota", "role",
    "rolebinding", "namespace", "node", "storageclass", "priorityclass", "lease", "clusterrole",
)  # fmt: skip


def test_describe_everything(teller: Teller) -> None:
    teller.tell(
        [line for line in CREATE if not line[0].startswith("!") and "delete" not in line[0]]
    )
    for kind in DESCRIBED:
        said = teller._type(f"describe {kind}", None)
        assert "Name:" in said or "No resources found" in said, kind
    teller.tell([("delete priorityclass verbs-high", "deleted")])


def test_diff_and_replace(teller: Teller) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: b}\n"
    changed = manifest.replace("b}", "c}")
    teller.tell([("apply -f -", "configmap/m created"), ("apply -f -", "unchanged")], manifest)
    teller.tell([("!diff -f -", r"-  a: b.*\+  a: c")], changed)
    teller.tell(
        [("replace -f -", "replaced"), ("apply -f -", "configured"), ("diff -f -", "^$")], changed
    )
    teller.tell([("apply --server-side --force-conflicts -f -", "serverside-applied")], manifest)
    teller.tell([("replace --force -f -", "replaced")], changed)
    teller.tell([("delete -f -", "deleted")], changed)
