"""The embedded model on the CPU, as the tests of operations have it."""

from tests.operations.conftest import shapes_backend

__all__ = ["shapes_backend"]
