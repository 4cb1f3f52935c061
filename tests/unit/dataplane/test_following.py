"""Paths that lead to a Route's Service take over the Route's shares."""

from knarr.dataplane.following import follow, rewritten_hosts
from knarr.dataplane.messages import Ingress, Path, Rule, Split
from knarr.resources.networking.ingress import (
    HttpIngressPath,
    HttpIngressRuleValue,
    IngressRule,
    IngressSpec,
)
from knarr.resources.networking.ingress import Ingress as ApiIngress

HOST = "hello.default.svc.cluster.local"
OWN = {"K-Original-Host": "a.com", "X-Own": "1"}


def shares(*revisions: str) -> tuple[Split, ...]:
    percent = 100 // len(revisions)
    return tuple(
        Split(revision=f"default/{name}", percent=percent, append_headers={"R": name})
        for name in revisions
    )


def mapped(**fields: object) -> Ingress:
    split = Split(revision="default/hello", percent=100, append_headers=OWN)
    values = {"rewrite_host": HOST, "splits": (split,), **fields}
    return Ingress(
        key="default/a.com",
        rules=(Rule(hosts=("a.com",), visibility="external", paths=(Path(**values),)),),  # type: ignore[arg-type]
    )


def rule(*paths: Path) -> Rule:
    return Rule(hosts=(HOST,), visibility="local", paths=paths)


def test_shares_and_headers_of_the_route_are_taken_over() -> None:
    target = rule(Path(splits=shares("r1", "r2"), append_headers={"D": "true"}))
    followed = follow(mapped(), "cluster.local", {HOST: target}.get)
    (path,) = followed.entry.rules[0].paths
    assert path.splits == shares("r1", "r2")
    assert path.append_headers == {"X-Own": "1", "D": "true"}
    assert path.rewrite_host == "a.com", "the application sees the host that was asked for"
    assert (followed.absent, followed.divided) == ((), ())
    assert followed.entry.rules[0].hosts == ("a.com",)


def test_every_path_of_the_route_is_joined() -> None:
    target = rule(
        Path(splits=shares("blue"), headers={"Knative-Serving-Tag": "blue"}),
        Path(splits=shares("api"), prefix="/api"),
        Path(splits=shares("other"), prefix="/other"),
        Path(splits=shares("main")),
    )
    entry = mapped(prefix="/api/v1", headers={"X": "y"})
    paths = follow(entry, "cluster.local", {HOST: target}.get).entry.rules[0].paths
    assert [(path.prefix, path.headers, path.splits[0].revision) for path in paths] == [
        ("/api/v1", {"X": "y", "Knative-Serving-Tag": "blue"}, "default/blue"),
        ("/api/v1", {"X": "y"}, "default/api"),
        ("/api/v1", {"X": "y"}, "default/main"),
    ]


def test_without_an_original_host_the_rewritten_one_is_seen() -> None:
    split = Split(revision="default/hello", percent=100)
    followed = follow(mapped(splits=(split,)), "cluster.local", {HOST: rule(Path(splits=()))}.get)
    assert followed.entry.rules[0].paths[0].rewrite_host == HOST


def test_what_nobody_serves_and_what_is_divided_is_named() -> None:
    entry = mapped()
    absent = follow(entry, "cluster.local", lambda _: None)
    assert (absent.entry, absent.absent) == (entry, (HOST,))
    divided = mapped(splits=shares("hello", "r1"))
    followed = follow(divided, "cluster.local", {HOST: rule(Path(splits=()))}.get)
    assert (followed.entry, followed.divided) == (divided, (HOST,))


def test_other_rewrites_stay() -> None:
    def never(_: str) -> Rule | None:
        raise AssertionError("not asked for")

    for entry in (mapped(rewrite_host=""), mapped(rewrite_host="elsewhere.example.com")):
        assert follow(entry, "cluster.local", never).entry == entry


def test_hosts_rewritten_to_are_indexed_once() -> None:
    paths = tuple(HttpIngressPath(rewrite_host=host) for host in ("x", "", "y", "x"))
    rules = (IngressRule(http=HttpIngressRuleValue(paths=paths)), IngressRule())
    assert rewritten_hosts(ApiIngress(spec=IngressSpec(rules=rules))) == ("x", "y")
    assert rewritten_hosts(ApiIngress()) == ()
