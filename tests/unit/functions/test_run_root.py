"""The example really runs, on a root file system of the store, under runc, as two users."""

import contextlib
import datetime as dt
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from knarr.functions.build import build_image
from knarr.node.images.store import ImageStore

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("runc") is None, reason="needs root and runc"
    ),
]
EXAMPLES = Path(__file__).parents[3] / "examples"
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bundle(path, record, root, uid, env):
    """config.json with host networking and a read-only overlay root, already mounted."""
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "mode=755"],
        },
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
    ]
    mounts += [
        {
            "destination": b.target,
            "type": "bind",
            "source": b.source,
            "options": ["rbind", "ro", "nosuid"],
        }
        for b in root.binds
    ]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": uid},
            "args": [*record.config.entrypoint, *record.config.cmd],
            "env": [*record.config.env, *env],
            "cwd": record.config.working_dir,
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": str(path / "root"), "readonly": True},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            "cgroupsPath": f"/knarr-test-{os.getpid()}-{uid}",
        },
    }
    (path / "config.json").write_text(json.dumps(config))


@contextlib.contextmanager
def running(tmp_path, record, root, uid, env):
    path = tmp_path / f"bundle-{uid}"
    (path / "root").mkdir(parents=True)
    lower = ":".join(str(directory) for directory in root.lower_dirs)
    name = f"knarr-test-{os.getpid()}-{uid}"
    # A lone lower directory needs a second one or an upper one.
    empty = path / "empty"
    empty.mkdir()
    options = f"ro,lowerdir={lower}:{empty}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, path / "root"], check=True)
    try:
        bundle(path, record, root, uid, env)
        runc = ["runc", "--root", str(tmp_path / "runc")]
        with (path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*runc, "run", "--bundle", str(path), name], stdout=log, stderr=log
            )
        try:
            yield process, path / "log"
        finally:
            subprocess.run([*runc, "kill", name, "KILL"], check=False, capture_output=True)
            process.wait(timeout=20)
            subprocess.run([*runc, "delete", "--force", name], check=False, capture_output=True)
    finally:
        subprocess.run(["umount", path / "root"], check=True)


def get(port, process, log):
    """The first answer; waits for the port as long as the container lives."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except ConnectionError:
            assert process.poll() is None, log.read_text()
        finally:
            connection.close()
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("uid", [65532, 0])
async def test_the_example_answers_inside_a_container(tmp_path, uid):
    store = ImageStore(tmp_path / "images", durable=False)
    record = await build_image(EXAMPLES / "hello-python", store, name="hello", now=NOW)
    root = await store.layers(record)
    port = free_port()
    env = [f"PORT={port}", "TARGET=Runc"]
    with running(tmp_path, record, root, uid, env) as (process, log):
        assert get(port, process, log) == "Hello Runc!\n"


async def test_the_containers_python_sees_its_own_packages_only(tmp_path):
    store = ImageStore(tmp_path / "images", durable=False)
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text(
        "import sys, os, ssl, sqlite3, ctypes, zoneinfo, pwd\n"
        "print(sys.prefix, sys.version_info[:2] > (3,), pwd.getpwuid(os.getuid()).pw_name)\n"
        "assert not [p for p in sys.path if 'site-packages' in p and not p.startswith('/venv')], sys.path\n"
        "assert ssl.create_default_context().get_ca_certs() is not None\n"
        "import subprocess\n"
        "print(subprocess.run(['python3', '-c', 'import sys; print(sys.prefix)'],"
        " capture_output=True, text=True).stdout.strip())\n"
    )
    record = await build_image(source, store, name="x", now=NOW)
    root = await store.layers(record)
    with running(tmp_path, record, root, 65532, []) as (process, log):
        process.wait(timeout=30)
        assert log.read_text().splitlines() == ["/venv True nonroot", "/venv"]
