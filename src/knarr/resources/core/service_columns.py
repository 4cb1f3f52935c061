"""What ``kubectl get services`` shows."""

from typing import Any

from knarr.resources.columns import AGE, NONE, Document, format_labels, get, items, text
from knarr.resources.kind import Column


def _external(document: Document, _: float) -> object:
    kind = get(document, "spec", "type")
    if kind == "ExternalName":
        return get(document, "spec", "externalName")
    if kind != "LoadBalancer":
        return NONE
    addresses = [
        str(get(item, "ip") or get(item, "hostname"))
        for item in items(document, "status", "loadBalancer", "ingress")
    ]
    return ",".join(addresses) or "<pending>"


def _port(port: Any) -> str:
    number, protocol = get(port, "port"), get(port, "protocol") or "TCP"
    outside = get(port, "nodePort")
    return f"{number}:{outside}/{protocol}" if outside else f"{number}/{protocol}"


def _ports(document: Document, _: float) -> object:
    return ",".join(_port(port) for port in items(document, "spec", "ports")) or NONE


SERVICE_COLUMNS = (
    Column("Type", "string", text("spec", "type")),
    Column("Cluster-IP", "string", lambda doc, _: get(doc, "spec", "clusterIP") or NONE),
    Column("External-IP", "string", _external),
    Column("Port(s)", "string", _ports),
    AGE,
    Column(
        "Selector", "string", lambda doc, _: format_labels(get(doc, "spec", "selector")), priority=1
    ),
)
