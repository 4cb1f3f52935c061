"""Parameters, paths and credentials that nobody should send.

Whatever is sent: a Status with a message, never a 500, never growth without bound.
"""

import json
from urllib.parse import quote

import pytest
from tests.contract.attacker import (
    DEPLOYMENTS,
    KSVCS,
    MAPS,
    MERGE,
)
from tests.contract.cluster import is_status

pytestmark = pytest.mark.contract


@pytest.mark.parametrize(
    "selector",
    [
        "a in", "a in (", "a in (b", "a in b)", "(", ")", "a=(b)", "!", "!!a", "a=b=c", "a==b==c", "=b", "a>1,", "a=b,,c=d",
        ",", "a notin b", "a in ()x", "a b", "a!b", "a in (b),,", "-a=b", "a=-b", "a/b/c=d", "/a=b", "a/=b", "a=b c",
        "a=" + "x" * 64, "x" * 64 + "=a", "x" * 254 + "/a=b", "a=ü", "ü=a", "a in (" + "b," * 500 + "-b",
        "a>b", "a<b",
    ],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
def test_bad_label_selectors(attack, selector):
    target = f"{MAPS}?labelSelector={quote(selector)}"
    message = attack.refused("GET", target)
    assert "unable to parse requirement" in message or "found" in message, message
    attack.refused("GET", f"{target}&watch=true")
    attack.refused("DELETE", target)
    assert attack("GET", f"{MAPS}/victim").status == 200


@pytest.mark.parametrize(
    "selector", ["a", "spec.x=1", "metadata.labels=1", "=", "a=b=", "metadata.name", "metadata.name>1", "!x", "status=1", "a,b"]
)  # fmt: skip
def test_bad_field_selectors(attack, selector):
    for path in (MAPS, KSVCS, "/api/v1/pods", "/api/v1/events"):
        attack.refused("GET", f"{path}?fieldSelector={quote(selector)}")
        attack.refused("GET", f"{path}?fieldSelector={quote(selector)}&watch=1")


@pytest.mark.parametrize(
    "token",
    [
        "x", "====", "e30", "e30=", "bnVsbA", "W10", "MQ", "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ", "A" * 6_000,
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOjF9",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6IjEiLCJzdGFydCI6ImEifQ", "%FF", "%00",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MTcwMTQxMTgzNDYwNDY5MjMxNzMxNjg3MzAzNzE1ODg0MTA1NzI4LCJzdGFydCI6ImEvYlx1MDAwMCJ9",
        "eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEvYlx1MDAwMCJ9", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJcdWQ4MDAifQ",
    ],
    ids=lambda text: text[:16],
)  # fmt: skip
def test_bad_continue_tokens(attack, token):
    attack.refused("GET", f"{MAPS}?limit=1&continue={token}", codes=(400, 410))


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("resourceVersion=x", (400, 422)), ("resourceVersion=-1", (400, 422)), ("resourceVersion=1.5", (400, 422)),
        ("resourceVersion=" + "9" * 17, (504,)), ("resourceVersion=" + "9" * 60, (400, 422)), ("resourceVersion=%00", (400, 422)),
        ("resourceVersionMatch=Exact", (400, 422)), ("resourceVersion=1&resourceVersionMatch=Best", (400, 422)),
        ("resourceVersion=0&resourceVersionMatch=Exact", (400, 422)), ("limit=-1", (400, 422)), ("limit=x", (400,)),
        ("limit=" + "9" * 30, (400,)), ("watch=maybe", (400,)), ("watch=1&timeoutSeconds=x", (400,)),
        ("watch=1&timeoutSeconds=-1", (400,)), ("watch=1&resourceVersion=x", (400, 422)), ("watch=1&sendInitialEvents=true", (422,)),
        ("watch=1&resourceVersionMatch=NotOlderThan", (422,)), ("watch=1&continue=x", (400,)),
        ("watch=1&allowWatchBookmarks=x", (400,)),
        ("watch=1&sendInitialEvents=x&resourceVersionMatch=NotOlderThan", (400,)),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_versions_and_options(attack, query, codes):
    answer = attack("GET", f"{MAPS}?{query}")
    assert answer.status in codes, (query, answer.status, answer.body)
    assert is_status(answer)


def test_versions_that_are_gone_or_not_yet_there(attack, server):
    """A stale watch is told in its stream; a future one is refused or told, but never hangs."""
    with server.watch(MAPS, resourceVersion="9" * 15, timeoutSeconds="2") as lines:
        events = list(lines)
    assert all(event["type"] in ("ERROR", "BOOKMARK") for event in events), events
    answer = attack("GET", f"{MAPS}?resourceVersion={'9' * 15}")
    assert answer.status == 504
    assert answer.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.json["details"]["retryAfterSeconds"] == 1


@pytest.mark.parametrize(
    ("query", "codes"),
    [
        ("dryRun=None", (422,)), ("dryRun=all", (422,)), ("fieldValidation=Loud", (422,)),
        ("fieldManager=" + "x" * 200, (422,)), ("fieldManager=a%00b", (422,)), ("pretty=x", (201, 400)),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_bad_options_of_writes(attack, query, codes):
    body = json.dumps({"metadata": {"name": "options"}}).encode()
    answer = attack.survived("POST", f"{MAPS}?{query}", body, "application/json")
    assert answer.status in codes, (query, answer.status, answer.body)
    attack("DELETE", f"{MAPS}/options")


@pytest.mark.parametrize(
    "options",
    [
        {"propagationPolicy": "Sometimes"}, {"propagationPolicy": 1}, {"gracePeriodSeconds": "x"}, {"dryRun": "All"},
        {"preconditions": []}, {"preconditions": {"uid": 5}}, {"orphanDependents": "x"}, {"kind": "Pod"}, [], 1, "x",
        {"gracePeriodSeconds": 1e300}, {"orphanDependents": True, "propagationPolicy": "Background"},
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_bad_delete_options(attack, options):
    attack.refused(
        "DELETE",
        f"{MAPS}/victim",
        json.dumps(options).encode(),
        "application/json",
        codes=(400, 422),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default%2fconfigmaps", "/api/v1/namespaces/%2e%2e/configmaps", "/api/v1/../../etc/passwd",
        "/api/v1/namespaces//configmaps", "//api/v1/pods", "/api//v1/pods", "/api/v1/namespaces/default/configmaps/%00",
        "/api/v1/namespaces/default/configmaps/a%00b", "/api/v1/namespaces/default/configmaps/%ff%fe", "/api/v1/%", "/api/v1/%zz",
        "/api/v1/namespaces/default/configmaps/victim/status", "/api/v1/namespaces/default/configmaps/victim/a/b/c",
        "/api/v1/namespaces/default/pods/x/log/y", "/api/v2/pods", "/apis/x", "/apis/x/y", "/apis/x/y/z", "/apis/apps/v1/pods/a/b/c/d",
        "/api/v1/namespaces/default/configmaps/" + "a" * 5_000, "/api/v1/" + "a/" * 500, "/", "/x", "/api/v1/watch/pods", "/api/v1/proxy",
        "/api/v1/namespaces/default/x/y/z", "/api/v1/nodes/a/b", "/apis//v1/x", "/apis/apps//deployments", "/api/v1/namespaces/./pods",
        "/openapi/v3/..", "/openapi/v3/apis/x/v1", "/openapi", "/openapi/v4", "/healthz/..%2fapi", "/version/x", "/livez/x/y",
        "/api/v1/pods;a=b", "/api/v1/pods%3fwatch=1", "/api/v1/pods%23", "/api/v1/p%6fds", "/api/v1/namespaces/default/pods/%c0%ae",
        "/apis/serving.knative.dev/v1/namespaces/default/services/victim/scale", "/apis/serving.knative.dev/v1/services/victim",
        "/api/v1/configmaps/victim", "/api/v1/namespaces/default/nodes", "/apis/apps/v1/namespaces/a/b/c/d/e/f/g",
    ],
    ids=lambda path: path[:50],
)  # fmt: skip
def test_odd_paths(attack, path):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        body = None if method in ("GET", "DELETE") else b"{}"
        kind = {"PATCH": MERGE, "GET": "", "DELETE": ""}.get(method, "application/json")
        answer = attack.survived(
            method, f"{path}{'' if '?' in path else '?dryRun=All'}", body, kind
        )
        # Spellings of places that exist may be understood.
        known = path in ("//api/v1/pods", "/api/v1/p%6fds") and method == "DELETE"
        assert answer.status >= 400 or method == "GET" or known, (method, path, answer.body[:200])


def test_methods_that_nobody_offers(attack):
    for method in ("OPTIONS", "TRACE", "PROPFIND", "FOO", "CONNECT"):
        for path in (MAPS, f"{MAPS}/victim", "/api", "/version"):
            answer = attack(method, path)
            assert 400 <= answer.status < 500, (method, path, answer.status)
    for method, path in (
        ("PUT", MAPS),
        ("PATCH", MAPS),
        ("POST", f"{MAPS}/victim"),
        ("DELETE", f"{DEPLOYMENTS}/victim/scale"),
    ):
        attack.refused(method, path, b"{}", "application/json", codes=(405,))


@pytest.mark.parametrize(
    "credentials",
    [
        "", "Bearer", "Bearer ", "Bearer x", "bearer " + "x" * 5_000, "Basic YWRtaW46YWRtaW4=", "Negotiate x", "Bearer \xff", "x",
        "Bearer a.b.c", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "Bearer ..", "Bearer eyJhbGciOiJSUzI1NiJ9.bnVsbA.AA",
        "Bearer " + "A." * 500, "Digest username=x", "Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.W10.AA", "Bearer e30.e30.e30",
    ],
    ids=lambda text: ascii(text[:24]),
)  # fmt: skip
def test_bad_credentials(server, credentials):
    headers = {"Authorization": credentials} if credentials else {}
    for method, path in (
        ("GET", MAPS),
        ("GET", "/api"),
        ("POST", MAPS),
        ("DELETE", f"{MAPS}/victim"),
        ("GET", "/nowhere"),
        ("GET", "/openapi/v3"),
    ):
        body = b"{}" if method == "POST" else None
        answer = server.request(method, path, body, headers=headers, authorized=False)
        assert answer.status in (400, 401, 403), (method, path, answer.status, answer.body)
        assert is_status(answer)
        assert answer.json["reason"] in ("Unauthorized", "Forbidden", "BadRequest")
    assert server.request("GET", "/healthz", headers=headers, authorized=False).status in (
        200,
        400,
        401,
    )


def test_foreign_hosts_and_origins(server):
    for headers in (
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Host": "["},
        {"Host": "::::"},
        {"Host": ""},
        {"Origin": "http://[::1"},
        {"Origin": "https://127.0.0.1:99999999"},
    ):
        answer = server.request("GET", MAPS, headers=headers)
        assert answer.status in (400, 403), (headers, answer.status)
        assert is_status(answer) or answer.status == 400, answer.body


def test_long_headers_and_queries(server):
    for size in (7_000, 9_000, 70_000):
        answer = server.raw(
            f"GET {MAPS}?labelSelector={'a' * size} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {server.token}\r\n\r\n".encode()
        )
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]
    many = "&".join(f"a{n}=1" for n in range(1_000))
    answer = server.request("GET", f"{MAPS}?{many}")
    assert answer.status == 400
    assert is_status(answer)
