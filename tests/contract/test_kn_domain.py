"""The real kn and its domains."""

import pytest
from tests.contract.gotools import kn as find_kn

pytestmark = [pytest.mark.contract]

DOMAIN = "kn.example.com"


def test_a_domain_is_created_shown_moved_and_deleted(cluster, namespace):
    program = str(find_kn())

    def kn(line):
        done = cluster.run(program, *line.split(), "--namespace", namespace)
        assert done.returncode == 0, f"kn {line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    claim = {
        "apiVersion": "networking.internal.knative.dev/v1alpha1",
        "kind": "ClusterDomainClaim",
        "metadata": {"name": DOMAIN},
        "spec": {"namespace": namespace},
    }
    claims = "/apis/networking.internal.knative.dev/v1alpha1/clusterdomainclaims"
    assert cluster.request("POST", claims, claim).status == 201
    try:
        kn("service create one --image example.com/one")
        kn("service create two --image example.com/two")
        said = kn(f"domain create {DOMAIN} --ref ksvc:one")
        assert f"Domain mapping '{DOMAIN}' created in namespace '{namespace}'" in said
        listed = kn("domain list").splitlines()
        assert listed[0].split() == ["NAME", "URL", "READY", "KSVC"]
        assert DOMAIN in listed[1]
        described = kn(f"domain describe {DOMAIN}")
        assert f"http://{DOMAIN}" in described
        assert "one" in described
        for condition in ("DomainClaimed", "ReferenceResolved", "CertificateProvisioned"):
            assert condition in described
        kn(f"domain update {DOMAIN} --ref two")
        assert "two" in kn(f"domain describe {DOMAIN}")
        assert f"Domain mapping '{DOMAIN}' deleted" in kn(f"domain delete {DOMAIN}")
    finally:
        cluster.request("DELETE", f"{claims}/{DOMAIN}")
