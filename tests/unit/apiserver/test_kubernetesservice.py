"""The Service by which pods know the API is there, and comes back when somebody deletes it."""

from knarr.apiserver.auth import ADMIN
from knarr.apiserver.inprocess import InProcessTransport
from knarr.apiserver.kubernetesservice import KubernetesService
from knarr.kube.client import Client

PATH = "/api/v1/namespaces/default/services"


async def test_it_comes_back(api):
    client = Client(InProcessTransport(api.handler, ADMIN))
    watch = await api.watch(PATH)
    async with KubernetesService(api.store, client, ("10.232.0.1", 6443)):
        made = await watch.next()
        assert made["object"]["metadata"]["name"] == "kubernetes"
        assert (await api.delete(f"{PATH}/kubernetes")).status == 200
        assert await watch.brief(2) == [("DELETED", "kubernetes"), ("ADDED", "kubernetes")]
        again = (await api.get(f"{PATH}/kubernetes")).json
        assert again["spec"]["clusterIP"] == made["object"]["spec"]["clusterIP"]
