"""What `observe` has recorded of a pipeline call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import CapabilityError
from diffatlas.events import Step
from diffatlas.showing import show_html

if TYPE_CHECKING:
    from diffatlas.attention.trace import AttentionTrace
    from diffatlas.capture.keeper import Keeper
    from diffatlas.capture.roles import Roles
    from diffatlas.run import Run


def all_made() -> None:
    """Make nothing: of a call that is over every step is made."""


@dataclass
class Trace:
    """What `observe` recorded of the last pipeline call. All arrays are CPU NumPy with a leading batch axis B."""

    #: x_T, the state before the first step, as the pipeline holds it.
    initial_latents: np.ndarray | None = None
    #: Noise level of `initial_latents`, in the scheduler's own units (`diffatlas.capture.schedule`).
    initial_sigma: float | None = None
    #: Number of ``scheduler.step`` calls that the call makes (some schedulers make more than were asked for), known
    #: from the first of them.
    total_steps: int | None = None
    #: The steps that are made; `steps` makes first what is still to be made.
    made: list[Step] = field(default_factory=list, repr=False)
    #: Cosine of each step's latents to the last ones (first image); filled in when the call ends.
    cosine_to_end: list[float] = field(default_factory=list)
    #: What was asked for and could not be had, and why: a sentence by the name of a field of `Step`, or "steps",
    #: "previews", "attention".
    missing: dict[str, str] = field(default_factory=dict)
    #: What makes pictures of the stored latents without the pipeline: ``latent_rgb``, the fitted linear map
    #: ({"weight": (C, 3), "bias": (3,)}, where previews are on), and for packed latents ``latent_grid`` and
    #: ``latent_layout`` (`diffatlas.capture.latent_grid.describe_packing`). And ``attention``: the layers whose
    #: attention is read (`AttentionRecorder.describe`) and the words of its keys. Entries of a run's provenance.
    latent_provenance: dict[str, Any] = field(default_factory=dict)
    #: The roles of the coming step's passes, where whoever changes the guided prediction has told them from the
    #: pipeline's own. Else they are found from what the scheduler is given.
    roles: Roles | None = None

    #: What is known of the call besides; None where a backend keeps that itself.
    keeper: Keeper | None = None
    #: Makes the step that has been seen and is still on its way from a GPU.
    settle: Callable[[], None] = field(default=all_made, repr=False)

    @property
    def steps(self) -> list[Step]:
        """The steps so far; on the thread of the pipeline's call with the one that a GPU has just made."""
        self.settle()
        return self.made

    def _repr_html_(self) -> str:
        return show_html(self, "trace_html")

    @property
    def run(self) -> Run:
        """The call as a `Run`, as far as it has come: what was asked, what came out, what it ran on and these steps.

        A library keeps it, every export and the page take it. ``provenance["call"]["left_out"]`` says what the
        request cannot: arguments that are no plain values, noise that comes from no seed. The run of a call that
        raised has the status "failed" and the error.

        Raises `CapabilityError` where no call has come to its first step.
        """
        if self.keeper is None:
            raise CapabilityError("What was asked is not kept with this trace.")
        return self.keeper.run(self)

    @property
    def attention(self) -> AttentionTrace:
        """What was captured of the attention, as maps of tokens and words, and their measures.

        Raises `CapabilityError` where no attention was captured, with the reason.
        """
        from diffatlas.attention.trace import AttentionTrace

        return AttentionTrace.of(self)

    def clear(self) -> None:
        """Forget the call before."""
        self.initial_latents = self.initial_sigma = self.total_steps = self.roles = None
        for held in (self.made, self.cosine_to_end, self.missing, self.latent_provenance):
            held.clear()
