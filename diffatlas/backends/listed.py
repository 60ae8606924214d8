"""What visitors of a shared server may run: the models of its list, as they are listed."""

from __future__ import annotations

from diffatlas.errors import InvalidParams
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED, list_models
from diffatlas.request import FIELDS

#: Arguments of a call that say how much of a picture is kept, by a pipeline's own name for it.
AMOUNTS = ("strength", "controlnet_conditioning_scale")
#: Of what no form has a field for, what its picture field makes: a visitor may send a picture.
FROM_PICTURE = ("extra", "inputs")
_PLURALS = {"loras": "LoRAs", "extra": "further arguments"}


def refuse_server_files(params: GenerationParams, backend: str = "local") -> None:
    """Raise `InvalidParams` for a request of a shared server's visitor that names what is on the server or is to be
    fetched by it: only the models of its list, as they are listed, may be run.

    backend: where it runs; a provider runs models of its own, and a place elsewhere those that it lists."""
    for field in FIELDS:
        if field.beyond and field.name not in FROM_PICTURE and getattr(params, field.name):
            raise _refused(field.name)
    if set(params.extra or ()) - set(AMOUNTS):
        raise _refused("extra")
    if backend not in HOSTED:
        refuse_unlisted(params.model, backend)


def refuse_unlisted(model: str, backend: str = "local") -> None:
    """Raise `InvalidParams` for a model that a shared server's list does not have."""
    if model not in {entry.id for entry in list_models(backend)}:
        raise _refused("model")


def _refused(name: str) -> InvalidParams:
    what = _PLURALS.get(name, f"a {name} of their own")
    return InvalidParams(f"On a shared server runs cannot have {what}: choose one of its models.", field=name)
