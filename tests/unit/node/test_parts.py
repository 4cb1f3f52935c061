"""Parts with I/O of their own, without root: firewall text, addresses, exits, DNS, sockets, doctor."""

import asyncio
import contextlib
import ipaddress
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys

import msgspec
import pytest
from dnslib import QTYPE, RCODE, DNSRecord

from knarr.dataplane.messages import Activated, ActivationRefused, Replica
from knarr.kits.clock import ManualClock, SystemClock
from knarr.meta.errors import BadRequest
from knarr.node.addresses import AddressesExhausted, AddressPool
from knarr.node.cgroups import Cgroups
from knarr.node.dns import AnswerCache, Resolver, parse_resolvers
from knarr.node.doctor import examine
from knarr.node.exits import (
    Exit,
    ExitDirectory,
    Process,
    decode_status,
    ends_by_default,
    start_time_of,
)
from knarr.node.firewall import FirewallRules
from knarr.node.forwarding import turn_off, turn_on
from knarr.node.gateways import GatewayServer
from knarr.node.http import parse_log_options
from knarr.node.layout import Layout
from knarr.node.machine import examine_machine
from knarr.node.names import Answer
from knarr.node.namespaces import id_base
from knarr.node.network import link_name, parse_network
from knarr.node.nodefiles import hosts_file, resolv_conf
from knarr.node.programs import Output, ProgramError, run, run_attached, run_blocking
from knarr.node.quickprobe import wait_for_port
from knarr.node.registration import capacity_of, node_status
from knarr.node.threads import in_thread


def test_addresses_rest_before_they_are_used_again():
    pool = AddressPool(ipaddress.IPv4Network("10.0.0.0/29"))
    assert (pool.gateway, pool.capacity) == ("10.0.0.1", 5)
    taken = [pool.take() for _ in range(3)]
    pool.release(taken[0])
    assert [pool.take() for _ in range(3)] == [5, 6, 2]
    with pytest.raises(AddressesExhausted, match="all 5 addresses"):
        pool.take()
    pool.release(4)
    pool.claim(4)
    with pytest.raises(AddressesExhausted):
        pool.take()


def test_id_ranges_do_not_meet_and_fit():
    large = AddressPool(ipaddress.IPv4Network("10.0.0.0/8"))
    assert id_base(2) > 65536
    assert id_base(large.capacity + 2) + 65536 < 1 << 32
    assert id_base(3) - id_base(2) == 65536


def test_networks_that_are_none_are_refused():
    assert parse_network("10.232.0.0/16").num_addresses == 65536
    for text in ("10.0.0.0/30", "x", "10.0.0.1/16"):
        with pytest.raises(ValueError, match=r"\S"):
            parse_network(text)


def test_names_of_interfaces_fit_and_tell_instances_apart(tmp_path):
    first, second = Layout(tmp_path, "knarr"), Layout(tmp_path, "knarr-abcdef")
    names = {link_name(one.link_prefix, 65000) for one in (first, second)}
    assert len(names) == 2
    assert all(len(name) <= 15 for name in names)


def test_the_firewall_lets_pods_reach_only_the_gateways_ports():
    rules = FirewallRules(
        "knarr", "knarr", ipaddress.IPv4Network("10.232.0.0/16"), "10.232.0.1", (80, 443)
    )
    text = rules.text()
    assert 'iifname != "knarr.*" accept' in text
    assert "ip daddr 10.232.0.1 tcp dport { 53, 80, 443 } accept" in text
    assert text.index("chain input") < text.index("        drop\n    }\n    chain forward")
    assert "fib saddr . iif oif missing drop" in text
    assert "169.254.0.0/16 drop" in text
    assert "masquerade" in text


def test_a_kernel_that_cannot_translate_addresses_is_told_of(monkeypatch, tmp_path):
    def run(argv, *, data=b"", timeout_s=0):
        refused = argv[:2] == ("nft", "--check") and b"numgen" in data
        return (
            Output(1, b"", b"/dev/stdin:9: Error: Could not process rule\n...")
            if refused
            else Output(0, b"", b"")
        )

    monkeypatch.setattr("knarr.node.programs.run_blocking", run)
    findings = {finding.name: finding for finding in examine(tmp_path)}
    assert findings["nftables"].ok
    services = findings["nftables-services"]
    assert (services.ok, services.fatal) == (False, False)
    assert (
        "cluster IPs and node ports do not work: /dev/stdin:9: Error: Could not" in services.detail
    )
    assert "CONFIG_NFT_NAT" in services.remedy


def test_files_for_names():
    text = resolv_conf("10.0.0.1", "ns")
    assert text.splitlines() == [
        "nameserver 10.0.0.1", "search ns.svc.cluster.local svc.cluster.local cluster.local", "options ndots:5",
    ]  # fmt: skip
    assert "10.0.0.2\tpod\n" in hosts_file("10.0.0.2", "pod")


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, Exit(0)),
        (7 << 8, Exit(7)),
        (9, Exit(137, 9)),
        (15, Exit(143, 15)),
        (None, Exit(137, known=False)),
    ],
)
def test_wait_statuses(status, expected):
    assert decode_status(status) == expected


async def ended(process: Process) -> Exit:
    seen = []
    process.watch(lambda: seen.append(process.exit))
    async with asyncio.timeout(5):
        await process.ended.wait()
    assert seen == [process.exit]
    return process.exit


async def test_a_childs_exit_is_collected(tmp_path):
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 5"], {})
    process = Process(child, start_time_of(child), ExitDirectory(tmp_path))
    assert await ended(process) == Exit(5)
    assert process.send(signal.SIGTERM) is False


async def test_another_parents_zombie_and_records_are_read(tmp_path):
    script = (
        "import os,sys\np=os.fork()\nif p==0:\n sys.stdin.read(); os._exit(6)\n"
        "print(p,flush=True)\nsys.stdin.close()\nimport signal; signal.pause()"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pid = int(await parent.stdout.readline())
    process = Process(pid, start_time_of(pid), ExitDirectory(tmp_path))
    parent.stdin.close()
    assert await ended(process) == Exit(6)
    parent.kill()
    await parent.wait()
    (tmp_path / "4194000-77").write_text("1792\n")
    assert await ended(Process(4194000, "77", ExitDirectory(tmp_path))) == Exit(7)
    assert list(tmp_path.iterdir()) == []
    assert (await ended(Process(4194000, "77", ExitDirectory(tmp_path)))).known is False


def test_processes_that_are_gone_have_no_start_time():
    assert start_time_of(os.getpid()).isdigit()
    with pytest.raises(ProcessLookupError):
        start_time_of(4194000)


async def test_a_reused_pid_is_another_process(tmp_path):
    process = Process(os.getpid(), "1", ExitDirectory(tmp_path))
    assert (await ended(process)).known is False
    assert process.send(signal.SIGTERM) is False


async def test_who_leaves_a_signal_to_its_default(tmp_path):
    script = (
        "import signal,sys\nsignal.signal(15,lambda *_:0)\nprint(1,flush=True)\nsys.stdin.read()"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    await child.stdout.readline()
    assert not ends_by_default(child.pid, signal.SIGTERM)
    assert ends_by_default(child.pid, signal.SIGUSR1)
    child.kill()
    await child.wait()
    assert not ends_by_default(4194000, signal.SIGTERM)


async def test_programs_report_how_they_failed():
    assert (await run(("cat",), data=b"hi")).stdout == b"hi"
    with pytest.raises(ProgramError, match="exit 3: oops"):
        await run(("sh", "-c", "echo oops >&2; exit 3"))
    with pytest.raises(ProgramError, match="is not installed"):
        await run(("no-such-program-here",))
    with pytest.raises(ProgramError, match="no end within"):
        await run(("sleep", "30"), timeout_s=0.05)
    assert run_blocking(("no-such-program-here",)).code == 127
    assert run_blocking(("cat",), data=b"x").stdout == b"x"


async def test_work_in_a_thread_is_finished_before_cancellation():
    import threading

    gate, done = threading.Event(), []

    def work() -> None:
        gate.wait(5)
        done.append(1)

    task = asyncio.ensure_future(in_thread(work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    asyncio.get_running_loop().call_later(0.01, gate.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [1]


async def test_a_port_is_seen_as_soon_as_it_listens():
    clock = SystemClock()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        asyncio.get_running_loop().call_later(0.02, listener.listen)
        deadline = clock.monotonic() + 5
        assert await wait_for_port("127.0.0.1", port, clock, deadline, lambda: True)
        assert clock.monotonic() < deadline - 4
    assert not await wait_for_port("127.0.0.1", port, clock, deadline, lambda: False)
    with pytest.raises(TimeoutError, match=f"port {port}"):
        await wait_for_port("127.0.0.1", port, clock, clock.monotonic() + 0.01, lambda: True)


# --- cgroups --------------------------------------------------------------------------------------


def test_both_cgroup_versions_are_read(tmp_path):
    one = tmp_path / "one"
    for controller in ("memory", "pids"):
        group = one / controller / "knarr" / "s"
        group.mkdir(parents=True)
        (group / "cgroup.procs").write_text("12\n13\n")
    memory = one / "memory" / "knarr" / "s"
    (memory / "memory.usage_in_bytes").write_text("4096\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    first = Cgroups(one, unified=False)
    assert (first.memory("/knarr/s").usage_bytes, first.memory("/knarr/s").oom_kills) == (4096, 2)
    assert first.processes("/knarr") == {12, 13}
    assert len(list(first.directories("/knarr/s"))) == 2
    two = tmp_path / "two" / "knarr"
    two.mkdir(parents=True)
    (two / "memory.current").write_text("1\n")
    (two / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 0\n")
    second = Cgroups(tmp_path / "two", unified=True)
    assert (second.memory("/knarr").usage_bytes, second.memory("/knarr").oom_kills) == (1, 1)
    assert second.memory("/gone").usage_bytes == 0
    empty = tmp_path / "two" / "empty" / "deep"
    empty.mkdir(parents=True)
    assert len(second.remove("/empty")) == 2
    assert second.remove("/empty") == []


# --- DNS ------------------------------------------------------------------------------------------


class Names:
    def covers(self, name):
        return name.endswith("cluster.local")

    def look_up(self, name):
        return {
            "a.cluster.local": Answer(("10.0.0.9",)),
            "c.cluster.local": Answer(alias="x.test"),
        }.get(name)


def ask(name: str, kind: str = "A") -> bytes:
    return bytes(DNSRecord.question(name, kind).pack())


async def test_cluster_names_are_answered_here():
    resolver = Resolver(Names(), (), ManualClock(), random.Random(1))
    found = DNSRecord.parse(await resolver.answer(ask("A.cluster.local")))
    assert (found.header.rcode, [str(one.rdata) for one in found.rr]) == (
        RCODE.NOERROR,
        ["10.0.0.9"],
    )
    none = DNSRecord.parse(await resolver.answer(ask("a.cluster.local", "AAAA")))
    assert (none.header.rcode, none.rr) == (RCODE.NOERROR, [])
    assert (
        DNSRecord.parse(await resolver.answer(ask("b.cluster.local"))).header.rcode
        == RCODE.NXDOMAIN
    )
    assert DNSRecord.parse(await resolver.answer(ask("x.test"))).header.rcode == RCODE.SERVFAIL
    alias = DNSRecord.parse(await resolver.answer(ask("c.cluster.local")))
    assert [QTYPE[one.rtype] for one in alias.rr] == ["CNAME"]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\0" * 12, os.urandom(64), bytes(DNSRecord.question("a.b").reply().pack())]
)
async def test_what_is_no_question_gets_no_answer(data):
    assert await Resolver(Names(), (), ManualClock(), random.Random(1)).answer(data) is None


def test_the_cache_keeps_answers_for_a_while_and_a_number():
    cache = AnswerCache()
    cache.put(("a.", 1), b"\1\1rest", 100.0, 0.0)
    assert cache.get(("a.", 1), 0x0203, 29.0) == b"\2\3rest"
    assert cache.get(("a.", 1), 0x0203, 30.0) is None
    cache.put(("a.", 1), b"\1\1rest", 0.0, 0.0)
    assert cache.get(("a.", 1), 1, 0.0) is None
    for number in range(3000):
        cache.put((str(number), 1), b"\0\0", 10.0, 0.0)
    assert cache.get(("0", 1), 1, 0.0) is None
    assert cache.get(("2999", 1), 1, 0.0) is not None


def test_the_machines_resolvers():
    assert parse_resolvers("# x\nnameserver 1.1.1.1\nnameserver ::1\nsearch a\nnameserver 2.2.2.2\n") == (
        "1.1.1.1", "2.2.2.2",
    )  # fmt: skip


# --- the data plane's socket ----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connected(server, path, activate):
    async with server.serving(activate):
        reader, writer = await asyncio.open_unix_connection(str(path))
        yield reader, writer
        writer.close()


async def read(reader):
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return json.loads(await reader.readexactly(length))


def frame(**message) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


async def test_activations_are_answered_and_drains_awaited(tmp_path):
    async def activate(message):
        if message.revision == "a/bad":
            return ActivationRefused(id=message.id, revision=message.revision, reason="NotReady")
        replica = Replica(id="s", address="10.0.0.2", port=8080)
        return Activated(id=message.id, revision=message.revision, replica=replica)

    path = tmp_path / "activate.sock"
    server = GatewayServer(path)
    await asyncio.wait_for(server.drain("a/b", "s", 5), 1)  # nobody is connected
    async with connected(server, path, activate) as (reader, writer):
        assert path.stat().st_mode & 0o777 == 0o600
        writer.write(
            frame(type="activate", id=4, revision="a/b")
            + frame(type="activate", id=5, revision="a/bad")
        )
        assert (await read(reader))["replica"]["address"] == "10.0.0.2"
        assert (await read(reader))["reason"] == "NotReady"
        drain = asyncio.ensure_future(server.drain("a/b", "s", 5))
        asked = await read(reader)
        assert (asked["type"], asked["revision"], asked["replica"]) == ("drain", "a/b", "s")
        assert not drain.done()
        writer.write(frame(type="drained", id=asked["id"], replica="s"))
        await asyncio.wait_for(drain, 1)
        late = asyncio.ensure_future(server.drain("a/b", "s", 5))
        await read(reader)
        writer.close()
        await asyncio.wait_for(late, 1)  # whoever is gone has nothing in flight


async def test_an_unknown_message_ends_the_session(tmp_path):
    path = tmp_path / "activate.sock"
    server = GatewayServer(path)
    async with connected(server, path, None) as (reader, writer):
        writer.write(frame(type="nonsense"))
        assert await asyncio.wait_for(reader.read(), 1) == b""
        assert server.connected == 0


# --- the rest -------------------------------------------------------------------------------------


def test_log_options_are_parsed_or_refused():
    now = ManualClock().wall()
    options = parse_log_options({"follow": "true", "tailLines": "3", "sinceSeconds": "60"}, now)
    assert (options.follow, options.tail_lines, (now - options.since).total_seconds()) == (
        True,
        3,
        60,
    )
    for query in ({"tailLines": "x"}, {"sinceTime": "yesterday"}, {"sinceSeconds": "9" * 30}):
        with pytest.raises(BadRequest):
            parse_log_options(query, now)


def test_the_node_object_says_what_the_machine_has():
    machine = examine_machine()
    first = node_status(machine, "runc://1", capacity_of(machine, 10), None, "2026-01-01T00:00:00Z")
    again = node_status(
        machine, "runc://1", capacity_of(machine, 10), first, "2026-01-02T00:00:00Z"
    )
    ready = next(one for one in again.conditions if one.type == "Ready")
    assert (ready.status, ready.last_transition_time) == ("True", "2026-01-01T00:00:00Z")
    assert ready.last_heartbeat_time == "2026-01-02T00:00:00Z"
    assert int(again.capacity["cpu"]) >= 1
    assert again.node_info.container_runtime_version == "runc://1"


def test_the_doctor_names_remedies(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        findings = {
            one.name: one
            for one in examine(tmp_path / "not" / "there", "no-such-runtime", [("127.0.0.1", port)])
        }
    assert not findings["oci-runtime"].ok
    assert findings["oci-runtime"].fatal
    assert "apt-get install" in findings["oci-runtime"].remedy
    assert not findings[f"port {port}"].ok
    assert str(port) in findings[f"port {port}"].remedy
    assert not findings["oci-runtime-fixes"].fatal
    assert findings["kernel"].detail.startswith("Linux ")
    assert all(one.remedy for one in findings.values() if not one.ok and one.fatal)
    msgspec.json.encode(list(findings.values()))


def test_forwarding_is_restored_by_the_last_instance(tmp_path):
    switch, parent = tmp_path / "ip_forward", tmp_path / "run"
    switch.write_text("0\n")
    for name in ("a", "b", "a"):
        turn_on(name, switch=switch, parent=parent)
        assert switch.read_text() == "1\n"
    assert turn_off("a", switch=switch, parent=parent) == ""
    assert switch.read_text() == "1\n"
    assert turn_off("b", switch=switch, parent=parent) == "0"
    assert switch.read_text() == "0\n"
    assert turn_off("b", switch=switch, parent=parent) == ""
    assert list(parent.iterdir()) == []


async def test_attached_programs_keep_their_descriptors_and_report_their_end(tmp_path):
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        streams = {
            "stdout": out.fileno(),
            "stderr": err.fileno(),
            "environment": {"PATH": "/bin:/usr/bin", "A": "1"},
        }
        assert (
            await run_attached(("sh", "-c", "echo $A; echo e >&2; read x; exit 4"), **streams) == 4
        )
        assert await run_attached(("sh", "-c", "kill -9 $$"), **streams) == -9
        with pytest.raises(ProgramError, match="is not installed"):
            await run_attached(("no-such-program-here",), **streams)
        with pytest.raises(ProgramError, match="no end within"):
            await run_attached(("sleep", "30"), **streams, timeout_s=0.05)
    assert (tmp_path / "out").read_text() == "1\n"
    assert (tmp_path / "err").read_text() == "e\n"
