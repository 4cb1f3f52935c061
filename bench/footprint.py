"""What Knarr costs: start, memory and CPU at rest, fifty Services at once.

Run as root: ``python bench/footprint.py``. Starts an instance of its own and removes it again. References in
the last column are the project's budgets and, for the fifty Services, Knative on such a machine.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.harness import REPOSITORY, Instance, manifest_list, service, start_instance, wait_for

PROCESSES = ("server", "node", "dataplane")


def rss_mib(pid: int) -> float:
    """Resident memory."""
    return (
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    )


def pss_mib(pid: int) -> float:
    """Proportional memory: shared pages are counted once."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_s(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row(what: str, figure: str, reference: str = "") -> None:
    print(f"{what:<58} {figure:>16}   {reference}", flush=True)


def at_rest(instance: Instance, seconds: float) -> None:
    pids = {name: instance.pid(name) for name in PROCESSES}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    used = sum(cpu_s(pid) - before[name] for name, pid in pids.items())
    for name, pid in pids.items():
        row(
            f"resident memory of {name}",
            f"{rss_mib(pid):.0f} MiB",
            f"proportional {pss_mib(pid):.0f} MiB",
        )
    total = sum(rss_mib(pid) for pid in pids.values())
    row("resident memory of the three", f"{total:.0f} MiB", "budget 120 MiB")
    row(
        f"CPU at rest, all three, over {seconds:.0f} s",
        f"{100 * used / seconds:.1f} %",
        "of one core",
    )


def services_ready(instance: Instance) -> int:
    listed = json.loads(instance.kubectl("get", "ksvc", "-o", "json"))
    return sum(
        1
        for item in listed["items"]
        for condition in item.get("status", {}).get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=50)
    parser.add_argument("--rest", type=float, default=10.0, help="seconds to measure CPU at rest")
    arguments = parser.parse_args()
    data_dir = Path("/tmp") / f"knarr-bench-{os.getpid()}"
    started = time.monotonic()
    instance = start_instance(data_dir, Path("/tmp"), "10.235.0.0/16")
    try:
        row(
            "knarr up -> every process ready", f"{time.monotonic() - started:.2f} s", "budget 1.5 s"
        )
        at_rest(instance, arguments.rest)
        image = json.loads(
            instance.knarr("build", str(REPOSITORY / "examples/hello-python"), "-o", "json")
        )
        documents = [
            service(f"bench-{number:03d}", image["reference"])
            for number in range(arguments.services)
        ]
        started = time.monotonic()
        instance.kubectl("apply", "-f", "-", stdin=manifest_list(documents), timeout_s=600)
        wait_for(lambda: services_ready(instance) == arguments.services, "every Service Ready", 600)
        row(
            f"{arguments.services} Services created at once -> all Ready",
            f"{time.monotonic() - started:.1f} s",
            "Knative 51 s for 50",
        )
        at_rest(instance, arguments.rest)
        row("", "", "Knative 1.3 GB")
    finally:
        instance.knarr("down")
        shutil.rmtree(data_dir, ignore_errors=True)


if __name__ == "__main__":
    main()
