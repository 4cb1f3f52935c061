"""Certificates, tokens, hosts and peers."""

import contextlib
import datetime as dt
import os
import socket
import ssl

import pytest
import yaml
from cryptography import x509

from knarr.apiserver.auth import (
    ADMIN,
    ANONYMOUS,
    LOCAL_HOSTS,
    HostCheck,
    authenticate_peer,
    authorize_path,
    peer_uid,
)
from knarr.apiserver.pki import ensure_pki, format_kubeconfig, write_kubeconfig
from knarr.kits.clock import ManualClock, SystemClock
from knarr.meta.errors import Forbidden, Unauthorized


@pytest.mark.parametrize("path", ["/healthz", "/livez/", "/readyz/ping", "/version", "/version/"])
def test_health_and_version_are_open(path):
    assert authorize_path(None, path) is ANONYMOUS
    assert authorize_path(ADMIN, path) is ADMIN


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/openapi/v3", "/healthzz", "/api/v1/pods"])
def test_everything_else_is_closed(path):
    with pytest.raises(Unauthorized, match="Unauthorized"):
        authorize_path(None, path)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("127.0.0.1:6443", "", True),
        ("localhost", "", True),
        ("LOCALHOST:6443", "", True),
        ("[::1]:6443", "", True),
        ("kubernetes.default.svc", "", True),
        ("kubernetes.default.svc.", "", True),
        ("127.0.0.1:6443", "https://127.0.0.1:6443", True),
        ("127.0.0.1:6443", "http://127.0.0.1:6443", True),
        ("127.0.0.1:6443", "https://console.local", True),
        ("evil.example", "", False),
        ("127.0.0.1.evil.example:6443", "", False),
        ("", "", False),
        ("127.0.0.1:6443", "https://evil.example", False),
        ("127.0.0.1:6443", "null", False),
        ("127.0.0.1:6443", "https://localhost:9", False),
    ],
)
def test_hosts_and_origins(host, origin, allowed):
    check = HostCheck(LOCAL_HOSTS, ["https://console.local"])
    if allowed:
        check.check(host, origin)
    else:
        with pytest.raises(Forbidden):
            check.check(host, origin)


def test_peers_are_known_by_uid(monkeypatch):
    left, right = socket.socketpair()
    with left, right:
        assert peer_uid(left) == os.geteuid()
        assert authenticate_peer(left) is ADMIN
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        if os.getuid() != 0:
            assert authenticate_peer(left) is None


def test_certificates_are_made_once_and_renewed_in_time(tmp_path):
    clock = ManualClock(dt.datetime.now(dt.UTC))
    first = ensure_pki(tmp_path / "pki", clock)
    leaf = first.certificate.read_bytes()
    again = ensure_pki(tmp_path / "pki", clock)
    assert (again.token, again.ca_pem) == (first.token, first.ca_pem)
    assert again.certificate.read_bytes() == leaf
    clock.advance(800 * 86_400)
    renewed = ensure_pki(tmp_path / "pki", clock)
    assert renewed.certificate.read_bytes() != leaf
    assert (renewed.token, renewed.ca_pem) == (first.token, first.ca_pem)
    leaf = renewed.certificate.read_bytes()
    ensure_pki(tmp_path / "pki", clock, ["box.local", "10.0.0.1"])
    assert first.certificate.read_bytes() != leaf
    (tmp_path / "pki" / "server.json").write_text("{")
    ensure_pki(tmp_path / "pki", clock)


def test_files_are_private(tmp_path):
    pki = ensure_pki(tmp_path / "pki", SystemClock())
    write_kubeconfig(tmp_path / "kubeconfig", pki, host="127.0.0.1", port=6443)
    write_kubeconfig(tmp_path / "kubeconfig", pki, host="127.0.0.1", port=6443)
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    for name in ("pki/ca.key", "pki/server.key", "pki/admin.token", "kubeconfig"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name


def test_extensions_satisfy_strict_verifiers(tmp_path):
    pki = ensure_pki(tmp_path, SystemClock(), ["10.1.2.3"])
    ca = x509.load_pem_x509_certificate(pki.ca_pem.encode())
    leaf = x509.load_pem_x509_certificate(pki.certificate.read_bytes())
    usage = ca.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    for certificate in (ca, leaf):
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        assert authority.value.key_identifier == identifier
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)
    addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", "10.1.2.3"]


def test_a_strict_handshake_succeeds(tmp_path):
    pki = ensure_pki(tmp_path, SystemClock())
    client_context = ssl.create_default_context(cadata=pki.ca_pem)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(client_in, client_out, server_hostname="127.0.0.1")
    server_in, server_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = pki.server_context().wrap_bio(server_in, server_out, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            server_in.write(client_out.read())
            client_in.write(server_out.read())
    assert client.version() == "TLSv1.3"
    assert client.getpeercert()["subject"] == ((("commonName", "knarr-api"),),)


def test_kubeconfig_is_what_kubectl_reads(tmp_path):
    pki = ensure_pki(tmp_path, SystemClock())
    document = yaml.safe_load(format_kubeconfig(pki, host="::1", port=7))
    assert document["current-context"] == "knarr"
    assert document["clusters"][0]["cluster"]["server"] == "https://[::1]:7"
    assert document["users"][0]["user"] == {"token": pki.token}
    assert document["contexts"][0]["context"]["namespace"] == "default"
