"""Sessions over upgraded connections: exec, attach and port-forward.

``negotiation`` reads what a client offers, ``pods`` decides and opens the other end at the node agent,
``sessions`` and ``forwarding`` move bytes between the two in each client protocol, ``shell`` binds them to
the HTTP library. ``spdy`` is the framing that Kubernetes' Go clients speak.
"""
