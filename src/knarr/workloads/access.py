"""Wires the controllers of roles and tokens."""

from knarr.kube.controller import Controller
from knarr.resources.core.secret import SECRET
from knarr.resources.core.serviceaccount import SERVICE_ACCOUNT
from knarr.resources.rbac.role import CLUSTER_ROLE
from knarr.workloads.clusterroles import ClusterRoleReconciler
from knarr.workloads.environment import Environment
from knarr.workloads.tokensecrets import TokenSecretReconciler


def build_access_controllers(environment: Environment) -> list[Controller]:
    """The controllers of ClusterRoles and, with somebody who signs, of token Secrets."""
    informer = environment.informers.informer
    roles = ClusterRoleReconciler(environment.client, informer(CLUSTER_ROLE))
    controllers = [environment.controller("clusterroles", roles, workers=1)]
    roles.watch(controllers[0].enqueue)
    if environment.tokens is not None:
        secrets = TokenSecretReconciler(
            environment.client,
            informer(SECRET),
            informer(SERVICE_ACCOUNT),
            maker=environment.tokens,
            ca_pem=environment.ca_pem,
        )
        controller = environment.controller("tokensecrets", secrets, workers=1)
        secrets.watch(controller.enqueue)
        controllers.append(controller)
    return controllers
