"""Users of client certificates: the common name, and the organizations as groups.

Semantics: Kubernetes ``apiserver/pkg/authentication/request/x509``.
"""

from collections.abc import Mapping
from typing import Any

from knarr.apiserver.authentication.names import AUTHENTICATED
from knarr.resources.kind import UserInfo


def user_of_certificate(certificate: Mapping[str, Any] | None) -> UserInfo | None:
    """The user of a client certificate that TLS has verified already.

    Args:
        certificate: as ``ssl.SSLSocket.getpeercert`` decodes it; None or empty without one.

    Returns:
        The common name as the user, the organizations as groups; None without a common name.
    """
    if not certificate:
        return None
    attributes = [pair for group in certificate.get("subject", ()) for pair in group]
    names = [value for name, value in attributes if name == "commonName" and value]
    if not names:
        return None
    groups = [value for name, value in attributes if name == "organizationName" and value]
    return UserInfo(names[-1], tuple(dict.fromkeys((*groups, AUTHENTICATED))))
