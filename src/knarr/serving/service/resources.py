"""The Configuration and the Route of a Service (Knative ``pkg/reconciler/service/resources``)."""

import msgspec

from knarr.meta.objects import ObjectMeta
from knarr.resources.serving.configuration import Configuration, ConfigurationSpec
from knarr.resources.serving.route import Route, RouteSpec
from knarr.resources.serving.service import Service, ServiceSpec
from knarr.serving import labels

_NOT_FOR_CONFIGURATION = frozenset(
    {labels.LAST_APPLIED, labels.ROLLOUT_DURATION, labels.ROLLOUT_DURATION_LEGACY}
)


def make_configuration(service: Service, existing: Configuration | None) -> Configuration:
    """The Configuration: the template, and the Service's metadata.

    The Route's name is in the routes annotation from the beginning, so that the first Revision counts as
    routed before the labeler has seen it.
    """
    meta, spec = service.metadata, service.spec or ServiceSpec()
    annotations = {
        key: value
        for key, value in (meta.annotations or {}).items()
        if key not in _NOT_FOR_CONFIGURATION
    }
    routes = existing.metadata.annotation(labels.ROUTES) if existing is not None else ""
    known = {name for name in routes.split(",") if name} | {meta.name}
    annotations[labels.ROUTES] = ",".join(sorted(known))
    return Configuration(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            labels={
                **(meta.labels or {}),
                labels.SERVICE: meta.name,
                labels.SERVICE_UID: meta.uid,
            },
            annotations=annotations,
        ),
        spec=ConfigurationSpec(template=spec.template),
    )


def make_route(service: Service) -> Route:
    """The Route: the traffic, with the Configuration named where the latest revision is meant."""
    meta, spec = service.metadata, service.spec or ServiceSpec()
    annotations = {
        key: value for key, value in (meta.annotations or {}).items() if key != labels.LAST_APPLIED
    }
    traffic = tuple(
        target
        if target.revision_name
        else msgspec.structs.replace(target, configuration_name=meta.name)
        for target in spec.traffic
    )
    return Route(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            labels={**(meta.labels or {}), labels.SERVICE: meta.name},
            annotations=annotations or None,
            # The labeler would add it at once; the collector of children must find it there.
            finalizers=(labels.ROUTE_FINALIZER,),
        ),
        spec=RouteSpec(traffic=traffic),
    )
