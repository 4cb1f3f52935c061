"""Sessions with containers: commands, the main process' streams, forwarded ports (``docs/protocol.md``)."""
