"""A real Kubernetes API, alone: etcd and kube-apiserver on loopback, with certificates and tokens of their own.

No controller manager, no scheduler, no node: what an object looks like is the API server's doing only.
The programs come from ``build.sh`` (``make reference``) and are looked for in ``$KNARR_REFERENCE_BIN``, then in
``~/.cache/knarr-reference``.
"""

import base64
import datetime as dt
import ipaddress
import os
import secrets
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.harness import free_port, wait_for
from tests.reference.rawclient import RawClient

ADMIN = "system:admin"
PROGRAMS = ("etcd", "kube-apiserver")


def reference_programs() -> dict[str, Path] | None:
    """The two programs, None when they were not built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "knarr-reference"
    directory = Path(os.environ.get("KNARR_REFERENCE_BIN") or cache)
    found = {name: directory / name for name in PROGRAMS}
    return found if all(path.is_file() for path in found.values()) else None


def _pem_key(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _certificate(common, issuer, signer, public, *, ca=False, hosts=()) -> bytes:
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])
    issued_by = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, issuer)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issued_by)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(hosts)), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Cluster:
    """A running reference; ``start`` makes one.

    Attributes:
        directory: everything of it: data, keys, logs.
        url, ca, token: how the administrator reaches it.
    """

    directory: Path
    url: str
    ca: Path
    token: str
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def client(self, token: str | None = None) -> RawClient:
        return RawClient(self.url, self.tls, self.token if token is None else token)

    def kubeconfig(self) -> Path:
        """A kubeconfig of the administrator."""
        path = self.directory / "kubeconfig"
        authority = base64.b64encode(self.ca.read_bytes()).decode()
        path.write_text(f"""\
apiVersion: v1
kind: Config
clusters: [{{name: r, cluster: {{server: "{self.url}", certificate-authority-data: {authority}}}}}]
contexts: [{{name: r, context: {{cluster: r, user: r}}}}]
current-context: r
users: [{{name: r, user: {{token: {self.token}}}}}]
""")
        return path

    def stop(self) -> None:
        """End both programs, the last started first."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def tail(self, lines: int = 20) -> str:
        """The programs' last words."""
        texts = []
        for log in sorted(self.directory.glob("*.log")):
            last = log.read_text(errors="replace").splitlines()[-lines:]
            texts.append(f"--- {log.name}\n" + "\n".join(last))
        return "\n".join(texts)


def start_cluster(directory: Path, programs: dict[str, Path], *extra: str) -> Cluster:
    """Start both programs and wait until the API is ready; ``extra`` are flags of kube-apiserver."""
    directory.mkdir(parents=True, exist_ok=True)
    token = secrets.token_urlsafe(24)
    _write_keys(directory, token)
    port = free_port()
    cluster = Cluster(directory, f"https://127.0.0.1:{port}", directory / "ca.crt", token)
    try:
        etcd = _start_etcd(cluster, programs["etcd"])
        _start_apiserver(cluster, programs["kube-apiserver"], etcd, port, extra)
        wait_for(lambda: _ready(cluster), "the reference API", 90)
    except BaseException as error:
        error.add_note(cluster.tail())
        cluster.stop()
        raise
    return cluster


def _write_keys(directory: Path, token: str) -> None:
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    account_key = rsa.generate_private_key(65537, 2048)
    hosts = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))
    ca = _certificate("reference-ca", "reference-ca", ca_key, ca_key.public_key(), ca=True)
    leaf = _certificate("reference", "reference-ca", ca_key, key.public_key(), hosts=hosts)
    (directory / "ca.crt").write_bytes(ca)
    (directory / "server.crt").write_bytes(leaf)
    (directory / "server.key").write_bytes(_pem_key(key))
    (directory / "accounts.key").write_bytes(_pem_key(account_key))
    public = account_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / "accounts.pub").write_bytes(public)
    (directory / "tokens.csv").write_text(
        f'{token},{ADMIN},admin,"system:masters"\n{token}-bob,bob,bob,"developers"\n'
    )


def _spawn(cluster: Cluster, name: str, arguments: list[str]) -> None:
    with (cluster.directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cluster.directory
        )
    cluster.processes.append(process)


def _start_etcd(cluster: Cluster, program: Path) -> str:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    _spawn(
        cluster,
        "etcd",
        [
            str(program), "--name=r", f"--data-dir={cluster.directory / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=r={peer}", "--log-level=warn",
        ],
    )  # fmt: skip
    return client


def _start_apiserver(
    cluster: Cluster, program: Path, etcd: str, port: int, extra: tuple[str, ...]
) -> None:
    at = cluster.directory
    _spawn(
        cluster,
        "kube-apiserver",
        [
            str(program), f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            f"--tls-cert-file={at / 'server.crt'}", f"--tls-private-key-file={at / 'server.key'}",
            f"--token-auth-file={at / 'tokens.csv'}", f"--service-account-key-file={at / 'accounts.pub'}",
            f"--service-account-signing-key-file={at / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged",
            "--endpoint-reconciler-type=none", "--enable-priority-and-fairness=false", "--profiling=false",
            *extra,
        ],
    )  # fmt: skip


def _ready(cluster: Cluster) -> bool:
    for process in cluster.processes:
        if process.poll() is not None:
            raise AssertionError(f"{process.args[0]} ended with {process.returncode}")
    try:
        with cluster.client() as client:
            if client.send("GET", "/readyz").status != 200:
                return False
            # The namespaces are made after the server says that it is ready.
            return client.send("GET", "/api/v1/namespaces/default").status == 200
    except OSError:
        return False
