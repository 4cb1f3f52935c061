"""Knarr's kinds as CustomResourceDefinitions for another cluster."""

import json
import subprocess
import sys
from typing import Any

import yaml
from tests.harness import REPOSITORY
from tests.reference.rawclient import RawClient

PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definitions() -> list[dict[str, Any]]:
    """What ``knarr crds`` prints."""
    shown = subprocess.run(
        [sys.executable, "-m", "knarr.cli.main", "crds"],
        capture_output=True, text=True, cwd=REPOSITORY, check=True,
    )  # fmt: skip
    return [document for document in yaml.safe_load_all(shown.stdout) if document]


def apply_definitions(client: RawClient) -> list[str]:
    """Create every definition; their names."""
    names = []
    for document in definitions():
        body = json.dumps(document).encode()
        answer = client.send("POST", PATH, body, {"Content-Type": "application/json"})
        assert answer.status in (201, 409), answer.body
        names.append(document["metadata"]["name"])
    return names
