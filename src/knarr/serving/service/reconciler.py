"""Makes a Service's Configuration and Route and tells how far they are."""

from dataclasses import dataclass

from knarr.kits.clock import Clock
from knarr.kube.client import NotOwned
from knarr.kube.controller import DONE, Result
from knarr.kube.informer import Informer
from knarr.meta.errors import StatusError
from knarr.meta.objects import Key
from knarr.resources.serving.configuration import Configuration
from knarr.resources.serving.revision import Revision
from knarr.resources.serving.route import Route
from knarr.resources.serving.service import Service
from knarr.serving.config import Recorder
from knarr.serving.configuration.plan import find_named
from knarr.serving.service.plan import ServicePlan, is_named, is_up_to_date
from knarr.serving.service.resources import make_configuration, make_route
from knarr.serving.writes import Writer, together


@dataclass(frozen=True, slots=True)
class ServiceReconciler:
    """One Configuration and one Route per Service, both of its name."""

    writer: Writer
    services: Informer[Service]
    configurations: Informer[Configuration]
    routes: Informer[Route]
    revisions: Informer[Revision]
    recorder: Recorder
    clock: Clock

    async def reconcile(self, key: Key) -> Result:
        """One pass; see ``knarr.kube.controller.Reconciler``."""
        service = self.services.get(key)
        if service is None or service.deleting:
            return DONE
        plan = ServicePlan(service, self.clock.wall())
        try:
            await self._children(service, plan)
        except NotOwned:
            await self.writer.write_status(self.services, service, plan.status())
            raise
        return await self.writer.write_status(self.services, service, plan.status())

    async def _children(self, service: Service, plan: ServicePlan) -> None:
        if is_named(service.spec.template if service.spec else None):
            # A chosen name serialises the two: the Route must not move before the name is checked.
            await self._configuration(service, plan)
            if not self._name_is_free(service, plan):
                return
            await self._route(service, plan)
        else:
            await together(self._configuration(service, plan), self._route(service, plan))
        configuration = self.configurations.get(service.key)
        route = self.routes.get(service.key)
        if configuration is not None:
            plan.follow_configuration(configuration)
        if route is not None and configuration is not None:
            plan.follow_route(route, configuration)

    def _name_is_free(self, service: Service, plan: ServicePlan) -> bool:
        configuration = self.configurations.get(service.key)
        if configuration is None:
            return False
        plan.follow_configuration(configuration)
        if not is_up_to_date(configuration):
            return False
        found = find_named(configuration, self.revisions.get)
        if found is not None and found.conflict:
            plan.name_taken(found.name)
            return False
        return True

    async def _configuration(self, service: Service, plan: ServicePlan) -> None:
        desired = make_configuration(service, self.configurations.get(service.key))
        try:
            _, done = await self.writer.ensure_child(self.configurations, desired, service)
        except NotOwned:
            plan.not_owned("Configuration")
            raise
        except StatusError as error:
            self._failed(service, "Configuration", error)
            raise
        self._created(service, "Configuration", created=done.created)

    async def _route(self, service: Service, plan: ServicePlan) -> None:
        desired = make_route(service)
        try:
            _, done = await self.writer.ensure_child(self.routes, desired, service)
        except NotOwned:
            plan.not_owned("Route")
            raise
        except StatusError as error:
            self._failed(service, "Route", error)
            raise
        self._created(service, "Route", created=done.created)

    def _created(self, service: Service, kind: str, *, created: bool) -> None:
        if created:
            text = f'Created {kind} "{service.metadata.name}"'
            self.recorder.record(service, "Normal", "Created", text)

    def _failed(self, service: Service, kind: str, error: StatusError) -> None:
        if error.reason != "Conflict":
            text = f'Failed to reconcile {kind} "{service.metadata.name}": {error.message}'
            self.recorder.record(service, "Warning", "UpdateFailed", text)
