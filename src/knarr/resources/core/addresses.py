"""Rules for the addresses and ports that Endpoints and EndpointSlices carry."""

import ipaddress

from knarr.meta.fielderrors import FieldError
from knarr.resources.fielderrors import invalid, not_supported, required

PROTOCOLS = ("SCTP", "TCP", "UDP")
PORT_RANGE_TEXT = "must be between 1 and 65535, inclusive"

_NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def address_errors(path: str, text: str, version: int = 0) -> list[FieldError]:
    """An IP address that other machines can reach.

    Args:
        path: of the field.
        text: the address.
        version: 4 or 6; 0 takes either.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return [invalid(path, text, _NOT_AN_IP)]
    if version and address.version != version:
        return [invalid(path, text, f"must be an IPv{version} address")]
    excluded = {
        "may not be unspecified (0.0.0.0 or ::)": address.is_unspecified,
        "may not be in the loopback range (127.0.0.0/8, ::1/128)": address.is_loopback,
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)": address.is_link_local,
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)": (
            address.is_multicast
        ),
    }
    return [invalid(path, text, detail) for detail, holds in excluded.items() if holds]


def port_errors(path: str, port: int) -> list[FieldError]:
    """A port's number."""
    return [] if 1 <= port <= 65535 else [invalid(path, port, PORT_RANGE_TEXT)]


def protocol_errors(path: str, protocol: str | None) -> list[FieldError]:
    """TCP, UDP or SCTP."""
    if not protocol:
        return [required(path)]
    return [] if protocol in PROTOCOLS else [not_supported(path, protocol, PROTOCOLS)]
