"""Diffusion Atlas: an instrument for reading how a diffusion model makes an image.

The public names load on first use, so that ``import diffatlas`` stays light::

    import diffatlas
    from diffatlas import Capture, GenerationParams, observe

    run = diffatlas.trace(GenerationParams(prompt="a red circle", seed=7))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffatlas import moved

if TYPE_CHECKING:
    from diffatlas import errors, figures
    from diffatlas.backends import open_backend
    from diffatlas.backends.look_up import ModelCard, look_up
    from diffatlas.capture import Capture
    from diffatlas.formats.files import write
    from diffatlas.inputs import ImageInput
    from diffatlas.library import Library
    from diffatlas.library.opening import open_run
    from diffatlas.operations.observe import observe
    from diffatlas.operations.trace import trace
    from diffatlas.params import GenerationParams, Lora
    from diffatlas.run import Run
    from diffatlas.ui.launch import launch, show

moved.install()

__version__ = "0.1.0"

__all__ = [
    "Capture",
    "GenerationParams",
    "ImageInput",
    "Library",
    "Lora",
    "ModelCard",
    "Run",
    "__version__",
    "errors",
    "figures",
    "launch",
    "look_up",
    "observe",
    "open_backend",
    "open_run",
    "show",
    "trace",
    "write",
]

#: Public name -> the module that defines it.
_HOMES = {
    "Capture": "diffatlas.capture",
    "GenerationParams": "diffatlas.params",
    "ImageInput": "diffatlas.inputs",
    "Library": "diffatlas.library",
    "Lora": "diffatlas.params",
    "ModelCard": "diffatlas.backends.look_up",
    "Run": "diffatlas.run",
    "look_up": "diffatlas.backends.look_up",
    "launch": "diffatlas.ui.launch",
    "observe": "diffatlas.operations.observe",
    "open_backend": "diffatlas.backends",
    "open_run": "diffatlas.library.opening",
    "show": "diffatlas.ui.launch",
    "trace": "diffatlas.operations.trace",
    "write": "diffatlas.formats.files",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "figures"):
        return import_module(f"diffatlas.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
