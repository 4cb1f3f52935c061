"""Pods and their ServiceAccounts, through the API."""

import socket

import pytest

from knarr.apiserver.listening import bind_early

PODS = "/api/v1/namespaces/default/pods"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


def pod(name="p", **spec):
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


async def test_a_pod_gets_the_token_of_its_account(api):
    await api.post(
        ACCOUNTS, {"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "pull"}]}
    )
    answer = await api.post(PODS, pod(serviceAccountName="robot"))
    assert answer.status == 201, answer.json
    spec = answer.json["spec"]
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert token == {"expirationSeconds": 3607, "path": "token"}
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert (spec["imagePullSecrets"], spec["serviceAccount"]) == ([{"name": "pull"}], "robot")
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert (await api.patch(f"{PODS}/p", patch)).json["spec"] == spec
    again = await api.put(
        f"{PODS}/p", answer.json | {"metadata": {"name": "p", "namespace": "default"}}
    )
    assert again.json["spec"] == spec


async def test_an_account_that_is_missing_refuses_the_pod(api):
    answer = await api.post(PODS, pod(serviceAccountName="nobody"))
    assert answer.status == 403
    assert answer.json["message"] == (
        'pods "p" is forbidden: error looking up service account default/nobody: '
        'serviceaccount "nobody" not found'
    )
    assert answer.json["details"] == {"name": "p", "kind": "pods"}


async def test_the_default_account_need_not_be_there_yet(api):
    assert len((await api.post(PODS, pod())).json["spec"]["volumes"]) == 1
    await api.post(
        ACCOUNTS, {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
    )
    answer = await api.post(PODS, pod("q"))
    assert "volumes" not in answer.json["spec"]
    assert answer.json["spec"]["serviceAccountName"] == "default"
    assert (
        len(
            (await api.post(PODS, pod("r", automountServiceAccountToken=True))).json["spec"][
                "volumes"
            ]
        )
        == 1
    )


def test_an_address_may_be_bound_before_the_machine_has_it():
    with bind_early("192.0.2.77", 0) as bound:
        assert bound.getsockname()[0] == "192.0.2.77"
    with bind_early("127.0.0.1", 0) as bound:
        bound.listen()
        with pytest.raises(OSError, match="in use"):
            bind_early(*bound.getsockname())
        socket.create_connection(bound.getsockname()).close()
