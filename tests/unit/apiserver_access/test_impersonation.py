"""Acting as somebody else."""

import pytest
from tests.unit.apiserver_access.kit import (
    BOB,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    binding,
    made,
    role,
    rule,
)

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.authentication.impersonation import impersonate, impersonation_of
from knarr.meta.errors import BadRequest, Forbidden

USER, GROUP, UID = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid"


def acting(api, *headers, sender=ADMIN):
    return impersonate(api.handler.authorizer, sender, impersonation_of(headers))


@pytest.mark.parametrize(
    ("headers", "name", "groups"),
    [
        ([(USER, "eve")], "eve", ("system:authenticated",)),
        ([(USER, "eve"), (GROUP, "a"), ("impersonate-group", "b")], "eve",
         ("a", "b", "system:authenticated")),
        ([(USER, "eve"), (GROUP, "system:unauthenticated")], "eve", ("system:unauthenticated",)),
        ([(USER, "system:serviceaccount:ns:x")], "system:serviceaccount:ns:x",
         ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")),
        ([(USER, "system:serviceaccount:ns:x"), (GROUP, "a")], "system:serviceaccount:ns:x",
         ("a", "system:authenticated")),
        ([(USER, "system:anonymous")], "system:anonymous", ("system:unauthenticated",)),
        ([(USER, "system:serviceaccount:x")], "system:serviceaccount:x", ("system:authenticated",)),
    ],
)  # fmt: skip
async def test_who_one_becomes(api, headers, name, groups):
    user = acting(api, *headers)
    assert (user.name, user.groups) == (name, groups)


async def test_uid_and_extra(api):
    user = acting(
        api, (USER, "eve"), (UID, "7"), ("Impersonate-Extra-Scopes", "a"),
        ("Impersonate-Extra-Scopes", "b"), ("Impersonate-Extra-example.com%2Fx", "c"),
    )  # fmt: skip
    assert user.uid == "7"
    assert user.extra == {"scopes": ("a", "b"), "example.com/x": ("c",)}


def test_headers_that_make_no_sense():
    assert impersonation_of([("Accept", "x"), ("X-Impersonate-User", "y")]) is None
    for headers in ([(GROUP, "a")], [(UID, "a")], [("Impersonate-Extra-a", "b")], [(USER, "")],
                    [(USER, "a"), ("Impersonate-Everything", "x")]):  # fmt: skip
        with pytest.raises(BadRequest):
            impersonation_of(headers)


@pytest.mark.parametrize(
    ("given", "headers", "refused"),
    [
        ([], [(USER, "eve")], 'users "eve" is forbidden: User "bob" cannot impersonate resource "users" '
         'in API group "" at the cluster scope'),
        ([rule("impersonate", "users", names="eve")], [(USER, "eve")], ""),
        ([rule("impersonate", "users", names="eve")], [(USER, "kim")], 'users "kim" is forbidden'),
        ([rule("impersonate", "users")], [(USER, "eve"), (GROUP, "system:masters")],
         'groups "system:masters" is forbidden'),
        ([rule("impersonate", "users groups")], [(USER, "eve"), (GROUP, "a")], ""),
        ([rule("impersonate", "users")], [(USER, "system:serviceaccount:ns:x")],
         'serviceaccounts "x" is forbidden: User "bob" cannot impersonate resource "serviceaccounts" in '
         'API group "" in the namespace "ns"'),
        ([rule("impersonate", "serviceaccounts")], [(USER, "system:serviceaccount:ns:x")], ""),
        ([rule("impersonate", "users")], [(USER, "eve"), (UID, "7")], 'uids.authentication.k8s.io "7"'),
        ([rule("impersonate", "users"), rule("impersonate", "uids", "authentication.k8s.io")],
         [(USER, "eve"), (UID, "7")], ""),
        ([rule("impersonate", "users")], [(USER, "eve"), ("Impersonate-Extra-a", "b")],
         'cannot impersonate resource "userextras/a" in API group "authentication.k8s.io"'),
        ([rule("impersonate", "users"), rule("impersonate", "userextras/a", "authentication.k8s.io",
                                             names="b")],
         [(USER, "eve"), ("Impersonate-Extra-A", "b")], ""),
    ],
)  # fmt: skip
async def test_who_may(api, given, headers, refused):
    if given:
        await made(api, CLUSTER_ROLES, role("r", *given))
        await made(api, CLUSTER_ROLE_BINDINGS, binding("b", "r", "u:bob", kind="ClusterRole"))
    if not refused:
        acting(api, *headers, sender=BOB)
        return
    with pytest.raises(Forbidden) as caught:
        acting(api, *headers, sender=BOB)
    assert refused in caught.value.message
