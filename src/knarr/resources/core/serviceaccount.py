"""ServiceAccount (``v1``)."""

from knarr.meta.objects import Resource
from knarr.resources.core.references import LocalObjectReference, ObjectReference
from knarr.resources.kind import Kind


class ServiceAccount(Resource, frozen=True, kw_only=True):
    """Who a Pod is; its ``imagePullSecrets`` are used for the images of the Pod."""

    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


SERVICE_ACCOUNT: Kind[ServiceAccount] = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    singular="serviceaccount",
    short_names=("sa",),
    builtin=True,
    has_status=False,
    model=ServiceAccount,
)
