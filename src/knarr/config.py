"""Process settings: one frozen record, decided once by the command line and handed to every process.

``knarr up`` resolves flags over environment over defaults, writes the result to
``<data>/run/settings.json`` and starts the processes with that path. Nothing else in Knarr reads flags or
the environment.
"""

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

DEFAULT_ROOT_DATA_DIR = Path("/var/lib/knarr")
SETTINGS_FILE = "settings.json"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of one instance agree on.

    Attributes:
        data_dir: absolute path of the one directory that holds everything.
        http_address, http_port: of the external gateway listener.
        api_address, api_port: of the Kubernetes API (HTTPS).
        pod_cidr: IPv4 network the sandboxes get their addresses from; its first host address is the
            pod gateway (DNS, the cluster-local listener, the API for pods).
        service_cidr: IPv4 network of the Services' cluster IPs; its first host address is the API's for pods.
        node_port_address: where node ports are open besides this machine and its pods: an address of this
            machine, ``0.0.0.0`` for all, a loopback address for nowhere.
        domain: under which routes are published; ``localhost`` resolves everywhere without set-up.
        node_name: of the one Node object.
        runtime: the OCI runtime program.
        worker_threads: of the data plane; 0 is one per core.
        park_bytes: memory that parked sandboxes may hold together; 0 is a tenth of the machine's.
    """

    data_dir: str
    http_address: str = "127.0.0.1"
    http_port: int = 80
    api_address: str = "127.0.0.1"
    api_port: int = 6443
    metrics_port: int = 9095
    pod_cidr: str = "10.232.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    node_port_address: str = "127.0.0.1"
    domain: str = "localhost"
    node_name: str = "knarr"
    runtime: str = "runc"
    worker_threads: int = 0
    park_bytes: int = 0

    @property
    def paths(self) -> "Paths":
        """Where everything lies."""
        return Paths(Path(self.data_dir))

    @property
    def instance(self) -> str:
        """The name that interfaces, cgroups and rules outside the data directory carry."""
        return instance_name(Path(self.data_dir))

    @property
    def pod_gateway(self) -> str:
        """The address inside the pod network that belongs to this machine."""
        return str(next(ipaddress.IPv4Network(self.pod_cidr).hosts()))

    @property
    def kubernetes_address(self) -> str:
        """The cluster IP of the Service ``kubernetes``."""
        return str(next(ipaddress.IPv4Network(self.service_cidr).hosts()))

    @property
    def api_names(self) -> tuple[str, ...]:
        """Addresses by which pods know the API, besides its names."""
        return (self.kubernetes_address, self.pod_gateway)


class Paths(msgspec.Struct, frozen=True):
    """The layout of the data directory (``docs/design.md`` section 1)."""

    root: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "store" / "knarr.db"

    @property
    def pki(self) -> Path:
        """Certificates, keys and tokens."""
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For kubectl and every other client."""
        return self.root / "kubeconfig"

    @property
    def images(self) -> Path:
        """The content store."""
        return self.root / "images"

    @property
    def node(self) -> Path:
        """The node agent's state."""
        return self.root / "node"

    @property
    def run(self) -> Path:
        """Sockets, pid files, exit records; empty after ``knarr down``."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """Logs of the processes themselves."""
        return self.root / "logs"

    @property
    def settings(self) -> Path:
        """The record that the running processes were started with."""
        return self.run / SETTINGS_FILE

    @property
    def processes(self) -> Path:
        """The command lines that the supervisor runs."""
        return self.run / "processes.json"

    @property
    def dataplane_config(self) -> Path:
        """The data plane's own settings."""
        return self.run / "dataplane.json"

    @property
    def supervisor_pid(self) -> Path:
        """Written by the supervisor, ``pid starttime``."""
        return self.run / "supervisor.pid"

    @property
    def failure(self) -> Path:
        """Why the supervisor gave up, for ``knarr up`` to show."""
        return self.run / "failure"

    @property
    def exits(self) -> Path:
        """Wait statuses of orphaned containers, one file ``<pid>-<starttime>`` each."""
        return self.run / "exits"

    @property
    def api_socket(self) -> Path:
        """The API for this machine's administrators."""
        return self.run / "api.sock"

    @property
    def dataplane_socket(self) -> Path:
        """Server and data plane."""
        return self.run / "dataplane.sock"

    @property
    def node_socket(self) -> Path:
        """The node agent's HTTP interface."""
        return self.run / "node.sock"

    @property
    def activate_socket(self) -> Path:
        """Data plane and node agent."""
        return self.run / "activate.sock"


def default_data_dir(environment: Mapping[str, str], uid: int) -> Path:
    """``KNARR_DATA_DIR``, else ``/var/lib/knarr`` for root, else by the XDG base directory rules."""
    if chosen := environment.get("KNARR_DATA_DIR"):
        return Path(chosen)
    if uid == 0:
        return DEFAULT_ROOT_DATA_DIR
    home = environment.get("XDG_DATA_HOME") or f"{environment.get('HOME', '/')}/.local/share"
    return Path(home) / "knarr"


def instance_name(data_dir: Path) -> str:
    """``knarr`` for the default directory, else ``knarr-`` and six hex digits of the path's hash."""
    if data_dir == DEFAULT_ROOT_DATA_DIR:
        return "knarr"
    return f"knarr-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:6]}"


def read_settings(path: Path) -> Settings:
    """Decode a settings file.

    Raises:
        OSError, msgspec.DecodeError: it is absent or not ours.
    """
    return msgspec.json.decode(path.read_bytes(), type=Settings)


def write_settings(settings: Settings) -> Path:
    """Write the record to where the processes expect it; atomic."""
    path = settings.paths.settings
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(settings)))
    temporary.replace(path)
    return path
