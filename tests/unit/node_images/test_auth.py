import base64
import json

import pytest

from knarr.node.images.auth import (
    check_realm,
    credentials_from_docker_config,
    parse_challenges,
    same_site,
)
from knarr.node.images.errors import Unauthorized
from knarr.node.images.records import Credentials
from knarr.node.images.registryhttp import Endpoint, is_forbidden


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['Basic realm="a b"'], [("basic", {"realm": "a b"})]),
        (
            ['Bearer realm="https://x/t",service="s, t",scope="repository:a/b:pull,push"'],
            [
                (
                    "bearer",
                    {
                        "realm": "https://x/t",
                        "service": "s, t",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (["Negotiate", "Basic"], [("negotiate", {}), ("basic", {})]),
        (
            ['Bearer realm=x , Basic realm="y"'],
            [("bearer", {"realm": "x"}), ("basic", {"realm": "y"})],
        ),
        (['Basic realm="q\\"uote"'], [("basic", {"realm": 'q"uote'})]),
        (["=broken"], []),
    ],
)
def test_challenges(values, expected):
    assert [tuple(found) for found in parse_challenges(values)] == expected


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("auth.docker.io", "registry-1.docker.io", True),
        ("ghcr.io", "ghcr.io", True),
        ("evil.io", "ghcr.io", False),
        ("docker.io.evil.com", "docker.io", False),
        ("10.0.0.1", "10.1.0.1", False),
        ("a.localhost", "localhost", False),
    ],
)
def test_sites(one, two, same):
    assert same_site(one, two) == same


@pytest.mark.parametrize(
    ("realm", "plain", "secret", "message"),
    [
        ("https://evil.com/token", False, True, "another site"),
        ("http://r.example.com/token", False, False, "without TLS"),
        ("file:///etc/passwd", True, False, "unusable"),
        ("https://", False, False, "unusable"),
    ],
)
def test_token_servers_that_are_refused(realm, plain, secret, message):
    with pytest.raises(Unauthorized, match=message):
        check_realm(realm, "r.example.com", plain=plain, secret=secret)


def test_token_servers_that_are_accepted():
    check_realm("https://auth.example.com/token", "r.example.com", plain=False, secret=True)
    check_realm("https://elsewhere.org/token", "r.example.com", plain=False, secret=False)
    check_realm("http://10.0.0.1:5001/token", "10.0.0.1", plain=True, secret=True)


def test_docker_configurations():
    auth = base64.b64encode(b"me:pa:ss").decode()
    document = {
        "auths": {
            "https://index.docker.io/v1/": {"auth": auth},
            "ghcr.io": {"username": "u", "password": "p"},
            "r.io:5000": {"identitytoken": "t"},
        },
        "credHelpers": {"x": "y"},
    }
    found = credentials_from_docker_config(json.dumps(document).encode())
    assert found == {
        "docker.io": Credentials("me", "pa:ss"),
        "ghcr.io": Credentials("u", "p"),
        "r.io:5000": Credentials(identity_token="t"),
    }
    assert credentials_from_docker_config(b'{"r.io": {"auth": "YTpi"}}') == {
        "r.io": Credentials("a", "b")
    }
    for bad in (b"{", b"[]", b'{"auths": 1}', b'{"auths": {"x": {"auth": "\xc3\xa9"}}}'):
        with pytest.raises(ValueError, match="docker configuration"):
            credentials_from_docker_config(bad)


def test_secrets_do_not_show():
    assert "hush" not in repr(Credentials("me", "hush", "hush"))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "[::1]", "169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "0.0.0.0"],
)
def test_addresses_where_a_registry_must_not_send_us(address):
    assert is_forbidden(address)


def test_endpoints():
    hub = Endpoint("docker.io", frozenset())
    assert (str(hub.base), hub.plain, hub.host) == (
        "https://registry-1.docker.io",
        False,
        "registry-1.docker.io",
    )
    assert str(Endpoint("127.0.0.1:5000", frozenset()).base) == "http://127.0.0.1:5000"
    assert Endpoint("r.io:5000", frozenset({"r.io:5000"})).plain
    assert not Endpoint("r.io:5000", frozenset({"r.io:5000"})).local
    assert not is_forbidden("10.0.0.1")
    assert not is_forbidden("example.com")
