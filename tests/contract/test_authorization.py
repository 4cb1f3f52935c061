"""Unmodified kubectl as other people than the administrator: tokens, certificates, impersonation, RBAC."""

import asyncio
import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.unit.apiserver_access.test_http_access import client_certificate

from knarr.apiserver.app import ApiServer, ApiServerSettings
from knarr.kits.clock import SystemClock
from knarr.resources.catalog import KINDS
from knarr.resources.schema import openapi_schema
from knarr.store.store import Store

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]


@dataclass
class Result:
    code: int
    out: str
    err: str


class Kubectl:
    """Runs kubectl as one user; the administrator unless told otherwise."""

    def __init__(self, directory: Path, config: Path, server: ApiServer) -> None:
        self.directory = directory
        self.config = config
        self.server = server

    async def run(self, *arguments, stdin=None):
        process = await asyncio.create_subprocess_exec(
            KUBECTL, *arguments, cwd=self.directory,
            env={
                "PATH": os.environ["PATH"], "HOME": str(self.directory), "KUBECONFIG": str(self.config),
            },
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        return Result(process.returncode, out.decode(), err.decode())

    async def __call__(self, line, stdin=None):
        result = await self.run(*line.split(), stdin=stdin)
        assert result.code == 0, (line, result)
        return result.out

    async def refused(self, line, stdin=None):
        result = await self.run(*line.split(), stdin=stdin)
        assert result.code != 0, (line, result)
        return result.err + result.out

    def as_user(self, name, user):
        """Another kubectl, with another user in its kubeconfig."""
        document = yaml.safe_load((self.directory / "kubeconfig").read_text())
        document["users"][0]["user"] = user
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return Kubectl(self.directory, path, self.server)

    async def service_account(self, name, token=""):
        token = token or (await self(f"create token {name}")).strip()
        return self.as_user(name, {"token": token})


@pytest.fixture
async def kubectl(tmp_path):
    settings = ApiServerSettings(tmp_path / "pki", tmp_path / "kubeconfig", port=0)
    async with (
        Store(None) as store,
        ApiServer(
            settings, store, KINDS, SystemClock(), random.Random(1), schema=openapi_schema
        ) as server,
    ):
        yield Kubectl(tmp_path, tmp_path / "kubeconfig", server)


CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: made}
data: {a: b}
"""
BINDING = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: applied}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
- {kind: ServiceAccount, name: robot, namespace: default}
- {kind: User, name: eve, apiGroup: rbac.authorization.k8s.io}
"""


async def test_who_am_i(kubectl):
    assert "system:admin" in await kubectl("auth whoami")
    shown = json.loads(await kubectl("auth whoami -o json --as=eve --as-group=a --as-uid=7"))
    assert shown["status"]["userInfo"] == {
        "username": "eve", "uid": "7", "groups": ["a", "system:authenticated"],
    }  # fmt: skip
    text = await kubectl("auth whoami --as=eve --as-group=a")
    assert "eve" in text
    assert "[a system:authenticated]" in text


async def test_creating_roles_and_bindings(kubectl):
    assert "created" in await kubectl("create role r --verb=get,list --resource=pods,pods/log")
    assert "created" in await kubectl("create clusterrole c --verb=get --non-resource-url=/metrics")
    await kubectl(
        "create clusterrole d --verb=* --resource=deployments.apps,services.serving.knative.dev"
    )
    await kubectl("create clusterrole e --aggregation-rule=a=b")
    await kubectl(
        "create rolebinding b --role=r --user=eve --group=g --serviceaccount=default:robot"
    )
    await kubectl("create clusterrolebinding cb --clusterrole=view --user=eve")
    wide = (await kubectl("get rolebindings -o wide")).splitlines()
    assert wide[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert wide[1].split()[:2] + wide[1].split()[3:] == ["b", "Role/r", "eve", "g", "default/robot"]
    assert (await kubectl("get roles")).splitlines()[0].split() == ["NAME", "CREATED", "AT"]
    described = await kubectl("describe clusterrole d")
    assert "services.serving.knative.dev" in described
    assert "robot" in await kubectl("describe rolebinding b")
    assert "view" in await kubectl("get clusterroles")
    assert "rules[0].apiGroups: Required value" in await kubectl.refused(
        "apply -f -", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: bad}\n"
        "rules: [{verbs: [get]}]\n",
    )  # fmt: skip
    applied = await kubectl("apply -f -", BINDING)
    assert applied == "rolebinding.rbac.authorization.k8s.io/applied created\n"
    assert "unchanged" in await kubectl("apply -f -", BINDING)
    changed = await kubectl.refused("apply -f -", BINDING.replace("name: view", "name: edit"))
    assert "cannot change roleRef" in changed
    placed = BINDING.replace("name: applied", "name: applied, namespace: default")
    assert "reconciled" in await kubectl("auth reconcile -f -", placed)


async def test_can_i(kubectl):
    assert await kubectl("auth can-i create pods") == "yes\n"
    assert "no" in await kubectl.refused("auth can-i create pods --as=eve")
    await kubectl("create rolebinding b --clusterrole=edit --user=eve")
    assert await kubectl("auth can-i create pods --as=eve") == "yes\n"
    assert await kubectl("auth can-i create pods --subresource=exec --as=eve") == "yes\n"
    assert await kubectl("auth can-i update services.serving.knative.dev --as=eve") == "yes\n"
    assert "no" in await kubectl.refused("auth can-i create pods --as=eve -n kube-system")
    assert "no" in await kubectl.refused("auth can-i create pods --as=eve -A")
    assert "no" in await kubectl.refused("auth can-i get /metrics --as=eve")
    assert await kubectl("auth can-i get /healthz --as=eve") == "yes\n"
    listed = await kubectl("auth can-i --list --as=eve")
    assert "services.serving.knative.dev" in listed or "*.serving.knative.dev" in listed
    assert "[/healthz]" in listed
    everything = await kubectl("auth can-i --list")
    assert "*.*" in everything


async def test_a_service_account_may_do_what_rbac_grants_and_no_more(kubectl):
    await kubectl("create serviceaccount robot")
    robot = await kubectl.service_account("robot")
    assert "system:serviceaccount:default:robot" in await robot("auth whoami")
    refusal = await robot.refused("get configmaps")
    assert (
        'User "system:serviceaccount:default:robot" cannot list resource "configmaps" in API group "" in '
        'the namespace "default"'
    ) in refusal
    await kubectl("create rolebinding b --clusterrole=view --serviceaccount=default:robot")
    assert "No resources found" in (await robot.run("get", "configmaps")).err
    assert "orbidden" in await robot.refused("create configmap x")
    assert "orbidden" in await robot.refused("get secrets")
    assert "orbidden" in await robot.refused("get configmaps -n kube-system")
    await kubectl("create role w --verb=create,patch,get --resource=configmaps")
    await kubectl("create rolebinding w --role=w --serviceaccount=default:robot")
    assert "created" in await robot("apply -f -", CONFIG_MAP)
    assert "serverside-applied" in await robot(
        "apply --server-side --force-conflicts -f -", CONFIG_MAP
    )
    assert "orbidden" in await robot.refused("delete configmap made")
    # It cannot help itself to more.
    for line in ("create clusterrolebinding x --clusterrole=cluster-admin --serviceaccount=default:robot",
                 "create token default", "get pods --as=system:admin"):  # fmt: skip
        assert "orbidden" in await robot.refused(line), line
    await kubectl("delete serviceaccount robot")
    assert "Unauthorized" in await robot.refused("get configmaps") or "logged in" in (
        await robot.refused("get configmaps")
    )


async def test_giving_away_only_what_one_has(kubectl):
    await kubectl("create serviceaccount boss")
    await kubectl("create rolebinding b --clusterrole=admin --serviceaccount=default:boss")
    boss = await kubectl.service_account("boss")
    await boss("create role r --verb=get --resource=pods")
    await boss("create rolebinding ok --role=r --user=eve")
    await boss("create rolebinding edit --clusterrole=edit --user=eve")
    text = await boss.refused("create role s --verb=get --resource=nodes")
    assert "is attempting to grant RBAC permissions not currently held" in text
    assert '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}' in text
    assert "orbidden" in await boss.refused(
        "create rolebinding x --clusterrole=cluster-admin --user=eve"
    )


async def test_tokens_on_request(kubectl):
    await kubectl("create serviceaccount robot")
    token = (await kubectl("create token robot --duration=20m --audience=vault")).strip()
    stranger = kubectl.as_user("stranger", {"token": token})
    assert "nauthorized" in await stranger.refused("get --raw /api")
    await kubectl("create secret generic s")
    bound = (
        await kubectl("create token robot --bound-object-kind=Secret --bound-object-name=s")
    ).strip()
    robot = await kubectl.service_account("robot", bound)
    assert "system:serviceaccount" in await robot("auth whoami")
    keys = json.loads(await robot("get --raw /openid/v1/jwks"))
    assert keys["keys"][0]["kty"] == "RSA"
    await kubectl("delete secret s")
    assert "robot" not in (await robot.run("auth", "whoami")).out
    short = await kubectl.refused("create token robot --duration=5m")
    assert "may not specify a duration less than 10 minutes" in short
    gone = await kubectl.refused("create token nobody")
    assert 'serviceaccounts "nobody" not found' in gone


async def test_client_certificates(kubectl):
    certificate, key = client_certificate(kubectl.directory / "pki", "eve", ["devs"])
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    eve = kubectl.as_user("eve", user)
    shown = json.loads(await eve("auth whoami -o json"))
    assert shown["status"]["userInfo"]["groups"] == ["devs", "system:authenticated"]
    assert "orbidden" in await eve.refused("get pods")
    await kubectl("create rolebinding b --clusterrole=view --group=devs")
    assert "No resources found" in (await eve.run("get", "pods")).err


async def test_impersonation_is_for_those_who_may(kubectl):
    await kubectl("create serviceaccount robot")
    robot = await kubectl.service_account("robot")
    assert "orbidden" in await robot.refused("get pods")  # knows the API from now on
    text = await robot.refused("get pods --as=eve")
    assert 'cannot impersonate resource "users"' in text
    await kubectl("create clusterrole i --verb=impersonate --resource=users --resource-name=eve")
    await kubectl("create clusterrolebinding i --clusterrole=i --serviceaccount=default:robot")
    assert 'User "eve" cannot list resource "pods"' in await robot.refused("get pods --as=eve")
    assert 'cannot impersonate resource "groups"' in await robot.refused(
        "get pods --as=eve --as-group=system:masters"
    )


async def test_a_wrong_token_is_told_so(kubectl):
    stranger = kubectl.as_user("stranger", {"token": "wrong"})
    assert "nauthorized" in await stranger.refused("get --raw /api/v1/pods") or "logged in" in (
        await stranger.refused("get pods")
    )
    assert await stranger("get --raw /healthz") == "ok"
