"""Models that providers run for a fee, behind the protocol of all backends."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from diffatlas.errors import InvalidParams
from diffatlas.registry import HOSTED

if TYPE_CHECKING:
    from diffatlas.backends.hosted.base import Adapter, Provider

#: Provider -> (module, class) of its adapter.
_ADAPTERS = {
    "replicate": ("diffatlas.backends.hosted.replicate", "Replicate"),
    "fal": ("diffatlas.backends.hosted.fal", "Fal"),
    "together": ("diffatlas.backends.hosted.together", "Together"),
    "stability": ("diffatlas.backends.hosted.stability", "Stability"),
    "huggingface": ("diffatlas.backends.hosted.huggingface", "HuggingFace"),
}


def adapter_of(name: str) -> Adapter:
    """Return the adapter of a provider of `diffatlas.registry.HOSTED`. Raises `InvalidParams` for another name."""
    if name not in _ADAPTERS:
        raise InvalidParams(
            f"There is no provider {name!r:.40}: known are {', '.join(HOSTED)}.", field="backend"
        )
    module, cls = _ADAPTERS[name]
    return getattr(import_module(module), cls)()


def provider_of(name: str) -> Provider:
    """Return the facts of a provider, with the address that this installation gives it.

    Raises `InvalidParams` for another name, or for an address that is none.
    """
    from dataclasses import replace

    from diffatlas.settings import settings

    provider = adapter_of(name).provider
    moved = settings().hosted_urls.get(name)
    return provider if moved is None else replace(provider, url=moved.rstrip("/"), hosts=())
