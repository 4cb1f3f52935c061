"""What gateways report besides acknowledgements, and who wants to hear it.

The session calls every sink in order, on the event loop, without waiting: a sink must return at once.
"""

from typing import Protocol

from knarr.dataplane import messages


class TrafficSink(Protocol):
    """Receives what gateways see of requests."""

    def demanded(self, demand: messages.Demand) -> None:
        """A request waits for a revision without a replica."""
        ...

    def reported(self, stats: messages.Stats) -> None:
        """One interval's traffic of one gateway."""
        ...


class FaultSink(Protocol):
    """Receives complaints about replicas."""

    def faulted(self, fault: messages.ReplicaFault) -> None:
        """A replica refused or broke a connection."""
        ...
