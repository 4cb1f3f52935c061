"""What others need to verify service account tokens: OpenID Connect discovery and the key set.

Who may read them is decided by RBAC: service accounts by default, nobody anonymously.
"""

from collections.abc import Sequence

from knarr.apiserver.authentication.claims import ISSUER
from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.jwt import ALGORITHM
from knarr.apiserver.request import ApiResponse, json_response

_CACHED = (("Cache-Control", "public, max-age=3600"),)


def answer_openid(segments: Sequence[str], credentials: Credentials) -> ApiResponse | None:
    """The document at a path, None when there is none."""
    match segments:
        case [".well-known", "openid-configuration"]:
            document = json_response(
                {
                    "issuer": ISSUER,
                    "jwks_uri": f"{ISSUER}/openid/v1/jwks",
                    "response_types_supported": ["id_token"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": [ALGORITHM],
                }
            )
            return ApiResponse(200, document.body, headers=_CACHED)
        case ["openid", "v1", "jwks"]:
            return ApiResponse(200, credentials.jwks, "application/jwk-set+json", _CACHED)
        case _:
            return None
