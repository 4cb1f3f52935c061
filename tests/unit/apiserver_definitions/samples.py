"""Definitions to send."""

import copy

GROUP = "stable.example.com"
NAME = f"crontabs.{GROUP}"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"


def definition(kind="CronTab", plural="crontabs", group=GROUP, versions=None, **names):
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["cron"],
                "properties": {
                    "cron": {"type": "string", "pattern": "^[0-9* ]+$"},
                    "replicas": {"type": "integer", "minimum": 0, "default": 1},
                    "color": {"type": "string", "enum": ["red", "green"]},
                    "port": {"x-kubernetes-int-or-string": True},
                },
            },
            "status": {
                "type": "object",
                "properties": {"replicas": {"type": "integer"}},
            },
        },
    }
    version = {
        "name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            },
        },
        "additionalPrinterColumns": [{"name": "Cron", "type": "string", "jsonPath": ".spec.cron"}],
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": copy.deepcopy(versions or [version]),
        },
    }


def tab(name="a", version="v1", **spec):
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cron": "* *", **spec},
    }


def version_of(document, index=0):
    return document["spec"]["versions"][index]


def schema_of(document, index=0):
    return version_of(document, index)["schema"]["openAPIV3Schema"]
