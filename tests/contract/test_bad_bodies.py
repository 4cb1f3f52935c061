"""Bodies that are no JSON, no YAML, too large or of the wrong kind.

Whatever is sent: a Status with a message, never a 500, never growth without bound.
"""

import gzip
import http.client
import re
from contextlib import suppress
from pathlib import Path

import pytest
from tests.contract.attacker import (
    APPLY,
    DEPLOYMENTS,
    JSON_PATCH,
    KSVCS,
    MAPS,
    MERGE,
    PROTOBUF,
    STRATEGIC,
)
from tests.wire import delimited, envelope

pytestmark = pytest.mark.contract

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "json-parsing"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the JSON documents are not on this machine")
@pytest.mark.parametrize("letter", "yni")
def test_every_json_document(attack, letter):
    """n_ is refused as what it is, y_ is read: what is wrong with it then is its kind; i_ may be either."""
    files = sorted(FOLDER.glob(f"{letter}_*.json"))
    assert len(files) > 30
    ways = [
        ("POST", MAPS, "application/json"),
        ("PUT", f"{MAPS}/victim", "application/json"),
        ("PATCH", f"{MAPS}/victim", MERGE),
        ("PATCH", f"{MAPS}/victim", JSON_PATCH),
        ("PATCH", f"{DEPLOYMENTS}/victim", STRATEGIC),
        ("DELETE", f"{MAPS}/nobody", "application/json"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json"),
    ]
    for file in files:
        body = file.read_bytes()
        for method, target, kind in ways:
            query = "" if "review" in target else "?dryRun=All"
            answer = attack.survived(method, target + query, body, kind)
            about = (file.name, method, kind, answer.status, answer.body[:300])
            if letter == "n" and body:
                assert answer.status == 400, about
                assert re.search("not valid (JSON|UTF-8)|nested", answer.json["message"]), about
            elif letter == "y":
                assert b"not valid JSON" not in answer.body or b"duplicate field" in answer.body, (
                    about
                )


DEEP = {
    "arrays": b"[" * 100_000 + b"]" * 100_000,
    "open arrays": b"[" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "in a field": b'{"data":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "just too deep": b'{"data":' + b'{"a":' * 64 + b"1" + b"}" * 65,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_nesting(attack, name):
    for method, target, kind in (
        ("POST", MAPS, "application/json"),
        ("POST", MAPS, "application/yaml"),
        ("PATCH", f"{MAPS}/victim", MERGE),
        ("PATCH", f"{MAPS}/victim", JSON_PATCH),
        ("PATCH", f"{DEPLOYMENTS}/victim", STRATEGIC),
    ):
        attack.refused(method, target, DEEP[name], kind)


NUMBERS = (
    "1" * 350, "-" + "9" * 399, "1" * 5_000, "1" * 100_000, "1e309", "-1e400", "1e99999999", "0." + "1" * 9_000,
    str(1 << 63), str(-(1 << 63) - 1), str(1 << 64), "1e19", "1.5", "-0", "1E2",
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: text[:12])
def test_numbers_beyond_their_types(attack, number):
    bodies = (
        f'{{"metadata":{{"name":"n"}},"data":{{"a":{number}}}}}',
        f'{{"metadata":{{"name":"n","generation":{number}}}}}',
        f'{{"metadata":{{"name":"n"}},"unknown":{number}}}',
    )
    for body in bodies:
        for kind in ("application/json", "application/yaml"):
            attack.survived("POST", f"{MAPS}?dryRun=All", body.encode(), kind)
    patch = f'{{"spec":{{"replicas":{number}}}}}'.encode()
    for kind in (MERGE, STRATEGIC):
        answer = attack.survived("PATCH", f"{DEPLOYMENTS}/victim?dryRun=All", patch, kind)
        assert answer.status in ((200, 400, 422) if number in ("-0", "1E2") else (400, 422)), (
            answer.body
        )
    attack.survived("PATCH", f"{KSVCS}/victim?dryRun=All", patch, MERGE)
    attack.survived("PATCH", f"{DEPLOYMENTS}/victim/scale?dryRun=All", patch, MERGE)
    timeout = f'{{"spec":{{"template":{{"spec":{{"timeoutSeconds":{number}}}}}}}}}'.encode()
    attack.survived("PATCH", f"{KSVCS}/victim?dryRun=All", timeout, MERGE)
    options = f'{{"gracePeriodSeconds":{number}}}'.encode()
    attack.survived("DELETE", f"{MAPS}/nobody", options, "application/json")


def test_duplicate_keys(attack):
    for body in (
        b'{"metadata":{"name":"a"},"metadata":{"name":"b"}}',
        b'{"metadata":{"name":"a","name":"b"}}',
        b'{"metadata":{"name":"a"},"data":{"x":"1","\\u0078":"2"}}',
    ):
        assert "duplicate field" in attack.refused("POST", MAPS, body, "application/json")
        assert "duplicate field" in attack.refused("PATCH", f"{MAPS}/victim", body, MERGE)
    yaml = b"metadata: {name: a}\ndata: {x: '1'}\ndata: {y: '2'}\n"
    assert "duplicate field" in attack.refused("POST", MAPS, yaml, "application/yaml")


TEXTS = {
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "alone": b"\x80",
    "cut": b"\xe2\x82",
    "beyond": b"\xf4\x90\x80\x80",
    "latin": b"caf\xe9",
}


@pytest.mark.parametrize("name", TEXTS)
def test_bad_utf8(attack, name):
    body = b'{"metadata":{"name":"a"},"data":{"k":"' + TEXTS[name] + b'"}}'
    for kind in ("application/json", "application/yaml"):
        assert "UTF-8" in attack.refused("POST", MAPS, body, kind)
    attack.refused("PATCH", f"{MAPS}/victim", body, MERGE)
    attack.refused("PATCH", f"{DEPLOYMENTS}/victim", body, STRATEGIC)
    field = delimited(2, delimited(1, b"k") + delimited(2, TEXTS[name]))
    attack.refused("POST", MAPS, envelope("v1", "ConfigMap", field), PROTOBUF)


@pytest.mark.parametrize("text", [r"\ud800", r"\udfff", r"\ud800\u0041", r"\u0000", r"\ufffe"])
def test_odd_characters_written_as_escapes(attack, text):
    """Half a pair is no text that could be stored; other odd characters are."""
    body = f'{{"metadata":{{"name":"odd"}},"data":{{"k":"{text}"}}}}'.encode()
    for kind in ("application/json", "application/yaml"):
        attack.survived("POST", f"{MAPS}?dryRun=All", body, kind)
        attack.survived("PUT", f"{MAPS}/victim?dryRun=All", body, kind)
    attack.survived("PATCH", f"{MAPS}/victim?dryRun=All", body, MERGE)
    operation = f'[{{"op":"add","path":"/data/{text}","value":"{text}"}}]'.encode()
    attack.survived("PATCH", f"{MAPS}/victim?dryRun=All", operation, JSON_PATCH)
    name = f'{{"metadata":{{"name":"{text}"}}}}'.encode()
    attack.refused("POST", MAPS, name, "application/json", codes=(400, 422))


def test_yaml_bombs(attack):
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    laughs = f"l0: &l0 [lol, lol]\n{levels}"
    quadratic = "a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 60) + "]\n"
    merge = "a: &a {k: v}\n" + "".join(f"x{n}:\n  <<: *a\n" for n in range(50))
    for text in (
        laughs,
        "a: &a [*a]\n",
        "&a {b: *a}\n",
        merge,
        "- " * 50_000,
        "{" * 50_000,
        "? " * 20_000,
    ):
        attack.refused("POST", MAPS, text.encode(), "application/yaml", codes=(400, 413, 422))
        attack.survived(
            "PATCH",
            f"{MAPS}/victim?fieldManager=x&dryRun=All",
            text.encode(),
            APPLY,
        )
    attack.survived("POST", f"{MAPS}?dryRun=All", quadratic.encode(), "application/yaml")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [id]", "a: !!binary aGk=", "a: !custom b", "--- a\n--- b\n", "a: b: c",
        "\t- a", "[", "a: |\n b\n  c\n d\n- e", "%YAML 9.9\n---\na: b", "a: .inf", "a: .nan", "a: 1e999",
        "a: " + "9" * 400, "a: 0x" + "f" * 500, "a: 0b" + "1" * 5_000, "a: 0o" + "7" * 4_000, "1: 2", "null: 1",
        "[a, b]: c", "{a: b}: c", "2024-01-01", "a: 2024-01-01T00:00:00Z", "a: 12:30:45", "a: 0_1", "\0", "a: \x07",
        "a: '\ud7ff'", 'a: "\\ud800"', 'a: "\\xff"', 'a: "\\U00110000"', "\ufeffa: b", "a: -0x1", "a: +1", "a: 09",
        "=: b", "a: =", "<<: {a: b}", "...", "", "# nothing", "a: " + "x" * 200_000,
    ],
    ids=lambda text: ascii(text[:18]),
)  # fmt: skip
def test_odd_yaml(attack, text):
    body = text.encode("utf-8", "surrogatepass")
    attack.survived("POST", f"{MAPS}?dryRun=All", body, "application/yaml")
    for indent in ("data: {" + text + "}", "spec:\n  a: 1\n" + text):
        attack.survived(
            "POST", f"{MAPS}?dryRun=All", indent.encode("utf-8", "replace"), "application/yaml"
        )


def test_large_bodies(attack, server):
    huge = b'{"metadata":{"name":"h"},"data":{"k":"' + b"x" * (10 << 20) + b'"}}'
    for method, target, kind in (
        ("POST", MAPS, "application/json"),
        ("PUT", f"{MAPS}/victim", "application/json"),
        ("PATCH", f"{MAPS}/victim", MERGE),
        ("DELETE", f"{MAPS}/victim", "application/json"),
        ("POST", MAPS, PROTOBUF),
    ):
        # The answer may come, and the connection end, while the body is still being sent.
        with suppress(ConnectionError, http.client.HTTPException):
            attack.refused(method, target, huge, kind, codes=(413,))
    announced = (
        f"POST {MAPS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {10 << 20}\r\n\r\n"
    )
    received = server.raw(announced.encode() + b"x" * 1000)
    assert received.startswith(b"HTTP/1.1 413 "), received[:200]
    assert b'"kind":"Status"' in received
    # Between the limits of an object and of a body: as large as may be sent, too large to be kept.
    large = b'{"metadata":{"name":"h"},"data":{"k":"' + b"x" * (2 << 20) + b'"}}'
    message = attack.refused("POST", MAPS, large, "application/json", codes=(413, 422))
    assert "1572864" in message or "limit" in message or "Too long" in message


def test_chunks_without_end(server):
    head = (
        f"POST {MAPS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    received = server.raw(head + chunk * 80)
    assert received.startswith(b"HTTP/1.1 413 "), received[:200]
    for broken in (
        b"zz\r\n",
        b"-1\r\nabc\r\n",
        b"ffffffffffffffffff\r\n",
        b"5\r\nab\r\n0\r\n\r\n",
        b"5;" + b"x" * 20_000 + b"\r\n",
    ):
        received = server.raw(head + broken)
        assert not received or received.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), received[:200]


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1", "Content-Length: 1e3", "Content-Length: " + "9" * 40, "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked", "Content-Length : 3", "Bad Name: x", ": x", "X: a\r\n b", "X: \0",
        "\r\n".join(f"H{n}: x" for n in range(200)), "X: " + "y" * 70_000,
    ],
    ids=lambda head: ascii(head[:24]),
)  # fmt: skip
def test_broken_heads(server, head):
    """What is no HTTP is answered 4xx or cut, and never waited for."""
    text = (
        f"POST {MAPS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\n{head}\r\n\r\n"
        "0\r\n\r\n"
    )
    received = server.raw(text.encode())
    assert not received or received.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), received[:300]


def test_request_lines(server):
    end = (
        f"\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\nConnection: close\r\n\r\n"
    )
    for line in (
        "GET /api HTTP/9.9", "GET /api", "/api HTTP/1.1", "G\0T /api HTTP/1.1", "\x16\x03\x01\x02",
        "GET http://elsewhere/api HTTP/1.1", "GET * HTTP/1.1", "CONNECT 127.0.0.1:1 HTTP/1.1", "PRI * HTTP/2.0",
        "GET /" + "a" * 100_000 + " HTTP/1.1", "GET /api?" + "a=b&" * 30_000 + " HTTP/1.1", "GET /\x7f HTTP/1.1",
        "TRACE /api HTTP/1.1", "QUERY /api HTTP/1.1", "OPTIONS * HTTP/1.1", "get /api HTTP/1.1", "X" * 9_000 + " / HTTP/1.1",
    ):  # fmt: skip
        received = server.raw((line + end).encode("latin-1"))
        assert not received or re.match(rb"HTTP/\d\.\d (4\d\d|505)", received), (
            line[:40],
            received[:300],
        )


def test_bytes_in_the_request_line_that_are_no_text(server):
    end = (
        f"\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.token}\r\nConnection: close\r\n\r\n"
    )
    for target in (
        b"/api/v1/namespaces/\xff\xfe", b"/api/v1/namespaces/default/configmaps/\x80", b"/apis/\xed\xa0\x80/v1/x",
        MAPS.encode() + b"?labelSelector=\xff", MAPS.encode() + b"?fieldSelector=metadata.name%3D\xff",
        MAPS.encode() + b"?fieldSelector=\xff%3D1", MAPS.encode() + b"?continue=\xff", MAPS.encode() + b"?\xff=1",
        MAPS.encode() + b"?resourceVersion=\xff", MAPS.encode() + b"?limit=\xff", MAPS.encode() + b"?watch=\xff",
        MAPS.encode() + b"/victim?includeObject=\xff",
    ):  # fmt: skip
        received = server.raw(b"GET " + target + b" HTTP/1.1" + end.encode())
        assert re.match(rb"HTTP/1\.[01] [24]\d\d", received) or not received, (
            target,
            received[:300],
        )
    for name in (
        b"Accept",
        b"Content-Type",
        b"User-Agent",
        b"Host",
        b"Origin",
        b"If-None-Match",
        b"Impersonate-User",
    ):
        head = end.encode().replace(b"\r\nConnection", b"\r\n" + name + b": \xff\xfe\r\nConnection")
        for line in (b"GET " + MAPS.encode(), b"GET /api"):
            received = server.raw(line + b" HTTP/1.1" + head)
            assert re.match(rb"HTTP/1\.[01] [24]\d\d", received) or not received, (
                name,
                received[:300],
            )


def test_compressed_bodies(attack):
    """They are not read at all, so they cannot grow."""
    bomb = gzip.compress(b" " * (50 << 20), 9)
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x"):
        attack.refused(
            "POST", MAPS, bomb, "application/json", codes=(415,), Content_Encoding=encoding
        )
    attack.refused(
        "POST", MAPS, b"not gzip", "application/json", codes=(415,), Content_Encoding="gzip"
    )


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded", "text/plain", "application/cbor", "multipart/form-data; boundary=x",
        "application/vnd.kubernetes.protobuf;stream=watch", "nonsense", ";;;", "application/json-seq", "\t", "a/b/c",
        "application/" + "x" * 5_000,
    ],
    ids=lambda kind: ascii(kind[:20]),
)  # fmt: skip
def test_wrong_content_types(attack, kind):
    codes = (400, 415)
    attack.refused("POST", MAPS, b"a=b&c=d", kind, codes=codes)
    attack.refused("PUT", f"{MAPS}/victim", b"a=b", kind, codes=codes)
    attack.refused("PATCH", f"{MAPS}/victim", b"{}", kind, codes=codes)
    attack.refused("PATCH", f"{KSVCS}/victim", b"{}", kind, codes=codes)
    attack.refused("PATCH", f"{DEPLOYMENTS}/victim/scale", b"{}", kind, codes=codes)


def test_strategic_patches_are_for_built_in_kinds(attack):
    attack.refused("PATCH", f"{KSVCS}/victim", b"{}", STRATEGIC, codes=(415,))


def test_what_nobody_accepts(attack):
    for accept in (
        "text/html",
        "image/png",
        "application/json;as=Nonsense;g=x;v=y",
        "application/cbor",
    ):
        attack.refused("GET", MAPS, None, "", codes=(406,), Accept=accept)
    for accept in (
        ",",
        ";",
        "*/*;q=0",
        "application/json;as=;v=;g=",
        "a" * 5_000,
        ",".join(["text/x"] * 500),
        "\t",
    ):
        attack.survived("GET", MAPS, None, "", Accept=accept)
        attack.survived("GET", "/apis", None, "", Accept=accept)
