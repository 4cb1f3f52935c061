"""ServiceAccount (``v1``)."""

from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import Resource
from knarr.resources.columns import items
from knarr.resources.core.references import LocalObjectReference, ObjectReference
from knarr.resources.kind import Admission, Column, Kind
from knarr.resources.metadata import metadata_errors


class ServiceAccount(Resource, frozen=True, kw_only=True):
    """Who a Pod is; its ``imagePullSecrets`` are used for the images of the Pod."""

    secrets: tuple[ObjectReference, ...] = ()
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    automount_service_account_token: bool | None = None


def validate_service_account(account: ServiceAccount, _: Admission) -> tuple[FieldError, ...]:
    """Kubernetes' rules: nothing beyond the metadata."""
    return tuple(metadata_errors(account.metadata))


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
    columns=(Column("Secrets", "string", lambda doc, _: len(items(doc, "secrets"))),),
    validate=validate_service_account,
)
