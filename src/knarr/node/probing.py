"""One probe of a container: HTTP, TCP, gRPC or a command. Answers are read up to 10 KiB and no further."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

from knarr.node.programs import Output, ProgramError
from knarr.resources.core.container import (
    Container,
    GrpcAction,
    HttpGetAction,
    LifecycleHandler,
    Probe,
    TcpSocketAction,
)

MAX_ANSWER_BYTES = 10 * 1024
USER_AGENT = "kube-probe/1.32"
_HEADER_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One answer; ``detail`` says what went wrong."""

    success: bool
    detail: str = ""


class Executor(Protocol):
    """Runs a command inside the container."""

    async def __call__(self, command: tuple[str, ...], timeout_s: float) -> Output:
        """Run it.

        Raises:
            ProgramError: no end within ``timeout_s``.
        """
        ...


def resolve_port(port: int | str | None, container: Container) -> int:
    """A port number from a number, a number as text, or a port's name.

    Raises:
        ValueError: the container has no port of that name.
    """
    if isinstance(port, int):
        return port
    if port is None or port == "":
        return container.ports[0].container_port if container.ports else 8080
    if port.isdigit():
        return int(port)
    for one in container.ports:
        if one.name == port:
            return one.container_port
    raise ValueError(f"container {container.name} has no port named {port!r}")


async def run_probe(
    probe: Probe, container: Container, address: str, execute: Executor, timeout_s: float
) -> ProbeResult:
    """Probe once; every failure is a result, never an exception."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _dispatch(probe, container, address, execute, timeout_s)
    except TimeoutError:
        return ProbeResult(success=False, detail=f"no answer within {timeout_s:g} s")
    except (OSError, ValueError, ProgramError, asyncio.LimitOverrunError) as error:
        return ProbeResult(success=False, detail=str(error) or type(error).__name__)


async def _dispatch(
    probe: Probe, container: Container, address: str, execute: Executor, timeout_s: float
) -> ProbeResult:
    if probe.http_get is not None:
        return await http_probe(probe.http_get, container, address)
    if probe.tcp_socket is not None:
        return await _tcp(probe.tcp_socket, container, address)
    if probe.grpc is not None:
        return await _grpc(probe.grpc, address)
    if probe.exec is not None:
        return await _exec(probe.exec.command, execute, timeout_s)
    return ProbeResult(success=False, detail="the probe names no handler")


async def _tcp(action: TcpSocketAction, container: Container, address: str) -> ProbeResult:
    port = resolve_port(action.port, container)
    _, writer = await asyncio.open_connection(action.host or address, port)
    writer.transport.abort()
    return ProbeResult(success=True)


async def _exec(command: tuple[str, ...], execute: Executor, timeout_s: float) -> ProbeResult:
    output = await execute(command, timeout_s)
    if output.code == 0:
        return ProbeResult(success=True)
    said = (output.stdout + output.stderr)[:MAX_ANSWER_BYTES].decode(errors="replace").strip()
    return ProbeResult(success=False, detail=f"exit {output.code}: {said}")


def http_request(action: HttpGetAction, address: str, port: int) -> bytes:
    """The bytes of a probe's request."""
    headers = {header.name.lower(): header for header in action.http_headers}
    lines = [f"GET {action.path or '/'} HTTP/1.1"]
    if "host" not in headers:
        lines.append(f"Host: {action.host or address}:{port}")
    if "user-agent" not in headers:
        lines.append(f"User-Agent: {USER_AGENT}")
    lines += [f"{header.name}: {header.value}" for header in action.http_headers]
    lines += ["Accept: */*", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def judge_status_line(line: bytes) -> ProbeResult:
    """Success is a status from 200 to 399."""
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1") or not parts[1].isdigit():
        return ProbeResult(success=False, detail="the answer is not HTTP/1.1")
    status = int(parts[1])
    if 200 <= status < 400:
        return ProbeResult(success=True)
    return ProbeResult(success=False, detail=f"HTTP probe failed with statuscode: {status}")


async def http_probe(action: HttpGetAction, container: Container, address: str) -> ProbeResult:
    """GET and look at the status line; the rest of the answer is not read.

    Raises:
        OSError, ValueError: no connection, or no such port.
    """
    port = resolve_port(action.port, container)
    tls = _unverified() if action.scheme.upper() == "HTTPS" else None
    reader, writer = await asyncio.open_connection(
        action.host or address, port, ssl=tls, limit=_HEADER_LIMIT
    )
    try:
        writer.write(http_request(action, address, port))
        await writer.drain()
        return judge_status_line(await reader.readline())
    finally:
        writer.transport.abort()


def _unverified() -> ssl.SSLContext:
    """A probe asks whether something answers, not who it is, as in Kubernetes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# --- grpc.health.v1 over HTTP/2, one request, no library ------------------------------------------

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def _literal(name: str, value: str) -> bytes:
    """HPACK: a literal header that is not indexed, no Huffman code; names and values below 127 bytes."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def grpc_health_request(service: str, authority: str) -> bytes:
    """Everything that a client sends for one ``Check``.

    Raises:
        ValueError: the service's name is longer than 100 bytes.
    """
    if len(service.encode()) > 100 or len(authority) > 100:
        raise ValueError("gRPC service name too long")
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority), ("content-type", "application/grpc"), ("te", "trailers"),
            ("user-agent", USER_AGENT),
        )
    )  # fmt: skip
    name = service.encode()
    message = (b"\x0a" + bytes((len(name),)) + name) if name else b""
    data = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, data)
    )


def grpc_serving(message: bytes) -> bool:
    """Whether a ``HealthCheckResponse``, with its five bytes of prefix, says SERVING (field 1 is 1)."""
    return message[:1] == b"\0" and message[5:7] == b"\x08\x01"


async def _grpc(action: GrpcAction, address: str) -> ProbeResult:
    reader, writer = await asyncio.open_connection(address, action.port, limit=_HEADER_LIMIT)
    try:
        writer.write(grpc_health_request(action.service or "", f"{address}:{action.port}"))
        data = await _grpc_answer(reader, writer)
    except asyncio.IncompleteReadError:
        return ProbeResult(success=False, detail="the gRPC connection was closed")
    finally:
        writer.transport.abort()
    if grpc_serving(data):
        return ProbeResult(success=True)
    return ProbeResult(success=False, detail="the gRPC service is not serving")


async def _grpc_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    data = b""
    received = 0
    while received < MAX_ANSWER_BYTES:
        header = await reader.readexactly(9)
        length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
        if length > MAX_ANSWER_BYTES:
            break
        body = await reader.readexactly(length)
        received += length + 9
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _DATA:
            data += body
        ended = kind in (_DATA, _HEADERS) and flags & _END_STREAM
        if ended or kind in (_RST, _GOAWAY):
            break
    return data


async def run_hook(
    hook: LifecycleHandler, container: Container, address: str, execute: Executor, timeout_s: float
) -> ProbeResult:
    """A ``preStop`` hook; every failure is a result."""
    if hook.sleep is not None:
        await asyncio.sleep(min(float(hook.sleep.seconds), timeout_s))
        return ProbeResult(success=True)
    as_probe = Probe(exec=hook.exec, http_get=hook.http_get)
    return await run_probe(as_probe, container, address, execute, timeout_s)
