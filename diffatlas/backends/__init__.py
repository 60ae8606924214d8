"""Places where models run, behind one protocol."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffatlas.errors import InvalidParams
from diffatlas.registry import HOSTED

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend

#: Backend name -> (module, class).
_BACKENDS = {
    "local": ("diffatlas.backends.local", "LocalBackend"),
    "remote": ("diffatlas.backends.remote.backend", "RemoteBackend"),
    "ray": ("diffatlas.backends.ray", "RayBackend"),
    "modal": ("diffatlas.backends.modal", "ModalBackend"),
}


def open_backend(name: str = "local", /, **options: Any) -> Backend:
    """Open a backend by name; ``options`` go to its constructor, also those called ``name``.

    Raises:
        InvalidParams: the name is not one of the backends, or the backend has no such option.
    """
    if name in HOSTED:
        module, opened, given = "diffatlas.backends.hosted.backend", "open_hosted", (name,)
    elif name in _BACKENDS:
        (module, opened), given = _BACKENDS[name], ()
    else:
        known = ", ".join([*_BACKENDS, *HOSTED])
        raise InvalidParams(f"There is no backend {name!r}: known are {known}.", field="backend")
    try:
        return getattr(import_module(module), opened)(*given, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise InvalidParams(f"The backend {name!r} does not take these options: {error}.") from error
