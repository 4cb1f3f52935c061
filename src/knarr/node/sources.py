"""What Pods refer to, from informers: ConfigMaps, Secrets, ServiceAccounts, Services, and their tokens."""

from collections.abc import Iterable
from pathlib import Path

from knarr.kube.factory import InformerFactory
from knarr.meta.objects import Key
from knarr.node.claims import claim_directory, volume_key
from knarr.node.podfacts import TokenQuestion
from knarr.node.servicelinks import KUBERNETES, kubernetes_service
from knarr.node.tokens import Tokens
from knarr.resources.core.configmap import CONFIG_MAP, ConfigMap
from knarr.resources.core.persistentvolume import PERSISTENT_VOLUME
from knarr.resources.core.persistentvolumeclaim import (
    PERSISTENT_VOLUME_CLAIM,
    PersistentVolumeClaim,
)
from knarr.resources.core.secret import SECRET, Secret
from knarr.resources.core.service import SERVICE, Service
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT, ServiceAccount


class CachedSources:
    """``podfacts.Sources`` over informers.

    Args:
        factory: of the agent.
        tokens: those that were asked for.
        kubernetes: cluster IP of the Service ``kubernetes``, for as long as that is not known.
        volumes_root: of the directories behind PersistentVolumes.
    """

    def __init__(
        self, factory: InformerFactory, tokens: Tokens, kubernetes: str, *, volumes_root: Path
    ) -> None:
        self.config_maps = factory.informer(CONFIG_MAP)
        self.secrets = factory.informer(SECRET)
        self.accounts = factory.informer(SERVICE_ACCOUNT)
        self.services = factory.informer(SERVICE)
        self.claims = factory.informer(PERSISTENT_VOLUME_CLAIM)
        self.volumes = factory.informer(PERSISTENT_VOLUME)
        self._volumes_root = volumes_root
        self._tokens = tokens
        self._kubernetes = kubernetes_service(kubernetes)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap, or None."""
        return self.config_maps.get(Key(namespace, name))

    def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret, or None."""
        return self.secrets.get(Key(namespace, name))

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim, or None."""
        return self.claims.get(Key(namespace, name))

    def claimed(self, namespace: str, name: str) -> Path:
        """The directory that a claim is bound to.

        Raises:
            BadContainer: there is none.
        """
        claim = self.claim(namespace, name)
        key = volume_key(claim)
        volume = self.volumes.get(key) if key is not None else None
        return claim_directory(name, claim, volume, self._volumes_root)

    def account(self, namespace: str, name: str) -> ServiceAccount | None:
        """A ServiceAccount, or None."""
        return self.accounts.get(Key(namespace, name))

    def linked_services(self, namespace: str, *, links: bool) -> Iterable[Service]:
        """``kubernetes`` and, with ``links``, the Services of a namespace, by name."""
        yield self.services.get(KUBERNETES) or self._kubernetes
        if links:
            for service in self.services.list(namespace):
                if service.key != KUBERNETES:
                    yield service

    def token(self, question: TokenQuestion) -> str:
        """A token that was asked for before.

        Raises:
            BadContainer: it was not.
        """
        return self._tokens.get(question)
