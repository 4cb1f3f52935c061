"""Each process killed under load, restarts with state, and what is left after ``knarr down``."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.harness import Instance, Load, require_root, service, start_instance, wait_for

from knarr.config import instance_name
from knarr.node.layout import Layout

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(300)]


POD_CIDR = "10.234.0.0/16"


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


def traces(data_dir: Path) -> set[str]:
    """What one instance has on the machine outside its data directory."""
    layout = Layout(data_dir, instance_name(data_dir))
    own = (layout.instance, layout.link_prefix, POD_CIDR.removesuffix("0.0/16"), str(data_dir))

    def lines(*argv: str) -> set[str]:
        return set(
            subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        )

    namespaces = set(os.listdir("/run/netns")) if Path("/run/netns").exists() else set()
    found = {
        *Path("/proc/mounts").read_text().splitlines(),
        *os.listdir("/sys/class/net"),
        *lines("nft", "list", "tables"),
        *namespaces,
        *(str(path) for path in Path("/sys/fs/cgroup").rglob("*knarr*")),
        *lines("ip", "route", "show"),
        *lines("ps", "-ww", "-eo", "args"),
    }
    return {item for item in found if any(part in item for part in own)}


def test_down_leaves_nothing_and_up_again_has_its_state(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    require_root()
    data_dir = Path("/tmp") / f"knarr-down-{os.getpid()}"
    second = start_instance(data_dir, tmp_path_factory.mktemp("home"), POD_CIDR)
    try:
        probe = Path(__file__).resolve().parents[1] / "e2e" / "apps" / "probe"
        second.knarr("build", str(probe))
        second.kubectl("apply", "-f", "-", stdin=service("kept", "knarr.local/probe:latest"))
        second.wait_ready("kept")
        assert second.request("kept.default.localhost")[0] == 200
        assert traces(data_dir)
        second.knarr("down")
        assert traces(data_dir) == set()
        assert not list((data_dir / "run").glob("*.sock"))
        again = start_instance(data_dir, tmp_path_factory.mktemp("home"), POD_CIDR)
        again.wait_ready("kept")
        assert again.request("kept.default.localhost")[0] == 200
        again.knarr("down")
        assert traces(data_dir) == set()
        again.knarr("down")
    finally:
        second.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)
