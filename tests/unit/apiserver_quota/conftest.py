"""The handler on a store in memory."""

from tests.unit.apiserver.conftest import api

__all__ = ["api"]
