"""``knarr crds``: the definitions of Knarr's kinds, for a Kubernetes cluster."""

from typing import Annotated

import typer
import yaml

from knarr.cli.output import STDOUT, OutputFormat, print_json
from knarr.resources.apiextensions.definitions import own_definitions
from knarr.resources.catalog import KINDS

Output = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="text (YAML) or json (a List)")
]


class _Dumper(yaml.CSafeDumper):
    """Writes what several kinds have in common in full: references would save nothing for a reader."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is pyyaml's
        return True


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(crds)


def crds(output: Output = OutputFormat.TEXT) -> None:
    """Print the CustomResourceDefinitions of all Knative kinds, for a Kubernetes cluster.

    Example: `knarr crds | kubectl apply -f -`
    """
    documents = list(own_definitions(KINDS))
    if output is OutputFormat.JSON:
        print_json({"apiVersion": "v1", "kind": "List", "items": documents})
        return
    text = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, explicit_start=True)
    STDOUT.out(text, highlight=False, end="")
