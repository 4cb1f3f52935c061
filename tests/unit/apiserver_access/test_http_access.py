"""Users over real TLS: client certificates, tokens, impersonation headers."""

import datetime as dt
import random
import ssl

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock
from knarr.resources.catalog import KINDS
from knarr.store.store import Store

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def client_certificate(directory, name, groups=(), *, usage="clientAuth", ca=None):
    """Files with a certificate and its key, signed by the CA of a pki directory (or by ``ca``)."""
    issuer = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    signer = ca or serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
    now = dt.datetime.now(dt.UTC)
    purposes = {
        "clientAuth": x509.ExtendedKeyUsageOID.CLIENT_AUTH,
        "serverAuth": x509.ExtendedKeyUsageOID.SERVER_AUTH,
    }
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([purposes[usage]]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    files = directory / f"{name}.crt", directory / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.fixture
async def served(tmp_path):
    settings = ApiServerSettings(
        tmp_path / "pki", tmp_path / "kubeconfig", port=0, pod_api_endpoint=("10.9.0.1", 6443)
    )
    async with (
        Store(None) as store,
        ApiServer(settings, store, KINDS, SystemClock(), random.Random(1)) as server,
    ):
        server.directory = settings.pki_directory
        yield server


def session(served, certificate=None, **headers):
    context = ssl.create_default_context(cafile=str(served.directory / "ca.crt"))
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return aiohttp.ClientSession(
        f"https://127.0.0.1:{served.port}",
        connector=aiohttp.TCPConnector(ssl=context),
        headers=headers,
    )


async def who(client, **headers):
    async with client.post(WHO, json={}, headers=headers) as answer:
        return answer.status, (await answer.json()).get("status", {})


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_client_certificates(served):
    certificate = client_certificate(served.directory, "eve", ["a", "b"])
    async with session(served, certificate) as client:
        for _ in range(2):
            status, found = await who(client)
            assert status == 201
            assert found["userInfo"] == {
                "username": "eve", "groups": ["a", "b", "system:authenticated"],
            }  # fmt: skip
        async with client.get("/api/v1/pods") as answer:
            assert answer.status == 403


@pytest.mark.parametrize("kind", ["foreign", "server"])
async def test_certificates_that_prove_nothing(served, kind):
    if kind == "foreign":
        certificate = client_certificate(
            served.directory, "eve", ["system:masters"], ca=ec.generate_private_key(ec.SECP256R1())
        )
    else:
        certificate = client_certificate(
            served.directory, "eve", ["system:masters"], usage="serverAuth"
        )
    async with session(served, certificate) as client:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await who(client)
    async with session(served) as client:
        assert (await who(client))[0] == 401


async def test_bad_tokens_are_401_whatever_they_look_like(served):
    texts = ["x", "a.b.c", "." * 50, "eyJhbGciOiJub25lIn0.e30.", "a" * 6_000, "%00", "Ünicode"]
    async with session(served) as client:
        for text in texts:
            async with client.get("/api/v1/pods", headers=bearer(text)) as answer:
                assert answer.status == 401, text
                assert (await answer.json())["reason"] == "Unauthorized"
        async with client.get("/api", headers=bearer("x" * 200_000)) as answer:
            assert answer.status == 400
        async with client.get("/healthz", headers=bearer("x")) as answer:
            assert answer.status == 200


async def test_impersonation_over_http(served):
    token = (served.directory / "admin.token").read_text()
    async with session(served, **bearer(token)) as client:
        headers = [
            ("Impersonate-User", "eve"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"),
            ("Impersonate-Uid", "7"), ("Impersonate-Extra-Why%2fso", "x"),
        ]  # fmt: skip
        async with client.post(WHO, json={}, headers=headers) as answer:
            info = (await answer.json())["status"]["userInfo"]
        assert info == {
            "username": "eve", "uid": "7", "groups": ["a", "b", "system:authenticated"],
            "extra": {"why/so": ["x"]},
        }  # fmt: skip
        async with client.get("/api/v1/pods", headers={"Impersonate-User": "eve"}) as answer:
            assert answer.status == 403
        async with client.get("/api", headers={"Impersonate-Group": "a"}) as answer:
            assert answer.status == 400
    certificate = client_certificate(served.directory, "eve")
    async with session(served, certificate) as client:
        status, _ = await who(client, **{"Impersonate-User": "system:admin"})
        assert status == 403
    async with session(served) as client:
        status, _ = await who(client, **{"Impersonate-User": "system:admin"})
        assert status == 401
        async with client.get("/healthz", headers={"Impersonate-User": "x"}) as answer:
            assert answer.status == 403


async def test_service_accounts_know_the_server(served):
    leaf = x509.load_pem_x509_certificate((served.directory / "server.crt").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)
    token = (served.directory / "admin.token").read_text()
    async with session(served, **bearer(token)) as client:
        async with client.get("/api/v1/namespaces/default/endpoints/kubernetes") as answer:
            subsets = (await answer.json())["subsets"]
        assert subsets[0]["addresses"] == [{"ip": "10.9.0.1"}]
        hosts = ("kubernetes.default.svc", "kubernetes.default.svc.cluster.local:443", "localhost")
        for host in hosts:
            async with client.get("/api", headers={"Host": host}) as answer:
                assert answer.status == 200, host
        async with client.get("/api", headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
