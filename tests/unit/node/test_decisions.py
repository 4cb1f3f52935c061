"""Probes, restarts, statuses, parking, records, names: decisions without a machine."""

import datetime as dt
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.kube.cache import Change
from knarr.meta.objects import Key, ObjectMeta
from knarr.node.names import Answer, ClusterNames
from knarr.node.parking import Parked, ParkingLot
from knarr.node.podstatus import ContainerView, PodView, pod_status, qos_class
from knarr.node.probes import Judge, schedule_of
from knarr.node.probing import (
    grpc_health_request,
    grpc_serving,
    http_request,
    judge_status_line,
    resolve_port,
)
from knarr.node.pulling import pull_policy
from knarr.node.record import Identity, SandboxRecord, Step, StepLog, Trace, read_steps, read_trace
from knarr.node.recovery import judge, last_runs
from knarr.node.restarts import CrashHistory, should_restart
from knarr.node.revisions import RevisionIndex, entry_of, fingerprint, planned_pod
from knarr.node.runc import judge_version
from knarr.node.servicelinks import kubernetes_service
from knarr.node.stopping import parse_signal
from knarr.resources.apps.replicaset import ReplicaSet
from knarr.resources.core.configmap import ConfigMap
from knarr.resources.core.container import Container, ContainerStateWaiting, HttpGetAction, Probe
from knarr.resources.core.pod import Pod
from knarr.resources.core.podspec import PodSpec
from knarr.resources.core.service import Service
from knarr.resources.core.serviceaccount import ServiceAccount
from knarr.resources.discovery.endpointslice import EndpointSlice

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


# --- probes ---------------------------------------------------------------------------------------


def probe(**fields) -> Probe:
    return msgspec.convert({"tcpSocket": {"port": 1}, **fields}, Probe)


def test_kubernetes_defaults():
    schedule = schedule_of(probe())
    assert (schedule.period_s, schedule.timeout_s, schedule.failure_threshold) == (10.0, 1.0, 3)


def test_eager_probing_lasts_until_the_first_success_and_becomes_patient():
    judge_of = Judge(schedule_of(probe(periodSeconds=10), eager=True))
    assert judge_of.pause_s == 0.025
    for _ in range(401):
        judge_of.add(success=False)
    assert judge_of.pause_s == 0.25
    assert judge_of.add(success=True)
    assert judge_of.pause_s == 10.0
    for _ in range(3):
        judge_of.add(success=False)
    assert (judge_of.verdict, judge_of.pause_s) == ("failure", 10.0)


def test_commands_are_never_probed_eagerly():
    command = msgspec.convert({"exec": {"command": ["x"]}, "periodSeconds": 5}, Probe)
    assert schedule_of(command, eager=True).period_s == 5.0


@given(st.lists(st.booleans()), st.integers(1, 4), st.integers(1, 4))
def test_a_verdict_follows_the_last_run_of_equal_results(results, successes, failures):
    judge_of = Judge(schedule_of(probe(successThreshold=successes, failureThreshold=failures)))
    expected, run, last = "pending", 0, None
    for result in results:
        run = run + 1 if result is last else 1
        last = result
        if run >= (successes if result else failures):
            expected = "success" if result else "failure"
        changed = judge_of.add(success=result)
        assert (
            changed == (judge_of.verdict == expected and run == (successes if result else failures))
            or not changed
        )
        assert judge_of.verdict == expected


def test_probe_requests_and_answers():
    action = msgspec.convert(
        {"path": "/h", "port": 80, "httpHeaders": [{"name": "Host", "value": "x"}]}, HttpGetAction
    )
    request = http_request(action, "10.0.0.1", 80)
    assert request.startswith(b"GET /h HTTP/1.1\r\n")
    assert request.count(b"Host") == 1
    assert judge_status_line(b"HTTP/1.1 204 No Content\r\n").success
    assert not judge_status_line(b"HTTP/1.1 500 x\r\n").success
    assert not judge_status_line(b"SSH-2.0\r\n").success
    assert b"/grpc.health.v1.Health/Check" in grpc_health_request("svc", "a:1")
    assert grpc_serving(b"\0\0\0\0\2\x08\x01")
    assert not grpc_serving(b"\0\0\0\0\2\x08\x02")
    container = msgspec.convert({"ports": [{"name": "web", "containerPort": 90}]}, Container)
    assert (
        resolve_port("web", container),
        resolve_port("81", container),
        resolve_port(None, container),
    ) == (90, 81, 90)
    with pytest.raises(ValueError, match="no port named"):
        resolve_port("x", container)


# --- restarts -------------------------------------------------------------------------------------


def test_back_off_grows_and_is_forgiven():
    history = CrashHistory()
    delays = [history.ended(1.0) for _ in range(8)]
    assert delays == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert history.ended(700.0) == 0.0


@pytest.mark.parametrize(
    ("policy", "code", "init", "again"),
    [
        ("Always", 0, False, True), ("Always", 0, True, False), ("Always", 1, True, True),
        ("OnFailure", 0, False, False), ("OnFailure", 1, False, True), ("Never", 1, False, False),
        ("Never", 1, True, False), ("", 0, False, True),
    ],
)  # fmt: skip
def test_restart_policies(policy, code, init, again):
    assert should_restart(policy, code, init=init) is again


@pytest.mark.parametrize(
    ("text", "name"), [("", "SIGTERM"), ("SIGQUIT", "SIGQUIT"), ("int", "SIGINT"), ("9", "SIGKILL"), ("x", "SIGTERM")]
)  # fmt: skip
def test_stop_signals(text, name):
    assert parse_signal(text).name == name


@pytest.mark.parametrize(
    ("image", "given_policy", "expected"),
    [
        ("a", "", "Always"), ("a:latest", "", "Always"), ("a:1", "", "IfNotPresent"),
        ("h:5000/a", "", "Always"), ("a@sha256:0", "", "IfNotPresent"), ("a:1", "Never", "Never"),
    ],
)  # fmt: skip
def test_pull_policies(image, given_policy, expected):
    assert pull_policy(Container(image=image, image_pull_policy=given_policy)) == expected


# --- status ---------------------------------------------------------------------------------------


def status_of(*views: ContainerView, old=None, initialized=True, init=(), spec=None):
    view = PodView(
        spec or PodSpec(), views, init, initialized, "10.0.0.2", "192.0.2.1", "2026-01-01T00:00:00Z"
    )
    return pod_status(view, old, NOW)


def running(**changes) -> ContainerView:
    view = ContainerView("c", "img", started_at="2026-01-01T00:00:00.000000Z", container_id="x")
    view.started = view.ready = True
    for name, value in changes.items():
        setattr(view, name, value)
    return view


def condition(status, kind: str):
    return next(one for one in status.conditions if one.type == kind)


def test_a_running_pod_is_ready():
    status = status_of(running())
    assert (status.phase, condition(status, "Ready").status) == ("Running", "True")
    assert status.container_statuses[0].state.running.started_at == "2026-01-01T00:00:00Z"
    assert status.pod_ips[0].ip == status.pod_ip == "10.0.0.2"


def test_waiting_reasons_and_phases():
    fresh = ContainerView("c", "img")
    status = status_of(fresh)
    assert status.phase == "Pending"
    assert status.container_statuses[0].state.waiting.reason == "ContainerCreating"
    assert condition(status, "Ready").message == "containers with unready status: [c]"
    status = status_of(fresh, initialized=False, init=(ContainerView("i", "img"),))
    assert status.container_statuses[0].state.waiting.reason == "PodInitializing"
    assert condition(status, "Initialized").reason == "ContainersNotInitialized"
    back_off = running(code=1, waiting=ContainerStateWaiting(reason="CrashLoopBackOff"))
    status = status_of(back_off)
    assert status.phase == "Running"
    assert status.container_statuses[0].state.waiting.reason == "CrashLoopBackOff"
    assert not status.container_statuses[0].ready


@pytest.mark.parametrize(
    ("changes", "phase", "reason"),
    [
        ({"code": 0}, "Succeeded", "Completed"), ({"code": 2}, "Failed", "Error"),
        ({"code": 137, "oom": True}, "Failed", "OOMKilled"), ({"code": 128, "reason": "StartError"}, "Failed", "StartError"),
    ],
)  # fmt: skip
def test_how_containers_end(changes, phase, reason):
    status = status_of(running(finished_at="2026-01-01T00:00:09.5Z", **changes))
    end = status.container_statuses[0].state.terminated
    assert (status.phase, end.reason, end.exit_code) == (phase, reason, changes["code"])
    assert condition(status, "Ready").reason == (
        "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"
    )


def test_transition_times_move_only_with_the_status_and_foreign_conditions_stay():
    first = status_of(running())
    long_ago = [
        msgspec.structs.replace(one, last_transition_time="2025-01-01T00:00:00Z")
        for one in first.conditions
    ]
    foreign = msgspec.structs.replace(first.conditions[0], type="own.dev/gate")
    old = msgspec.structs.replace(first, conditions=(*long_ago, foreign))
    again = status_of(running(), old=old)
    assert condition(again, "Ready").last_transition_time == "2025-01-01T00:00:00Z"
    assert condition(again, "own.dev/gate")
    changed = status_of(running(ready=False), old=old)
    assert condition(changed, "Ready").last_transition_time == "2026-01-01T00:00:00Z"
    assert condition(changed, "Initialized").last_transition_time == "2025-01-01T00:00:00Z"


def test_qos_classes():
    def spec(resources):
        return msgspec.convert({"containers": [{"name": "c", "resources": resources}]}, PodSpec)

    both = {"cpu": "1", "memory": "1Mi"}
    assert qos_class(spec({})) == "BestEffort"
    assert qos_class(spec({"requests": {"cpu": "1"}})) == "Burstable"
    assert qos_class(spec({"limits": both})) == "Guaranteed"
    assert qos_class(spec({"limits": both, "requests": {"cpu": "2"}})) == "Burstable"


# --- records --------------------------------------------------------------------------------------

RECORD = SandboxRecord(
    id="s",
    index=2,
    address="10.0.0.2",
    boot="b",
    created="t",
    pod=Identity(namespace="n", name="p"),
)


def step(op: str, name: str, container: str = "", **facts) -> Step:
    identifier = f"s-{container}-{facts.get('attempt', 0)}" if container else ""
    return Step(op=op, step=name, container=container, container_id=identifier, **facts)


READY = [step("begin", "sandbox"), step("done", "sandbox")]


@pytest.mark.parametrize(
    ("steps", "boot", "fate"),
    [
        ([], "b", "undo"), (READY[:1], "b", "undo"), (READY, "b", "adopt"), (READY, "other", "undo"),
        ([*READY, step("begin", "remove")], "b", "undo"),
    ],
)  # fmt: skip
def test_whole_sandboxes_are_adopted_and_others_undone(steps, boot, fate):
    assert judge(RECORD, read_trace(steps, RECORD), boot) == fate


def test_the_trace_tells_how_far_each_run_came():
    steps = [
        *READY,
        step("begin", "rootfs", "c"), step("begin", "create", "c", image="i", image_id="i@d"),
        step("done", "create", "c", pid=7, pid_start="9"), step("begin", "start", "c"),
        step("done", "start", "c", at="t1"), step("done", "exit", "c", at="t2", code=3),
        step("begin", "rootfs", "c", attempt=1), step("begin", "create", "c", attempt=1),
        Step(op="done", step="bind", name="q", uid="u"),
    ]  # fmt: skip
    trace = read_trace(steps, RECORD)
    first, second = last_runs(trace)["c"]
    assert (first.created, first.started, first.exited, first.code, first.pid) == (
        True,
        True,
        True,
        3,
        7,
    )
    assert (second.created, second.starting) == (False, False)
    assert trace.bound == Identity(namespace="n", name="q", uid="u")


def test_the_log_survives_a_torn_line_and_is_compacted(tmp_path):
    path = tmp_path / "steps"
    seen = []
    log = StepLog(path, lambda op, name: seen.append((op, name)))
    log.write(step("begin", "sandbox"))
    log.write(step("done", "create", "c", pid=1))
    with path.open("ab") as stream:
        stream.write(b'{"op":"done","st')
    assert [one.step for one in read_steps(path)] == ["sandbox", "create"]
    assert seen == [("begin", "sandbox"), ("done", "create")]
    log.close()
    path.unlink()
    for attempt in range(1000):
        log.write(step("done", "create", "c", attempt=attempt, pid=1))
    log.compact({"s-c-999"})
    assert [one.attempt for one in read_steps(path)] == [999]
    log.write(step("done", "exit", "c", attempt=999))
    assert len(read_steps(path)) == 2
    log.close()


def test_an_unknown_file_is_an_empty_log(tmp_path):
    assert read_steps(tmp_path / "none") == []
    assert read_trace([], RECORD) == Trace(containers={})


# --- parking --------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first():
    lot = ParkingLot(5 << 20)
    assert lot.put(Parked("s1", "r1", "f")) == []
    assert lot.put(Parked("s2", "r2", "f")) == []
    assert [one.sandbox for one in lot.put(Parked("s3", "r3", "f"))] == ["s1"]
    assert lot.take("r2").sandbox == "s2"
    assert lot.take("r2") is None
    assert [one.sandbox for one in lot.put(Parked("s4", "r3", "f"))] == ["s3"]
    assert [one.sandbox for one in lot.put(Parked("s5", "r5", "f", 6 << 20))] == ["s4", "s5"]
    assert (len(lot), lot.size_bytes) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40))), st.integers(0, 100))
def test_the_bound_is_never_exceeded_and_nothing_is_lost(operations, bound):
    lot = ParkingLot(bound)
    alive: set[str] = set()
    for number, (owner, size) in enumerate(operations):
        alive.add(str(number))
        alive -= {one.sandbox for one in lot.put(Parked(str(number), str(owner), "f", size))}
        assert lot.size_bytes <= bound
        assert {one.sandbox for one in lot.entries} == alive
        assert len({one.replica_set for one in lot.entries}) == len(lot)


# --- revisions ------------------------------------------------------------------------------------


def replica_set(name="rs", uid="u1", replicas=0, **container) -> ReplicaSet:
    labels = {"serving.knative.dev/revision": "rev"}
    spec = {
        "containers": [
            {"name": "side", "image": "s"},
            {"name": "main", "image": "m", "ports": [{"containerPort": 9000}], **container},
        ]
    }
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "ns", "uid": uid, "labels": labels},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": labels}, "spec": spec}},
        },
        ReplicaSet,
    )  # fmt: skip


def test_a_revision_is_found_by_its_newest_replica_set():
    seen = []
    index = RevisionIndex(seen.append)
    old, new = replica_set(), replica_set("rs2", "u2", 3)
    index.changed(Change(old.key, None, old))
    index.changed(Change(new.key, None, new))
    entry = index.find("ns/rev")
    assert (entry.uid, entry.port, entry.replicas, entry.serving.name) == ("u2", 9000, 3, "main")
    index.changed(Change(new.key, new, None))
    assert index.find("ns/rev").uid == "u1"
    index.changed(Change(old.key, old, None))
    assert index.find("ns/rev") is None
    assert seen == ["u1", "u2", "u2", "u1"]
    assert entry_of(ReplicaSet()) is None


def test_the_planned_pod_belongs_to_its_replica_set():
    pod = planned_pod(replica_set(), "node", random.Random(1))
    assert pod.metadata.name.startswith("rs-")
    assert pod.metadata.owner_references[0].kind == "ReplicaSet"
    assert (pod.spec.node_name, pod.metadata.namespace) == ("node", "ns")


def test_the_fingerprint_follows_everything_a_sandbox_is_made_from():
    class Sources:
        version = "1"

        def config_map(self, namespace, name):
            return ConfigMap(metadata=ObjectMeta(uid="c", resource_version=self.version))

        def secret(self, namespace, name):
            return None

        def account(self, namespace, name):
            return ServiceAccount(automount_service_account_token=self.mounts)

        def linked_services(self, namespace, *, links):
            yield kubernetes_service(self.address if links else "10.96.0.1")

        mounts = None
        address = "10.96.0.2"

    sources = Sources()
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}]
    base = fingerprint(replica_set(env=env), ("d1", "d2"), sources)
    assert fingerprint(replica_set(env=env, replicas=5), ("d1", "d2"), sources) == base
    assert fingerprint(replica_set(env=env), ("d1", "d3"), sources) != base
    assert fingerprint(replica_set(env=[]), ("d1", "d2"), sources) != base
    for name, value in {"version": "2", "mounts": False, "address": "10.96.0.3"}.items():
        before = getattr(sources, name)
        setattr(sources, name, value)
        assert fingerprint(replica_set(env=env), ("d1", "d2"), sources) != base, name
        setattr(sources, name, before)
    assert fingerprint(replica_set(env=env), ("d1", "d2"), sources) == base


# --- names ----------------------------------------------------------------------------------------


class Directory:
    def __init__(self) -> None:
        self.found: dict[str, Service] = {}
        self.all: list[Pod] = []
        self.listed: dict[str, list[dict]] = {}

    def slices(self, namespace, name):
        document = {"addressType": "IPv4", "endpoints": self.listed.get(name, [])}
        return [msgspec.convert(document, EndpointSlice)]

    def add(self, name: str, labels=None, **spec) -> None:
        document = {
            "metadata": {"name": name, "namespace": "ns", "labels": labels or {}},
            "spec": spec,
        }
        self.found[name] = msgspec.convert(document, Service)

    def service(self, namespace, name):
        return self.found.get(name) if namespace == "ns" else None

    def pods(self, namespace):
        return self.all


def pod(ip: str, *, ready: bool, app: str = "a", deleting: bool = False) -> Pod:
    metadata: dict = {"labels": {"app": app}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return msgspec.convert(
        {"metadata": metadata, "status": {"podIP": ip, "conditions": conditions}}, Pod
    )


def test_names_stand_for_the_gateway_a_cluster_ip_or_pods():
    directory = Directory()
    directory.add("routed", type="ExternalName", externalName="gw.sys.svc.cluster.local")
    directory.add("placed", labels={"serving.knative.dev/route": "r"})
    directory.add("away", type="ExternalName", externalName="Example.com.")
    directory.add("pods", selector={"app": "a"})
    directory.add("eager", selector={"app": "a"}, publishNotReadyAddresses=True)
    directory.add("bare", clusterIP="None")
    directory.add("cluster", selector={"app": "a"}, clusterIP="10.96.0.7")
    directory.add("listed", clusterIP="None")
    directory.listed["listed"] = [
        {"addresses": ["10.9.0.1"]}, {"addresses": ["10.9.0.2"], "conditions": {"ready": False}}
    ]  # fmt: skip
    directory.all = [
        pod("10.0.0.2", ready=True), pod("10.0.0.3", ready=False), pod("10.0.0.4", ready=True, app="b"),
        pod("10.0.0.5", ready=True, deleting=True),
    ]  # fmt: skip
    names = ClusterNames(directory, "10.0.0.1")
    suffix = ".ns.svc.cluster.local"
    assert names.look_up(f"routed{suffix}") == Answer(("10.0.0.1",))
    assert names.look_up(f"placed{suffix}") == Answer(("10.0.0.1",))
    assert names.look_up(f"away{suffix}") == Answer(alias="example.com")
    assert names.look_up(f"pods{suffix}") == Answer(("10.0.0.2",))
    assert names.look_up(f"eager{suffix}") == Answer(("10.0.0.2", "10.0.0.3"))
    assert names.look_up(f"bare{suffix}") == Answer()
    assert names.look_up(f"cluster{suffix}") == Answer(("10.96.0.7",))
    assert names.look_up(f"listed{suffix}") == Answer(("10.9.0.1",))
    assert names.look_up("svc.cluster.local") == Answer()
    for name in (f"none{suffix}", f"a.b{suffix}", "x.cluster.local", f"_x{suffix}"):
        assert names.look_up(name) is None
    assert names.covers("a.cluster.local")
    assert not names.covers("xcluster.local")
    assert names.look_up(str(Key("a", "b"))) is None


# --- the runtime's version ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("runc version 1.1.5+ds1\ncommit: x", 3), ("runc version 1.1.15", 2), ("runc version 1.2.8", 1),
        ("runc version 1.3.5", 1), ("runc version 1.3.6", 0), ("runc version 1.4.3", 0), ("runc version 1.5.0", 0),
        ("runc version 2.0.1", 0), ("crun version 1.8.1", 0), ("", 0),
    ],
)  # fmt: skip
def test_missing_fixes_are_listed(text, count):
    assert len(judge_version(text).missing) == count
