"""The instance's nft table: what pods may reach, and how their packets leave the machine."""

import ipaddress
from dataclasses import dataclass

from knarr.node import programs

DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class FirewallRules:
    """What the table is made from.

    Attributes:
        table: its name, the instance's.
        link_prefix: start of every pod interface's name.
        network: of the pods.
        gateway: the address of this machine that pods may talk to.
        gateway_ports: TCP ports there besides DNS.
        node_ports_outside: other machines may reach pods by node ports; what is not sent on to them by such
            a port stays out all the same.
    """

    table: str
    link_prefix: str
    network: ipaddress.IPv4Network
    gateway: str
    gateway_ports: tuple[int, ...] = (80,)
    node_ports_outside: bool = False

    def text(self) -> str:
        """The table in nft's language; loading it replaces a table of the same name at once."""
        pods = f'"{self.link_prefix}.*"'
        ports = ", ".join(str(port) for port in sorted({DNS_PORT, *self.gateway_ports}))
        sent_on = (
            f"oifname {pods} ct status dnat accept\n        " if self.node_ports_outside else ""
        )
        return f"""\
table inet {self.table} {{}}
delete table inet {self.table}
table inet {self.table} {{
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        iifname != {pods} accept
        meta nfproto ipv6 drop
        ip daddr 127.0.0.0/8 drop
        fib saddr . iif oif missing drop
    }}
    chain input {{
        type filter hook input priority filter - 5; policy accept;
        iifname "lo" accept
        iifname != {pods} ip daddr {self.gateway} drop
        iifname != {pods} accept
        ct state established,related accept
        ip daddr {self.gateway} udp dport {DNS_PORT} accept
        ip daddr {self.gateway} tcp dport {{ {ports} }} accept
        ip daddr {self.gateway} icmp type echo-request accept
        drop
    }}
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname {pods} ip daddr 169.254.0.0/16 drop
        {sent_on}oifname {pods} iifname != {pods} ct state new drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        iifname {pods} oifname != {pods} ip saddr {self.network} masquerade
    }}
}}
"""


async def load(rules: FirewallRules) -> None:
    """Install the table, replacing an older one.

    Raises:
        ProgramError: nft refused or is not installed.
    """
    await programs.run(("nft", "-f", "-"), data=rules.text().encode(), timeout_s=20)


def unload(table: str) -> list[str]:
    """Remove the tables of an instance, its Services' too; those that were there. Idempotent."""
    tables = (f"inet {table}", f"ip {table}")
    return [
        name
        for name in tables
        if programs.run_blocking(("nft", "delete", "table", *name.split()), timeout_s=20).code == 0
    ]
