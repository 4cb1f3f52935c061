"""How a remote command ended, as the ``metav1.Status`` on its error channel. Pure.

Source: ``k8s.io/apimachinery/pkg/util/remotecommand``.
"""

from typing import Any

import msgspec

_NON_ZERO = "NonZeroExitCode"
_EXIT_CODE = "ExitCode"


def exit_status(code: int) -> dict[str, Any]:
    """The Status of a command that exited."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": _NON_ZERO,
        "details": {"causes": [{"reason": _EXIT_CODE, "message": str(code)}]},
    }


def exit_code_of(status: bytes) -> tuple[int | None, str]:
    """The inverse: exit code, or None and a message when the session failed otherwise."""
    try:
        document = msgspec.json.decode(status)
        if document.get("status") == "Success":
            return 0, ""
        message = str(document.get("message") or "the session failed")
        if document.get("reason") != _NON_ZERO:
            return None, message
        for cause in (document.get("details") or {}).get("causes") or ():
            if cause.get("reason") == _EXIT_CODE:
                return int(cause["message"]), message
    except (msgspec.DecodeError, AttributeError, KeyError, ValueError):
        return None, status.decode(errors="replace")
    return None, message
