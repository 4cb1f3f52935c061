import base64

import pytest
import yaml

from knarr.kube.kubeconfig import KubeconfigError, load_kubeconfig


def config(**changes) -> dict:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "main",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443/"}}],
        "contexts": [
            {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "work"}}
        ],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    return {**document, **changes}


def write(tmp_path, document):
    path = tmp_path / "config"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_the_current_context_is_used(tmp_path):
    access = load_kubeconfig(write(tmp_path, config()))

    assert access.endpoint.url == "https://127.0.0.1:6443"
    assert access.endpoint.token == "secret"
    assert access.endpoint.tls is not None
    assert access.namespace == "work"


def test_plain_http_has_no_tls_and_the_namespace_defaults(tmp_path):
    document = config(
        clusters=[{"name": "c", "cluster": {"server": "http://localhost:8001"}}],
        contexts=[{"name": "main", "context": {"cluster": "c"}}],
    )
    access = load_kubeconfig(write(tmp_path, document))

    assert access.endpoint.tls is None
    assert access.endpoint.token == ""
    assert access.namespace == "default"


def test_files_are_found_beside_the_kubeconfig(tmp_path):
    document = config(users=[{"name": "u", "user": {"tokenFile": "token"}}])

    assert load_kubeconfig(write(tmp_path, document)).endpoint.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (":", "is no kubeconfig"),
        ("[1]", "is no kubeconfig"),
        (config(clusters=3), "is no kubeconfig"),
        (config(**{"current-context": "gone"}), 'has no context "gone"; it has: main'),
        (config(clusters=[]), 'names the unknown cluster "c"'),
        (config(users=[]), 'has no user "u"'),
        (
            config(users=[{"name": "u", "user": {"exec": {"command": "x"}}}]),
            "uses exec, which is not",
        ),
        (config(users=[{"name": "u", "user": {"token": 5}}]), 'user "u"'),
        (
            config(users=[{"name": "u", "user": {"client-certificate": "none.pem"}}]),
            "none.pem: No such file",
        ),
        (
            config(users=[{"name": "u", "user": {"client-certificate-data": "%%"}}]),
            "embedded certificate data is damaged",
        ),
        (
            config(
                clusters=[
                    {
                        "name": "c",
                        "cluster": {
                            "server": "https://h",
                            "certificate-authority-data": base64.b64encode(b"no pem").decode(),
                        },
                    }
                ]
            ),
            "a certificate cannot be used",
        ),
    ],
)
def test_what_cannot_be_used_is_said_by_name(tmp_path, document, text):
    with pytest.raises(KubeconfigError, match=text):
        load_kubeconfig(write(tmp_path, document))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(KubeconfigError, match="No such file"):
        load_kubeconfig(tmp_path / "nothing")
