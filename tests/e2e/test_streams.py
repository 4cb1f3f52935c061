"""Exec, attach, port-forward and logs: kubectl against real containers, in both of its protocols."""

import asyncio
import base64
import concurrent.futures
import contextlib
import fcntl
import hashlib
import http.client
import io
import json
import os
import pty
import re
import secrets
import select
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.harness import KNARR, Instance, require_root, service, start_instance, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(180)]

IMAGE = "knarr.local/test/shell:1"
POD_CIDR = "10.241.0.0/16"
_APPLETS = (
    "sh", "cat", "echo", "sleep", "ls", "id", "httpd", "nc", "dd", "tar", "stty", "env", "head", "ps", "tty",
    "seq", "sha256sum", "true", "yes", "mkdir", "wc", "kill",
)  # fmt: skip
PROTOCOLS = pytest.mark.parametrize("websockets", [True, False], ids=["websocket", "spdy"])


def make_image(path: Path) -> None:
    def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **attributes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o777
        for key, value in attributes.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(data))

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for name in ("bin", "etc", "www", "tmp"):
            add(layer, name, type=tarfile.DIRTYPE)
        add(layer, "bin/busybox", Path("/bin/busybox").read_bytes())
        for applet in _APPLETS:
            add(layer, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        add(layer, "etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n")
        add(layer, "www/index.html", b"hello\n")
    digest = f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    config = {
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }  # fmt: skip
    manifest = [{"Config": "c.json", "RepoTags": [IMAGE], "Layers": ["l.tar"]}]
    with tarfile.open(path, "w") as archive:
        add(archive, "c.json", json.dumps(config).encode())
        add(archive, "l.tar", out.getvalue())
        add(archive, "manifest.json", json.dumps(manifest).encode())


def container(name: str = "main", script: str = "", **more) -> dict:
    command = {"command": ["sh", "-c", script]} if script else {}
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", **command, **more}


def pod(name: str, *containers: dict, **spec) -> dict:
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }  # fmt: skip


SERVER = "httpd -p 8080 -h /www; echo started; while true; do sleep 3600; done"


@pytest.fixture(scope="module")
def knarr(tmp_path_factory) -> Iterator[Instance]:
    require_root()
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox")
    data_dir = tmp_path_factory.mktemp("streams")
    running = start_instance(data_dir, tmp_path_factory.mktemp("home"), POD_CIDR)
    try:
        make_image(data_dir / "shell.tar")
        running.knarr("image", "load", str(data_dir / "shell.tar"))
        apply(running, pod("box", container(script=SERVER)))
        ready(running, "box")
        yield running
    finally:
        running.knarr("down", check=False)


def apply(knarr: Instance, *documents: dict) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    knarr.kubectl("apply", "-f", "-", stdin=json.dumps(items))


def ready(knarr: Instance, name: str) -> None:
    knarr.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def environment(knarr: Instance, websockets: bool = True) -> dict[str, str]:
    wanted = "true" if websockets else "false"
    return {
        **knarr.environment,
        "KUBECONFIG": str(knarr.data_dir / "kubeconfig"),
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": wanted,
        "KUBECTL_PORT_FORWARD_WEBSOCKETS": wanted,
    }


def kubectl(
    knarr: Instance,
    *arguments: str,
    stdin: bytes = b"",
    websockets: bool = True,
    timeout: float = 60,
) -> tuple[int, bytes, str]:
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, timeout=timeout, check=False,
        env=environment(knarr, websockets),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.decode()


def processes(knarr: Instance, name: str = "box") -> str:
    return kubectl(knarr, "exec", name, "--", "ps")[1].decode()


# --- exec ---------------------------------------------------------------------------------------------


@PROTOCOLS
def test_streams_are_apart_and_the_exit_code_arrives(knarr, websockets):
    script = "echo out; echo err >&2; exit 3"
    code, out, err = kubectl(knarr, "exec", "box", "--", "sh", "-c", script, websockets=websockets)
    assert (code, out) == (3, b"out\n")
    assert err == "err\ncommand terminated with exit code 3\n"
    code, out, _ = kubectl(
        knarr, "exec", "box", "--", "sh", "-c", "kill -9 $$", websockets=websockets
    )
    assert code == 137


@PROTOCOLS
def test_ten_megabytes_there_and_back(knarr, websockets):
    data = secrets.token_bytes(10_000_000)
    code, out, _ = kubectl(
        knarr, "exec", "-i", "box", "--", "cat", stdin=data, websockets=websockets
    )
    assert code == 0
    assert out == data
    _, out, _ = kubectl(knarr, "exec", "-i", "box", "--", "wc", "-c", stdin=data[:5_000_000])
    assert out.strip() == b"5000000"


def test_output_can_be_reopened_and_children_do_not_hold_the_end(knarr):
    script = "echo one > /dev/stdout; echo two > /dev/stderr; sleep 3600 & echo three"
    begun = time.monotonic()
    code, out, err = kubectl(knarr, "exec", "box", "--", "sh", "-c", script)
    assert (code, out, err) == (0, b"one\nthree\n", "two\n")
    assert time.monotonic() - begun < 30


def test_commands_run_as_the_containers_user_with_its_environment(knarr):
    security = {"runAsUser": 1000, "runAsGroup": 1000}
    one = container(script="sleep 3600", securityContext=security, workingDir="/tmp")
    apply(knarr, pod("user", one | {"env": [{"name": "OWN", "value": "yes"}]}))
    ready(knarr, "user")
    script = "id -u; echo $OWN; ls -d $PWD; echo hi > /dev/stderr"
    code, out, err = kubectl(knarr, "exec", "user", "--", "sh", "-c", script)
    assert (code, out, err) == (0, b"1000\nyes\n/tmp\n", "hi\n")
    knarr.kubectl("delete", "pod", "user")


def test_twenty_commands_at_once(knarr):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        outs = list(
            pool.map(lambda n: kubectl(knarr, "exec", "box", "--", "echo", str(n)), range(20))
        )
    expected = [(0, f"{number}\n".encode(), "") for number in range(20)]
    assert [one for one in zip(outs, expected, strict=True) if one[0] != one[1]] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("box", "--", "none"), 'exec: "none": executable file not found in $PATH'),
        (("box", "-c", "x", "--", "ls"), "container x is not valid for pod box"),
        (("none", "--", "ls"), 'pods "none" not found'),
    ],
)
def test_what_cannot_run_says_why(knarr, arguments, message):
    code, _, err = kubectl(knarr, "exec", *arguments)
    assert code == 1
    assert message in err


def test_a_container_that_does_not_run(knarr):
    waiting = container("second", "sleep 3600", image="knarr.local/test/none:1")
    apply(knarr, pod("half", container(script="sleep 3600"), waiting))
    wait_for(
        lambda: kubectl(knarr, "exec", "half", "-c", "main", "--", "true")[0] == 0, "main runs"
    )
    code, _, err = kubectl(knarr, "exec", "half", "-c", "second", "--", "ls")
    assert code == 1
    assert 'container not found ("second")' in err
    code, _, err = kubectl(knarr, "exec", "half", "--", "true")
    assert code == 0
    assert 'Defaulted container "main" out of: main, second' in err
    knarr.kubectl("delete", "pod", "half")


def test_ephemeral_containers_are_refused_clearly(knarr):
    code, _, err = kubectl(knarr, "debug", "box", "--image", IMAGE, "--", "ls")
    assert code == 1
    assert "ephemeral containers are disabled for this cluster" in err


@PROTOCOLS
def test_files_are_copied(knarr, websockets, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(secrets.token_bytes(3_000_000))
    assert kubectl(knarr, "cp", str(source), "box:/tmp/copy", websockets=websockets)[0] == 0
    assert (
        kubectl(knarr, "cp", "box:/tmp/copy", str(tmp_path / "back"), websockets=websockets)[0] == 0
    )
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


DISCONNECTS = {
    "quiet": ["exec", "box", "--", "sleep", "7001"],
    "hangup-ignored": [
        "exec",
        "-i",
        "box",
        "--",
        "sh",
        "-c",
        "trap '' HUP; sleep 7001; sleep 7001",
    ],
    "input-full": ["exec", "-i", "box", "--", "sleep", "7001"],
    "output-full": ["exec", "box", "--", "sh", "-c", "sleep 7001 & yes"],
}


@PROTOCOLS
@pytest.mark.parametrize("kind", DISCONNECTS)
def test_a_client_that_dies_takes_its_command_along(knarr, kind, websockets):
    with open("/dev/zero", "rb") as zeros:
        client = subprocess.Popen(
            ["kubectl", *DISCONNECTS[kind]], stdin=zeros, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment(knarr, websockets),
        )  # fmt: skip
    try:
        wait_for(lambda: "sleep 7001" in processes(knarr), "the command runs")
    finally:
        client.kill()
        client.wait()
        client.stdout.close()
    wait_for(lambda: "sleep 7001" not in processes(knarr), "the command is gone", 30)
    assert " yes" not in processes(knarr)


# --- terminals ----------------------------------------------------------------------------------------


class Terminal:
    """A program in a terminal, driven by what it shows."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.execvpe(argv[0], argv, env)
        self.resize(80, 24)
        self.shown = ""
        self._seen = 0

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def until(self, pattern: str, timeout_s: float = 30) -> re.Match[str]:
        """Wait until the pattern shows behind what was waited for last."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = re.compile(pattern).search(self.shown, self._seen)
            if found:
                self._seen = found.end()
                return found
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} does not show: {self.shown!r}")
            try:
                self.shown += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {pattern!r}: {self.shown!r}") from None

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                self.shown += data.decode(errors="replace")
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def converse(terminal: Terminal) -> int:
    """What a shell in a terminal must be able to do; its exit code."""
    terminal.until(r"/ # ")
    terminal.type("tty; test -t 0 && test -t 1 && test -t 2 && echo yes-a-tty\n")
    terminal.until(r"/dev/pts/\d+\r\nyes-a-tty\r\n")
    deadline = time.monotonic() + 30
    terminal.resize(132, 50)
    while True:
        terminal.type("stty size\n")
        if terminal.until(r"\n(\d+ \d+)\r\n")[1] == "50 132":
            break
        assert time.monotonic() < deadline
    terminal.type("sh -c 'echo asleep; exec sleep 3600'\n")
    terminal.until(r"\nasleep\r\n")
    terminal.type("\x03")
    terminal.until(r"/ # ")
    terminal.type("exit 7\n")
    return terminal.end()


@PROTOCOLS
def test_a_shell_in_a_terminal(knarr, websockets):
    env = environment(knarr, websockets)
    terminal = Terminal(["kubectl", "exec", "-it", "box", "--", "sh"], env)
    assert converse(terminal) == 7


@PROTOCOLS
def test_run_with_a_terminal(knarr, websockets):
    argv = shlex.split(f"kubectl run shell -it --rm --restart=Never --image={IMAGE} -- sh")
    terminal = Terminal(argv, environment(knarr, websockets))
    terminal.until("press(ing)? enter|/ # ")
    terminal.type("\r")
    assert converse(terminal) == 7
    assert 'pod "shell" deleted' in terminal.shown
    assert not knarr.api("GET", "/api/v1/namespaces/default/pods?labelSelector=run=shell")["items"]


def test_run_with_an_input(knarr):
    code, out, _ = kubectl(
        knarr, "run", "pipe", "-i", "--rm", "--restart=Never", f"--image={IMAGE}", "--", "cat",
        stdin=b"through and back\n",
    )  # fmt: skip
    assert code == 0
    assert out.startswith(b"through and back\n")


def test_knarr_exec(knarr):
    argv = [*KNARR, "--data-dir", str(knarr.data_dir), "exec"]
    done = subprocess.run(
        [*argv, "-i", "box", "--", "sh", "-c", "cat; echo err >&2; exit 4"], input=b"in",
        capture_output=True, env=knarr.environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (4, b"in", b"err\n")
    terminal = Terminal([*argv, "-it", "box", "--", "sh"], knarr.environment)
    assert converse(terminal) == 7


# --- attach -------------------------------------------------------------------------------------------


@PROTOCOLS
def test_attached_clients_see_what_comes(knarr, websockets):
    script = "i=0; while true; do i=$((i+1)); echo out-$i; echo err-$i >&2; sleep 0.2; done"
    apply(knarr, pod("ticker", container(script=script)))
    ready(knarr, "ticker")
    client = subprocess.Popen(
        ["kubectl", "attach", "ticker"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(knarr, websockets),
    )  # fmt: skip
    outs = [client.stdout.readline() for _ in range(3)]
    knarr.kubectl("delete", "pod", "ticker")
    rest, errs = client.communicate(timeout=30)
    numbers = [int(line.split(b"-")[1]) for line in (*outs, *rest.splitlines())]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert f"err-{numbers[0] + 1}" in errs.decode()
    assert client.returncode == 0


def test_terminals_and_inputs_outlive_the_agent(knarr):
    shell = container(stdin=True, tty=True) | {"command": ["sh"]}
    once = container(stdin=True, stdinOnce=True) | {"command": ["cat"]}
    apply(
        knarr, pod("shell", shell, restartPolicy="Never"), pod("once", once, restartPolicy="Never")
    )
    ready(knarr, "shell")
    ready(knarr, "once")
    orphan = ["kubectl", "exec", "box", "--", "sh", "-c", "sleep 7002; sleep 7002"]
    client = subprocess.Popen(orphan, stderr=subprocess.PIPE, env=environment(knarr))
    wait_for(lambda: "sleep 7002" in processes(knarr), "the command runs")
    before = knarr.pid("node")
    os.kill(before, signal.SIGKILL)
    assert (
        "the connection to the node agent broke off" in client.communicate(timeout=30)[1].decode()
    )
    assert client.returncode == 1
    wait_for(lambda: knarr.pid("node") != before and knarr.status_ok(), "the agent is back")
    wait_for(lambda: kubectl(knarr, "exec", "shell", "--", "true")[0] == 0, "pods are known again")
    assert "sleep 7002" not in processes(knarr)
    terminal = Terminal(["kubectl", "attach", "-it", "shell"], environment(knarr))
    terminal.until("press(ing)? enter|/ # ")
    terminal.type("\r")
    assert converse(terminal) == 0
    code, out, _ = kubectl(knarr, "attach", "-i", "once", stdin=b"typed\n")
    assert (code, out) == (0, b"typed\n")
    codes = {}

    def ended() -> bool:
        for name in ("shell", "once"):
            state = knarr.get("pod", name)["status"]["containerStatuses"][0]["state"]
            codes[name] = state.get("terminated", {}).get("exitCode")
        return None not in codes.values()

    wait_for(ended, "both have ended")
    assert codes == {"shell": 7, "once": 0}
    assert knarr.kubectl("logs", "once") == "typed\n"
    knarr.kubectl("delete", "pod", "shell", "once")


# --- port-forward -------------------------------------------------------------------------------------


@contextlib.contextmanager
def forwarded(knarr: Instance, *arguments: str, websockets: bool = True) -> Iterator[list[int]]:
    """``kubectl port-forward`` with local ports of its choice."""
    client = subprocess.Popen(
        ["kubectl", "port-forward", "--address=127.0.0.1", *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env=environment(knarr, websockets),
    )  # fmt: skip
    ports: list[int] = []
    wanted = len(arguments) - 1
    try:
        while len(ports) < wanted:
            line = client.stdout.readline()
            assert line, "kubectl ended"
            found = re.search(r"127\.0\.0\.1:(\d+) ->", line)
            if found:
                ports.append(int(found[1]))
        yield ports
    finally:
        client.terminate()
        forwarded.output = client.communicate(timeout=30)[0]


def fetch(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


@PROTOCOLS
def test_a_hundred_requests_and_twenty_at_once(knarr, websockets):
    with forwarded(knarr, "pod/box", ":8080", websockets=websockets) as (port,):
        assert {fetch(port) for _ in range(100)} == {b"hello\n"}
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert list(pool.map(fetch, [port] * 20)) == [b"hello\n"] * 20


@PROTOCOLS
def test_bulk_and_half_closes(knarr, websockets):
    script = "while true; do nc -l -p 7777 -e sha256sum; done"
    apply(knarr, pod("digest", container(script=script)))
    ready(knarr, "digest")
    data = secrets.token_bytes(4_000_000)
    with forwarded(knarr, "pod/digest", ":7777", websockets=websockets) as (port,):
        got = b""
        deadline = time.monotonic() + 30
        while not got and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError), socket.create_connection(
                ("127.0.0.1", port), timeout=30
            ) as connection:  # fmt: skip
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                got = connection.recv(1000)
    assert got.split()[0].decode() == hashlib.sha256(data).hexdigest()
    knarr.kubectl("delete", "pod", "digest")


@PROTOCOLS
def test_a_closed_port_says_so(knarr, websockets):
    broken = contextlib.suppress(OSError, http.client.HTTPException)
    with forwarded(knarr, "pod/box", ":9999", websockets=websockets) as (port,), broken:
        fetch(port)
    assert "error forwarding port 9999 to pod box" in forwarded.output
    assert "connection refused" in forwarded.output


def test_services_and_deployments_are_forwarded_to(knarr):
    labels = {"app": "web"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container(script=SERVER)]}},
        },
    }  # fmt: skip
    core_service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }  # fmt: skip
    apply(knarr, deployment, core_service)
    knarr.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    for target, port in (("deployment/web", ":8080"), ("svc/web", ":80")):
        with forwarded(knarr, target, port) as (local,):
            assert fetch(local) == b"hello\n"
    knarr.kubectl("delete", "deployment/web", "service/web")


# --- other clients ------------------------------------------------------------------------------------


async def _channels_of_a_port(knarr: Instance) -> bytes:
    connector = aiohttp.UnixConnector(str(knarr.data_dir / "run" / "api.sock"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(
            "http://api/api/v1/namespaces/default/pods/box/portforward?ports=8080",
            protocols=["v4.channel.k8s.io"],
        ) as connection,
    ):
        assert await connection.receive_bytes() == b"\0" + struct.pack("<H", 8080)
        assert await connection.receive_bytes() == b"\1" + struct.pack("<H", 8080)
        await connection.send_bytes(b"\0GET / HTTP/1.0\r\n\r\n")
        answer = b""
        async for message in connection:
            assert message.data[:1] == b"\0"
            answer += message.data[1:]
        return answer


def test_ports_over_channels_as_python_clients_do_it(knarr):
    answer = asyncio.run(_channels_of_a_port(knarr))
    assert answer.endswith(b"\r\n\r\nhello\n")


def test_a_foreign_page_gets_no_session(knarr):
    config = json.loads(knarr.kubectl("config", "view", "--raw", "-o", "json"))
    server = config["clusters"][0]["cluster"]["server"]
    token = config["users"][0]["user"].get("token", "")

    def ask(**changed: str) -> int:
        headers = {
            "Authorization": f"Bearer {token}", "Connection": "Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
            "Sec-WebSocket-Key": base64.b64encode(b"x" * 16).decode(),
        }  # fmt: skip
        connection = http.client.HTTPSConnection(
            server.removeprefix("https://"), timeout=30, context=ssl._create_unverified_context()
        )
        try:
            target = "/api/v1/namespaces/default/pods/box/exec?command=true&stdout=1"
            connection.request("GET", target, headers=headers | changed)
            return connection.getresponse().status
        finally:
            connection.close()

    assert ask() == (101 if token else 401)
    assert ask(Origin="https://evil.example") == 403
    assert ask(Host="evil.example") == 403


# --- replicas of Services -----------------------------------------------------------------------------


def test_replicas_of_services(knarr):
    manifest = json.loads(
        service("web", IMAGE, annotations={"autoscaling.knative.dev/min-scale": "1"})
    )
    spec = manifest["spec"]["template"]["spec"]["containers"][0]
    spec |= {
        "command": ["sh", "-c", "httpd -f -p $PORT -h /www"], "imagePullPolicy": "Never",
    }  # fmt: skip
    knarr.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    knarr.wait_ready("web")
    assert knarr.knarr("exec", "web", "--", "echo", "inside") == "inside\n"
    (replica,) = knarr.pods("web")
    with forwarded(knarr, f"pod/{replica['metadata']['name']}", ":8080") as (port,):
        assert fetch(port) == b"hello\n"
    knarr.kubectl("delete", "ksvc", "web")


# --- logs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def talkers(knarr) -> Instance:
    script = "for i in 1 2 3 4 5; do echo $NAME-out-$i; echo $NAME-err-$i >&2; done; sleep 3600"
    for number in (1, 2):
        containers = [
            container(name, script, env=[{"name": "NAME", "value": f"{name}{number}"}])
            for name in ("a", "b")
        ]
        one = pod(f"talker-{number}", *containers)
        one["metadata"]["labels"] = {"app": "talker"}
        apply(knarr, one)
        ready(knarr, f"talker-{number}")
    crasher = container(script="echo run; test -e /tmp/x && sleep 3600; exit 1")
    apply(knarr, pod("crasher", crasher))
    wait_for(
        lambda: knarr.get("pod", "crasher")["status"]["containerStatuses"][0]["restartCount"],
        "a restart",
    )
    return knarr


def logs(knarr: Instance, *arguments: str) -> list[str]:
    return knarr.kubectl("logs", *arguments).splitlines()


def test_options_of_logs(talkers):
    one = ("talker-1", "-c", "a")
    assert len(logs(talkers, *one)) == 10
    assert logs(talkers, *one, "--tail=2") == logs(talkers, *one)[-2:]
    assert len(logs(talkers, *one, "--since=1h")) == 10
    future = "2100-01-01T00:00:00Z"
    assert logs(talkers, *one, f"--since-time={future}") == []
    assert "".join(logs(talkers, *one, "--limit-bytes=5")) in ("a1-ou", "a1-er")
    stamped = logs(talkers, *one, "--timestamps", "--tail=1")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z a1-(out|err)-5", stamped)
    assert len(logs(talkers, *one, "--insecure-skip-tls-verify-backend")) == 10


def test_logs_of_several(talkers):
    assert len(logs(talkers, "talker-1", "--all-containers")) == 20
    prefixed = logs(talkers, "-l", "app=talker", "--all-containers", "--prefix", "--tail=-1")
    assert len(prefixed) == 40
    assert {line.split(" ")[0] for line in prefixed} == {
        f"[pod/talker-{number}/{name}]" for number in (1, 2) for name in ("a", "b")
    }
    _, _, err = kubectl(
        talkers, "logs", "-f", "-l", "app=talker", "--all-containers", "--max-log-requests=3"
    )
    assert "maximum allowed concurrency is 3" in err


def test_logs_of_the_run_before(talkers):
    assert logs(talkers, "crasher", "--previous") == ["run"]
    code, _, err = kubectl(talkers, "logs", "talker-1", "-c", "a", "--previous")
    assert code == 1
    assert 'previous terminated container "a" in pod "talker-1" not found' in err


def test_logs_that_are_followed(talkers):
    apply(talkers, pod("counter", container(script="for i in $(seq 30); do echo $i; sleep 0.05; done"),
                       restartPolicy="Never"))  # fmt: skip
    wait_for(lambda: kubectl(talkers, "logs", "counter")[0] == 0, "a first line")
    assert logs(talkers, "counter", "-f") == [str(number) for number in range(1, 31)]
    talkers.kubectl("delete", "pod", "counter")


def test_logs_of_one_stream(talkers):
    raw = talkers.kubectl(
        "get",
        "--raw",
        "/api/v1/namespaces/default/pods/talker-1/log?container=a&stream=Stderr&tailLines=2",
    )
    assert raw == "a1-err-4\na1-err-5\n"
