"""What backends around another one share: they answer as that one does, and change how it runs."""

from __future__ import annotations

from typing import Any

from diffatlas.params import GenerationParams


class WrappedBackend:
    """Passes on what a backend says of itself and of requests; how a run goes is for the subclass."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    @property
    def name(self) -> str:
        """The backend's own name."""
        return self._backend.name

    @property
    def capabilities(self) -> Any:
        """The backend's own capabilities."""
        return self._backend.capabilities

    def resolve(self, params: GenerationParams) -> GenerationParams:
        """See `LocalBackend.resolve`."""
        return self._backend.resolve(params)

    def identity(self, params: GenerationParams, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """See `LocalBackend.identity`."""
        return self._backend.identity(params, *args, **kwargs)
