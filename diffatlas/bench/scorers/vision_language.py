"""A vision-language model of transformers that is asked for what may come next."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffatlas.bench.scorers.pretrained import (
    Checkpoint,
    Loaded,
    check_finite,
    find_checkpoint,
    judging,
    load_image_processor,
    load_model,
    load_tokenizer,
    reading,
)
from diffatlas.errors import BackendFailure, CapabilityError, InvalidParams
from diffatlas.importing import importing

#: Models whose prompt is read in both directions, and what follows it from left to right: the type of what follows.
_FOLLOWS = {"paligemma": 1}
#: How much the probabilities of a token may differ between one prompt alone and the same among others.
_TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.05}


@dataclass(frozen=True)
class VisionLanguage:
    """A model in memory with what prepares its inputs."""

    loaded: Loaded = field(repr=False)
    processor: Any = field(repr=False)
    #: Rows that go through the model together.
    at_once: int = 8
    #: Whether a picture is encoded once for all that is asked of it, rather than in each row.
    once: bool = False

    @property
    def model(self) -> Any:
        """The model itself."""
        return self.loaded.model

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def chats(self) -> bool:
        """Whether prompts are put into a chat template."""
        return bool(self.processor.chat_template)

    def next_tokens(self, image: np.ndarray, rows: Sequence[tuple[str, tuple[int, ...]]]) -> list[np.ndarray]:
        """Return what the model says may come next, after each prompt and after each token that is read on.

        image: (H, W, 3) uint8. rows: prompts, each with the tokens that are read after it. Of each row the logarithms
        of the probabilities (tokens read + 1, vocabulary) float32, over the whole vocabulary and in float32 whatever
        the model's dtype.

        Raises `OutOfMemory`, and `BackendFailure` where the model fails or has no numbers to say.
        """
        with judging(self.loaded):
            prompts = {text: self._inputs(image, text) for text, _ in rows}
            seen = self._encoded(prompts[rows[0][0]]) if self.once and rows else None
            found: list[np.ndarray] = []
            for start in range(0, len(rows), self.at_once):
                part = [(prompts[text], read) for text, read in rows[start : start + self.at_once]]
                found += self._forward(part, seen)
            return found

    def _inputs(self, image: np.ndarray, text: str) -> dict[str, Any]:
        """What the processor makes of one prompt, without a dimension of rows in what is there for each token."""
        from PIL import Image

        picture = Image.fromarray(image)
        if self.chats:
            content = [{"type": "image", "image": picture}, {"type": "text", "text": text}]
            made = self.processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            prompt = f"{getattr(self.processor, 'image_token', '<image>')}{text}"
            made = self.processor(images=[picture], text=[prompt], return_tensors="pt")
        return {key: value for key, value in made.items() if hasattr(value, "shape") and key != "labels"}

    def _takes(self, name: str) -> bool:
        return name in inspect.signature(self.model.forward).parameters

    def _encoded(self, inputs: dict[str, Any]) -> Any:
        """What the model makes of the picture before it reads the prompt; None where that cannot be had apart."""
        encode = getattr(self.model.base_model, "get_image_features", None)
        if encode is None or not self._takes("mm_encoder_outputs"):
            return None
        given = {key: inputs[key] for key in inspect.signature(encode).parameters if key in inputs}
        return encode(**self.loaded.placed(given), return_dict=True)

    def _forward(
        self, rows: Sequence[tuple[dict[str, Any], tuple[int, ...]]], seen: Any = None
    ) -> list[np.ndarray]:
        import torch

        batch = self.loaded.placed(self._together(rows))
        if seen is not None:
            batch = {key: value for key, value in batch.items() if not key.startswith("pixel_")}
            batch["mm_encoder_outputs"] = {"image": _repeated(seen, len(rows))}
        most = max(len(read) for _, read in rows) + 1
        # Of a long prompt over a large vocabulary, all the others would take gigabytes.
        kept = {"logits_to_keep": most} if self._takes("logits_to_keep") else {}
        logits = self.model(**batch, **kept, use_cache=False).logits[:, -most:]
        told = torch.log_softmax(logits.float(), dim=-1)
        check_finite(self.loaded, told.amax(dim=-1))
        told = told.cpu().numpy()
        return [told[k, most - len(read) - 1 :] for k, (_, read) in enumerate(rows)]

    def _together(self, rows: Sequence[tuple[dict[str, Any], tuple[int, ...]]]) -> dict[str, Any]:
        """Rows of several lengths as one batch: filled up on the left, so that all end at one place."""
        import torch

        filler = self.tokenizer.pad_token_id
        first = {"input_ids": 0 if filler is None else filler}
        follows = {"attention_mask": 1, "token_type_ids": _FOLLOWS.get(self.model.config.model_type, 0)}
        longest = max(inputs["input_ids"].shape[1] + len(read) for inputs, read in rows)
        batch: dict[str, list[Any]] = {}
        for inputs, read in rows:
            for key, value in inputs.items():
                if value.shape == inputs["input_ids"].shape:
                    after = [list(read) if key == "input_ids" else [follows.get(key, 0)] * len(read)]
                    whole = torch.cat([value, value.new_tensor(after).reshape(1, len(read))], dim=1)
                    before = whole.new_full((1, longest - whole.shape[1]), first.get(key, 0))
                    value = torch.cat([before, whole], dim=1)
                batch.setdefault(key, []).append(value)
        return {key: torch.cat(values) for key, values in batch.items()}


def load_vision_language(
    model: str,
    device: str | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    at_once: int = 8,
) -> VisionLanguage:
    """Return a vision-language model: one of the registry, a folder, or a model of the Hub.

    at_once: prompts that go through it together. A picture is encoded once for all of them where the model allows that.
    Raises as `diffatlas.bench.scorers.pretrained.find_checkpoint` and
    `load_model` do, and `CapabilityError` where it is no such model, or reads prompts otherwise when others are beside
    them.
    """
    if at_once < 1:
        raise InvalidParams(f"{at_once} prompts at once: give one or more.", field="at_once")
    checkpoint = find_checkpoint(model, revision)
    processor = _processor(checkpoint)
    loaded = load_model(checkpoint, "AutoModelForImageTextToText", device, dtype)
    if loaded.model.config.is_encoder_decoder:
        raise _unfit(checkpoint)
    return _tried_out(VisionLanguage(loaded, processor, at_once))


def _processor(checkpoint: Checkpoint) -> Any:
    """What prepares pictures and texts for a model.

    Parts for videos are left out, as they want torchvision and nothing here has a video.
    """
    with reading(checkpoint):
        with importing():
            from transformers import AutoConfig
            from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
        config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
        cls = PROCESSOR_MAPPING.get(type(config), None)
        if cls is None or not {"image_processor", "tokenizer"} <= {*cls.get_attributes()}:
            raise _unfit(checkpoint)

        class WithoutVideos(cls):
            def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
                """As it is, but for the part that is left out."""
                return (
                    None
                    if argument is None
                    else super().check_argument_for_proper_class(argument_name, argument)
                )

        parts = {
            "image_processor": load_image_processor(checkpoint),
            "tokenizer": load_tokenizer(checkpoint, "AutoTokenizer"),
        }
        settings, _ = cls.get_processor_dict(checkpoint.folder, local_files_only=True)
        made = WithoutVideos.from_args_and_dict([parts.get(name) for name in cls.get_attributes()], settings)
        # Of some checkpoints the template is the tokenizer's.
        made.chat_template = made.chat_template or made.tokenizer.chat_template
        # Some ask for its settings even so.
        made.video_processor = SimpleNamespace(num_frames=None, fps=None)
        return made


def _unfit(checkpoint: Checkpoint) -> CapabilityError:
    return CapabilityError(
        f"{checkpoint.name} is a {checkpoint.kind}, which does not answer questions about pictures word by word: "
        "choose another model.",
        field="model",
    )


def _repeated(seen: Any, rows: int) -> Any:
    """What a model made of one picture, as of so many rows with that picture."""

    def times(value: Any) -> Any:
        return (
            list(value) * rows
            if isinstance(value, (list, tuple))
            else value.repeat(rows, *[1] * (value.dim() - 1))
        )

    layers = getattr(seen, "deepstack_features", None)
    more = {} if layers is None else {"deepstack_features": [times(layer) for layer in layers]}
    return replace(seen, pooler_output=times(seen.pooler_output), **more)


def _tried_out(asked: VisionLanguage) -> VisionLanguage:
    """Return a model that says of a prompt what it says of it alone, whatever stands beside it or follows.

    The picture is encoded once where that holds then, too. Raises `CapabilityError` where it holds in no way.
    """
    image = np.full((64, 64, 3), 128, np.uint8)
    image[16:48, 16:48] = (200, 30, 30)
    short, long = "Is it red?", "Is there anything in this picture that is not red?"
    word = tuple(asked.tokenizer.encode("no", add_special_tokens=False))
    alone = [asked.next_tokens(image, [(text, ())])[0][0] for text in (short, long)]
    apart = np.inf
    for way in (replace(asked, once=True), asked):
        try:
            together = [told[0] for told in way.next_tokens(image, [(short, ()), (long, word)])]
        except BackendFailure:
            continue
        apart = max(float(np.abs(np.exp(a) - np.exp(b)).max()) for a, b in zip(alone, together, strict=True))
        if apart <= _TOLERANCE[asked.loaded.dtype]:
            return way
    raise CapabilityError(
        f"{asked.loaded.name} says something else of a question when another is asked beside it (by {apart:.2g}): "
        "this version of transformers cannot ask it several at once.",
        field="model",
    )
