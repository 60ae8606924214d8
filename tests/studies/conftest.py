"""The embedded model on the CPU, as the tests of operations have it."""

from tests.operations.conftest import count, shapes_asked, shapes_backend

__all__ = ["count", "shapes_asked", "shapes_backend"]
