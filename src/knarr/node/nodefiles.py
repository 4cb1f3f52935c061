"""``/etc/resolv.conf``, ``/etc/hosts`` and ``/etc/hostname`` of containers. Pure."""

CLUSTER_DOMAIN = "cluster.local"


def resolv_conf(gateway: str, namespace: str, searches: tuple[str, ...] = ()) -> str:
    """The resolver's configuration: short names first mean Services of the own namespace."""
    domains = (f"{namespace}.svc.{CLUSTER_DOMAIN}", f"svc.{CLUSTER_DOMAIN}", CLUSTER_DOMAIN)
    return f"nameserver {gateway}\nsearch {' '.join((*domains, *searches)[:32])}\noptions ndots:5\n"


def hosts_file(address: str, hostname: str) -> str:
    """The static names."""
    return (
        f"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{address}\t{hostname}\n"
    )
