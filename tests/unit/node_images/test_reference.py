import pytest

from knarr.node.images.errors import InvalidReference
from knarr.node.images.reference import is_loopback_registry, parse_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.25", "docker.io/library/nginx:1.25"),
        ("me/app", "docker.io/me/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/me/app:x", "docker.io/me/app:x"),
        ("gcr.io/a/b/c:v1", "gcr.io/a/b/c:v1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("host:5000", "docker.io/library/host:5000"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"r.io/x:tag@{DIGEST}", f"r.io/x@{DIGEST}"),
        ("knarr.local/hello:abc", "knarr.local/hello:abc"),
        ("r.io/a__b/c-d--e/f.g", "r.io/a__b/c-d--e/f.g:latest"),
    ],
)
def test_references_are_completed(text, canonical):
    parsed = parse_reference(text)
    assert str(parsed) == canonical
    assert parse_reference(canonical) == parsed


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "repository name is missing"),
        ("Nginx", "lower-case"),
        ("a b", "lower-case"),
        ("x:", "tag ''"),
        ("x:-a", "tag '-a'"),
        ("x:" + "a" * 129, "128"),
        ("x@sha256:00", "64 hexadecimal"),
        ("x@", "64 hexadecimal"),
        ("a//b", "lower-case"),
        ("/a", "lower-case"),
        ("a/", "lower-case"),
        ("r.io/", "repository name is missing"),
        ("-r.io/x", "host name"),
        ("r_.io/x", "host name"),
        ("r.io:x/y", "host name"),
        ("r.io/" + "a" * 256, "longer than 255"),
        ("r.io/a___b", "lower-case"),
        ("../x", "host name"),
        ("x\n", "lower-case"),
    ],
)
def test_what_is_no_reference_says_why(text, hint):
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert caught.value.message == f"could not parse reference: {text}"
    assert hint in caught.value.hint
    assert caught.value.reason == "InvalidImageName"


def test_local_images_and_loopback_registries():
    assert parse_reference("knarr.local/x").is_local
    assert not parse_reference("x").is_local
    for registry in ("localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "r.localhost:1"):
        assert is_loopback_registry(registry)
    for registry in ("docker.io", "127.0.0.1.evil.com", "localhost.evil.com", "10.0.0.1:5000"):
        assert not is_loopback_registry(registry)
