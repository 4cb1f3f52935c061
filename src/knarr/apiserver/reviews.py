"""Questions about who somebody is and what they may do; answered from the authorizer, never stored.

``authentication.k8s.io/v1`` and ``authorization.k8s.io/v1`` of Kubernetes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from knarr.apiserver.authentication.credentials import Credentials
from knarr.apiserver.authentication.jwt import InvalidToken, NoToken
from knarr.apiserver.authorization.attributes import Attributes
from knarr.apiserver.authorization.authorizer import Authorizer
from knarr.apiserver.bodies import BodyReader
from knarr.apiserver.discovery import REVIEWS
from knarr.apiserver.request import ApiRequest, ApiResponse, json_response
from knarr.apiserver.virtual import invalid_virtual, read_virtual
from knarr.kits.clock import Clock, format_timestamp
from knarr.meta.errors import BadRequest, MethodNotAllowed
from knarr.meta.fielderrors import FieldError
from knarr.meta.objects import ObjectMeta, Resource, Struct
from knarr.resources.fielderrors import invalid
from knarr.resources.kind import UserInfo
from knarr.resources.rbac.role import PolicyRule

REVIEW_GROUPS = frozenset(row[0] for row in REVIEWS)
LOCAL = "LocalSubjectAccessReview"
_RULES = "SelfSubjectRulesReview"
_KINDS = {(row[0], row[1], row[2]): row[3] for row in REVIEWS}


class ResourceAttributes(Struct, frozen=True, kw_only=True):
    """A request on a resource."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    field_selector: Any = None
    label_selector: Any = None


class NonResourceAttributes(Struct, frozen=True, kw_only=True):
    """A request on a path that is no resource."""

    path: str = ""
    verb: str = ""


class ReviewSpec(Struct, frozen=True, kw_only=True):
    """The fields of all reviews' specs; each kind uses its own."""

    resource_attributes: ResourceAttributes | None = None
    non_resource_attributes: NonResourceAttributes | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] | None = None
    namespace: str = ""
    token: str = ""
    audiences: tuple[str, ...] = ()


class Review(Resource, frozen=True, kw_only=True):
    """A review of any kind."""

    spec: ReviewSpec = ReviewSpec()
    status: Any = None


class Reviews:
    """Answers reviews.

    Args:
        bodies: reads requests.
        authorizer: knows who may do what.
        credentials: knows whose tokens are whose.
        clock: for timestamps.
    """

    def __init__(
        self,
        bodies: BodyReader,
        authorizer: Authorizer,
        credentials: Credentials,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._bodies = bodies
        self._authorizer = authorizer
        self._credentials = credentials

    def answer(self, segments: Sequence[str], request: ApiRequest) -> ApiResponse | None:
        """The answer to a review, None when the path is none.

        Raises:
            MethodNotAllowed: it is not a POST.
            BadRequest: the body is another kind.
            Invalid: the question is incomplete or contradicts itself.
        """
        namespace = ""
        match segments:
            case ["apis", group, version, plural]:
                kind = _KINDS.get((group, version, plural))
            case ["apis", group, version, "namespaces", namespace, plural]:
                kind = _KINDS.get((group, version, plural))
            case _:
                return None
        if kind is None or (kind == LOCAL) != bool(namespace):
            return None
        if request.method != "POST":
            raise MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        api_version = f"{group}/{version}"
        sent = self._bodies.document(request)
        review = read_virtual(sent, Review, api_version, kind)
        review = _placed(review, namespace)
        document: dict[str, Any] = {
            "kind": kind,
            "apiVersion": api_version,
            "metadata": {"namespace": namespace} if namespace else {},
            "spec": {} if kind == _RULES else sent.get("spec") or {},
            "status": self._status(kind, review, request.user),
        }
        if kind == "SelfSubjectReview":
            del document["spec"]
            document["metadata"] = {"creationTimestamp": format_timestamp(self._clock.wall())}
        return json_response(document, 201)

    def _status(self, kind: str, review: Review, user: UserInfo) -> Mapping[str, Any]:
        match kind:
            case "SelfSubjectReview":
                return {"userInfo": user_document(user)}
            case "SelfSubjectRulesReview":
                return self._rules(review.spec.namespace, user)
            case "TokenReview":
                return self._token(review.spec)
            case "SelfSubjectAccessReview":
                _check_access(kind, review)
                return self._access(user, review.spec)
            case _:
                _check_access(kind, review)
                spec = review.spec
                other = UserInfo(spec.user, spec.groups, spec.uid, spec.extra or {})
                return self._access(other, spec)

    def _access(self, user: UserInfo, spec: ReviewSpec) -> Mapping[str, Any]:
        decision = self._authorizer.authorize(user, _attributes(spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        return status | ({"reason": decision.reason} if decision.reason else {})

    def _rules(self, namespace: str, user: UserInfo) -> Mapping[str, Any]:
        if not namespace:
            raise BadRequest("no namespace on request")
        rules, unresolved = self._authorizer.rules_for(user, namespace)
        status: dict[str, Any] = {
            "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
            "nonResourceRules": [
                {"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}
                for rule in rules
                if rule.non_resource_urls
            ],
            "incomplete": False,
        }
        return status | ({"evaluationError": unresolved} if unresolved else {})

    def _token(self, spec: ReviewSpec) -> Mapping[str, Any]:
        if not spec.token:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            verified = self._credentials.review(spec.token, spec.audiences)
        except InvalidToken as error:
            why = "invalid bearer token"
            return {"user": {}, "error": why if isinstance(error, NoToken) else f"[{why}, {error}]"}
        return {
            "authenticated": True,
            "user": user_document(verified.user),
            "audiences": list(verified.audiences),
        }


def user_document(user: UserInfo) -> Mapping[str, Any]:
    """A user as ``authentication.k8s.io/v1`` UserInfo."""
    document: dict[str, Any] = {"username": user.name}
    if user.uid:
        document["uid"] = user.uid
    if user.groups:
        document["groups"] = list(user.groups)
    if user.extra:
        document["extra"] = {name: list(values) for name, values in user.extra.items()}
    return document


def _resource_rule(rule: PolicyRule) -> Mapping[str, Any]:
    document = {"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources}
    return document | ({"resourceNames": rule.resource_names} if rule.resource_names else {})


def _attributes(spec: ReviewSpec) -> Attributes:
    wanted = spec.resource_attributes
    if wanted is not None:
        return Attributes(
            wanted.verb,
            wanted.group,
            wanted.resource,
            wanted.subresource,
            wanted.namespace,
            wanted.name,
        )
    other = spec.non_resource_attributes or NonResourceAttributes()
    return Attributes(other.verb, path=other.path)


def _placed(review: Review, namespace: str) -> Review:
    """A review in the namespace that the URL names.

    Raises:
        BadRequest: it says that it is in another one.
    """
    metadata = review.metadata
    if not namespace or metadata.namespace == namespace:
        return review
    if metadata.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata = msgspec.structs.replace(metadata, namespace=namespace)
    return msgspec.structs.replace(review, metadata=metadata)


def _internal(attributes: NonResourceAttributes) -> Mapping[str, str]:
    """As Kubernetes shows the value in errors: by the names of its own fields."""
    return {"Path": attributes.path, "Verb": attributes.verb}


def _check_access(kind: str, review: Review) -> None:
    """Kubernetes' rules for access reviews.

    Raises:
        Invalid: some are broken.
    """
    spec, errors = review.spec, list[FieldError]()
    resource, other = spec.resource_attributes, spec.non_resource_attributes
    if resource is not None and other is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        errors.append(invalid("spec.nonResourceAttributes", _internal(other), detail))
    if resource is None and other is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(invalid("spec.resourceAttributes", None, detail))
    if kind != "SelfSubjectAccessReview" and not spec.user and not spec.groups:
        detail = "at least one of user or group must be specified"
        errors.append(invalid("spec.user", spec.user, detail))
    errors += _metadata_errors(review.metadata, local=kind == LOCAL)
    if kind == LOCAL:
        errors += _local_errors(spec, review.metadata.namespace)
    if errors:
        # Kubernetes leaves the kind out here.
        raise invalid_virtual("authorization.k8s.io", "", "", errors)


def _metadata_errors(metadata: ObjectMeta, *, local: bool) -> list[FieldError]:
    bare = msgspec.structs.replace(metadata, managed_fields=None)
    if local:
        bare = msgspec.structs.replace(bare, namespace="")
    if bare == ObjectMeta():
        return []
    detail = "must be empty except for namespace" if local else "must be empty"
    return [invalid("metadata", msgspec.to_builtins(metadata), detail)]


def _local_errors(spec: ReviewSpec, namespace: str) -> list[FieldError]:
    errors = []
    resource, other = spec.resource_attributes, spec.non_resource_attributes
    if resource is not None and resource.namespace != namespace:
        path = "spec.resourceAttributes.namespace"
        errors.append(invalid(path, resource.namespace, "must match metadata.namespace"))
    if other is not None:
        detail = "disallowed on this kind of request"
        errors.append(invalid("spec.nonResourceAttributes", _internal(other), detail))
    return errors
