"""The instance's nft table of Services: its text, and the transactions that change it. Pure.

Every Service port is one entry of a verdict map, which leads to a chain of its own: a packet costs one
look-up however many Services there are, and a change touches the chains and entries of one Service. The
table is of the family ``ip`` and apart from the firewall's, so that it stays, and connections go on, while
the agent is started anew.
"""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from knarr.meta.objects import Key
from knarr.node.routing.targets import PortRoute, Target

_ADDRESSES, _NODE_PORTS, _IDLE_PORTS, _LOOPS = (
    "service-ports",
    "node-ports",
    "idle-node-ports",
    "loops",
)
_MAX_CLIENTS = 65_535
_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]")


@dataclass(frozen=True, slots=True)
class TableSettings:
    """What the table is made from.

    Attributes:
        table: its name, the instance's.
        link_prefix: start of every pod interface's name.
        network: of the cluster IPs.
        gateway: this machine's address in the pod network; stands in for sources that pods could not answer.
        node_port_address: at which node ports are open to other machines: an address of this machine,
            ``0.0.0.0`` for all of them, or a loopback address for none.
    """

    table: str
    link_prefix: str
    network: ipaddress.IPv4Network
    gateway: str
    node_port_address: str = "127.0.0.1"

    @property
    def node_ports_outside(self) -> bool:
        """Whether other machines reach node ports."""
        return not ipaddress.IPv4Address(self.node_port_address).is_loopback


@dataclass(frozen=True, slots=True)
class Element:
    """A key of a map or set, as nft writes it."""

    container: str
    key: str


@dataclass(frozen=True, slots=True)
class Objects:
    """What one Service needs in the table.

    Attributes:
        elements: value by element; empty in sets.
        chains: rules by name.
        sets: clients by target: timeout in seconds by name.
    """

    elements: dict[Element, str] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A change.

    Attributes:
        text: for ``nft -f -``; empty when nothing changes.
        gone: UDP targets that get no packets any more, whose remembered flows must be forgotten.
    """

    text: str
    gone: frozenset[Target] = frozenset()


class RouteTable:
    """What the table holds; every change returns the transaction that makes the kernel's the same.

    Two Services may claim one address or node port for a moment, or for good when somebody insists: the first
    one has it until it lets go.
    """

    def __init__(self, settings: TableSettings) -> None:
        self.settings = settings
        self._routes: dict[Key, tuple[PortRoute, ...]] = {}
        self._objects: dict[Key, Objects] = {}
        self._claims: dict[Element, dict[Key, str]] = {}

    def __len__(self) -> int:
        return sum(len(routes) for routes in self._routes.values())

    @property
    def services(self) -> frozenset[Key]:
        """The Services that have routes."""
        return frozenset(self._routes)

    def change(self, wanted: Mapping[Key, tuple[PortRoute, ...]]) -> Transaction:
        """Give Services other routes; none removes a Service."""
        gone = frozenset(
            target for key, routes in wanted.items() for target in self._udp_targets(key, routes)
        )
        before = {key: self._objects.get(key, Objects()) for key in wanted}
        after = {key: objects_of(routes) for key, routes in wanted.items()}
        touched = list(
            dict.fromkeys(
                element for each in (*before.values(), *after.values()) for element in each.elements
            )
        )
        old = {element: self._effective(element) for element in touched}
        self._store(wanted, before, after)
        new = {element: self._effective(element) for element in touched}
        lines = [
            *self._deleted_elements(old, new),
            *self._made(before.values(), after.values()),
            *self._added_elements(old, new),
            *self._dropped(before.values(), after.values()),
        ]
        return Transaction("".join(f"{line}\n" for line in lines), gone)

    def full(self) -> str:
        """A transaction that makes the whole table, whatever the kernel holds."""
        empty = RouteTable(self.settings)
        return base_text(self.settings) + empty.change(self._routes).text

    def _udp_targets(self, key: Key, routes: tuple[PortRoute, ...]) -> set[Target]:
        former = {
            target
            for route in self._routes.get(key, ())
            if route.protocol == "udp"
            for target in route.targets
        }
        return former - {
            target for route in routes if route.protocol == "udp" for target in route.targets
        }

    def _store(
        self,
        wanted: Mapping[Key, tuple[PortRoute, ...]],
        before: Mapping[Key, Objects],
        after: Mapping[Key, Objects],
    ) -> None:
        for key, routes in wanted.items():
            for element in before[key].elements:
                if element not in after[key].elements:
                    claims = self._claims[element]
                    del claims[key]
                    if not claims:
                        del self._claims[element]
            for element, value in after[key].elements.items():
                self._claims.setdefault(element, {})[key] = value
            if routes:
                self._routes[key], self._objects[key] = routes, after[key]
            else:
                self._routes.pop(key, None)
                self._objects.pop(key, None)

    def _effective(self, element: Element) -> str | None:
        claims = self._claims.get(element)
        return next(iter(claims.values())) if claims else None

    # --- commands -----------------------------------------------------------------------------------

    def _command(self, verb: str, what: str, name: str, rest: str = "") -> str:
        return f"{verb} {what} ip {self.settings.table} {name} {rest}".rstrip()

    def _deleted_elements(
        self, old: Mapping[Element, str | None], new: Mapping[Element, str | None]
    ) -> Iterator[str]:
        for element, value in old.items():
            if value is not None and new[element] != value:
                yield self._command("delete", "element", element.container, f"{{ {element.key} }}")

    def _added_elements(
        self, old: Mapping[Element, str | None], new: Mapping[Element, str | None]
    ) -> Iterator[str]:
        for element, value in new.items():
            if value is not None and old[element] != value:
                entry = f"{element.key} : {value}" if value else element.key
                yield self._command("add", "element", element.container, f"{{ {entry} }}")

    def _made(self, before: Iterable[Objects], after: Iterable[Objects]) -> Iterator[str]:
        known = {name: rules for each in before for name, rules in each.chains.items()}
        sets = {name for each in before for name in each.sets}
        wanted = {name: rules for each in after for name, rules in each.chains.items()}
        for each in after:
            for name, seconds in each.sets.items():
                if name not in sets:
                    kind = (
                        f"{{ type ipv4_addr; size {_MAX_CLIENTS}; flags dynamic,timeout; "
                        f"timeout {seconds}s; }}"
                    )
                    yield self._command("add", "set", name, kind)
        changed = [name for name, rules in wanted.items() if known.get(name) != rules]
        for name in changed:
            yield self._command("flush" if name in known else "add", "chain", name)
        for name in changed:
            for rule in wanted[name]:
                yield self._command("add", "rule", name, rule)

    def _dropped(self, before: Iterable[Objects], after: Iterable[Objects]) -> Iterator[str]:
        kept = {name for each in after for name in (*each.chains, *each.sets)}
        chains = [name for each in before for name in each.chains if name not in kept]
        for name in chains:
            yield self._command("flush", "chain", name)
        for name in chains:
            yield self._command("delete", "chain", name)
        for each in before:
            for name in each.sets:
                if name not in kept:
                    yield self._command("delete", "set", name)


def objects_of(routes: Iterable[PortRoute]) -> Objects:
    """What the ports of one Service need."""
    found = Objects()
    for route in routes:
        _add_route(found, route)
    return found


def _add_route(found: Objects, route: PortRoute) -> None:
    node_port = f"{route.protocol} . {route.node_port}"
    if not route.targets:
        if route.node_port:
            found.elements[Element(_IDLE_PORTS, node_port)] = ""
        return
    name = _chain_name(route)
    found.elements[Element(_ADDRESSES, f"{route.address} . {route.protocol} . {route.port}")] = (
        f"goto {name}"
    )
    if route.node_port:
        found.elements[Element(_NODE_PORTS, node_port)] = f"goto {name}"
    for target in route.targets:
        found.elements[Element(_LOOPS, f"{target.address} . {target.address}")] = ""
    if route.affinity_s:
        _add_affinity(found, route, name)
    else:
        found.chains[name] = (_spread(route),)


def _spread(route: PortRoute) -> str:
    targets = route.targets
    if len(targets) == 1:
        return f"meta l4proto {route.protocol} dnat ip to {targets[0].address}:{targets[0].port}"
    entries = ", ".join(
        f"{number} : {target.address} . {target.port}" for number, target in enumerate(targets)
    )
    choice = f"numgen random mod {len(targets)} map {{ {entries} }}"
    return f"meta l4proto {route.protocol} dnat ip to {choice}"


def _add_affinity(found: Objects, route: PortRoute, name: str) -> None:
    """A set of clients and a chain per target: who is in a set goes there, and stays in it."""
    digest = _digest(route)
    known, choices = [], []
    for number, target in enumerate(route.targets):
        place = f"{target.address}/{target.port}"
        clients, chain = f"clients-{digest}-{place}", f"target-{digest}-{place}"
        found.sets[clients] = route.affinity_s
        found.chains[chain] = (
            f"update @{clients} {{ ip saddr }}",
            f"meta l4proto {route.protocol} dnat ip to {target.address}:{target.port}",
        )
        known.append(f"ip saddr @{clients} goto {chain}")
        choices.append(f"{number} : goto {chain}")
    spread = f"numgen random mod {len(choices)} vmap {{ {', '.join(choices)} }}"
    found.chains[name] = (*known, spread)


def _digest(route: PortRoute) -> str:
    """Part of the names of a port's objects; sets cannot change their timeout, so it counts."""
    parts = (str(route.service), route.name, route.protocol, str(route.port), str(route.affinity_s))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def _chain_name(route: PortRoute) -> str:
    """Unique by its digest, readable by the rest."""
    readable = f"{route.service.namespace}/{route.service.name}/{route.protocol}/{route.port}"
    return f"service-{_digest(route)}-{_UNSAFE.sub('_', readable)}"


def base_text(settings: TableSettings) -> str:
    """The table without Services; loading it replaces a table of the same name at once."""
    pods, table = f'"{settings.link_prefix}.*"', settings.table
    local = f"fib daddr type local meta l4proto . th dport vmap @{_NODE_PORTS}"
    idle = f"fib daddr type local meta l4proto . th dport @{_IDLE_PORTS} goto refuse"
    outside = ""
    if settings.node_ports_outside:
        everywhere = ipaddress.IPv4Address(settings.node_port_address).is_unspecified
        only = "" if everywhere else f"ip daddr {settings.node_port_address} "
        outside = f'\n        iifname != "lo" {only}{local}'
    return f"""\
table ip {table} {{}}
delete table ip {table}
table ip {table} {{
    map {_ADDRESSES} {{
        type ipv4_addr . inet_proto . inet_service : verdict
    }}
    map {_NODE_PORTS} {{
        type inet_proto . inet_service : verdict
    }}
    set {_IDLE_PORTS} {{
        type inet_proto . inet_service
    }}
    set {_LOOPS} {{
        type ipv4_addr . ipv4_addr
    }}
    chain services {{
        ip daddr . meta l4proto . th dport vmap @{_ADDRESSES}
        {local}
    }}
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmp type port-unreachable
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat - 5; policy accept;
        iifname {pods} goto services{outside}
    }}
    chain output {{
        type nat hook output priority -105; policy accept;
        goto services
    }}
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        iifname {pods} {idle}
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        iifname {pods} ip daddr {settings.network} goto refuse
    }}
    chain sent {{
        type filter hook output priority filter; policy accept;
        ip daddr {settings.network} goto refuse
        {idle}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat - 5; policy accept;
        ip saddr . ip daddr @{_LOOPS} snat ip to {settings.gateway}
        ip saddr 127.0.0.0/8 oifname {pods} snat ip to {settings.gateway}
    }}
}}
"""
