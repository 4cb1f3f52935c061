"""An attacker: requests as they should not be, and what must come back."""

import http.client

from tests.contract.cluster import Answer, Cluster, is_status, send

PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
KSVCS = "/apis/serving.knative.dev/v1/namespaces/default/services"
GROWTH_BYTES = 320 << 20

DEPLOYMENT = {
    "metadata": {"name": "victim"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "nginx"}]},
        },
    },
}
KSVC = {
    "metadata": {"name": "victim"},
    "spec": {"template": {"spec": {"containers": [{"image": "nginx"}]}}},
}


class Attacker:
    """Sends on a connection that it opens again when the server has closed it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.headers = {"Authorization": f"Bearer {cluster.token}"}
        self._connection = cluster.connect()

    def __call__(
        self, method: str, target: str, body: bytes | None = None, kind: str = "", **headers: str
    ) -> Answer:
        sent = self.headers | ({"Content-Type": kind} if kind else {})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = send(self._connection, method, target, body, sent)
        except (http.client.HTTPException, ConnectionError):
            self._connection.close()
            answer = send(self._connection, method, target, body, sent)
        if answer.headers.get("connection") == "close":
            self._connection.close()
        return answer

    def refused(self, *arguments: object, codes: tuple[int, ...] = (400,), **headers: str) -> str:
        """Send what must be refused; the Status's message."""
        answer = self(*arguments, **headers)  # type: ignore[arg-type]
        assert answer.status in codes, (arguments[:2], answer.status, answer.body[:500])
        assert is_status(answer), answer.body[:500]
        assert answer.status < 500
        return str(answer.json["message"])

    def survived(self, *arguments: object, **headers: str) -> Answer:
        """Send anything: the answer is no fault of the server."""
        answer = self(*arguments, **headers)  # type: ignore[arg-type]
        assert answer.status < 500, (arguments[:2], answer.body[:500])
        assert answer.status < 400 or is_status(answer) or answer.body == b"404 page not found\n", (
            answer.body[:300]
        )
        return answer

    def close(self) -> None:
        self._connection.close()
