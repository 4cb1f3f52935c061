"""The table's text and its transactions."""

import ipaddress
from dataclasses import replace

from tests.unit.node_routing.nftmodel import Table

from knarr.meta.objects import Key
from knarr.node.routing.table import RouteTable, TableSettings, base_text
from knarr.node.routing.targets import PortRoute, Target

SETTINGS = TableSettings("knarr", "knarr", ipaddress.IPv4Network("10.96.0.0/16"), "10.232.0.1")
WEB = Key("ns", "web")
ONE, TWO = Target("10.232.0.2", 80), Target("10.232.0.3", 80)


def route(*targets: Target, **fields) -> PortRoute:
    return replace(PortRoute(WEB, "http", "tcp", "10.96.0.9", 80, targets=targets), **fields)


def test_a_new_service_gets_a_chain_and_an_entry():
    table = RouteTable(SETTINGS)
    text = table.change({WEB: (route(ONE, TWO, node_port=30001),)}).text
    (chain,) = {line.split()[4] for line in text.splitlines() if line.startswith("add chain")}
    assert chain.startswith("service-")
    assert chain.endswith("-ns/web/tcp/80")
    assert text.splitlines() == [
        f"add chain ip knarr {chain}",
        f"add rule ip knarr {chain} meta l4proto tcp dnat ip to numgen random mod 2 "
        "map { 0 : 10.232.0.2 . 80, 1 : 10.232.0.3 . 80 }",
        f"add element ip knarr service-ports {{ 10.96.0.9 . tcp . 80 : goto {chain} }}",
        f"add element ip knarr node-ports {{ tcp . 30001 : goto {chain} }}",
        "add element ip knarr loops { 10.232.0.2 . 10.232.0.2 }",
        "add element ip knarr loops { 10.232.0.3 . 10.232.0.3 }",
    ]
    assert len(table) == 1
    assert table.change({WEB: (route(ONE, TWO, node_port=30001),)}).text == ""


def test_a_change_touches_one_service_however_many_there_are():
    table = RouteTable(SETTINGS)
    table.change(
        {
            Key("ns", f"s{number}"): (
                replace(route(ONE), service=Key("ns", f"s{number}"), address=f"10.96.1.{number}"),
            )
            for number in range(200)
        }
    )
    key = Key("ns", "s7")
    text = table.change({key: (replace(route(TWO), service=key, address="10.96.1.7"),)}).text
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["flush", "chain"], ["add", "rule"], ["add", "element"],
    ]  # fmt: skip


def test_without_targets_nothing_but_the_refusal_of_its_node_port_is_left():
    table = RouteTable(SETTINGS)
    table.change({WEB: (route(ONE, node_port=30001),)})
    lines = table.change({WEB: (route(node_port=30001),)}).text.splitlines()
    assert lines[:3] == [
        "delete element ip knarr service-ports { 10.96.0.9 . tcp . 80 }",
        "delete element ip knarr node-ports { tcp . 30001 }",
        "delete element ip knarr loops { 10.232.0.2 . 10.232.0.2 }",
    ]
    assert lines[3] == "add element ip knarr idle-node-ports { tcp . 30001 }"
    assert [line.split()[0] for line in lines[4:]] == ["flush", "delete"]


def test_udp_targets_that_go_are_named():
    table = RouteTable(SETTINGS)
    assert not table.change({WEB: (route(ONE, TWO, protocol="udp"),)}).gone
    assert table.change({WEB: (route(TWO, protocol="udp"),)}).gone == {ONE}
    assert table.change({WEB: ()}).gone == {TWO}
    table.change({WEB: (route(ONE),)})
    assert not table.change({WEB: ()}).gone


def test_the_first_of_two_claims_holds_until_it_is_given_up():
    other = Key("ns", "thief")
    table, kernel = RouteTable(SETTINGS), Table()
    kernel.load_base(base_text(SETTINGS))
    kernel.run(table.change({WEB: (route(ONE),)}).text)
    kernel.run(table.change({other: (replace(route(TWO), service=other),)}).text)
    assert "ns/web" in kernel.containers["service-ports"]["10.96.0.9 . tcp . 80"]
    kernel.run(table.change({WEB: ()}).text)
    assert "ns/thief" in kernel.containers["service-ports"]["10.96.0.9 . tcp . 80"]
    kernel.run(table.change({other: ()}).text)
    assert kernel.containers["service-ports"] == {}
    assert kernel.containers["loops"] == {}


def test_names_cannot_carry_commands():
    key = Key("ns", "x; flush ruleset\n")
    text = RouteTable(SETTINGS).change({key: (replace(route(ONE), service=key),)}).text
    assert "flush ruleset" not in text
    assert "x__flush_ruleset_" in text


def test_node_ports_open_outside_only_by_wish():
    assert 'iifname != "lo"' not in base_text(SETTINGS)
    everywhere = base_text(replace(SETTINGS, node_port_address="0.0.0.0"))
    assert 'iifname != "lo" fib daddr type local' in everywhere
    one = base_text(replace(SETTINGS, node_port_address="192.0.2.7"))
    assert 'iifname != "lo" ip daddr 192.0.2.7 fib daddr type local' in one


def test_affinity_keeps_the_clients_of_targets_that_stay():
    table = RouteTable(SETTINGS)
    table.change({WEB: (route(ONE, TWO, affinity_s=5),)})
    lines = table.change({WEB: (route(TWO, affinity_s=5),)}).text.splitlines()
    dropped = [line for line in lines if line.startswith("delete set")]
    assert len(dropped) == 1
    assert dropped[0].endswith("-10.232.0.2/80")
    assert not any(line.startswith("add set") for line in lines)
