"""``knarr up | down | status | doctor | env``: the life of an instance."""

import ipaddress
import os
import signal
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from knarr.cli import instance
from knarr.cli.context import Target, target_of
from knarr.cli.instance import ProcessStatus
from knarr.cli.output import (
    STDERR,
    STDOUT,
    CommandError,
    ExitCode,
    OutputFormat,
    print_json,
    reported,
)
from knarr.config import Settings

_MIN_SERVICE_PREFIX = 28

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="text or json")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(doctor)
    app.command()(env)


def up(  # noqa: PLR0913 - one parameter per flag
    context: typer.Context,
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="return once ready")] = False,
    http_address: Annotated[str, typer.Option(help="where requests come in")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="port for requests")] = 80,
    api_port: Annotated[int, typer.Option(help="port of the Kubernetes API")] = 6443,
    metrics_port: Annotated[int, typer.Option(help="port of the gateway's metrics")] = 9095,
    pod_cidr: Annotated[str, typer.Option(help="network of the sandboxes")] = "10.232.0.0/16",
    service_cidr: Annotated[str, typer.Option(help="network of the cluster IPs")] = "10.96.0.0/16",
    node_port_address: Annotated[
        str, typer.Option(help="where other machines reach node ports; 0.0.0.0: everywhere")
    ] = "127.0.0.1",
    domain: Annotated[str, typer.Option(help="domain of the routes")] = "localhost",
    runtime: Annotated[str, typer.Option(help="OCI runtime")] = "runc",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Start Knarr and show what it does until Ctrl-C; with --detach, return once it is ready.

    Example: knarr up --detach --http-port 8080
    """
    target = target_of(context)
    with reported():
        if instance.running_settings(target.paths) is not None:
            STDERR.print(f"Knarr is already running in {target.paths.root}")
        else:
            settings = Settings(
                data_dir=str(target.data_dir),
                http_address=http_address,
                http_port=http_port,
                api_port=api_port,
                metrics_port=metrics_port,
                pod_cidr=pod_cidr,
                service_cidr=service_cidr,
                node_port_address=node_port_address,
                domain=domain,
                runtime=runtime,
            )
            launch(target, settings)
        settings = instance.require_running(target.paths)
        if output is OutputFormat.JSON:
            print_json(summary(settings))
        elif detach:
            print_summary(settings)
        if not detach:
            follow(target, settings)


def launch(target: Target, settings: Settings) -> None:
    """Check the machine, start the processes, wait until they answer.

    Raises:
        CommandError: the machine lacks something, a port is taken, or a process gave up.
    """
    from knarr.apiserver.pki import ensure_pki

    check_networks(settings)
    check_machine(settings)
    instance.check_ports(settings)
    with STDERR.status("starting Knarr") as spinner:

        def progress(statuses: tuple[ProcessStatus, ...]) -> None:
            waiting = [one.name for one in statuses if not one.ready]
            spinner.update(f"starting Knarr: waiting for {', '.join(waiting) or 'nothing'}")

        # Here and not in the server: what makes keys would stay in its memory for good.
        ensure_pki(settings.paths.pki, target.clock, settings.api_names)
        instance.start(settings)
        try:
            instance.wait_ready(settings, target.clock, progress)
        except CommandError:
            instance.stop(target.paths, target.clock)
            raise


def check_networks(settings: Settings) -> None:
    """Refuse networks that are none, or that overlap.

    Raises:
        CommandError: names the flag.
    """
    try:
        pods = ipaddress.IPv4Network(settings.pod_cidr)
        services = ipaddress.IPv4Network(settings.service_cidr)
        ipaddress.IPv4Address(settings.node_port_address)
    except ValueError as error:
        raise CommandError(str(error), "knarr up --help") from error
    if services.prefixlen > _MIN_SERVICE_PREFIX:
        text = f"--service-cidr {services} is too small: /{_MIN_SERVICE_PREFIX} at least"
        raise CommandError(text, "knarr up --service-cidr 10.96.0.0/16")
    if pods.overlaps(services):
        text = f"--pod-cidr {pods} and --service-cidr {services} overlap"
        raise CommandError(text, "knarr up --pod-cidr 10.232.0.0/16 --service-cidr 10.96.0.0/16")


def check_machine(settings: Settings) -> None:
    """Refuse a machine on which containers cannot run.

    Raises:
        CommandError: names the first thing that is missing and the command that brings it.
    """
    from knarr.node.doctor import examine

    for finding in examine(settings.paths.root, settings.runtime):
        if finding.fatal and not finding.ok:
            raise CommandError(f"{finding.name}: {finding.detail}", finding.remedy)


def summary(settings: Settings) -> dict[str, object]:
    """The instance as a JSON document."""
    return {
        "dataDir": settings.data_dir,
        "kubeconfig": str(settings.paths.kubeconfig),
        "api": f"https://{settings.api_address}:{settings.api_port}",
        "gateway": gateway_url(settings),
        "domain": settings.domain,
        "processes": [msgspec.to_builtins(one) for one in instance.process_statuses(settings)],
    }


def gateway_url(settings: Settings) -> str:
    """Where requests come in."""
    port = "" if settings.http_port == 80 else f":{settings.http_port}"
    return f"http://{settings.http_address}{port}"


def print_summary(settings: Settings) -> None:
    """The instance for a person."""
    STDOUT.print(f"Knarr runs. API [bold]https://{settings.api_address}:{settings.api_port}[/], "
                 f"requests at [bold]{gateway_url(settings)}[/], data in {settings.data_dir}")  # fmt: skip
    STDOUT.print(f"  export KUBECONFIG={settings.paths.kubeconfig}")


def process_table(statuses: tuple[ProcessStatus, ...]) -> Table:
    """The processes for a person."""
    table = Table("PROCESS", "PID", "READY", "MEMORY", box=None, pad_edge=False)
    for one in statuses:
        ready = Text("yes", "green") if one.ready else Text("no", "red")
        table.add_row(one.name, str(one.pid or "-"), ready, f"{one.rss_bytes / 2**20:.0f} MiB")
    return table


def follow(target: Target, settings: Settings) -> None:
    """Show the processes until Ctrl-C, then end them and clean up."""
    print_summary(settings)
    STDOUT.print("Ctrl-C ends Knarr and its containers.")
    try:
        with Live(process_table(instance.process_statuses(settings)), console=STDERR) as live:
            while instance.supervisor_pid(target.paths):
                live.update(process_table(instance.process_statuses(settings)))
                signal.sigtimedwait((), 1.0)
    except KeyboardInterrupt:
        bring_down(target)
        return
    failure = target.paths.failure
    reason = failure.read_text(encoding="utf-8").strip() if failure.exists() else "it was ended"
    raise CommandError(f"Knarr stopped: {reason}", f"look into {target.paths.logs}")


def down(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """End Knarr and remove everything it put outside its data directory. Data stays.

    Example: knarr down
    """
    target = target_of(context)
    with reported():
        removed = bring_down(target)
        if output is OutputFormat.JSON:
            print_json({"removed": removed})


def bring_down(target: Target) -> list[str]:
    """Stop the processes, then remove containers, mounts, interfaces, rules and cgroups."""
    from knarr.config import instance_name
    from knarr.node.cleanup import remove_everything

    if os.geteuid() != 0:
        raise CommandError("knarr down needs root: containers belong to it", "sudo knarr down")
    with STDERR.status("ending Knarr"):
        was_running = instance.stop(target.paths, target.clock)
        removed = remove_everything(instance_name(target.data_dir), target.data_dir)
    for left in target.paths.run.glob("*") if target.paths.run.exists() else ():
        if left.is_socket() or left.is_file():
            left.unlink()
    state = "ended" if was_running else "was not running"
    STDERR.print(
        f"Knarr {state}; {len(removed)} leftovers removed; data stays in {target.data_dir}"
    )
    return removed


def status(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Show whether Knarr runs and what its processes do.

    Example: knarr status -o json
    """
    target = target_of(context)
    with reported():
        settings = instance.require_running(target.paths)
        statuses = instance.process_statuses(settings)
        if output is OutputFormat.JSON:
            print_json(summary(settings))
        else:
            print_summary(settings)
            STDOUT.print(process_table(statuses))
        if not all(one.ready for one in statuses):
            raise typer.Exit(int(ExitCode.NOT_READY))


def doctor(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Say what this machine lacks and the exact command that fixes it.

    Example: knarr doctor
    """
    from knarr.node.doctor import examine

    target = target_of(context)
    with reported():
        settings = instance.running_settings(target.paths) or Settings(
            data_dir=str(target.data_dir)
        )
        findings = examine(Path(settings.data_dir), settings.runtime)
        if output is OutputFormat.JSON:
            print_json([msgspec.to_builtins(finding) for finding in findings])
        else:
            for finding in findings:
                mark = (
                    "[green]ok[/]  "
                    if finding.ok
                    else ("[red]no[/]  " if finding.fatal else "[yellow]warn[/]")
                )
                STDOUT.print(f"{mark} {finding.name}: {finding.detail}")
                if finding.remedy and not finding.ok:
                    STDOUT.print(f"     [bold]{finding.remedy}[/]")
        if any(finding.fatal and not finding.ok for finding in findings):
            raise typer.Exit(int(ExitCode.FAILED))


def env(context: typer.Context, output: Output = OutputFormat.TEXT) -> None:
    """Print what a shell needs to use kubectl with this instance.

    Example: eval "$(knarr env)"
    """
    target = target_of(context)
    if output is OutputFormat.JSON:
        print_json({"KUBECONFIG": str(target.paths.kubeconfig)})
    else:
        STDOUT.print(f"export KUBECONFIG={target.paths.kubeconfig}")
