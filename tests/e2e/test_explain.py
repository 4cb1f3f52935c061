"""``knarr explain`` names real faults of real containers, and their remedy."""

import json

import pytest
from tests.harness import Instance, service, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(120)]


def explained(instance: Instance, name: str) -> dict:
    return json.loads(instance.knarr("explain", name, "-o", "json", check=False))


def wait_explained(instance: Instance, name: str, cause: str) -> dict:
    wait_for(lambda: explained(instance, name)["cause"] == cause, f"{name} explained as {cause}")
    return explained(instance, name)


def test_a_program_that_ends_is_explained_by_its_log(instance: Instance, probe_image: str) -> None:
    instance.kubectl("apply", "-f", "-", stdin=service("xcrash", probe_image, env={"CRASH": "3"}))
    told = wait_explained(instance, "xcrash", "ContainerExited")
    assert told["verdict"] == "fault"
    assert "exit code 3" in told["root_cause"]
    assert "cannot find my database" in "\n".join(told["evidence"])
    assert "error" not in instance.knarr("explain", "xcrash", check=False).lower().split("try:")[1]


def test_a_program_on_another_port_is_found(instance: Instance, probe_image: str) -> None:
    instance.kubectl(
        "apply", "-f", "-", stdin=service("xport", probe_image, env={"LISTEN": "9999"})
    )
    told = wait_explained(instance, "xport", "WrongPort")
    assert "listens on port 9999" in told["root_cause"]
    assert told["fixes"][0]["command"] == "knarr service update xport --port 9999"
    done = instance.knarr(*told["fixes"][0]["command"].split()[1:])
    assert "Service 'xport' updated to latest revision 'xport-00002' is available at URL:" in done
    assert explained(instance, "xport")["verdict"] in ("ready", "idle")


def test_a_missing_secret_is_named_and_making_it_helps(
    instance: Instance, probe_image: str
) -> None:
    document = json.loads(service("xsecret", probe_image))
    container = document["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"secretRef": {"name": "xpasswords"}}]
    instance.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    told = wait_explained(instance, "xsecret", "SecretMissing")
    assert 'Secret "xpasswords" does not exist' in told["root_cause"]
    assert told["chain"][-1]["kind"] == "Container"
    instance.kubectl("create", "secret", "generic", "xpasswords", "--from-literal=KEY=VALUE")
    instance.wait_ready("xsecret")
    assert explained(instance, "xsecret")["verdict"] in ("ready", "idle")
