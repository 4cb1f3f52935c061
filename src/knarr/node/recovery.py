"""Finds what an earlier agent made: adopts what is whole, undoes what is half-made.

The decision about one sandbox is pure (``judge``); nothing is restarted here.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from knarr.meta.errors import KnarrError
from knarr.node.host import SandboxHost
from knarr.node.record import (
    ContainerTrace,
    SandboxRecord,
    Trace,
    load_record,
    read_steps,
    read_trace,
)
from knarr.node.sandbox import Sandbox

LOG = logging.getLogger(__name__)

Fate = Literal["adopt", "undo"]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was found, by id."""

    adopted: tuple[Sandbox, ...]
    undone: tuple[str, ...]


def judge(record: SandboxRecord, trace: Trace, boot: str) -> Fate:
    """Whether a sandbox can live on: it is of this boot, whole, and its end was not decided."""
    if record.boot != boot or trace.removing or not trace.ready:
        return "undo"
    return "adopt"


def last_runs(trace: Trace) -> dict[str, list[ContainerTrace]]:
    """Up to two runs of each container that still have something, the last one last."""
    runs: dict[str, list[ContainerTrace]] = {}
    for one in trace.containers.values():
        runs.setdefault(one.name, []).append(one)
    return {name: sorted(found, key=lambda run: run.attempt)[-2:] for name, found in runs.items()}


async def recover(host: SandboxHost) -> Recovered:
    """Go through every sandbox on disk."""
    adopted, undone = [], []
    for identifier in _on_disk(host.layout.sandboxes):
        paths = host.layout.sandbox(identifier)
        record = load_record(paths)
        if record is None:
            # Its address was never written down, so nothing was made of it.
            shutil.rmtree(paths.directory)
            continue
        trace = read_trace(read_steps(paths.steps), record)
        sandbox = host.recall(record, trace.bound or record.pod)
        try:
            if judge(record, trace, host.launcher.machine.boot) == "adopt":
                await _adopt(host, sandbox, trace)
                adopted.append(sandbox)
            else:
                _recall_runs(host, sandbox, trace)
                await host.remove(sandbox)
                undone.append(identifier)
        except (KnarrError, OSError):
            LOG.exception("sandbox %s can be neither adopted nor removed", identifier)
    return Recovered(tuple(adopted), tuple(undone))


def _on_disk(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir()) if directory.is_dir() else []


def _recall_runs(host: SandboxHost, sandbox: Sandbox, trace: Trace) -> None:
    for name, runs in last_runs(trace).items():
        *before, last = runs
        sandbox.runs[name] = host.launcher.adopt(sandbox, last)
        for one in before:
            sandbox.previous[name] = host.launcher.adopt(sandbox, one)


async def _adopt(host: SandboxHost, sandbox: Sandbox, trace: Trace) -> None:
    """Take the runs over; one whose creation was not finished is undone."""
    _recall_runs(host, sandbox, trace)
    for name, run in tuple(sandbox.runs.items()):
        if run.process is not None or run.exit is not None:
            continue
        await host.launcher.remove(sandbox, run)
        del sandbox.runs[name]
        former = sandbox.previous.pop(name, None)
        if former is not None:
            sandbox.runs[name] = former
