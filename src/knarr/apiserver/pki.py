"""The server's own certificate authority, certificate, administrator's token and keys for tokens.

Made once and kept under ``<data>/pki``; the leaf is renewed at start when it nears its end or its names
change. ``cryptography`` is imported only while something is made, so a usual start stays small. Strict
verifiers (Python 3.13) want basicConstraints, keyUsage and both key identifiers on the CA.
"""

import base64
import datetime as dt
import ipaddress
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from knarr.apiserver.authentication.signing import SigningKeys, ensure_signing_keys
from knarr.apiserver.files import write_atomically
from knarr.kits.clock import Clock, format_timestamp, parse_timestamp

_CA_LIFE = dt.timedelta(days=3650)
_LEAF_LIFE = dt.timedelta(days=825)
_RENEW_BEFORE = dt.timedelta(days=30)
_BACKDATE = dt.timedelta(hours=1)
DEFAULT_HOSTS = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
)


class _Issued(msgspec.Struct, frozen=True):
    hosts: tuple[str, ...]
    not_after: str


@dataclass(frozen=True, slots=True)
class Pki:
    """Where the material is, and what clients need of it.

    Attributes:
        ca_pem: the CA's certificate.
        token: of the administrator.
        signing: the keys of service account tokens.
    """

    certificate: Path
    key: Path
    ca_pem: str
    token: str
    signing: SigningKeys

    def server_context(self) -> ssl.SSLContext:
        """The TLS context of the listeners; a client may show a certificate, which must then be the CA's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(cadata=self.ca_pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def ensure_pki(directory: Path, clock: Clock, extra_hosts: Sequence[str] = ()) -> Pki:
    """Load the material of a directory and make what is missing or stale.

    Args:
        directory: created with mode 0700.
        clock: for validity.
        extra_hosts: names and addresses besides the local ones.

    Raises:
        OSError: the directory cannot be read or written.
        SigningKeyUnusable: the keys of service account tokens are damaged.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    ca_certificate, ca_key = directory / "ca.crt", directory / "ca.key"
    token_file = directory / "admin.token"
    now = clock.wall()
    if not (ca_certificate.exists() and ca_key.exists()):
        _make_ca(ca_certificate, ca_key, now)
        (directory / "server.json").unlink(missing_ok=True)
    hosts = tuple(dict.fromkeys((*DEFAULT_HOSTS, *extra_hosts)))
    if not _leaf_is_current(directory, hosts, now):
        _make_leaf(directory, hosts, now)
    if not token_file.exists():
        write_atomically(token_file, secrets.token_urlsafe(32).encode(), 0o600)
    return Pki(
        certificate=directory / "server.crt",
        key=directory / "server.key",
        ca_pem=ca_certificate.read_text(),
        token=token_file.read_text().strip(),
        signing=ensure_signing_keys(directory),
    )


def _leaf_is_current(directory: Path, hosts: tuple[str, ...], now: dt.datetime) -> bool:
    record = directory / "server.json"
    files = (record, directory / "server.crt", directory / "server.key")
    if not all(file.exists() for file in files):
        return False
    try:
        issued = msgspec.json.decode(record.read_bytes(), type=_Issued)
        not_after = parse_timestamp(issued.not_after)
    except (msgspec.MsgspecError, ValueError):
        return False
    return issued.hosts == hosts and now + _RENEW_BEFORE < not_after


def _make_ca(certificate: Path, key_file: Path, now: dt.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("knarr-ca")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key.public_key(), now, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    _store_pair(builder, key, key, certificate, key_file)


def _make_leaf(directory: Path, hosts: tuple[str, ...], now: dt.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
    ca_key: Any = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_name("knarr-api"), ca.subject, key.public_key(), now, _LEAF_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier),
            critical=False,
        )
    )
    _store_pair(builder, key, ca_key, directory / "server.crt", directory / "server.key")
    issued = _Issued(hosts, format_timestamp(now + _LEAF_LIFE))
    write_atomically(directory / "server.json", msgspec.json.encode(issued), 0o644)


def _name(common: str) -> Any:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])


def _names(hosts: tuple[str, ...]) -> list[Any]:
    from cryptography import x509

    names: list[Any] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _usage(*, signs_certificates: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: Any, issuer: Any, public_key: Any, now: dt.datetime, life: dt.timedelta
) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
    )


def _store_pair(builder: Any, key: Any, signer: Any, certificate: Path, key_file: Path) -> None:
    from cryptography.hazmat.primitives import hashes, serialization

    signed = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomically(key_file, private, 0o600)
    write_atomically(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)


def write_kubeconfig(path: Path, pki: Pki, *, host: str, port: int) -> None:
    """A kubeconfig for the administrator; context ``knarr``, readable by the owner only."""
    write_atomically(path, format_kubeconfig(pki, host=host, port=port).encode(), 0o600)


def format_kubeconfig(pki: Pki, *, host: str, port: int) -> str:
    """The text of the administrator's kubeconfig."""
    shown = f"[{host}]" if ":" in host else host
    authority = base64.b64encode(pki.ca_pem.encode()).decode()
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: knarr
  cluster:
    certificate-authority-data: {authority}
    server: https://{shown}:{port}
contexts:
- name: knarr
  context:
    cluster: knarr
    namespace: default
    user: knarr-admin
current-context: knarr
users:
- name: knarr-admin
  user:
    token: {pki.token}
"""
