"""Each process killed under load, restarts with state, and what is left after ``knarr down``."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.harness import Instance, Load, service, start_instance, wait_for

from knarr.config import instance_name
from knarr.node.layout import Layout

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]


def kill_and_wait(instance: Instance, process: str) -> None:
    """``kill -9`` one process and wait until the supervisor has another one ready."""
    before = instance.pid(process)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: instance.pid(process) != before, f"a new {process}", 30)
    wait_for(lambda: instance.status_ok(), f"{process} ready again", 30)


@pytest.mark.parametrize("process", ["server", "node"])
def test_killing_a_deciding_process_fails_no_request(
    instance: Instance, probe_image: str, process: str
) -> None:
    name = f"kill-{process}"
    annotations = {"autoscaling.knative.dev/min-scale": "1"}
    instance.kubectl("apply", "-f", "-", stdin=service(name, probe_image, annotations=annotations))
    instance.wait_ready(name)
    sandbox = instance.pods(name)[0]["status"]["containerStatuses"][0]["containerID"]
    with Load(instance, f"{name}.default.localhost") as load:
        for _ in range(3):
            served = sum(load.bodies.values())
            kill_and_wait(instance, process)
            wait_for(
                lambda served=served: sum(load.bodies.values()) > served + 50, "more answers", 30
            )
    assert load.failures == []
    pod = instance.pods(name)[0]
    assert pod["status"]["containerStatuses"][0]["containerID"] == sandbox
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_killing_the_data_plane_fails_only_what_was_in_flight(
    instance: Instance, probe_image: str
) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("kill-dp", probe_image))
    instance.wait_ready("kill-dp")
    kill_and_wait(instance, "dataplane")
    wait_for(
        lambda: instance.request_or_none("kill-dp.default.localhost") == 200, "answers again", 30
    )


def test_objects_survive_a_killed_server(instance: Instance) -> None:
    for number in range(20):
        instance.kubectl("create", "configmap", f"kept-{number}", "--from-literal=a=b")
        if number % 5 == 4:
            kill_and_wait(instance, "server")
    names = instance.kubectl("get", "configmaps", "-o", "name").split()
    assert {f"configmap/kept-{number}" for number in range(20)} <= set(names)


def test_logs_continue_after_a_killed_node_agent(instance: Instance, probe_image: str) -> None:
    annotations = {"autoscaling.knative.dev/min-scale": "1"}
    instance.kubectl(
        "apply", "-f", "-", stdin=service("kill-logs", probe_image, annotations=annotations)
    )
    instance.wait_ready("kill-logs")
    before = instance.pid("node")
    os.kill(before, signal.SIGKILL)
    assert instance.request("kill-logs.default.localhost", "/while-dead")[0] == 200
    wait_for(lambda: instance.pid("node") != before, "a new node agent", 30)
    pod = instance.pods("kill-logs")[0]["metadata"]["name"]
    wait_for(
        lambda: "/while-dead" in instance.kubectl("logs", pod, "-c", "user-container", check=False),
        "the line",
        30,
    )


def traces(bystander: Instance) -> dict[str, set[str]]:
    """What a container platform may leave on a machine; another instance's things come and go."""
    layout = Layout(bystander.data_dir, instance_name(bystander.data_dir))
    foreign = (layout.instance, layout.link_prefix, "10.233.", str(bystander.data_dir))

    def lines(*argv: str) -> set[str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines())

    found = {
        "mounts": {line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()},
        "interfaces": set(os.listdir("/sys/class/net")),
        "tables": lines("nft", "list", "tables"),
        "namespaces": set(os.listdir("/run/netns")) if Path("/run/netns").exists() else set(),
        "cgroups": {str(path) for path in Path("/sys/fs/cgroup").rglob("*knarr*")},
        "routes": lines("ip", "route", "show"),
        "processes": {
            line for line in lines("ps", "-ww", "-eo", "args") if "knarr" in line or "runc" in line
        },
    }
    kept = {
        name: {item for item in items if not any(part in item for part in foreign)}
        for name, items in found.items()
    }
    kept["processes"] = {
        item for item in kept["processes"] if "runc init" not in item and "kubectl" not in item
    }
    return kept


def test_down_leaves_nothing_and_up_again_has_its_state(
    tmp_path_factory: pytest.TempPathFactory, instance: Instance
) -> None:
    data_dir = Path("/tmp") / f"knarr-down-{os.getpid()}"
    before = traces(instance)
    second = start_instance(data_dir, tmp_path_factory.mktemp("home"), "10.234.0.0/16")
    try:
        probe = Path(__file__).resolve().parents[1] / "e2e" / "apps" / "probe"
        second.knarr("build", str(probe))
        second.kubectl("apply", "-f", "-", stdin=service("kept", "knarr.local/probe:latest"))
        second.wait_ready("kept")
        assert second.request("kept.default.localhost")[0] == 200
        assert traces(instance) != before
        second.knarr("down")
        assert traces(instance) == before
        assert not list((data_dir / "run").glob("*.sock"))
        again = start_instance(data_dir, tmp_path_factory.mktemp("home"), "10.234.0.0/16")
        again.wait_ready("kept")
        assert again.request("kept.default.localhost")[0] == 200
        again.knarr("down")
        assert traces(instance) == before
        again.knarr("down")
    finally:
        second.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)
