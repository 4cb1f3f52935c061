"""What a container finds inside: identity, limits, files, network, and what it cannot reach."""

import pytest
from tests.e2e.nodekit import Node, ready, running_node, terminated, until

from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.pod import POD
from knarr.resources.core.secret import SECRET, Secret

pytestmark = pytest.mark.root

NEVER = {"restartPolicy": "Never"}


async def run_to_end(node: Node, name: str, command: str, **container) -> str:
    """The output of a Pod that runs once."""
    spec = {**NEVER, **container.pop("pod_spec", {})}
    await node.create(name, command, pod_spec=spec, **container)
    await node.wait_pod(name, terminated, f"{name} ended")
    return await node.logs(name)


async def test_the_runtime_contract():
    async with running_node() as node:
        output = await run_to_end(
            node, "contract",
            "id; cat /proc/self/status; cat /sys/fs/cgroup/memory/memory.limit_in_bytes || "
            "cat /sys/fs/cgroup/memory.max; ls -l /proc/self/fd; touch /tmp/x && echo tmp-ok;"
            "echo 1 > /proc/sys/vm/drop_caches || echo sysctl-ro; ls /dev; cat /etc/hosts /etc/resolv.conf;"
            "hostname; cat /etc/hostname; echo arg=$0 $FROM_IMAGE $BOTH; mkdir /sys/fs/cgroup/memory/x || echo cg-ro;"
            "ls -l /proc/self/ns; cat /proc/self/uid_map",
            resources={"limits": {"memory": "64Mi", "cpu": "250m"}},
            env=[{"name": "A", "value": "1"}, {"name": "BOTH", "value": "$(A)-$(NOPE)-$$(A)"}],
            securityContext={"runAsUser": 1000},
        )  # fmt: skip
        assert "uid=1000(app) gid=1000(app)" in output
        assert "CapEff:\t0000000000000000" in output
        assert "CapBnd:\t0000000000000000" in output
        assert "NoNewPrivs:\t1" in output
        assert "Seccomp:\t2" in output
        assert "67108864" in output
        assert "tmp-ok" in output
        assert "sysctl-ro" in output
        assert "cg-ro" in output
        assert "console" not in output
        assert "search default.svc.cluster.local svc.cluster.local cluster.local" in output
        assert "contract\ncontract\n" in output
        assert "yes 1-$(NOPE)-$(A)" in output
        assert "0 -> /dev/null" in output
        maps = output.split("\n")[-2].split()
        assert int(maps[1]) >= 65536
        assert maps[2] == "65536"


async def test_volumes_follow_their_objects_and_secrets_are_not_on_disk():
    async with running_node() as node:
        meta = ObjectMeta(name="settings", namespace="default")
        await node.client.create(
            CONFIG_MAP, ConfigMap(metadata=meta, data={"a.txt": "one", "b": "B"})
        )
        secret = Secret(
            metadata=ObjectMeta(name="keys", namespace="default"), data={"token": b"canary-4711"}
        )
        await node.client.create(SECRET, secret)
        volumes = [
            {"name": "cfg", "configMap": {"name": "settings"}},
            {"name": "sec", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/b"}]}},
                {"secret": {"name": "keys"}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            ]}},
        ]  # fmt: skip
        mounts = [
            {"name": "cfg", "mountPath": "/cfg", "readOnly": True},
            {"name": "sec", "mountPath": "/sec"},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "mem", "mountPath": "/mem"},
            {"name": "all", "mountPath": "/all"},
            {"name": "cfg", "mountPath": "/one/file", "subPath": "a.txt"},
            {"name": "scratch", "mountPath": "/two", "subPath": "sub/dir"},
        ]
        await node.create(
            "vol",
            "cat /cfg/a.txt /sec/token /all/deep/b /all/token /all/name /one/file; echo;"
            "echo w > /scratch/w && echo w > /mem/w && echo w > /two/w && ls /scratch/sub/dir;"
            "echo w > /cfg/w || echo cfg-ro; echo w > /all/w || echo all-ro; ls -la /sec/..data/;"
            "dd if=/dev/zero of=/mem/big bs=1M count=2 || echo mem-full;"
            "while [ $(cat /cfg/a.txt) = one ]; do sleep 0.05; done; cat /cfg/a.txt; echo; exec sleep 1000",
            volumeMounts=mounts, pod_spec={"volumes": volumes},
            env=[
                {"name": "V", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "b"}}},
            ],
        )  # fmt: skip
        await node.wait_pod("vol", ready, "Ready")

        async def said(text: str) -> bool:
            return text in await node.logs("vol")

        await until(lambda: said("mem-full"), "the script got that far")
        output = await node.logs("vol")
        assert "onecanary-4711Bcanary-4711volone\n" in output
        assert "w\n" in output
        assert "cfg-ro" in output
        assert "all-ro" in output
        assert "-r--------" in output
        await node.client.patch(CONFIG_MAP, Key("default", "settings"), {"data": {"a.txt": "two"}})
        await until(lambda: said("two"), "the new version is seen")
        found = node.command(
            "grep", "-r", "-l", "--exclude-dir=logs", "canary-4711", str(node.root / "node")
        )
        assert found.stdout == ""


async def test_a_missing_configmap_is_told_and_waited_for():
    async with running_node() as node:
        await node.create(
            "waits", "echo $V; exec sleep 1000",
            env=[{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}],
        )  # fmt: skip

        def refused(pod):
            statuses = pod.status.container_statuses if pod.status else ()
            waiting = statuses[0].state.waiting if statuses else None
            return waiting is not None and waiting.reason == "CreateContainerConfigError"

        pod = await node.wait_pod("waits", refused, "the reason is shown")
        assert (
            pod.status.container_statuses[0].state.waiting.message == 'configmap "late" not found'
        )
        meta = ObjectMeta(name="late", namespace="default")
        await node.client.create(CONFIG_MAP, ConfigMap(metadata=meta, data={"k": "here"}))
        await node.wait_pod("waits", ready, "Ready", timeout_s=5)

        async def said() -> bool:
            return await node.logs("waits") == "here\n"

        await until(said, "the value arrived")


async def test_the_network_reaches_peers_and_names_but_not_the_machine():
    async with running_node() as node:
        server = await node.create(
            "server", "exec httpd -f -p 80 -h /www", securityContext={"runAsUser": 1000}
        )
        server = await node.wait_pod("server", ready, "Ready")
        await node.client.patch(POD, server.key, {"metadata": {"labels": {"app": "server"}}})
        from knarr.resources.core.service import SERVICE, Service, ServicePort, ServiceSpec

        spec = ServiceSpec(selector={"app": "server"}, ports=(ServicePort(port=80),))
        meta = ObjectMeta(name="peer", namespace="default")
        await node.client.create(SERVICE, Service(metadata=meta, spec=spec))
        placed = ServiceSpec(type="ExternalName", external_name="gw.x.svc.cluster.local")
        meta = ObjectMeta(name="routed", namespace="default")
        await node.client.create(SERVICE, Service(metadata=meta, spec=placed))
        port = node.command(
            "sh", "-c", "cat /proc/sys/net/ipv4/ip_local_port_range"
        ).stdout.split()[0]
        listener = __import__("socket").create_server(("0.0.0.0", 0))
        port = listener.getsockname()[1]
        host = node.settings.pod_gateway
        output = await run_to_end(
            node, "client",
            f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {server.status.pod_ip} 80;"
            "nslookup peer.default.svc.cluster.local; nslookup routed.default.svc.cluster.local;"
            "nslookup nope.default.svc.cluster.local || echo no-such-name;"
            f"nc -w 2 {host} {port} </dev/null || echo host-port-closed;"
            f"nc -w 2 127.0.0.1 {port} </dev/null || echo loopback-is-own;"
            "nc -w 2 169.254.169.254 80 </dev/null || echo no-metadata",
        )  # fmt: skip
        listener.close()
        assert "hello\n" in output
        peer = await node.client.get(SERVICE, Key("default", "peer"))
        assert f"Address: {peer.spec.cluster_ip}" in output
        assert f"Address: {host}" in output
        assert "no-such-name" in output
        assert "host-port-closed" in output
        assert "loopback-is-own" in output
        assert "no-metadata" in output


async def test_last_words_are_read_from_the_file_and_from_nowhere_else():
    async with running_node() as node:
        for name, command in {
            "says": "printf goodbye > /dev/termination-log; exit 4",
            "links": "rm /dev/termination-log; exit 4",
        }.items():
            policy = {"terminationMessagePolicy": "File"}
            await node.create(name, command, pod_spec=NEVER, **policy)
        pod = await node.wait_pod("says", terminated, "ended")
        assert (terminated(pod).exit_code, terminated(pod).message) == (4, "goodbye")
        pod = await node.wait_pod("links", terminated, "ended")
        assert terminated(pod).message == ""


ATTEMPTS = {
    "mount": "mount -t tmpfs none /tmp",
    "user-namespace": "unshare -U true",
    "mount-namespace": "unshare -m true",
    "net-namespace": "unshare -n true",
    "pid-1-of-the-machine": "nsenter -t 1 -m true",
    "device": "mknod /tmp/vda b 254 0",
    "kernel-log": "dmesg",
    "sysrq": "echo b > /proc/sysrq-trigger",
    "core-pattern": "echo '|/x' > /proc/sys/kernel/core_pattern",
    "kernel-memory": "head -c 1 /proc/kcore",
    "sysfs": "echo 1 > /sys/kernel/uevent_helper",
    "cgroup": "mkdir /sys/fs/cgroup/memory/x || mkdir /sys/fs/cgroup/x",
    "release-agent": "echo /x > /sys/fs/cgroup/memory/release_agent",
    "raw-socket": "ping -c 1 -W 1 127.0.0.1",
    "other-owner": "touch /tmp/f && chown 5 /tmp/f",
    "address": "ip addr add 10.240.9.9/32 dev eth0",
    "keys": "head -c 1 /proc/keys | grep .",
    "token-of-another": "echo x > /var/run/secrets/kubernetes.io/serviceaccount/token",
}


async def test_root_in_a_container_can_do_nothing_to_the_machine():
    async with running_node() as node:
        script = ";".join(
            f"if {command} >/dev/null 2>&1; then echo open-{name}; else echo shut-{name}; fi"
            for name, command in ATTEMPTS.items()
        )
        output = await run_to_end(
            node, "hostile", f"id; {script}; ls /proc/self/fd | tr '\\n' ' '; echo; echo end"
        )
        lines = output.splitlines()
        assert lines[0].startswith("uid=0(root)")
        assert [line for line in lines if line.startswith("open-")] == []
        assert sum(line.startswith("shut-") for line in lines) == len(ATTEMPTS)
        # Descriptor 3 is the directory that ls itself reads.
        assert "0 1 2 3" in output
        # Standard output and error are two streams: what is said on one may come after this.
        assert "end" in lines
