"""Any history of changes leaves the table as if it had been loaded anew."""

import ipaddress
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.node_routing.nftmodel import Table

from knarr.meta.objects import Key
from knarr.node.routing.table import RouteTable, TableSettings, base_text
from knarr.node.routing.targets import PortRoute, Target

SETTINGS = TableSettings("knarr", "knarr", ipaddress.IPv4Network("10.96.0.0/16"), "10.232.0.1")
KEYS = [Key("ns", name) for name in ("a", "b", "c")]
TARGETS = [Target(f"10.232.0.{number}", port) for number in (2, 3, 4) for port in (80, 81)]

routes = st.builds(
    PortRoute,
    service=st.just(KEYS[0]),
    name=st.sampled_from(["", "x"]),
    protocol=st.sampled_from(["tcp", "udp"]),
    address=st.sampled_from(["10.96.0.1", "10.96.0.2"]),
    port=st.sampled_from([80, 81]),
    node_port=st.sampled_from([0, 30001, 30002]),
    affinity_s=st.sampled_from([0, 10, 20]),
    targets=st.lists(st.sampled_from(TARGETS), max_size=3, unique=True).map(
        lambda t: tuple(sorted(t))
    ),
)
changes = st.dictionaries(
    st.sampled_from(KEYS),
    st.lists(routes, max_size=3, unique_by=lambda one: (one.protocol, one.port)),
    min_size=1,
)


@given(st.lists(changes, max_size=6))
@settings(max_examples=200, deadline=None)
def test_changes_add_up(history):
    table, kernel = RouteTable(SETTINGS), Table()
    kernel.load_base(base_text(SETTINGS))
    for change in history:
        wanted = {
            key: tuple(replace(one, service=key) for one in found) for key, found in change.items()
        }
        kernel.run(table.change(wanted).text)
        assert table.change(wanted).text == ""
    fresh = Table()
    fresh.load_base(base_text(SETTINGS))
    fresh.run(table.full().removeprefix(base_text(SETTINGS)))
    assert fresh.chains == kernel.chains
    assert set(fresh.containers) == set(kernel.containers)
    # Who holds an address that several claim depends on history; that somebody does, does not.
    assert {name: set(found) for name, found in fresh.containers.items()} == {
        name: set(found) for name, found in kernel.containers.items()
    }
