"""A kopf operator that writes down every call of its handlers; run by ``test_kopf.py`` with ``kopf run``."""

import json
import os
import threading
from pathlib import Path

import kopf

LOG = Path(os.environ["OPERATOR_LOG"])
_lock = threading.Lock()


def note(what: str, name: str, **more) -> None:
    line = json.dumps({"what": what, "name": name, **more}) + "\n"
    with _lock, LOG.open("a") as log:
        log.write(line)


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_) -> None:
    settings.batching.worker_limit = 20
    settings.watching.server_timeout = int(os.environ.get("OPERATOR_WATCH_S", "20"))
    settings.persistence.finalizer = "ex.dev/operator"
    settings.posting.loggers = True
    note("startup", "")


@kopf.on.create("ex.dev", "v1", "widgets")
def created(name, spec, patch, **_) -> dict[str, int]:
    note("create", name, n=spec["n"])
    patch.status["seen"] = spec["n"]
    return {"n": spec["n"]}


@kopf.on.update("ex.dev", "v1", "widgets")
def updated(name, spec, diff, patch, **_) -> None:
    note(
        "update",
        name,
        n=spec["n"],
        diff=[[item[0], list(item[1]), item[2], item[3]] for item in diff],
    )
    patch.status["seen"] = spec["n"]


@kopf.on.field("ex.dev", "v1", "widgets", field="spec.color")
def recolored(name, old, new, **_) -> None:
    note("field", name, old=old, new=new)


@kopf.on.resume("ex.dev", "v1", "widgets")
def resumed(name, spec, **_) -> None:
    note("resume", name, n=spec["n"])


@kopf.on.delete("ex.dev", "v1", "widgets")
def deleted(name, **_) -> None:
    note("delete", name)


@kopf.timer("ex.dev", "v1", "widgets", interval=1.0, labels={"timed": "yes"})
def ticked(name, **_) -> None:
    note("tick", name)


@kopf.on.event("v1", "configmaps", labels={"watched": "yes"})
def happened(name, event, **_) -> None:
    note("event", name, type=event["type"])
