"""Every kind of the API, in the order in which discovery lists them."""

from typing import Any

from knarr.resources.admissionregistration.configuration import (
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from knarr.resources.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITION
from knarr.resources.apps.controllerrevision import CONTROLLER_REVISION
from knarr.resources.apps.daemonset import DAEMON_SET
from knarr.resources.apps.deployment import DEPLOYMENT
from knarr.resources.apps.replicaset import REPLICA_SET
from knarr.resources.apps.statefulset import STATEFUL_SET
from knarr.resources.autoscaling.podautoscaler import POD_AUTOSCALER
from knarr.resources.batch.cronjob import CRON_JOB
from knarr.resources.batch.job import JOB
from knarr.resources.coordination.lease import LEASE
from knarr.resources.core.configmap import CONFIG_MAP
from knarr.resources.core.endpoints import ENDPOINTS
from knarr.resources.core.event import EVENT
from knarr.resources.core.limitrange import LIMIT_RANGE
from knarr.resources.core.namespace import NAMESPACE
from knarr.resources.core.node import NODE
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME
from knarr.resources.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIM
from knarr.resources.core.pod import POD
from knarr.resources.core.resourcequota import RESOURCE_QUOTA
from knarr.resources.core.secret import SECRET
from knarr.resources.core.service import SERVICE as CORE_SERVICE
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT
from knarr.resources.discovery.endpointslice import ENDPOINT_SLICE
from knarr.resources.events.event import EVENTS_EVENT
from knarr.resources.kind import Kind
from knarr.resources.networking.clusterdomainclaim import CLUSTER_DOMAIN_CLAIM
from knarr.resources.networking.ingress import INGRESS
from knarr.resources.policy.poddisruptionbudget import POD_DISRUPTION_BUDGET
from knarr.resources.rbac.binding import CLUSTER_ROLE_BINDING, ROLE_BINDING
from knarr.resources.rbac.role import CLUSTER_ROLE, ROLE
from knarr.resources.scheduling.priorityclass import PRIORITY_CLASS
from knarr.resources.serving.configuration import CONFIGURATION
from knarr.resources.serving.domainmapping import DOMAIN_MAPPING
from knarr.resources.serving.revision import REVISION
from knarr.resources.serving.route import ROUTE
from knarr.resources.serving.service import SERVICE
from knarr.resources.storage.storageclass import STORAGE_CLASS

KINDS: tuple[Kind[Any], ...] = (
    CONFIG_MAP,
    ENDPOINTS,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    PERSISTENT_VOLUME,
    POD,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    CORE_SERVICE,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    CRON_JOB,
    JOB,
    LEASE,
    ENDPOINT_SLICE,
    EVENTS_EVENT,
    POD_DISRUPTION_BUDGET,
    PRIORITY_CLASS,
    STORAGE_CLASS,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    ROLE_BINDING,
    ROLE,
    CUSTOM_RESOURCE_DEFINITION,
    MUTATING_WEBHOOK_CONFIGURATION,
    VALIDATING_WEBHOOK_CONFIGURATION,
    CONFIGURATION,
    REVISION,
    ROUTE,
    SERVICE,
    DOMAIN_MAPPING,
    POD_AUTOSCALER,
    INGRESS,
    CLUSTER_DOMAIN_CLAIM,
)

_BY_PLURAL = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
_BY_KIND = {(kind.api_version, kind.kind): kind for kind in KINDS}


def find_kind(group: str, version: str, plural: str) -> Kind[Any] | None:
    """The kind behind a URL path, or None."""
    return _BY_PLURAL.get((group, version, plural))


def kind_of(api_version: str, kind: str) -> Kind[Any] | None:
    """The kind of a document with these ``apiVersion`` and ``kind``, or None."""
    return _BY_KIND.get((api_version, kind))
