"""Cold starts beside their lower bounds, same program, same run.

Run as root: ``python bench/coldstart.py``. Builds a static Go server into ``.cache/coldstart``, then measures
the time to the end of the answer: exec on the host, ``runc run`` of a bundle, a request to a revision at zero
with and without a parked sandbox, and a new Service until it answers. Starts an instance of its own and
removes it.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.harness import REPOSITORY, Instance, free_port, start_instance, wait_for

CACHE = REPOSITORY / ".cache" / "coldstart"
REST_S = 0.4
SOURCE = """package main

import (
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("PORT")
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok\\n")) })
	if err := http.ListenAndServe(":"+port, nil); err != nil {
		os.Exit(1)
	}
}
"""


def build_program() -> Path:
    """A static HTTP server; built once."""
    program = CACHE / "app" / "server"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        (CACHE / "main.go").write_text(SOURCE)
        go = shutil.which("go") or "/usr/local/go/bin/go"
        subprocess.run(
            [go, "build", "-ldflags", "-s -w", "-o", str(program), str(CACHE / "main.go")],
            env={**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(CACHE / "go")}, check=True,
        )  # fmt: skip
    return program


def exchange(address: str, port: int, host: str) -> bytes:
    """One request on a connection of its own, and everything that comes back."""
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while block := connection.recv(4096):
            data += block
        return data


def first_answer_ms(address: str, port: int, begun: float) -> float:
    """Milliseconds from ``begun`` until a request is answered; connects every 0.2 ms."""
    while True:
        try:
            data = exchange(address, port, "x")
        except ConnectionRefusedError:
            if time.perf_counter() - begun > 10:
                raise
            time.sleep(0.0002)
            continue
        if not data.endswith(b"ok\n"):
            raise RuntimeError(f"not the answer: {data!r}")
        return (time.perf_counter() - begun) * 1e3


def measure_exec(program: Path) -> float:
    port = free_port()
    begun = time.perf_counter()
    process = subprocess.Popen([str(program)], env={"PORT": str(port)})
    try:
        return first_answer_ms("127.0.0.1", port, begun)
    finally:
        process.kill()
        process.wait()


def make_bundle(program: Path) -> Path:
    """A bundle with runc's own defaults, in the machine's network."""
    bundle = CACHE / "bundle"
    if not bundle.exists():
        root = bundle / "rootfs"
        root.mkdir(parents=True)
        shutil.copy(program, root / "server")
        subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
    return bundle


def measure_runc(bundle: Path, number: int) -> float:
    port = free_port()
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/server"], "env": [f"PORT={port}"]}
    linux = config["linux"]
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != "network"]
    linux["cgroupsPath"] = f"/knarr-bench-{os.getpid()}/{number}"
    (bundle / "config.json").write_text(json.dumps(config))
    name = f"knarr-bench-{os.getpid()}-{number}"
    begun = time.perf_counter()
    process = subprocess.Popen(
        ["runc", "run", "--bundle", str(bundle), name], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        return first_answer_ms("127.0.0.1", port, begun)
    finally:
        subprocess.run(["runc", "kill", name, "KILL"], check=False, capture_output=True)
        process.wait()
        subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def call(path: Path, method: str, target: str, document: object = None) -> dict:
    connection = UnixConnection(path)
    try:
        body = json.dumps(document) if document is not None else None
        connection.request(method, target, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"{}")
        if response.status >= 400:
            raise RuntimeError(f"{method} {target}: {response.status} {answer.get('message')}")
        return answer
    finally:
        connection.close()


def service_document(name: str, image: str) -> dict:
    annotations = {
        "autoscaling.knative.dev/window": "6s",
        "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "0s",
    }
    return {
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {
            "metadata": {"annotations": annotations}, "spec": {"containers": [{"image": image}]},
        }},
    }  # fmt: skip


class Platform:
    """The instance under test."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.api = instance.data_dir / "run" / "api.sock"
        self.node = instance.data_dir / "run" / "node.sock"

    def request(self, name: str) -> tuple[float, str] | None:
        """Milliseconds of one request and its ``Server-Timing``; None when it was not answered by 200."""
        begun = time.perf_counter()
        data = exchange("127.0.0.1", self.instance.http_port, f"{name}.default.localhost")
        took_ms = (time.perf_counter() - begun) * 1e3
        if not data.startswith(b"HTTP/1.1 200") or not data.endswith(b"ok\n"):
            return None
        lines = data.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        timing = [line for line in lines if line.lower().startswith("server-timing:")]
        return took_ms, timing[0].partition(":")[2].strip() if timing else ""

    def create(self, name: str, image: str) -> float:
        """Milliseconds from the API call until the Service is Ready and a request is answered."""
        target = "/apis/serving.knative.dev/v1/namespaces/default/services"
        begun = time.perf_counter()
        call(self.api, "POST", target, service_document(name, image))
        while not self.ready(f"{target}/{name}") or self.request(name) is None:
            if time.perf_counter() - begun > 60:
                raise RuntimeError(f"{name} is not Ready: {self.instance.tail()}")
            time.sleep(0.002)
        return (time.perf_counter() - begun) * 1e3

    def ready(self, target: str) -> bool:
        conditions = call(self.api, "GET", target).get("status", {}).get("conditions", [])
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def wait_parked(self, count: int) -> None:
        def at_zero() -> bool:
            status = call(self.node, "GET", "/v1/status")
            return status["parked"]["count"] >= count and status["pods"] == 0

        wait_for(at_zero, f"{count} revisions at zero and parked", 180)

    def drop_parked(self) -> None:
        call(self.node, "DELETE", "/v1/parked")
        wait_for(
            lambda: call(self.node, "GET", "/v1/status")["sandboxes"] == 0, "nothing parked", 60
        )

    def parked_bytes(self) -> float:
        parked = call(self.node, "GET", "/v1/status")["parked"]
        return parked["bytes"] / max(1, parked["count"])


def in_turn(
    names: list[str],
    measure: Callable[[str], tuple[float, str] | None],
    beside: Callable[[int], float],
) -> tuple[list[float], list[float]]:
    """One request per revision, each beside one run of what it is compared with."""
    times, others = [], []
    for number, name in enumerate(names):
        time.sleep(REST_S)
        others.append(beside(number))
        time.sleep(REST_S)
        answer = measure(name)
        if answer is None:
            raise RuntimeError(f"{name} failed")
        times.append(answer[0])
    print(f"  Server-Timing of the last: {answer[1]}")
    return times, others


def row(what: str, times: list[float], reference: str = "") -> float:
    middle = statistics.median(times)
    print(
        f"{what:<44} p50 {middle:7.1f} ms   min {min(times):7.1f}   max {max(times):7.1f}   {reference}",
        flush=True,
    )
    return middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    program = build_program()
    bundle = make_bundle(program)
    data_dir = Path("/tmp") / f"knarr-bench-{os.getpid()}"
    instance = start_instance(data_dir, Path("/tmp"), "10.239.0.0/16")
    try:
        image = json.loads(instance.knarr("build", str(program.parent), "-o", "json"))["reference"]
        platform = Platform(instance)
        names = [f"cold-{number:02d}" for number in range(rounds)]
        created = []
        for name in names:
            time.sleep(REST_S)
            created.append(platform.create(name, image))
        platform.wait_parked(rounds)
        size = platform.parked_bytes() / 2**20
        parked, plain = in_turn(names, platform.request, lambda _: measure_exec(program))
        platform.wait_parked(rounds)
        platform.drop_parked()
        unparked, contained = in_turn(
            names, platform.request, lambda number: measure_runc(bundle, number)
        )
        low = row("exec on the host", plain)
        base = row("runc run", contained)
        warm = row("request to a parked revision", parked)
        print(f"  {warm / low:.2f} x exec (budget 2), {size:.1f} MiB each while parked")
        bare = row("request to a revision at zero, not parked", unparked)
        print(f"  {bare / base:.2f} x runc run (budget 1.3)")
        fresh = row("Service created -> Ready and answering", created)
        print(f"  {fresh / base:.2f} x runc run (budget 3)")
    finally:
        instance.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)
        for directory in Path("/sys/fs/cgroup").glob(f"**/knarr-bench-{os.getpid()}"):
            directory.rmdir()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
