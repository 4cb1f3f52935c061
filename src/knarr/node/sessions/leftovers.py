"""Commands in containers whose agent has died: nobody has their streams any more, so they end."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

_PARENT_FIELD, _SESSION_FIELD = 1, 3


def parent_and_session(pid: int) -> tuple[int, int] | None:
    """The pids of a process' parent and of its session's leader; None when the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return int(fields[_PARENT_FIELD]), int(fields[_SESSION_FIELD])


def leftovers(
    processes: set[int], init: int, look: Callable[[int], tuple[int, int] | None]
) -> set[int]:
    """Which processes of a container came from outside, with everything in their sessions. Pure.

    A container's own processes descend from its first one, and orphans among them become its children; a
    command that was put in has its parent outside.

    Args:
        processes: all of the container.
        init: the first of them.
        look: parent and session of a process.
    """
    known = {pid: found for pid in processes if (found := look(pid)) is not None}
    leaders = {pid for pid, (parent, _) in known.items() if parent not in processes and pid != init}
    return {pid for pid, (_, session) in known.items() if session in leaders or pid in leaders}


def end_leftovers(processes: set[int], init: int) -> None:
    """Kill what ``leftovers`` finds."""
    for pid in leftovers(processes, init, parent_and_session):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
