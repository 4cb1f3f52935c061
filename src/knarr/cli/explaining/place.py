"""Where a cause was found, and the commands that concern that place; pure."""

from dataclasses import dataclass

from knarr.cli.explaining.world import Fix, Link


@dataclass(frozen=True, slots=True)
class Place:
    """The owner of a container, as commands name it.

    Attributes:
        service: the Knative Service; empty for a Revision or Pod without one.
        pod: empty when there is none.
    """

    namespace: str
    service: str = ""
    revision: str = ""
    pod: str = ""
    container: str = ""

    @property
    def flag(self) -> str:
        """The namespace's flag, with a space before it, unless it is the default one."""
        return "" if self.namespace == "default" else f" -n {self.namespace}"

    def update(self, flags: str) -> str:
        """The command that changes the Service, or that shows how to change the Revision's owner."""
        if self.service:
            return f"knarr service update {self.service}{self.flag} {flags}"
        if self.revision:
            return f"kubectl edit configuration{self.flag}  # of revision {self.revision}: {flags}"
        return f"kubectl edit pod {self.pod}{self.flag}"

    def logs(self) -> Fix:
        """The command that shows all of the log."""
        name = self.pod or self.service
        return Fix(f"knarr logs {name}{self.flag}", "read the whole log")

    def link(self, state: str) -> Link | None:
        """The container's entry in the chain; None when there is no container yet."""
        if not self.pod or not self.container:
            return None
        return Link("Container", self.container, state)
