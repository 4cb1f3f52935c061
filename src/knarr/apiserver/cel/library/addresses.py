"""IP addresses and networks (Kubernetes' ``library/ip.go``, ``cidr.go``)."""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from knarr.apiserver.cel.library.conversions import Function
from knarr.apiserver.cel.library.kubernetes import works
from knarr.apiserver.cel.library.strings import text
from knarr.apiserver.cel.values import Budget, EvalError, NoOverload, Opaque

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class AddressValue(Opaque):
    """``net.IP``."""

    address: Address
    type_name = "net.IP"

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True)
class NetworkValue(Opaque):
    """``net.CIDR``; bits behind the prefix may be set."""

    address: Address
    bits: int
    type_name = "net.CIDR"

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The addresses that belong to it."""
        return ipaddress.ip_network(str(self), strict=False)


def _parse(source: str) -> Address:
    found = ipaddress.ip_address(source)
    if isinstance(found, ipaddress.IPv6Address) and (found.scope_id or found.ipv4_mapped):
        raise ValueError(source)
    return found


def _ip(_: Budget, value: Any) -> AddressValue:
    if isinstance(value, NetworkValue):
        return AddressValue(value.address)
    source = text(value)[:100]
    try:
        found = ipaddress.ip_address(source)
    except ValueError:
        raise EvalError(
            f'IP Address "{source}" parse error during conversion from string: ParseAddr("{source}"): '
            "unable to parse IP"
        ) from None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id:
            raise EvalError(f'IP address "{source}" with zone value is not allowed')
        if found.ipv4_mapped:
            raise EvalError(f'IPv4-mapped IPv6 address "{source}" is not allowed')
    return AddressValue(found)


def _cidr(_: Budget, value: Any) -> NetworkValue:
    source = text(value)[:100]
    address, slash, bits = source.partition("/")
    try:
        found = _parse(address)
    except ValueError:
        found = None
    plain = bits.isascii() and bits.isdigit() and (bits == "0" or bits[0] != "0")
    if found is None or not slash or not plain or int(bits) > found.max_prefixlen:
        raise EvalError(
            f'network address parse error during conversion from string: network "{source}"'
        )
    return NetworkValue(found, int(bits))


def _address(value: Any) -> Address:
    if not isinstance(value, AddressValue):
        raise NoOverload
    return value.address


def _network(value: Any) -> NetworkValue:
    if not isinstance(value, NetworkValue):
        raise NoOverload
    return value


def _test(of: Callable[[Address], bool]) -> Function:
    return lambda _, value: of(_address(value))


def _is_link_local_multicast(address: Address) -> bool:
    if address.version == 4:
        return address.packed[:3] == bytes((224, 0, 0))
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 2


def _is_global_unicast(address: Address) -> bool:
    if address.version == 4 and address.packed == b"\xff" * 4:
        return False
    return not (
        address.is_unspecified
        or address.is_loopback
        or address.is_multicast
        or address.is_link_local
    )


def _contains_ip(budget: Budget, value: Any, other: Any) -> bool:
    address = _ip(budget, other) if isinstance(other, str) else other
    return _address(address) in _network(value).network


def _contains_cidr(budget: Budget, value: Any, other: Any) -> bool:
    mine = _network(value).network
    theirs = _network(_cidr(budget, other) if isinstance(other, str) else other).network
    return mine.version == theirs.version and theirs.subnet_of(mine)  # type: ignore[arg-type]  # same version


def _masked(_: Budget, value: Any) -> NetworkValue:
    found = _network(value)
    return NetworkValue(found.network.network_address, found.bits)


ADDRESSES: Final[dict[str, Function]] = {
    "ip": _ip,
    "isIP": works(_ip),
    "ip.isCanonical": lambda budget, value: str(_ip(budget, value)) == value,
    "family": lambda _, value: int(_address(value).version),
    "isUnspecified": _test(lambda address: address.is_unspecified),
    "isLoopback": _test(lambda address: address.is_loopback),
    "isLinkLocalMulticast": _test(_is_link_local_multicast),
    "isLinkLocalUnicast": _test(lambda address: address.is_link_local),
    "isGlobalUnicast": _test(_is_global_unicast),
    "cidr": _cidr,
    "isCIDR": works(_cidr),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "masked": _masked,
    "prefixLength": lambda _, value: _network(value).bits,
}
