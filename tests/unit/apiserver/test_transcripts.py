"""Requests that kubectl and Python clients really sent, replayed in their order.

What was answered with success must be answered with success here; what Knarr does not serve is listed.
"""

import ast
import re
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.request import ApiRequest

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "kube-api" / "transcripts"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the transcripts are not here")

_REQUEST = re.compile(r"^\s*(GET|POST|PUT|PATCH|DELETE) (/\S*)$")
_ANSWER = re.compile(r"^\s*-> (\d+)")
_HEADER = re.compile(r"(Accept|Content-Type|A|CT)=(.*?)(?= [A-Za-z-]+=|$)")
_SHORT = {
    "AGG": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    "TABLE": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
}
_SERVED = re.compile(
    r"^/(api|apis|version|healthz|openapi)/?(\?.*)?$|^/version/$|^/openapi/v3"
    r"|^/api/v1(/namespaces/[^/]+)?/(namespaces|configmaps|secrets|serviceaccounts|pods|services|events)\b"
    r"|^/apis/(apps/v1/namespaces/[^/]+/(deployments|replicasets)|serving\.knative\.dev/v1/)"
    r"|^/apis/authorization.k8s.io/v1/selfsubjectaccessreviews|^/apis/authentication.k8s.io"
)


def requests_of(text):
    """(method, target, accept, content type, body or None when cut, status) per request."""
    current = None
    for line in text.splitlines():
        if match := _REQUEST.match(line):
            if current is not None:
                yield current
            current = {
                "method": match[1],
                "target": match[2],
                "accept": "",
                "type": "",
                "body": b"",
                "status": None,
            }
        elif current is None:
            continue
        elif match := _ANSWER.match(line):
            current["status"] = int(match[1])
        elif line.strip().startswith("B["):
            size, _, literal = line.strip()[2:].partition("] ")
            try:
                body = ast.literal_eval(literal)
            except (SyntaxError, ValueError):
                body = None
            current["body"] = body if body is not None and len(body) == int(size) else None
        else:
            for name, value in _HEADER.findall(line.strip()):
                field = "accept" if name in ("Accept", "A") else "type"
                current[field] = _SHORT.get(value.strip(), value.strip())
    if current is not None:
        yield current


# What differs on purpose.
def expected_difference(request):
    target = request["target"]
    return (
        "apply-patch" in request["type"]
        or "/exec" in target
        or "/log" in target
        # The recorded hashes and groups are another server's.
        or "/openapi/v3/" in target
        # The recording server did not validate: its Services have no containers.
        or ("serving.knative.dev" in target and request["method"] != "GET")
    )


@pytest.mark.parametrize("name", ["kubectl-1.32.4-requests.txt", "python-clients-requests.txt"])
async def test_replay(api, name):
    replayed = 0
    for request in requests_of((FOLDER / name).read_text()):
        if (
            request["body"] is None
            or request["status"] is None
            or not _SERVED.match(request["target"])
        ):
            continue
        path, _, query = request["target"].partition("?")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        response = await api.handler.handle(
            ApiRequest(
                request["method"], path, ADMIN, query=parameters, body=request["body"],
                content_type=request["type"], accept=request["accept"],
            )
        )  # fmt: skip
        if response.stream is not None:
            await response.stream.close()
        assert response.status < 500, (request, response.body)
        if expected_difference(request):
            continue
        if request["status"] < 300 and response.status == 404:
            # Its object was made by a request whose recorded body is cut.
            assert request["method"] != "POST", request
            continue
        assert (response.status < 300) == (request["status"] < 300), (request, response.body)
        replayed += 1
    assert replayed > 20, replayed
