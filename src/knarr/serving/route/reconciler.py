"""Makes a Route's Ingress and placeholder Services and tells where it is reached."""

import contextlib
from dataclasses import dataclass

from knarr.kits.clock import Clock
from knarr.kube.client import NotOwned
from knarr.kube.controller import DONE, Result
from knarr.kube.handlers import label_value
from knarr.kube.informer import Informer
from knarr.meta.conditions import is_true
from knarr.meta.errors import NotFound, Terminal
from knarr.meta.objects import Key, controller_of
from knarr.resources.core.service import Service as CoreService
from knarr.resources.networking.ingress import Ingress, IngressStatus
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route
from knarr.serving import labels
from knarr.serving.config import ConfigStore, Recorder
from knarr.serving.route.hosts import DomainError, Naming
from knarr.serving.route.plan import RoutePlan
from knarr.serving.route.resources import (
    RoutePicture,
    ingress_class_of,
    make_ingress,
    make_placeholder,
)
from knarr.serving.route.rollout import (
    Step,
    build_rollout,
    observe_ready,
    parse_rollout,
    step_rollout,
)
from knarr.serving.route.traffic import Traffic, TrafficProblem, resolve_traffic
from knarr.serving.values import annotation_duration
from knarr.serving.writes import Writer, together

BY_ROUTE = "route"
"""Name of the index of placeholder Services by the Route in their label."""
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RouteReconciler:
    """Traffic first, then names, then the Ingress."""

    writer: Writer
    routes: Informer[Route]
    configurations: Informer[Configuration]
    revisions: Informer[Revision]
    ingresses: Informer[Ingress]
    services: Informer[CoreService]
    config: ConfigStore
    recorder: Recorder
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        route = self.routes.get(key)
        if route is None or route.deleting:
            return DONE
        plan = RoutePlan(route, self.clock.wall())
        try:
            again_in_s = await self._serve(route, plan)
        except DomainError as error:
            plan.bad_domain(str(error))
            again_in_s = None
        except Terminal:
            # A mark says so already.
            await self.writer.write_status(self.routes, route, plan.status())
            raise
        return await self.writer.write_status(self.routes, route, plan.status(), again_in_s)

    async def _serve(self, route: Route, plan: RoutePlan) -> float | None:
        naming = Naming(self.config.settings, self.config.current)
        placeholders = self._placeholders(route)
        given = {item.metadata.name: item.metadata.labels or {} for item in placeholders}
        visibilities = naming.visibilities(route, given)
        plan.locate(naming, visibilities[""])
        traffic = resolve_traffic(route, self.configurations.get, self.revisions.get)
        if isinstance(traffic, TrafficProblem):
            plan.bad_traffic(traffic)
            return None
        network = naming.config.network
        plan.certificates(
            external=network.external_domain_tls, local=network.cluster_local_domain_tls
        )
        present = self.ingresses.get(route.key)
        step = self._rollout(route, traffic, present, plan)
        plan.assign(traffic, naming, visibilities, step.rollout)
        picture = RoutePicture(route, traffic, visibilities, step.rollout)
        await together(
            self._name(route, traffic, naming, placeholders, plan),
            self._ingress(picture, naming, plan),
        )
        ingress = self.ingresses.get(route.key)
        if ingress is not None:
            plan.follow_ingress(ingress, step.rollout)
        if not step.next_ns:
            return None
        return max(0.0, (step.next_ns - self._now_ns()) / _SECOND_NS)

    def _now_ns(self) -> int:
        return int(self.clock.wall().timestamp() * _SECOND_NS)

    def _placeholders(self, route: Route) -> tuple[CoreService, ...]:
        value = label_value(route.metadata.namespace, route.metadata.name)
        return self.services.by_index(BY_ROUTE, value)

    def _rollout(
        self, route: Route, traffic: Traffic, present: Ingress | None, plan: RoutePlan
    ) -> Step:
        goal = build_rollout(traffic.targets)
        duration_s = annotation_duration(
            route.metadata.annotations or {},
            labels.ROLLOUT_DURATION,
            float(self.config.current.network.rollout_duration_s),
        )
        if duration_s <= 0 or present is None:
            return Step(goal, 0)
        before = parse_rollout(present.metadata.annotation(labels.ROLLOUT))
        now_ns = self._now_ns()
        if before is not None and _is_served(present) and not plan.was_routed:
            before = observe_ready(before, now_ns, duration_s)
        return step_rollout(goal, before, now_ns)

    async def _name(
        self,
        route: Route,
        traffic: Traffic,
        naming: Naming,
        placeholders: tuple[CoreService, ...],
        plan: RoutePlan,
    ) -> None:
        wanted: set[str] = set()
        for tag in sorted(traffic.targets):
            name = naming.tag_name(route.metadata.name, tag)
            wanted.add(name)
            target = self._target(route, tag, naming)
            await self._placeholder(route, name, target, plan)
        for orphan in placeholders:
            if orphan.metadata.name not in wanted:
                await self._delete(route, orphan)

    async def _placeholder(self, route: Route, name: str, target: str, plan: RoutePlan) -> None:
        desired = make_placeholder(route, name, target)
        try:
            _, done = await self.writer.ensure_child(self.services, desired, route)
        except NotOwned:
            plan.service_not_owned(name)
            raise
        if done.created:
            text = f'Created placeholder service "{name}"'
            self.recorder.record(route, "Normal", "Created", text)

    def _target(self, route: Route, tag: str, naming: Naming) -> str:
        settings = self.config.settings
        if ingress_class_of(route, naming.config.network.ingress_class) == settings.ingress_class:
            return settings.gateway_host
        present = self.ingresses.get(route.key)
        status = (present.status if present else None) or IngressStatus()
        for balancer in (status.private_load_balancer, status.public_load_balancer):
            for item in balancer.ingress if balancer else ():
                if item.domain_internal or item.domain:
                    return item.domain_internal or item.domain
        return naming.host(route, tag, "ClusterLocal")

    async def _delete(self, route: Route, orphan: CoreService) -> None:
        controller = controller_of(orphan)
        if controller is None or controller.uid != route.metadata.uid:
            return
        uid = orphan.metadata.uid
        with contextlib.suppress(NotFound):
            await self.writer.client.delete(self.services.kind, orphan.key, uid=uid)
        self.services.forget(orphan.key, uid)

    async def _ingress(self, picture: RoutePicture, naming: Naming, plan: RoutePlan) -> None:
        route = picture.route
        try:
            desired = make_ingress(picture, naming)
            _, done = await self.writer.ensure_child(self.ingresses, desired, route)
        except NotOwned:
            plan.ingress_not_owned(route.metadata.name)
            raise
        except Terminal as error:
            plan.bad_protocol(error.message)
            raise
        if done.created:
            text = f'Created Ingress "{route.metadata.name}"'
            self.recorder.record(route, "Normal", "Created", text)


def _is_served(ingress: Ingress) -> bool:
    status = ingress.status or IngressStatus()
    current = status.observed_generation == ingress.metadata.generation
    return current and is_true(status.conditions, "Ready")
