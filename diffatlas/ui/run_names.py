"""What stored runs are called where several are in view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from diffatlas.errors import DiffAtlasError
from diffatlas.formats.hosted import backend_of, hosted_run, made_at
from diffatlas.library import Library, StoredRun
from diffatlas.library.format import RunInfo
from diffatlas.names import facts_of, told_apart
from diffatlas.params import GenerationParams
from diffatlas.ui.places import LOCAL, called

UNTITLED = "A run without a prompt"


#: What reading the request of a damaged run may raise, or telling it.
_DAMAGE = (DiffAtlasError, TypeError, ValueError, AttributeError)


def facts(stored: StoredRun, models: Mapping[str, str]) -> dict[str, str]:
    """Return what may tell a stored run from others (`diffatlas.names`). ``models``: names by id.

    Of a damaged one what a list knows of it: the others beside it are still told apart.
    """
    try:
        after = "" if hosted_run(stored.provenance) else f" after {stored.step_count} steps"
        ended = "" if stored.status == "complete" else f"{stored.status}{after}"
        return facts_of(stored.params, model_name(stored, models), ended, made_at(stored.provenance))
    except _DAMAGE:
        return _listed(stored.info, models)


def model_name(stored: StoredRun, models: Mapping[str, str]) -> str:
    """Return what the model of a stored run is called where it ran. models: names of this machine's by id."""
    model, backend = stored.params.model, backend_of(stored.provenance)
    return models.get(model, model) if backend == LOCAL else called(backend, model)


def labels(
    library: Library,
    infos: Sequence[RunInfo],
    models: Mapping[str, str],
    read: Callable[[str], StoredRun] | None = None,
) -> list[str]:
    """Return a name for each run of a list, no two the same: what a person called it, or its prompt, and what differs.

    read: what opens a run by its id, where the runs are not in the library; only those that share a name are read.
    """
    names = [info.name or info.prompt or UNTITLED for info in infos]
    times = Counter(" ".join(name.split()) for name in names)

    def told(name: str, info: RunInfo) -> dict[str, str]:
        if times[" ".join(name.split())] == 1:
            return {}
        try:
            return facts((read or library.open)(info.id), models)
        except _DAMAGE:
            return _listed(info, models)

    return told_apart(names, [told(name, info) for name, info in zip(names, infos, strict=True)])


def _listed(info: RunInfo, models: Mapping[str, str]) -> dict[str, str]:
    known = GenerationParams(
        model=info.model,
        prompt=info.prompt,
        seed=info.seed,
        num_inference_steps=info.total_steps or 1,
        guidance_scale=info.guidance_scale or 0.0,
        scheduler=info.scheduler,
        width=info.width,
        height=info.height,
    )
    return facts_of(known, models.get(info.model, ""), info.status)
