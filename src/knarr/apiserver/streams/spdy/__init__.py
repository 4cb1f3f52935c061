"""SPDY/3.1 as Kubernetes' clients speak it, server side only."""
