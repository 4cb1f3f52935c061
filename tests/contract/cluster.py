"""A Knarr server as a process of its own, with a fake node and gateway, for clients that speak to it from outside."""

import contextlib
import gzip
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml
from tests.harness import REPOSITORY, free_port, wait_for

from knarr.config import Settings, write_settings

POD_CIDR = "10.216.0.0/16"


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes
    warnings: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return self.headers.get("content-type", "")


def is_status(answer: Answer) -> bool:
    """Whether the body is a Status that says what is wrong."""
    try:
        document = answer.json
    except ValueError:
        return False
    return (
        isinstance(document, dict)
        and document.get("kind") == "Status"
        and document.get("apiVersion") == "v1"
        and document.get("status") == "Failure"
        and document.get("code") == answer.status
        and bool(document.get("message"))
    )


class Cluster:
    """Starts and ends the processes; speaks to the server over TLS with the administrator's token."""

    def __init__(self, *, nodes: bool = True) -> None:
        # Paths of Unix sockets are short: not below pytest's deep directories.
        self.directory = Path(tempfile.mkdtemp(prefix="knarr-c-"))
        self.settings = Settings(
            data_dir=str(self.directory),
            http_port=free_port(),
            api_port=free_port(),
            metrics_port=free_port(),
            pod_cidr=POD_CIDR,
        )
        self.home = self.directory / "home"
        self._nodes = nodes
        self._server: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        self._log = (self.directory / "server.log").open("ab")
        self._names = itertools.count(1)

    def __enter__(self) -> "Cluster":
        self.home.mkdir()
        self.settings.paths.run.mkdir(mode=0o700)
        write_settings(self.settings)
        self.start()
        if self._nodes:
            self._node = self._spawn("tests.contract.fakenode")
            assert self._node.stdout is not None
            assert self._node.stdout.readline() == b"ready\n", self.log()
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._node, self._server):
            if process is not None:
                _end(process)
        self._log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _spawn(self, module: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, "--settings", str(self.settings.paths.settings)],
            stdout=subprocess.PIPE if "fake" in module else self._log,
            stderr=self._log,
            cwd=REPOSITORY,
        )

    def start(self) -> None:
        """Start the server and wait until its controllers run."""
        self._server = self._spawn("knarr.server")
        wait_for(self._is_ready, "the server is ready", 60)

    def _is_ready(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, self.log()
        with contextlib.suppress(OSError):
            return self.request("GET", "/readyz").status == 200
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the server alone."""
        assert self._server is not None
        self._server.send_signal(number)
        self._server.wait(30)

    @property
    def alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def log(self) -> str:
        """The end of what the processes said."""
        self._log.flush()
        return (self.directory / "server.log").read_text(errors="replace")[-6000:]

    def resident_bytes(self) -> int:
        """The server's resident memory."""
        assert self._server is not None
        pages = Path(f"/proc/{self._server.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    # --- ways in --------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        return self.settings.paths.kubeconfig

    @property
    def host(self) -> str:
        return f"https://127.0.0.1:{self.settings.api_port}"

    @property
    def token(self) -> str:
        return yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"]

    @property
    def ca(self) -> Path:
        return self.settings.paths.pki / "ca.crt"

    @property
    def environment(self) -> dict[str, str]:
        """For programs: a home of their own and our kubeconfig."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "KUBECONFIG": str(self.kubeconfig),
        }

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of one's own."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return http.client.HTTPSConnection(
            "127.0.0.1", self.settings.api_port, timeout=70, context=context
        )

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; everything that comes back until the server closes or is silent for long."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with (
            socket.create_connection(("127.0.0.1", self.settings.api_port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            with contextlib.suppress(OSError):
                connection.sendall(data)
            received = b""
            with contextlib.suppress(OSError):
                while part := connection.recv(65536):
                    received += part
                    if _complete(received):
                        break
            return received

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
        authorized: bool = True,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            return send(
                connection,
                method,
                path + (f"?{urlencode(query)}" if query else ""),
                body,
                {
                    **({"Authorization": f"Bearer {self.token}"} if authorized else {}),
                    **(headers or {}),
                },
            )
        finally:
            connection.close()

    def watch(self, path: str, **query: str) -> "Lines":
        """An open watch, read event by event."""
        return Lines(self, f"{path}?{urlencode({'watch': 'true', **query})}")

    def run(
        self, *command: str, stdin: str | None = None, timeout_s: float = 90, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program against the server."""
        return subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**self.environment, **environment},
            cwd=self.home,
            check=False,
        )

    def call(self, *command: str, stdin: str | None = None, timeout_s: float = 90) -> str:
        """Run a program that must succeed; its output."""
        done = self.run(*command, stdin=stdin, timeout_s=timeout_s)
        assert done.returncode == 0, (
            f"{command}\n{done.stdout}\n{done.stderr}\n{self.log()[-2000:]}"
        )
        return done.stdout

    def namespace(self, prefix: str = "ns") -> str:
        """A new Namespace that has what every Namespace gets."""
        name = f"{prefix}-{next(self._names)}"
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        assert self.request("POST", "/api/v1/namespaces", document).status == 201
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_for(lambda: self.request("GET", account).status == 200, "the default ServiceAccount")
        return name


def _complete(received: bytes) -> bool:
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def send(
    connection: http.client.HTTPSConnection,
    method: str,
    target: str,
    body: Any,
    headers: dict[str, str],
) -> Answer:
    """One request on a connection that may be used again."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    values = {name.lower(): value for name, value in response.getheaders()}
    data = response.read()
    if values.get("content-encoding") == "gzip":
        data = gzip.decompress(data)
    return Answer(response.status, values, data, response.headers.get_all("Warning") or [])


class Lines:
    """The events of a watch."""

    def __init__(self, cluster: Cluster, target: str) -> None:
        self._connection = cluster.connect()
        self._connection.request(
            "GET", target, headers={"Authorization": f"Bearer {cluster.token}"}
        )
        self.response = self._connection.getresponse()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self.response.readline():
            yield json.loads(line)
