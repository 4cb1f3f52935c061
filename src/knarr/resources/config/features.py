"""``config-features`` (Knative ``pkg/apis/config/features.go``)."""

from collections.abc import Mapping

import msgspec

NAME = "config-features"
ENABLED, ALLOWED, DISABLED = "Enabled", "Allowed", "Disabled"
ALLOW_ROOT_BOUNDED = "AllowRootBounded"

MULTI_CONTAINER = "multi-container"
MULTI_CONTAINER_PROBING = "multi-container-probing"
SECURE_POD_DEFAULTS = "secure-pod-defaults"
TAG_HEADER_BASED_ROUTING = "tag-header-based-routing"
AUTODETECT_HTTP2 = "autodetect-http2"
MOUNT_PODINFO = "queueproxy.mount-podinfo"
RESOURCE_DEFAULTS = "queueproxy.resource-defaults"
ADD_CAPABILITIES = "kubernetes.containerspec-addcapabilities"
PERSISTENT_VOLUME_CLAIM = "kubernetes.podspec-persistent-volume-claim"
PERSISTENT_VOLUME_WRITE = "kubernetes.podspec-persistent-volume-write"
INIT_CONTAINERS = "kubernetes.podspec-init-containers"
FIELD_REF = "kubernetes.podspec-fieldref"
EMPTY_DIR = "kubernetes.podspec-volumes-emptydir"
HOST_PATH = "kubernetes.podspec-volumes-hostpath"
CSI = "kubernetes.podspec-volumes-csi"
EPHEMERAL = "kubernetes.podspec-volumes-ephemeral"
IMAGE_VOLUME = "kubernetes.podspec-volumes-image"
MOUNT_PROPAGATION = "kubernetes.podspec-volumes-mount-propagation"
SECURITY_CONTEXT = "kubernetes.podspec-securitycontext"

UNSUPPORTED = (AUTODETECT_HTTP2,)
"""Flags that change what the gateway does and that Knarr does not honour yet; no field tells of them."""

DEFAULT_FLAGS: Mapping[str, str] = {
    MULTI_CONTAINER: ENABLED,
    EMPTY_DIR: ENABLED,
    SECURE_POD_DEFAULTS: DISABLED,
    MULTI_CONTAINER_PROBING: DISABLED,
    TAG_HEADER_BASED_ROUTING: DISABLED,
    AUTODETECT_HTTP2: DISABLED,
    MOUNT_PODINFO: DISABLED,
    RESOURCE_DEFAULTS: DISABLED,
    ADD_CAPABILITIES: DISABLED,
    PERSISTENT_VOLUME_CLAIM: DISABLED,
    PERSISTENT_VOLUME_WRITE: DISABLED,
    INIT_CONTAINERS: DISABLED,
    FIELD_REF: DISABLED,
    HOST_PATH: DISABLED,
    CSI: DISABLED,
    EPHEMERAL: DISABLED,
    IMAGE_VOLUME: DISABLED,
    MOUNT_PROPAGATION: DISABLED,
    SECURITY_CONTEXT: DISABLED,
    "kubernetes.podspec-affinity": DISABLED,
    "kubernetes.podspec-topologyspreadconstraints": DISABLED,
    "kubernetes.podspec-hostaliases": DISABLED,
    "kubernetes.podspec-nodeselector": DISABLED,
    "kubernetes.podspec-tolerations": DISABLED,
    "kubernetes.podspec-runtimeclassname": DISABLED,
    "kubernetes.podspec-dnspolicy": DISABLED,
    "kubernetes.podspec-dnsconfig": DISABLED,
    "kubernetes.podspec-shareprocessnamespace": DISABLED,
    "kubernetes.podspec-hostipc": DISABLED,
    "kubernetes.podspec-hostpid": DISABLED,
    "kubernetes.podspec-hostnetwork": DISABLED,
    "kubernetes.podspec-priorityclassname": DISABLED,
    "kubernetes.podspec-schedulername": DISABLED,
}


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """Every flag and its value."""

    flags: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_FLAGS))

    def flag(self, name: str) -> str:
        """Enabled, Allowed or Disabled (or AllowRootBounded)."""
        return self.flags[name]

    def enabled(self, name: str) -> bool:
        """Whether a feature is on for everything."""
        return self.flags[name] == ENABLED

    def disabled(self, name: str) -> bool:
        """Whether a feature must not be used."""
        return self.flags[name] == DISABLED

    @property
    def secure_pod_defaults(self) -> bool:
        """Whether containers are restricted unless they say otherwise."""
        return self.flags[SECURE_POD_DEFAULTS] in {ENABLED, ALLOW_ROOT_BOUNDED}


def parse_features(data: Mapping[str, str]) -> Features:
    """Read ``config-features``; a value that is no flag leaves the default, as in Knative."""
    flags = dict(DEFAULT_FLAGS)
    for name in flags:
        raw = data.get(name)
        if raw is None:
            continue
        middle = ALLOW_ROOT_BOUNDED if name == SECURE_POD_DEFAULTS else ALLOWED
        for value in (ENABLED, middle, DISABLED):
            if raw.lower() == value.lower():
                flags[name] = value
    return Features(flags=flags)
