"""Reads a kubeconfig: which server, which CA, which credentials (``client-go/tools/clientcmd``).

Supported are what clusters and Knarr itself write: embedded or referenced CA and client certificate,
tokens and token files. Credential plug-ins (``exec``, ``auth-provider``) are refused by name.
"""

import base64
import binascii
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec
import yaml

from knarr.kube.http import Endpoint
from knarr.meta.errors import KnarrError

_UNSUPPORTED = ("exec", "auth-provider", "username", "password", "as")


class KubeconfigError(KnarrError):
    """The file cannot be used; the message names the file and the entry."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of the file's sections; unknown entries are other tools' business."""


class _Cluster(_Part, frozen=True, kw_only=True):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""


class _Context(_Part, frozen=True, kw_only=True):
    cluster: str
    user: str = ""
    namespace: str = ""


class _User(_Part, frozen=True, kw_only=True):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""


class _NamedCluster(_Part, frozen=True, kw_only=True):
    name: str
    cluster: _Cluster


class _NamedContext(_Part, frozen=True, kw_only=True):
    name: str
    context: _Context


class _NamedUser(_Part, frozen=True, kw_only=True):
    name: str
    user: dict[str, Any] | None = None


class _Config(_Part, frozen=True, kw_only=True):
    current_context: str = ""
    clusters: tuple[_NamedCluster, ...] = ()
    contexts: tuple[_NamedContext, ...] = ()
    users: tuple[_NamedUser, ...] = ()


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a context of a kubeconfig gives: the endpoint and the default namespace."""

    endpoint: Endpoint
    namespace: str


def load_kubeconfig(path: Path, context: str = "") -> Access:
    """The access that a context (empty: the current one) of a kubeconfig describes. Reads files.

    Raises:
        KubeconfigError: the file is absent, malformed or asks for something unsupported.
    """
    try:
        config = msgspec.convert(yaml.safe_load(path.read_text()) or {}, _Config)
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path} is no kubeconfig: {error}") from error
    wanted = context or config.current_context
    chosen = next((item.context for item in config.contexts if item.name == wanted), None)
    if chosen is None:
        known = ", ".join(item.name for item in config.contexts) or "none"
        raise KubeconfigError(f'{path} has no context "{wanted}"; it has: {known}')
    cluster = next((item.cluster for item in config.clusters if item.name == chosen.cluster), None)
    if cluster is None:
        raise KubeconfigError(
            f'{path}: context "{wanted}" names the unknown cluster "{chosen.cluster}"'
        )
    user = _user(path, config, chosen.user)
    endpoint = Endpoint(
        url=cluster.server.rstrip("/"),
        tls=_tls(path, cluster, user) if cluster.server.startswith("https:") else None,
        server_name=cluster.tls_server_name,
        token=user.token,
        token_file=path.parent / user.token_file if user.token_file else None,
    )
    return Access(endpoint=endpoint, namespace=chosen.namespace or "default")


def _user(path: Path, config: _Config, name: str) -> _User:
    if not name:
        return _User()
    raw = next((item.user or {} for item in config.users if item.name == name), None)
    if raw is None:
        raise KubeconfigError(f'{path} has no user "{name}"')
    for entry in _UNSUPPORTED:
        if raw.get(entry):
            raise KubeconfigError(f'{path}: user "{name}" uses {entry}, which is not supported')
    try:
        return msgspec.convert(raw, _User)
    except msgspec.ValidationError as error:
        raise KubeconfigError(f'{path}: user "{name}": {error}') from error


def _tls(path: Path, cluster: _Cluster, user: _User) -> ssl.SSLContext:
    authority = _pem(path, cluster.certificate_authority_data, cluster.certificate_authority)
    certificate = _pem(path, user.client_certificate_data, user.client_certificate)
    key = _pem(path, user.client_key_data, user.client_key)
    try:
        context = ssl.create_default_context(cadata=authority or None)
        if certificate and key:
            _load_client_certificate(context, f"{certificate}\n{key}")
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError(f"{path}: a certificate cannot be used: {error}") from error
    if cluster.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_client_certificate(context: ssl.SSLContext, pem: str) -> None:
    """``load_cert_chain`` takes paths only; the key must not reach a disk, so it goes to a memfd."""
    descriptor = os.memfd_create("knarr-client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _pem(path: Path, embedded: str, reference: str) -> str:
    try:
        if embedded:
            return base64.b64decode(embedded, validate=True).decode("ascii")
        return (path.parent / reference).read_text() if reference else ""
    except (binascii.Error, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path}: embedded certificate data is damaged: {error}") from error
    except OSError as error:
        raise KubeconfigError(f"{path}: {reference}: {error.strerror}") from error
