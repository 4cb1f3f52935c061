"""The Revision of a Configuration's generation (Knative ``pkg/reconciler/configuration/resources``)."""

import datetime as dt

from knarr.kits.clock import format_timestamp
from knarr.meta.names import child_name
from knarr.meta.objects import ObjectMeta, owner_reference
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.podspec import RevisionTemplate
from knarr.resources.serving.revision import Revision
from knarr.serving import labels


def template_of(configuration: Configuration) -> RevisionTemplate:
    """The template; an empty one when there is none."""
    spec = configuration.spec
    return (spec.template if spec else None) or RevisionTemplate()


def make_revision(configuration: Configuration, now: dt.datetime) -> Revision:
    """The Revision of the current generation, pending until the labeler has seen it."""
    meta, template = configuration.metadata, template_of(configuration)
    given = template.metadata or ObjectMeta()
    own = {
        labels.CONFIGURATION: meta.name,
        labels.SERVICE: meta.label(labels.SERVICE),
        labels.CONFIGURATION_GENERATION: str(meta.generation),
        labels.CONFIGURATION_UID: meta.uid,
        labels.SERVICE_UID: meta.label(labels.SERVICE_UID),
    }
    annotations = {
        **(given.annotations or {}),
        labels.ROUTING_STATE_MODIFIED: format_timestamp(now),
    }
    if modifier := meta.annotation(labels.LAST_MODIFIER):
        annotations[labels.CREATOR] = modifier
    state = "pending"
    if routes := meta.annotation(labels.ROUTES):
        annotations[labels.ROUTES] = routes
        state = "active"
    return Revision(
        metadata=ObjectMeta(
            name=given.name or child_name(meta.name, f"-{meta.generation:05d}"),
            namespace=meta.namespace,
            labels={
                **(given.labels or {}),
                labels.ROUTING_STATE: state,
                **{key: value for key, value in own.items() if value},
            },
            annotations=annotations,
            owner_references=(owner_reference(configuration),),
        ),
        spec=template.spec,
    )
