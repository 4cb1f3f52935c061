"""Service account tokens: what is asked for, what they say, and everything that makes them worthless."""

import base64
import datetime as dt
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.unit.apiserver.kit import PODS, pod
from tests.unit.apiserver_access.conftest import ADMIN_TOKEN
from tests.unit.apiserver_access.kit import (
    ACCOUNTS,
    BOB,
    CLUSTER_ROLE_BINDINGS,
    binding,
    made,
)

from knarr.apiserver.authentication.claims import ISSUER
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.jwt import InvalidToken, PublicKey, verified_payload
from knarr.apiserver.authentication.signing import (
    SigningKeys,
    SigningKeyUnusable,
    ensure_signing_keys,
)
from knarr.meta.objects import Key

TOKEN = f"{ACCOUNTS}/robot/token"
SECRETS = "/api/v1/namespaces/default/secrets"


def encode(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.fixture
async def robot(api):
    return (await made(api, ACCOUNTS, {"metadata": {"name": "robot"}}))["metadata"]


async def token(api, **spec):
    answer = await made(api, TOKEN, {"spec": spec})
    return answer["status"]["token"]


def user(api, text, scheme="Bearer"):
    return api.credentials.authenticate(f"{scheme} {text}")


async def test_what_a_token_says(api, robot, signing_keys):
    answer = await made(
        api, TOKEN, {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"}
    )
    assert answer["metadata"]["name"] == "robot"
    assert answer["spec"] == {
        "audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None,
    }  # fmt: skip
    assert answer["status"]["expirationTimestamp"] == "2026-01-01T01:00:00Z"
    header, payload, _ = answer["status"]["token"].split(".")
    assert decode(header) == {"alg": "RS256", "kid": signing_keys.kid}
    claims = decode(payload)
    now = int(api.clock.wall().timestamp())
    assert len(claims.pop("jti")) == 36
    assert claims == {
        "iss": ISSUER, "aud": [ISSUER], "sub": "system:serviceaccount:default:robot",
        "iat": now, "nbf": now, "exp": now + 3600,
        "kubernetes.io": {
            "namespace": "default", "serviceaccount": {"name": "robot", "uid": robot["uid"]},
        },
    }  # fmt: skip
    found = user(api, answer["status"]["token"])
    assert (found.name, found.uid) == ("system:serviceaccount:default:robot", robot["uid"])
    assert found.groups == (
        "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated",
    )  # fmt: skip
    assert list(found.extra) == ["authentication.kubernetes.io/credential-id"]


async def test_others_can_verify_with_the_published_keys(api, robot):
    text = await token(api)
    found = await api.get("/.well-known/openid-configuration")
    document = found.json
    assert document["issuer"] == ISSUER
    assert document["jwks_uri"] == f"{ISSUER}/openid/v1/jwks"
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    answer = await api.get("/openid/v1/jwks")
    assert answer.response.content_type == "application/jwk-set+json"
    (jwk,) = answer.json["keys"]
    assert (jwk["kty"], jwk["use"], jwk["alg"]) == ("RSA", "sig", "RS256")
    numbers = [int.from_bytes(base64.urlsafe_b64decode(jwk[each] + "=="), "big") for each in "en"]
    public = rsa.RSAPublicNumbers(*numbers).public_key()
    signed, _, signature = text.rpartition(".")
    public.verify(
        base64.urlsafe_b64decode(signature + "=="),
        signed.encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert jwk["kid"] == encode(hashlib.sha256(der).digest())


async def test_who_may_read_the_keys(api, robot):
    found = user(api, await token(api))
    for path in ("/openid/v1/jwks", "/.well-known/openid-configuration"):
        assert (await api.get(path, user=found)).status == 200
        assert (await api.get(path, user=BOB)).status == 403
        assert (await api.post(path, {})).status == 404


@pytest.mark.parametrize(
    ("spec", "status", "text"),
    [
        ({"expirationSeconds": 599}, 422,
         'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: '
         "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": (1 << 32) + 1}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"expirationSeconds": "soon"}, 400, "cannot be handled as a TokenRequest"),
        ({"boundObjectRef": {"kind": "Pod", "name": "none"}}, 404, 'pods "none" not found'),
        ({"boundObjectRef": {"kind": "ConfigMap", "name": "x"}}, 400, "cannot bind token to object"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v2", "name": "x"}}, 400, "cannot bind token"),
    ],
)  # fmt: skip
async def test_bad_requests(api, robot, spec, status, text):
    answer = await api.post(TOKEN, {"spec": spec})
    assert (answer.status, text in answer.json["message"]) == (status, True), answer.json


async def test_requests_must_be_about_the_account(api, robot):
    assert (await api.post(f"{ACCOUNTS}/none/token", {})).status == 404
    assert (await api.get(TOKEN)).status == 405
    assert (await api.post(f"{PODS}/p/token", {})).status == 404
    wrong = await api.post(TOKEN, {"metadata": {"name": "other"}})
    assert "must match the service account name if specified" in wrong.json["message"]
    assert (await api.post(TOKEN, {"metadata": {"uid": "x"}})).status == 409
    assert (await api.post(TOKEN, {"kind": "Pod", "apiVersion": "v1"})).status == 400
    dry = await api.post(TOKEN, {}, query={"dryRun": "All"})
    assert dry.json["status"]["token"] == ""


async def test_protobuf_requests(api, robot):
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    spec = field(1, b"me") + bytes([4 << 3]) + b"\xd8\x04"  # audiences, expirationSeconds 600
    meta = field(1, b"authentication.k8s.io/v1") + field(2, b"TokenRequest")
    body = b"k8s\0" + field(1, meta) + field(2, field(1, b"") + field(2, spec))
    answer = await api.post(TOKEN, body, content_type="application/vnd.kubernetes.protobuf")
    assert answer.status == 201, answer.json
    assert answer.json["spec"]["expirationSeconds"] == 600
    assert answer.json["spec"]["audiences"] == ["me"]


async def test_tokens_end(api, robot):
    text = await token(api, expirationSeconds=600)
    api.clock.advance(599)
    assert user(api, text)
    api.clock.advance(1)
    assert user(api, text) is None


async def test_tokens_for_others_are_not_for_us(api, robot):
    text = await token(api, audiences=["vault"])
    assert user(api, text) is None
    assert api.credentials.review(text, ["vault", "x"]).audiences == ("vault",)
    both = await token(api, audiences=["vault", ISSUER])
    assert user(api, both)


async def test_a_deleted_account_ends_its_tokens(api, robot):
    text = await token(api)
    assert user(api, text)
    await api.delete(f"{ACCOUNTS}/robot")
    assert user(api, text) is None
    await made(api, ACCOUNTS, {"metadata": {"name": "robot"}})
    assert user(api, text) is None


async def test_tokens_end_with_what_they_are_bound_to(api, robot):
    await made(api, PODS, pod("p", serviceAccountName="robot", nodeName="n"))
    await made(api, SECRETS, {"metadata": {"name": "s"}})
    bound = await token(api, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    found = user(api, bound)
    assert found.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    assert found.extra["authentication.kubernetes.io/node-name"] == ("n",)
    secret = await token(api, boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "s"})
    assert user(api, secret)
    await api.delete(f"{SECRETS}/s")
    assert user(api, secret) is None
    # A Pod that is being deleted may use its token until 60 s after its grace period.
    await api.delete(f"{PODS}/p")
    api.clock.advance(30 + 59)
    assert user(api, bound)
    api.clock.advance(2)
    assert user(api, bound) is None
    await api.delete(f"{PODS}/p", {"gracePeriodSeconds": 0})
    await made(api, PODS, pod("p", serviceAccountName="robot"))
    assert user(api, bound) is None


async def test_binding_checks_the_pod(api, robot):
    await made(api, ACCOUNTS, {"metadata": {"name": "other"}})
    await made(api, PODS, pod("p", serviceAccountName="other"))
    answer = await api.post(TOKEN, {"spec": {"boundObjectRef": {"kind": "Pod", "name": "p"}}})
    assert (answer.status, "different serviceaccount" in answer.json["message"]) == (400, True)
    await made(api, PODS, pod("q", serviceAccountName="robot"))
    wrong = {"kind": "Pod", "name": "q", "uid": "x"}
    answer = await api.post(TOKEN, {"spec": {"boundObjectRef": wrong}})
    assert (answer.status, "does not match the UID in record" in answer.json["message"]) == (
        409,
        True,
    )


async def test_a_node_can_bind_too(api, robot):
    await made(api, "/api/v1/nodes", {"metadata": {"name": "n"}})
    text = await token(api, boundObjectRef={"kind": "Node", "apiVersion": "v1", "name": "n"})
    assert user(api, text)
    await api.delete("/api/v1/nodes/n")
    assert user(api, text) is None


async def forged(api, header=None, claims=None, key=None, change=None):
    """A token like a real one except for what is given."""
    text = await token(api)
    head, payload, signature = text.split(".")
    new_head = encode(decode(head) | (header or {}))
    new_payload = encode(decode(payload) | (claims or {}))
    signed = f"{new_head}.{new_payload}".encode()
    if key is not None:
        signature = encode(key.sign(signed, padding.PKCS1v15(), hashes.SHA256()))
    if change is not None:
        signature = change(signature)
    return f"{signed.decode()}.{signature}"


@pytest.fixture(scope="module")
def own_key():
    return rsa.generate_private_key(65537, 2048)


async def test_a_real_token_put_together_again_is_good(api, robot, signing_keys):
    key = serialization.load_pem_private_key(signing_keys.private_key.read_bytes(), None)
    assert user(api, await forged(api, key=key))


async def test_forgeries(api, robot, own_key, signing_keys):
    real = serialization.load_pem_private_key(signing_keys.private_key.read_bytes(), None)
    public = real.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = await token(api)
    head, payload, signature = text.split(".")
    none = encode({"alg": "none", "kid": signing_keys.kid})
    symmetric = f"{encode({'alg': 'HS256', 'kid': signing_keys.kid})}.{payload}"
    mac = encode(hmac.new(public, symmetric.encode(), hashlib.sha256).digest())
    admin = {"sub": "system:serviceaccount:kube-system:admin"}
    bad = [
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{symmetric}.{mac}",
        await forged(api, claims=admin),
        await forged(api, key=own_key),
        await forged(api, key=own_key, header={"kid": "other"}),
        await forged(api, key=real, header={"kid": ""}),
        await forged(api, key=real, header={"alg": "RS512"}),
        await forged(api, key=real, header={"crit": ["x"], "x": 1}),
        await forged(api, key=real, claims={"iss": "https://evil.example"}),
        await forged(api, key=real, claims={"exp": 0}),
        await forged(api, key=real, claims={"exp": "never"}),
        await forged(api, key=real, claims={"nbf": api.clock.wall().timestamp() + 61}),
        await forged(api, key=real, claims={"aud": []}),
        await forged(api, key=real, claims=admin),
        await forged(api, key=real, claims={"kubernetes.io": {}}),
        await forged(api, key=real, claims={"kubernetes.io": None}),
        await forged(api, change=lambda text: text[:-4]),
        await forged(api, change=lambda text: text + "AAAA"),
        await forged(api, change=lambda text: text + "="),
        await forged(api, change=lambda _: ""),
        await forged(api, change=lambda _: encode(b"\0" * 256)),
        await forged(api, change=lambda _: encode((1).to_bytes(256, "big"))),
        await forged(api, change=lambda _: encode(real.public_key().public_numbers().n.to_bytes(256, "big"))),
        f"{head}.{payload}", f"{head}.{payload}.{signature}.x", f".{payload}.{signature}", "..", "",
        f"{head}\n.{payload}.{signature}", "é.é.é", "\udcff", "a" * 20_000,
        f"{encode(b'[' * 10_000)}.{payload}.{signature}", f"{encode(b'null')}.{payload}.{signature}",
        f"{encode(b'{')}.{payload}.{signature}", f"{head}.{encode(b'{}')}.{signature}",
    ]  # fmt: skip
    for each in bad:
        assert user(api, each) is None, each
        with pytest.raises(InvalidToken):
            api.credentials.review(each)
    assert user(api, text)


def test_padding_that_a_parser_would_accept_is_refused(own_key):
    """The forgery of Bleichenbacher (2006): rubbish behind the digest."""
    numbers = own_key.private_numbers()
    size = 256
    message = b"a.b"
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    tail = info + hashlib.sha256(b"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30").digest()
    block = b"\0\1" + b"\xff" * 8 + b"\0" + tail
    block += b"\x11" * (size - len(block))
    public = PublicKey("k", numbers.public_numbers.n, 65537)
    raw = pow(int.from_bytes(block, "big"), numbers.d, public.modulus).to_bytes(size, "big")
    with pytest.raises(InvalidToken, match="signature"):
        verified_payload(f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.e30.{encode(raw)}", {"k": public})
    assert message


async def test_remembered_tokens_are_bounded_and_still_checked(api, robot):
    accounts = api.credentials._accounts
    texts = [await token(api) for _ in range(3)]
    for text in texts:
        assert user(api, text)
    assert len(accounts._remembered) == 3
    for number in range(2_000):
        assert user(api, f"{number}") is None
    assert len(accounts._remembered) == 3


async def test_the_administrators_token(api):
    assert user(api, ADMIN_TOKEN).name == "system:admin"
    assert user(api, ADMIN_TOKEN, "bearer").name == "system:admin"
    for header in ("", "Bearer", "Bearer ", "Bearer x", f"Basic {ADMIN_TOKEN}", ADMIN_TOKEN):
        assert api.credentials.authenticate(header) is None
    assert ADMIN_TOKEN not in repr(vars(api.credentials))


def test_certificates_make_users(api):
    certificate = {
        "subject": (
            (("organizationName", "a"),),
            (("organizationName", "b"),),
            (("commonName", "eve"),),
        )
    }
    found = api.credentials.authenticate("", certificate)
    assert (found.name, found.groups) == ("eve", ("a", "b", "system:authenticated"))
    assert api.credentials.authenticate("", {}) is None
    assert api.credentials.authenticate("", {"subject": ((("organizationName", "a"),),)}) is None
    assert api.credentials.authenticate(f"Bearer {ADMIN_TOKEN}", certificate).name == "eve"


async def test_legacy_tokens_end_with_their_secret(api, robot):
    text = await api.credentials.issuer.issue_legacy(
        Key("default", "robot"), robot["uid"], "legacy"
    )
    assert user(api, text) is None
    secret = {
        "metadata": {
            "name": "legacy",
            "annotations": {"kubernetes.io/service-account.name": "robot"},
        },
        "type": "kubernetes.io/service-account-token",
        "stringData": {"token": text},
    }
    await made(api, SECRETS, secret)
    found = user(api, text)
    assert found.name == "system:serviceaccount:default:robot"
    assert dict(found.extra) == {}
    await api.patch(f"{SECRETS}/legacy", {"data": {"token": "eA=="}})
    assert user(api, text) is None


async def test_without_keys_there_are_no_tokens(api, robot):
    credentials = Credentials(api.store, api.clock, None)
    assert credentials.authenticate("Bearer x") is None
    api.handler._tokens._credentials = credentials
    assert (await api.post(TOKEN, {})).status == 503


def test_keys_are_made_once_and_private(tmp_path):
    first = ensure_signing_keys(tmp_path)
    assert ensure_signing_keys(tmp_path) == first
    assert (tmp_path / "sa.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "sa.jwks").write_text('{"keys":[]}')
    with pytest.raises(SigningKeyUnusable, match=r"sa\.jwks"):
        ensure_signing_keys(tmp_path)
    (tmp_path / "sa.jwks").write_text("{")
    with pytest.raises(SigningKeyUnusable):
        ensure_signing_keys(tmp_path)


async def test_a_damaged_private_key_is_named(api, robot, tmp_path, signing_keys):
    (tmp_path / "sa.key").write_text("x")
    damaged = SigningKeys(tmp_path / "sa.key", "k", signing_keys.public, b"")
    api.credentials.load({}, damaged)
    with pytest.raises(SigningKeyUnusable, match=r"sa\.key"):
        await api.credentials.issuer.issue(Key("a", "b"), "u")


async def test_the_issuer_in_process(api, robot):
    issued = await api.credentials.issuer.issue(
        Key("default", "robot"), robot["uid"], expires_s=900
    )
    assert issued.expires == api.clock.wall() + dt.timedelta(seconds=900)
    found = user(api, issued.token)
    assert (await api.get(PODS, user=found)).status == 403
    await made(
        api, CLUSTER_ROLE_BINDINGS, binding("b", "view", "sa:default/robot", kind="ClusterRole")
    )
    assert (await api.get(PODS, user=found)).status == 200
