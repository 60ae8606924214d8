"""The likeness of image and prompt by CLIP as a scorer.

The cosine of the two embeddings (Radford et al. 2021, arXiv 2103.00020), as in CLIPScore (Hessel et al. 2021, arXiv
2104.08718), but of the prompt as it is and without the factor of 2.5. It is above a threshold or it is not; counts, who
stands where, whose colour is which, and "no" hardly change it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.scorers.clip_model import Clip, open_clip
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams

#: The cosine from which on an image passes.
THRESHOLD = 0.25
_ABOUT = (
    "The cosine of image and prompt by CLIP, against a threshold. It is all but blind to counts, to what stands where, "
    "to which colour is whose, and to what must not be there."
)


class ClipScorer:
    """Judges any task by how like its prompt an image is. What is counted is the verdict, not the cosine."""

    def __init__(self, clip: Clip, threshold: float = THRESHOLD) -> None:
        _check(threshold)
        self._clip, self._threshold = clip, threshold
        checkpoint = clip.loaded.checkpoint
        self.card = Card(
            name=f"clip:{checkpoint.model}",
            about=_ABOUT,
            model=checkpoint.model,
            revision=checkpoint.revision,
            template="{prompt}",
            dtype=clip.loaded.dtype,
            settings={"threshold": threshold},
        )

    def cannot(self, task: Task) -> str | None:
        """Return None: it can judge every task, since each has a prompt."""
        return None

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return a judgement of each image (H, W, 3) uint8 by the prompt of its task, the cosine in its evidence."""
        prompts = list(dict.fromkeys(task.prompt for task in tasks))
        embedded = dict(zip(prompts, self._clip.texts(prompts), strict=True))
        beyond = {prompt: self._clip.beyond(prompt) for prompt in prompts}
        cosines = [
            float(image @ embedded[task.prompt])
            for image, task in zip(self._clip.images(images), tasks, strict=True)
        ]
        return [
            _judged(cosine, self._threshold, beyond[task.prompt])
            for cosine, task in zip(cosines, tasks, strict=True)
        ]


def open_clip_scorer(
    model: str,
    threshold: float = THRESHOLD,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
) -> ClipScorer:
    """Load a CLIP as a scorer. Raises as `open_clip` does, and `InvalidParams` for a threshold that is no cosine."""
    _check(threshold)
    return ClipScorer(open_clip(model, device, dtype, revision), threshold)


def with_threshold(judgement: Judgement, threshold: float) -> Judgement:
    """Return a judgement of `ClipScorer` as it would be with another threshold; the model is not asked again.

    Raises `InvalidParams` for a threshold that is no cosine, and for a judgement that has none.
    """
    _check(threshold)
    if "cosine" not in judgement.evidence:
        raise InvalidParams("A threshold belongs to a cosine: this was not judged by CLIP.")
    return _judged(judgement.evidence["cosine"], threshold, judgement.evidence.get("tokens not read", 0))


def _judged(cosine: float, threshold: float, beyond: int) -> Judgement:
    """What a cosine amounts to. beyond: tokens of the prompt that were not read."""
    reasons, evidence = [], {"cosine": cosine, "threshold": threshold}
    if cosine < threshold:
        reasons.append(f"cosine {cosine:.3f} is below {threshold:g}")
    if beyond:
        evidence["tokens not read"] = beyond
        reasons.append(f"the prompt is too long: its last {beyond} tokens were not read")
    return Judgement("pass" if cosine >= threshold else "fail", tuple(reasons), evidence=evidence)


def _check(threshold: float) -> None:
    if not -1 <= threshold <= 1:
        raise InvalidParams(f"The threshold is {threshold:g}: a cosine is from -1 to 1.", field="threshold")
