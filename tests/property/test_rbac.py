"""The authorizer against a naive reading of the same roles and bindings."""

import asyncio
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.apiserver.authentication.names import service_account_name
from knarr.apiserver.authorization.attributes import Attributes
from knarr.apiserver.authorization.authorizer import Authorizer
from knarr.meta.objects import Key, ObjectMeta
from knarr.resources.kind import UserInfo
from knarr.resources.rbac.binding import (
    CLUSTER_ROLE_BINDING,
    ROLE_BINDING,
    ClusterRoleBinding,
    RoleBinding,
    RoleRef,
    Subject,
)
from knarr.resources.rbac.role import CLUSTER_ROLE, ROLE, ClusterRole, PolicyRule, Role
from knarr.resources.rbac.rules import matches_resource, missing_rules
from knarr.store.store import Store

VERBS = ("get", "list", "*")
GROUPS = ("", "apps", "*")
RESOURCES = ("pods", "pods/log", "jobs", "*/log", "*")
NAMES = ("a", "b")
NAMESPACES = ("n1", "n2")
URLS = ("/healthz", "/healthz/*", "/api", "*")


def some(values, smallest=1):
    return st.lists(st.sampled_from(values), min_size=smallest, max_size=2).map(tuple)


resource_rules = st.builds(
    PolicyRule, verbs=some(VERBS), api_groups=some(GROUPS), resources=some(RESOURCES),
    resource_names=st.one_of(st.just(()), some(NAMES)),
)  # fmt: skip
url_rules = st.builds(PolicyRule, verbs=some(VERBS), non_resource_urls=some(URLS))
rules = st.lists(st.one_of(resource_rules, url_rules), max_size=3).map(tuple)
subjects = st.lists(
    st.one_of(
        st.builds(Subject, kind=st.just("User"), name=st.sampled_from(("bob", "eve"))),
        st.builds(Subject, kind=st.just("Group"), name=st.sampled_from(("g", "h"))),
        st.builds(
            Subject, kind=st.just("ServiceAccount"), name=st.just("robot"),
            namespace=st.sampled_from(("", *NAMESPACES)),
        ),
    ),
    max_size=2,
).map(tuple)  # fmt: skip
role_names = st.sampled_from(("r1", "r2", "r3"))
binding_names = st.sampled_from(("b1", "b2"))
namespaces = st.sampled_from(NAMESPACES)


def named(name, namespace=""):
    return ObjectMeta(name=name, namespace=namespace)


def put(kind, subject):
    return st.tuples(st.just("put"), st.just(kind), subject)


changes = st.one_of(
    put(ROLE, st.builds(lambda name, ns, found: Role(metadata=named(name, ns), rules=found),
                        role_names, namespaces, rules)),
    put(CLUSTER_ROLE, st.builds(lambda name, found: ClusterRole(metadata=named(name), rules=found),
                                role_names, rules)),
    put(ROLE_BINDING, st.builds(
        lambda name, ns, kind, ref, who: RoleBinding(
            metadata=named(name, ns), role_ref=RoleRef(kind=kind, name=ref), subjects=who),
        binding_names, namespaces, st.sampled_from(("Role", "ClusterRole")), role_names, subjects)),
    put(CLUSTER_ROLE_BINDING, st.builds(
        lambda name, ref, who: ClusterRoleBinding(
            metadata=named(name), role_ref=RoleRef(kind="ClusterRole", name=ref), subjects=who),
        binding_names, role_names, subjects)),
    st.tuples(
        st.just("delete"),
        st.sampled_from((ROLE, CLUSTER_ROLE, ROLE_BINDING, CLUSTER_ROLE_BINDING)),
        st.tuples(namespaces, st.one_of(role_names, binding_names)),
    ),
    st.tuples(st.just("forget"), st.none(), st.none()),
)  # fmt: skip
users = st.one_of(
    st.builds(UserInfo, st.sampled_from(("bob", "eve")), some(("g", "h"), 0)),
    st.builds(lambda ns: UserInfo(service_account_name(ns, "robot")), namespaces),
)
questions = st.one_of(
    st.builds(
        Attributes, st.sampled_from(("get", "list", "delete")), st.sampled_from(("", "apps")),
        st.sampled_from(("pods", "jobs")), st.sampled_from(("", "log")),
        st.sampled_from(("", *NAMESPACES)), st.sampled_from(("", "a", "c")),
    ),
    st.builds(
        lambda path: Attributes("get", path=path),
        st.sampled_from(("/healthz", "/healthz/x", "/healthzz", "/api", "/apis")),
    ),
)  # fmt: skip


# The reference: everything is looked through, nothing is kept.


def applies(subject, user, namespace):
    if subject.kind == "User":
        return subject.name == user.name
    if subject.kind == "Group":
        return subject.name in user.groups
    home = subject.namespace or namespace
    return bool(home) and user.name == f"system:serviceaccount:{home}:{subject.name}"


def rule_allows(rule, wanted):
    if not {"*", wanted.verb} & set(rule.verbs):
        return False
    if wanted.path is not None:
        return any(
            url == wanted.path or (url.endswith("*") and wanted.path.startswith(url[:-1]))
            for url in rule.non_resource_urls
        )
    full = wanted.resource + (f"/{wanted.subresource}" if wanted.subresource else "")
    patterns = {"*", full} | ({f"*/{wanted.subresource}"} if wanted.subresource else set())
    return bool(
        {"*", wanted.group} & set(rule.api_groups)
        and patterns & set(rule.resources)
        and (not rule.resource_names or wanted.name in rule.resource_names)
    )


def reference(world, user, wanted):
    for kind, scope in ((CLUSTER_ROLE_BINDING, ""), (ROLE_BINDING, wanted.namespace)):
        if kind is ROLE_BINDING and not scope:
            continue
        for (where, key), bound in world.items():
            if where != kind.plural or key.namespace != scope:
                continue
            if not any(applies(each, user, scope) for each in bound.subjects):
                continue
            of_role = bound.role_ref.kind == "Role"
            place = (ROLE.plural if of_role else CLUSTER_ROLE.plural,
                     Key(scope if of_role else "", bound.role_ref.name))  # fmt: skip
            role = world.get(place)
            if role is not None and any(rule_allows(rule, wanted) for rule in role.rules):
                return True
    return False


async def change(store, world, step):
    what, kind, subject = step
    if what == "forget":
        for collection in store._collections.values():
            while collection.history_length:
                collection.forget_oldest()
        return
    if what == "delete":
        namespace, name = subject
        key = Key(namespace if kind.namespaced else "", name)
    else:
        key = subject.key
    collection, place = kind.qualified_plural, (kind.plural, key)
    entry = store.newest(collection, key)
    if what == "delete":
        if entry is not None:
            await store.delete(collection, key, entry.rv, lambda _: entry.data)
            del world[place]
        return
    data = msgspec.json.encode(subject)
    if entry is None:
        await store.create(collection, key, "u", lambda _: data)
    else:
        await store.update(collection, key, entry.rv, lambda _: data)
    world[place] = subject


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(changes, st.lists(st.tuples(users, questions), max_size=4)), max_size=12))
def test_the_authorizer_agrees_with_a_naive_reader(steps):
    async def play():
        async with Store(None) as store:
            authorizer, world = Authorizer(store), {}
            for step, asked in steps:
                await change(store, world, step)
                for user, wanted in asked:
                    allowed = authorizer.authorize(user, wanted).allowed
                    assert allowed == reference(world, user, wanted)

    asyncio.run(play())


def allows(found, wanted):
    return any(rule_allows(rule, wanted) for rule in found)


@settings(max_examples=300, deadline=None)
@given(rules, rules, st.lists(questions, max_size=10))
def test_what_is_covered_allows_nothing_more(held, wanted, asked):
    missing = missing_rules(held, wanted)
    for question in asked:
        if allows(wanted, question) and not allows(held, question):
            assert missing, question
    assert not missing_rules((*held, *missing), wanted)
    assert not missing_rules(wanted, wanted)


@given(resource_rules, st.integers(0, 9))
def test_parts_of_a_rule_are_covered_by_it(rule, seed):
    rng = random.Random(seed)
    name = rng.choice(rule.resource_names) if rule.resource_names else ""
    part = PolicyRule(
        verbs=(rng.choice(rule.verbs),),
        api_groups=(rng.choice(rule.api_groups),),
        resources=(rng.choice(rule.resources),),
        resource_names=(name,) if name else (),
    )
    assert not missing_rules((rule,), (part,))
    resource, _, subresource = part.resources[0].partition("/")
    assert matches_resource(rule, part.verbs[0], part.api_groups[0], resource, subresource, name)
