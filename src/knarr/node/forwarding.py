"""The machine's IPv4 forwarding: on while any instance runs, afterwards as it was before the first.

The state is shared by the instances of a machine and belongs to one boot: ``/run/knarr-forwarding.<boot>``
holds the former value and one empty file per instance.
"""

import shutil
from pathlib import Path

from knarr.node.layout import RUNTIME_PARENT
from knarr.node.record import boot_id

_SWITCH = Path("/proc/sys/net/ipv4/ip_forward")


def _state(parent: Path) -> Path:
    return parent / f"knarr-forwarding.{boot_id()[:8]}"


def turn_on(instance: str, *, switch: Path = _SWITCH, parent: Path = RUNTIME_PARENT) -> None:
    """Let the machine forward for this instance. Idempotent."""
    state = _state(parent)
    (state / "instances").mkdir(parents=True, exist_ok=True)
    try:
        with (state / "before").open("x", encoding="ascii") as stream:
            stream.write(switch.read_text(encoding="ascii").strip())
    except FileExistsError:
        pass  # another instance was first
    (state / "instances" / instance).touch()
    switch.write_text("1\n", encoding="ascii")


def turn_off(instance: str, *, switch: Path = _SWITCH, parent: Path = RUNTIME_PARENT) -> str:
    """This instance needs it no more; the value that was restored, or empty. Idempotent."""
    state = _state(parent)
    (state / "instances" / instance).unlink(missing_ok=True)
    if not state.is_dir() or any((state / "instances").iterdir()):
        return ""
    before = (state / "before").read_text(encoding="ascii").strip()
    shutil.rmtree(state)
    if before == switch.read_text(encoding="ascii").strip():
        return ""
    switch.write_text(f"{before}\n", encoding="ascii")
    return before
