"""Removes everything that an instance put outside its data directory, whether its agent lives or not.

Used by ``knarr down``, which has no event loop. Idempotent: what is gone already is no error.
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from knarr.meta.errors import KnarrError
from knarr.node import syscalls
from knarr.node.cgroups import Cgroups, detect_cgroups
from knarr.node.keeping import Keeping
from knarr.node.layout import Layout
from knarr.node.network import remove_network

_KILL_ROUNDS, _KILL_PAUSE_S = 400, 0.025


class StubbornProcess(KnarrError):
    """A container's process cannot be ended."""


def remove_everything(instance: str, data_dir: Path) -> list[str]:
    """End all containers and remove mounts, namespaces, interfaces, rules and cgroups.

    Args:
        instance: the name that they carry.
        data_dir: the records of sandboxes in it go, images and logs of the processes stay.

    Returns:
        What was removed, for people.

    Raises:
        StubbornProcess: a process hangs in the kernel.
        OSError: the kernel refused; what was removed stays removed.
    """
    layout = Layout(data_dir, instance)
    removed: list[str] = []
    report = removed.append
    Keeping(layout.keeper_socket).end()
    cgroups = detect_cgroups()
    _kill_all(cgroups, f"/{instance}", report)
    for directory in cgroups.remove(f"/{instance}"):
        report(f"cgroup {directory}")
    for target in _mounts_below(layout.runtime, layout.sandboxes):
        if syscalls.unmount(target):
            report(f"mount {target}")
    remove_network(layout, report)
    for directory in (layout.runtime, layout.sandboxes, layout.node / "logs"):
        if directory.is_dir():
            shutil.rmtree(directory)
            report(f"directory {directory}")
    return removed


def _kill_all(cgroups: Cgroups, path: str, report: Callable[[str], None]) -> None:
    told: set[int] = set()
    for _ in range(_KILL_ROUNDS):
        processes = cgroups.processes(path)
        if not processes:
            break
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            if pid not in told:
                told.add(pid)
                report(f"process {pid}")
        signal.sigtimedwait((), _KILL_PAUSE_S)
    else:
        raise StubbornProcess(f"processes {sorted(cgroups.processes(path))} do not end")


def _mounts_below(*roots: Path) -> list[str]:
    """Mount points below the roots, the deepest first."""
    prefixes = tuple(f"{root}/" for root in roots)
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        target = line.split(" ")[4].encode().decode("unicode_escape")
        if target.startswith(prefixes):
            found.append(target)
    return sorted(found, key=lambda one: one.count("/"), reverse=True)
