"""What goes through a pipeline's text encoders and its denoiser, kept by hooks of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from diffatlas.attention.tokens import Token
from diffatlas.capture.texts import TextRecorder

ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass
class Seen:
    """What went through: the recorder, the denoiser's calls, and by encoder the (ids, hidden states) of its calls."""

    recorder: TextRecorder
    calls: list[tuple[Any, tuple, dict]] = field(default_factory=list)
    encoded: list[tuple[str, torch.Tensor, list[torch.Tensor]]] = field(default_factory=list)

    def tables(self, rows: list[int], call: int = 0, length: int | None = None) -> list[list[Token]] | None:
        module, args, kwargs = self.calls[call]
        length = length or kwargs["encoder_hidden_states"].shape[1]
        return self.recorder.tables(module, args, kwargs, rows, length)

    def table(self, row: int, call: int = 0, length: int | None = None) -> list[Token]:
        found = self.tables([row], call, length)
        assert found is not None
        return found[0]

    def truth(self, row: int, call: int = 0) -> list[set[tuple[str, int]]]:
        """For each position every (encoder, id) whose hidden state begins its features; {} where there is none."""
        given = self.calls[call][2]["encoder_hidden_states"][row]
        found: list[set[tuple[str, int]]] = [set() for _ in given]
        for name, ids, states in self.encoded:
            for state in states:
                for r, i in np.ndindex(*ids.shape):
                    same = (given[:, : state.shape[-1]] == state[r, i]).all(-1)
                    for k in torch.nonzero(same).flatten().tolist():
                        found[k].add((name, int(ids[r, i])))
        return found


@contextmanager
def looking_on(pipe: Any) -> Iterator[Seen]:
    seen = Seen(TextRecorder(pipe))

    def on_encoder(name: str) -> Any:
        def hook(module: Any, args: tuple, kwargs: dict, out: Any) -> None:
            ids = args[0] if args else kwargs["input_ids"]
            states = [getattr(out, "last_hidden_state", None), *(out.hidden_states or ())]
            seen.encoded.append((name, ids.clone(), [state.clone() for state in states if state is not None]))

        return hook

    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    hooks = [
        denoiser.register_forward_pre_hook(
            lambda module, args, kwargs: seen.calls.append((module, args, dict(kwargs))), with_kwargs=True
        )
    ]
    for name in ENCODERS:
        if getattr(pipe, name, None) is not None:
            hooks.append(getattr(pipe, name).register_forward_hook(on_encoder(name), with_kwargs=True))
    try:
        with seen.recorder.watching():
            yield seen
    finally:
        for hook in hooks:
            hook.remove()


def asked(pipe: Any, prompt: Any = None, **options: Any) -> dict[str, Any]:
    from tests import pipelines

    base = pipelines.arguments(pipe, steps=1, guided=options.pop("guided", True), prompts=("a",))
    given = {**base, "prompt": prompt, "output_type": "latent", **options}
    if prompt is None:
        given.pop("negative_prompt", None)
    elif "negative_prompt" in given:
        # One for each prompt, in the form of the prompt.
        negative = given["negative_prompt"]
        negative = negative[0] if isinstance(negative, list) else negative
        given["negative_prompt"] = [negative] * len(prompt) if isinstance(prompt, list) else negative
    if isinstance(prompt, list):
        count = len(prompt) * options.get("num_images_per_prompt", 1)
        given["generator"] = [torch.Generator().manual_seed(i) for i in range(count)]
    return given


def said(table: list[Token]) -> list[str]:
    """The words of a table, in order, each once for every place where it stands."""
    found: list[tuple[int, str, str]] = []
    for token in table:
        if token.word is not None and (token.encoder, token.word) not in [(e, w) for w, _, e in found]:
            found.append((token.word, token.word_text or "", token.encoder))
    return [text for _, text, _ in found]
