import asyncio
import datetime as dt
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from knarr.functions import packages
from knarr.functions.build import build_image
from knarr.functions.errors import BuildError
from knarr.functions.hostbase import Interpreter, plan_host_base, this_interpreter
from knarr.functions.packages import Installer, Target, cache_key, install_command, rewrite_shebang
from knarr.functions.plan import Requirements
from knarr.node.images.manifests import host_platform
from knarr.node.images.store import ImageStore

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
HELLO = Path(__file__).parents[3] / "examples" / "hello-python"


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images", durable=False)


async def test_the_example_builds_offline_into_a_runnable_image(store):
    record = await build_image(HELLO, store, name="hello-python", now=NOW)

    assert record.reference == f"knarr.local/hello-python:{record.digest[7:19]}"
    assert store.resolve("knarr.local/hello-python:latest").digest == record.digest
    assert record.config.entrypoint == ("/venv/bin/python3", "main.py")
    assert record.config.working_dir == "/app"
    assert record.config.user == "65532:65532"
    assert record.created == "2026-01-02T03:04:05Z"
    targets = {bind.target: bind.source for bind in record.host_binds}
    assert targets["/usr"] == "/usr"
    root = await store.layers(record)
    files = {
        str(path.relative_to(directory))
        for directory in root.lower_dirs
        for path in directory.rglob("*")
    }
    assert {"app/main.py", "etc/passwd", "venv/bin/python3", "tmp", "proc"} <= files
    interpreter = this_interpreter()
    assert f"app/__pycache__/main.{interpreter.cache_tag}.pyc" in files


async def test_the_same_source_gives_the_same_digest_whenever_it_is_built(store, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("print(1)")
    first = await build_image(source, store, name="x", now=NOW)
    os.utime(source / "main.py", (1, 1))
    again = await build_image(source, store, name="x", now=NOW + dt.timedelta(days=1))
    assert again.digest == first.digest
    (source / "main.py").write_text("print(2)")
    changed = await build_image(source, store, name="x", now=NOW + dt.timedelta(days=2))
    assert changed.digest != first.digest
    assert store.resolve("knarr.local/x:latest").digest == changed.digest
    assert store.resolve(first.reference).digest == first.digest


async def test_old_builds_lose_their_reference(store, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    for number in range(12):
        (source / "main.py").write_text(f"print({number})")
        await build_image(source, store, name="x", now=NOW + dt.timedelta(days=number))
    assert len([image for image in store.list() if image.reference]) == 11  # ten builds and latest


async def test_ignored_files_stay_out(store, tmp_path):
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    for name in ("main.py", "sub/data.log", "sub/keep.txt", ".env", "secret"):
        (source / name).write_text("print(1)")
    (source / ".dockerignore").write_text("**/*.log\nsecret\n")
    record = await build_image(source, store, name="x", now=NOW)
    app = (await store.layers(record)).lower_dirs[0] / "app"
    assert sorted(path.name for path in app.rglob("*") if path.is_file() and path.suffix != ".pyc") == [
        ".dockerignore", "keep.txt", "main.py"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["My App", "", "a:b", "a@sha256:00"])
async def test_a_bad_name_is_refused(store, name):
    with pytest.raises(BuildError, match="name"):
        await build_image(HELLO, store, name=name, now=NOW)


async def test_dependencies_are_installed_once_and_then_taken_from_the_cache(
    store, tmp_path, monkeypatch
):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import dep")
    (source / "requirements.txt").write_text("dep==1\n")
    installer = tmp_path / "installer"
    installer.write_text(
        "#!/bin/sh\nset -e\nwhile [ $1 != --target ]; do shift; done\nshift\n"
        f"echo run >> {tmp_path}/calls\nmkdir -p $1/bin $1/dep\n"
        "echo 'x = 1' > $1/dep/__init__.py\n"
        "printf '#!/old/bin/python\\nimport dep\\n' > $1/bin/tool\n"
    )
    installer.chmod(0o755)
    monkeypatch.setattr(packages, "find_installer", lambda: Installer("pip", (str(installer),)))

    told = []
    record = await build_image(source, store, name="x", now=NOW, progress=told.append)
    again = await build_image(source, store, name="x", now=NOW)

    assert again.digest == record.digest
    assert (tmp_path / "calls").read_text() == "run\n"
    assert len(record.layers) == 3
    deps = (await store.layers(record)).lower_dirs[1]
    version = this_interpreter().version
    assert (
        deps / f"venv/lib/python{version}/site-packages/dep/__init__.py"
    ).read_text() == "x = 1\n"
    assert (deps / "venv/bin/tool").read_text() == "#!/venv/bin/python3\nimport dep\n"
    assert (deps / "venv/bin/tool").stat().st_mode & 0o777 == 0o755
    assert "installing dependencies with pip" in [str(event) for event in told]
    await build_image(source, store, name="x", now=NOW, refresh=True)
    assert (tmp_path / "calls").read_text() == "run\nrun\n"


async def test_a_failing_installer_shows_its_last_lines(store, tmp_path, monkeypatch):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import dep")
    (source / "requirements.txt").write_text("dep==1\n")
    shell = ("/bin/sh", "-c", "echo no such package; exit 3")
    monkeypatch.setattr(packages, "find_installer", lambda: Installer("pip", shell))
    with pytest.raises(BuildError, match=r"exit code 3") as caught:
        await build_image(source, store, name="x", now=NOW)
    assert caught.value.details == "no such package"
    assert list(store.scratch.iterdir()) == []


def test_an_interpreter_outside_usr_is_bound_at_opt_python(tmp_path):
    (tmp_path / "usr").mkdir()
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "lib64").mkdir()
    (tmp_path / "etc/ssl/certs").mkdir(parents=True)
    home = Interpreter(
        prefix=Path("/srv/python"), executable=Path("/srv/python/bin/python3.11"), version="3.11",
        cache_tag="cpython-311", abi="x", shared=True,
    )  # fmt: skip
    base = plan_host_base(home, tmp_path)
    assert base.python == "/opt/python/bin/python3.11"
    assert base.links == (("bin", "usr/bin"),)
    assert [bind.target for bind in base.binds] == [
        "/usr",
        "/lib64",
        "/etc/ssl/certs",
        "/opt/python",
    ]
    assert "LD_LIBRARY_PATH=/opt/python/lib" in base.env
    system = Interpreter(
        prefix=Path("/usr"), executable=Path("/usr/bin/python3.11"), version="3.11",
        cache_tag="cpython-311", abi="x", shared=False,
    )  # fmt: skip
    assert plan_host_base(system, tmp_path).python == "/usr/bin/python3.11"
    assert len(plan_host_base(None, tmp_path).binds) == 3


def test_the_install_command_names_the_platform_of_a_foreign_base():
    wanted = Requirements((("requirements.txt", "x"),), "requirements.txt", ("uvicorn",))
    foreign = Target(
        "/deps", "/deps/bin", "/usr/bin/env python3", "3.12", foreign=("gnu", "m1", "m2")
    )
    pip = install_command(Installer("pip", ("pip", "install")), wanted, foreign, Path("/t"))
    assert pip == (
        "pip", "install", "--target", "/t", "--python-version", "3.12", "--only-binary", ":all:",
        "--platform", "m1", "--platform", "m2", "-r", "requirements.txt", "uvicorn",
    )  # fmt: skip
    uv = install_command(Installer("uv", ("uv",)), wanted, foreign, Path("/t"))
    assert uv[-5:] == ("--python-platform", "gnu", "-r", "requirements.txt", "uvicorn")


def test_local_requirements_are_not_cached():
    target = Target("/s", "/b", "/p", "3.11")
    cached = cache_key(Requirements((("r.txt", "flask\n"),), "r.txt"), target)
    assert len(cached) == 32
    assert cached != cache_key(Requirements((("r.txt", "flask\n"),), "r.txt", ("uvicorn",)), target)
    for line in ("-e .", "./lib", "../lib", "x @ file:///y", "/abs"):
        assert cache_key(Requirements((("r.txt", f"flask\n{line}\n"),), "r.txt"), target) == ""


def test_scripts_get_the_images_interpreter():
    assert rewrite_shebang(b"#!/a/bin/python3\nx\n", "/p") == b"#!/p\nx\n"
    long = b"#!/bin/sh\n'''exec' \"/very long/python\" \"$0\" \"$@\"\n' '''\nx\n"
    assert rewrite_shebang(long, "/p") == b"#!/p\nx\n"
    assert rewrite_shebang(b"#!/bin/sh\necho\n", "/p") == b"#!/bin/sh\necho\n"


def python_image(tmp_path, make_layer, env):
    """An OCI layout like python:3.12-slim."""
    layer = make_layer
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": host_platform().architecture,
            "os": "linux",
            "config": {"Env": env, "User": "1000", "Labels": {"a": "b"}, "Cmd": ["python3"]},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
        }
    ).encode()
    path = tmp_path / "base"
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(media_type, data):
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {
            "mediaType": media_type,
            "digest": "sha256:" + hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }

    manifest = {
        "schemaVersion": 2,
        "config": put("application/vnd.oci.image.config.v1+json", config),
        "layers": [put("application/vnd.oci.image.layer.v1.tar", layer)],
    }
    entry = put("application/vnd.oci.image.manifest.v1+json", json.dumps(manifest).encode())
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return path


def tar_with(*names):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return out.getvalue()


@pytest.mark.parametrize(
    ("file", "platform"),
    [("lib/ld-musl-x86_64.so.1", "musllinux_1_2_"), ("lib/libc.so", "manylinux_2_28_")],
)
async def test_a_folder_on_top_of_a_python_image(store, tmp_path, monkeypatch, file, platform):
    layout = python_image(
        tmp_path, tar_with(file), ["PATH=/usr/local/bin:/usr/bin", "PYTHON_VERSION=3.12.4"]
    )
    await store.load(layout, reference="python:3.12")
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import dep")
    (source / "requirements.txt").write_text("dep==1\n")
    script = f'echo "$@" > {tmp_path}/argv; while [ $1 != --target ]; do shift; done; echo x=1 > $2/dep.py'
    monkeypatch.setattr(
        packages, "find_installer", lambda: Installer("pip", ("/bin/sh", "-c", script, "sh"))
    )

    record = await build_image(source, store, name="x", now=NOW, base="python:3.12")

    assert f"--platform {platform}" in (tmp_path / "argv").read_text()
    assert "--python-version 3.12 --only-binary :all:" in (tmp_path / "argv").read_text()
    assert record.host_binds == ()
    assert record.config.entrypoint == ("python3", "main.py")
    assert record.config.cmd == ()
    assert record.config.user == "1000"
    assert record.config.labels == {"a": "b", "dev.knarr.base": "python:3.12"}
    env = dict(item.split("=", 1) for item in record.config.env)
    assert env["PATH"] == "/deps/bin:/usr/local/bin:/usr/bin"
    assert env["PYTHONPATH"] == "/deps"
    root = await store.layers(record)
    assert len(root.lower_dirs) in {1, 3}
    files = {path.name for low in root.lower_dirs for path in low.rglob("*") if path.is_file()}
    assert {"main.py", "dep.py"} <= files
    assert not any(name.endswith(".pyc") for name in files)


async def test_dependencies_need_to_know_the_python_of_the_base(store, tmp_path):
    await store.load(python_image(tmp_path, tar_with("x"), []), reference="thing")
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import dep")
    assert (await build_image(source, store, name="x", now=NOW, base="thing")).config.entrypoint
    (source / "requirements.txt").write_text("dep==1\n")
    with pytest.raises(BuildError, match="PYTHON_VERSION"):
        await build_image(source, store, name="x", now=NOW, base="thing")


async def test_a_binary_needs_no_interpreter(store, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (source / "hello").write_bytes(Path("/bin/true").resolve().read_bytes())
    (source / "hello").chmod(0o700)
    record = await build_image(source, store, name="x", now=NOW)
    assert record.config.entrypoint == ("/app/hello",)
    assert not any(bind.target == "/opt/python" for bind in record.host_binds)
    app = (await store.layers(record)).lower_dirs[0] / "app" / "hello"
    assert app.exists()


async def test_a_cancelled_build_ends_the_installer_and_leaves_nothing(
    store, tmp_path, monkeypatch
):
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.py").write_text("import dep")
    (source / "requirements.txt").write_text("dep==1\n")
    argv = ("/bin/sh", "-c", "echo started $$; exec sleep 1000")
    monkeypatch.setattr(packages, "find_installer", lambda: Installer("pip", argv))
    started = asyncio.Event()
    pids = []

    def watch(event):
        if event.message.startswith("started"):
            pids.append(int(event.message.split()[1]))
            started.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(build_image(source, store, name="x", now=NOW, progress=watch))
        await started.wait()
        task.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert list(store.scratch.iterdir()) == []
