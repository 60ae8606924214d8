"""A person as a scorer: it judges nothing by itself, so that each image waits for a verdict by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.tasks import Task


class HandScorer:
    """Leaves every task to a person."""

    card = Card("hand", "A person judges each image by the prompt.")

    def cannot(self, task: Task) -> str:
        """Why it cannot judge a task: a person does."""
        return "A person judges this: look at the image, and say whether it shows what the prompt asks for."

    def judge(self, images: Sequence[np.ndarray], tasks: Sequence[Task]) -> list[Judgement]:
        """Return "cannot judge" for each image."""
        return [
            Judgement("cannot judge", (self.cannot(task),)) for _, task in zip(images, tasks, strict=True)
        ]
