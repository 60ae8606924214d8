"""What a backend cannot do of a study, known before anything runs: a finding in the cell, with its sentence."""

from __future__ import annotations

from typing import Any

from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.library.study import Study
from diffatlas.params import GenerationParams


def refusal(params: GenerationParams, backend: Any, study: Study) -> CapabilityError | None:
    """Return why a backend cannot run a cell of a study, or why its image would say nothing; None where it can.

    A model that does not heed what the study varies gives the same image for all of it, which is no comparison. What
    the study does not vary may go unheeded: the run says so.
    """
    name, able = backend.name, backend.capabilities
    if params.noise is not None and not able.noise:
        return CapabilityError(
            f"The backend {name!r} takes a seed and no noise of one's own: choose the mode offset, which gives it "
            "other seeds.",
            field="mode",
        )
    if params.guidance_method is not None and not able.guidance_methods:
        return CapabilityError(
            f"The backend {name!r} has its own guidance only: choose the plain method.",
            field="guidance_method",
        )
    if params.loras and not able.loras:
        return CapabilityError(
            f"The backend {name!r} takes no LoRA files: leave them out, or choose the local backend.",
            field="loras",
        )
    if not hasattr(backend, "ignored"):
        return None
    try:
        unheeded = backend.ignored(params)
    except CapabilityError as error:
        return error
    except DiffAtlasError:
        # Its run says it, of all cells at once where it is wrong with all of them.
        return None
    field = varied(study)
    return CapabilityError(unheeded[field], field=field) if field in unheeded else None


def varied(study: Study) -> str | None:
    """Return the field that the columns of a study differ in; None for a bench, whose columns are images alike."""
    if study.operation == "sweep":
        return study.spec.get("field")
    return "seed" if study.operation == "neighbourhood" else None
