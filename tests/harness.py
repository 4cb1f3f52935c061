"""A running Knarr for tests, and the ways to speak to it."""

import collections
import concurrent.futures
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

KNARR = [sys.executable, "-m", "knarr.cli.main"]
REPOSITORY = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> object:
    """Poll until the condition is true; the last value it gave."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.02)


@dataclass
class Instance:
    """A running Knarr and the ways to speak to it."""

    data_dir: Path
    http_port: int
    environment: dict[str, str]

    def knarr(self, *arguments: str, check: bool = True, timeout_s: float = 120) -> str:
        done = subprocess.run(
            [*KNARR, "--data-dir", str(self.data_dir), *arguments],
            capture_output=True, text=True, timeout=timeout_s, env=self.environment, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(
                f"knarr {arguments} -> {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.tail()}"
            )
        return done.stdout

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout_s: float = 120
    ) -> str:
        done = subprocess.run(
            ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout_s,
            env={**self.environment, "KUBECONFIG": str(self.data_dir / "kubeconfig")}, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(
                f"kubectl {arguments} -> {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.tail()}"
            )
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def api(self, method: str, path: str, body: dict | None = None) -> dict:
        """One request to the API over its Unix socket: much cheaper than a kubectl."""
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        try:
            connection.sock.connect(str(self.data_dir / "run" / "api.sock"))
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def get(self, kind: str, name: str, namespace: str = "default") -> dict:
        return json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))

    def tail(self, lines: int = 25) -> str:
        """The processes' last words, for failure messages."""
        parts = []
        for log in sorted((self.data_dir / "logs").glob("*.log")):
            if log.name != "access.log":
                parts.append(
                    f"--- {log.name}\n"
                    + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
                )
        return "\n".join(parts)

    def request(
        self,
        host: str,
        path: str = "/",
        *,
        timeout_s: float = 60,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:
        """One request through the gateway on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout_s)
        try:
            connection.request("GET", path, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return (
                response.status,
                response.read(),
                {k.lower(): v for k, v in response.getheaders()},
            )
        finally:
            connection.close()

    def request_or_none(self, host: str, path: str = "/") -> int | None:
        """A request's status, or None when the connection failed."""
        try:
            return self.request(host, path, timeout_s=5)[0]
        except OSError:
            return None

    def status_ok(self) -> bool:
        """Whether every process answers."""
        try:
            return all(
                one["ready"]
                for one in json.loads(self.knarr("status", "-o", "json", check=False))["processes"]
            )
        except (ValueError, KeyError):
            return False

    def pid(self, process: str) -> int:
        return int((self.data_dir / "run" / f"{process}.pid").read_text())

    def pods(self, service: str) -> list[dict]:
        listed = self.api(
            "GET",
            f"/api/v1/namespaces/default/pods?labelSelector=serving.knative.dev/service={service}",
        )
        return [pod for pod in listed["items"] if not pod["metadata"].get("deletionTimestamp")]

    def wait_ready(self, name: str, timeout_s: float = 60) -> None:
        self.kubectl(
            "wait",
            "--for=condition=Ready",
            f"ksvc/{name}",
            f"--timeout={int(timeout_s)}s",
            timeout_s=timeout_s + 10,
        )

    def wait_scaled_to_zero(self, service: str, timeout_s: float = 90) -> None:
        wait_for(lambda: not self.pods(service), f"{service} at zero", timeout_s)


def require_root() -> None:
    missing = [program for program in ("runc", "nft", "kubectl") if shutil.which(program) is None]
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def service(
    name: str, image: str, *, annotations: dict | None = None, env: dict | None = None, **spec
) -> str:
    template_annotations = {"autoscaling.knative.dev/window": "6s", **(annotations or {})}
    container = {"image": image, "env": [{"name": k, "value": v} for k, v in (env or {}).items()]}
    traffic = spec.pop("traffic", None)
    document = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "template": {
                "metadata": {"annotations": template_annotations},
                "spec": {"containers": [container], **spec},
            }
        },
    }
    if traffic is not None:
        document["spec"]["traffic"] = traffic
    return json.dumps(document)


def manifest_list(documents: list[str]) -> str:
    """Several manifests in one."""
    items = [json.loads(document) for document in documents]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


class Load:
    """Requests without pause from some threads, until told to stop."""

    def __init__(self, instance: Instance, host: str, threads: int = 4, path: str = "/") -> None:
        self.instance, self.host, self.path = instance, host, path
        self.stop = threading.Event()
        self.failures: list[str] = []
        self.bodies: collections.Counter[bytes] = collections.Counter()
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.futures = [self.pool.submit(self.run) for _ in range(threads)]

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                status, body, _ = self.instance.request(self.host, self.path)
            except OSError as error:
                self.failures.append(repr(error))
                continue
            if status == 200:
                self.bodies[body.rsplit(b" ", 1)[-1]] += 1
            else:
                self.failures.append(f"{status} {body[:200]!r}")

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for future in self.futures:
            future.result()
        self.pool.shutdown()


def start_instance(data_dir: Path, home: Path, pod_cidr: str, *flags: str) -> Instance:
    """``knarr up`` on free ports."""
    http_port = free_port()
    running = Instance(data_dir, http_port, {**os.environ, "HOME": str(home)})
    running.knarr(
        "up", "--detach", "--http-port", str(http_port), "--api-port", str(free_port()),
        "--metrics-port", str(free_port()), "--pod-cidr", pod_cidr, *flags,
    )  # fmt: skip
    return running
