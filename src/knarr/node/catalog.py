"""Images as the node's HTTP interface offers them: the store, and registries behind it."""

from collections.abc import Mapping

from knarr.node.imagecleanup import ImageCleanup, PruneReport
from knarr.node.images.errors import NotPresent
from knarr.node.images.records import Credentials, ImageRecord
from knarr.node.images.reference import parse_reference
from knarr.node.images.store import ImageStore, Puller
from knarr.node.podfacts import Sources
from knarr.node.pulling import pull_credentials


class NodeImages:
    """``http.ImageCatalog`` over the store."""

    def __init__(
        self, store: ImageStore, puller: Puller, sources: Sources, cleanup: ImageCleanup
    ) -> None:
        self.cleanup = cleanup
        self._store = store
        self._puller = puller
        self._sources = sources

    def list(self) -> tuple[ImageRecord, ...]:
        """Every image that is complete here."""
        return self._store.list()

    async def prune(self, *, everything: bool) -> PruneReport:
        """Remove images that nothing needs, see ``ImageCleanup.prune``."""
        return await self.cleanup.prune(everything=everything)

    async def resolve(self, reference: str, namespace: str, pull_secrets: tuple[str, ...]) -> str:
        """The reference by digest: ``host/name@sha256:…``.

        An image that is on this machine answers for its tag, so that deploying works offline and at once;
        ``knarr image pull`` brings a tag up to date. Otherwise the registry is asked.

        Raises:
            ImageError: it cannot be resolved.
        """
        parsed = parse_reference(reference)
        local = self._store.resolve(reference)
        if parsed.digest:
            digest = parsed.digest
        elif local is not None:
            digest = local.digest
        elif parsed.is_local:
            raise NotPresent(f"image {parsed} is not on this machine; build it with: knarr build")
        else:
            credentials = self._credentials(namespace, pull_secrets)
            digest = await self._puller.resolve_digest(parsed, credentials)
        return str(parsed.at(digest))

    def _credentials(self, namespace: str, names: tuple[str, ...]) -> Mapping[str, Credentials]:
        found = [self._sources.secret(namespace, name) for name in names]
        return pull_credentials(secret for secret in found if secret is not None)
