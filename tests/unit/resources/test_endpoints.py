from typing import Any

import pytest
from tests.unit.resources.builders import admission, causes, decode, defaulted

from knarr.resources.core.endpoints import ENDPOINTS
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE

NAMED = {"metadata": {"name": "s", "namespace": "ns"}}


def cell(kind: Any, name: str, document: dict[str, Any]) -> object:
    return next(column.cell(document, 0) for column in kind.columns if column.name == name)


def subset(*ips: str, **more: Any) -> dict[str, Any]:
    return {"addresses": [{"ip": ip} for ip in ips], **more}


def test_endpoints_default_to_tcp() -> None:
    document = {"subsets": [subset("10.0.0.1", ports=[{"port": 80}])]}
    assert defaulted(ENDPOINTS, document)["subsets"][0]["ports"] == [
        {"port": 80, "protocol": "TCP"}
    ]


def test_slices_always_have_their_lists() -> None:
    assert defaulted(ENDPOINT_SLICE, {"addressType": "IPv4"}) == {
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    }
    assert defaulted(ENDPOINT_SLICE, {"addressType": "IPv4", "ports": [{"port": 80}]})["ports"] == [
        {"name": "", "port": 80, "protocol": "TCP"}
    ]


ENDPOINTS_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "subsets[0]", "Required value: must specify `addresses` or `notReadyAddresses`"),
    (
        subset("127.0.0.1"),
        "subsets[0].addresses[0].ip",
        'Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ),
    (
        subset("ten"),
        "subsets[0].addresses[0].ip",
        'Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
    ),
    (
        subset("10.0.0.1", ports=[{"port": 0}]),
        "subsets[0].ports[0].port",
        "Invalid value: 0: must be between 1 and 65535, inclusive",
    ),
    (
        subset("10.0.0.1", ports=[{"port": 1}, {"name": "b", "port": 2}]),
        "subsets[0].ports[0].name",
        "Required value",
    ),
    (
        subset("10.0.0.1", ports=[{"port": 1, "protocol": "IP"}]),
        "subsets[0].ports[0].protocol",
        'Unsupported value: "IP": supported values: "SCTP", "TCP", "UDP"',
    ),
]


@pytest.mark.parametrize(("given", "field", "message"), ENDPOINTS_PROBLEMS)
def test_wrong_endpoints(given: dict[str, Any], field: str, message: str) -> None:
    assert causes(ENDPOINTS, {**NAMED, "subsets": [given]}) == [(field, message)]


def test_right_endpoints() -> None:
    right = {**NAMED, "subsets": [subset("10.0.0.1", ports=[{"port": 80}])]}
    assert causes(ENDPOINTS, right) == []
    assert causes(ENDPOINTS, NAMED) == []


SLICE_PROBLEMS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "addressType", "Required value"),
    (
        {"addressType": "MAC"},
        "addressType",
        'Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"',
    ),
    (
        {"addressType": "IPv4", "endpoints": [{}]},
        "endpoints[0].addresses",
        "Required value: must contain at least 1 address",
    ),
    (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]},
        "endpoints[0].addresses[0]",
        'Invalid value: "fd00::1": must be an IPv4 address',
    ),
    (
        {"addressType": "IPv4", "ports": [{"port": 1}, {"port": 2}]},
        "ports[1].name",
        'Duplicate value: ""',
    ),
    (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}] * 1001},
        "endpoints",
        "Too many: 1001: must have at most 1000 items",
    ),
]


@pytest.mark.parametrize(("given", "field", "message"), SLICE_PROBLEMS)
def test_wrong_slices(given: dict[str, Any], field: str, message: str) -> None:
    assert causes(ENDPOINT_SLICE, {**NAMED, **given}) == [(field, message)]


def test_the_type_of_address_never_changes() -> None:
    given = admission(decode(ENDPOINT_SLICE, {**NAMED, "addressType": "IPv6"}))
    assert causes(ENDPOINT_SLICE, {**NAMED, "addressType": "IPv4"}, given) == [
        ("addressType", 'Invalid value: "IPv4": field is immutable')
    ]


def test_cells() -> None:
    ports = [{"port": 80}, {"port": 81}]
    many = {"subsets": [subset("10.0.0.1", "10.0.0.2", ports=ports)]}
    assert cell(ENDPOINTS, "Endpoints", many) == "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more..."
    assert cell(ENDPOINTS, "Endpoints", {"subsets": [subset("10.0.0.1")]}) == "10.0.0.1"
    assert cell(ENDPOINTS, "Endpoints", {}) == "<none>"
    piece = {
        "ports": [{"port": 80}, {}],
        "endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in range(5)],
    }
    assert cell(ENDPOINT_SLICE, "Ports", piece) == "80,*"
    assert cell(ENDPOINT_SLICE, "Endpoints", piece) == "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."
    assert cell(ENDPOINT_SLICE, "Ports", {}) == "<unset>"
    assert cell(ENDPOINT_SLICE, "Endpoints", {}) == "<unset>"
