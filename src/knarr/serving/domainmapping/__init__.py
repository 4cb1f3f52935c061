"""DomainMapping: a domain of one's own for a Service, held by a ClusterDomainClaim."""

from knarr.serving.domainmapping.reconciler import DomainMappingReconciler

__all__ = ["DomainMappingReconciler"]
