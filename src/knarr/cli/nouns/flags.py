"""The flags that say what a Service is to be: one declaration for create, update and apply."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

import typer

Text = str | None
Texts = list[str] | None
Number = int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a command line wants changed; None and empty leave things as they are.

    ``NAME-`` removes where a flag takes ``NAME=VALUE``.
    """

    image: Annotated[Text, typer.Option("--image", help="the image to run")] = None
    env: Annotated[Texts, typer.Option("--env", "-e", help="NAME=VALUE, or NAME- to remove")] = None
    env_from: Annotated[
        Texts, typer.Option("--env-from", help="cm:NAME or secret:NAME, with - to remove")
    ] = None
    env_value_from: Annotated[
        Texts, typer.Option("--env-value-from", help="NAME=cm:MAP:KEY or NAME=secret:SECRET:KEY")
    ] = None
    port: Annotated[Text, typer.Option("--port", "-p", help="PORT, or h2c:PORT")] = None
    cmd: Annotated[Texts, typer.Option("--cmd", help="program instead of the image's")] = None
    arg: Annotated[Texts, typer.Option("--arg", help="argument; may be repeated")] = None
    scale: Annotated[Text, typer.Option("--scale", help="N, or MIN..MAX")] = None
    scale_min: Annotated[Number, typer.Option("--scale-min", help="least replicas")] = None
    scale_max: Annotated[Number, typer.Option("--scale-max", help="most replicas; 0: any")] = None
    scale_init: Annotated[Number, typer.Option("--scale-init", help="replicas at first")] = None
    scale_target: Annotated[Number, typer.Option("--scale-target", help="per replica")] = None
    scale_metric: Annotated[Text, typer.Option("--scale-metric", help="concurrency or rps")] = None
    scale_window: Annotated[Text, typer.Option("--scale-window", help="such as 60s")] = None
    scale_utilization: Annotated[
        Number, typer.Option("--scale-utilization", help="percent of the target to aim at")
    ] = None
    scale_activation: Annotated[
        Number, typer.Option("--scale-activation", help="least replicas unless none")
    ] = None
    concurrency_limit: Annotated[
        Number, typer.Option("--concurrency-limit", help="requests at once per replica; 0: any")
    ] = None
    concurrency_target: Annotated[
        Number, typer.Option("--concurrency-target", help="the same as --scale-target")
    ] = None
    request: Annotated[Texts, typer.Option("--request", help="cpu=200m,memory=64Mi")] = None
    limit: Annotated[Texts, typer.Option("--limit", help="cpu=1,memory=128Mi")] = None
    label: Annotated[Texts, typer.Option("--label", "-l", help="of Service and revision")] = None
    label_service: Annotated[Texts, typer.Option("--label-service", help="of the Service")] = None
    label_revision: Annotated[Texts, typer.Option("--label-revision", help="of the revision")] = (
        None
    )
    annotation: Annotated[
        Texts, typer.Option("--annotation", "-a", help="of Service and revision")
    ] = None
    annotation_service: Annotated[
        Texts, typer.Option("--annotation-service", help="of the Service")
    ] = None
    annotation_revision: Annotated[
        Texts, typer.Option("--annotation-revision", help="of the revision")
    ] = None
    revision_name: Annotated[
        Text, typer.Option("--revision-name", help="may use {{.Service}} and {{.Generation}}")
    ] = None
    traffic: Annotated[
        Texts, typer.Option("--traffic", help="REVISION=PERCENT, @latest=PERCENT or TAG=PERCENT")
    ] = None
    tag: Annotated[Texts, typer.Option("--tag", help="REVISION=TAG or @latest=TAG")] = None
    untag: Annotated[Texts, typer.Option("--untag", help="TAG to remove")] = None
    cluster_local: Annotated[
        bool | None,
        typer.Option("--cluster-local/--no-cluster-local", help="reachable from inside only"),
    ] = None
    service_account: Annotated[Text, typer.Option("--service-account", help="its name")] = None
    pull_secret: Annotated[Text, typer.Option("--pull-secret", help="Secret of a registry")] = None
    pull_policy: Annotated[
        Text, typer.Option("--pull-policy", help="Always, IfNotPresent or Never")
    ] = None
    mount: Annotated[
        Texts, typer.Option("--mount", help="PATH=cm:NAME, PATH=secret:NAME or PATH=VOLUME")
    ] = None
    volume: Annotated[
        Texts, typer.Option("--volume", help="VOLUME=cm:NAME or VOLUME=secret:NAME")
    ] = None
    user: Annotated[Number, typer.Option("--user", help="numeric user id")] = None
    timeout: Annotated[Number, typer.Option("--timeout", help="seconds for a request")] = None


def with_edit(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag per field of ``Edit`` in place of its parameter ``edit``."""
    hints = get_type_hints(Edit, include_extras=True)
    names = [field.name for field in fields(Edit)]
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "edit"]
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[name]
        )
        for name in names
    ]

    def flagged(*arguments: Any, **options: Any) -> None:
        edit = Edit(**{name: options.pop(name) for name in names})
        command(*arguments, edit=edit, **options)

    flagged.__name__, flagged.__doc__ = command.__name__, command.__doc__
    flagged.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    flagged.__annotations__ = {one.name: one.annotation for one in (*own, *added)}
    return flagged
