"""A vision-language model of transformers: loaded from plain files, and asked for what may come next."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from diffatlas.backends import model_info
from diffatlas.backends.loading import (
    DTYPES,
    HEADROOM,
    check_memory,
    first_line,
    free_memory,
    pick_device,
)
from diffatlas.errors import (
    BackendFailure,
    CapabilityError,
    DiffAtlasError,
    InvalidParams,
    ModelLoadError,
    OutOfMemory,
)
from diffatlas.importing import importing
from diffatlas.settings import check_hub_token

#: What is fetched of a model of the Hub: weights that are no pickles, and texts.
FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
#: Models whose prompt is read in both directions, and what follows it from left to right: the type of what follows.
_FOLLOWS = {"paligemma": 1}
#: How much the probabilities of a token may differ between one prompt alone and the same among others.
_TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.05}


@dataclass(frozen=True)
class VisionLanguage:
    """A model in memory with what prepares its inputs."""

    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    #: As it was asked for.
    name: str
    #: The commit of the Hub, or the SHA-256 of the files.
    revision: str
    device: str
    dtype: str
    #: Rows that go through the model together.
    at_once: int = 8

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    def chats(self) -> bool:
        """Whether prompts are put into a chat template."""
        return bool(getattr(self.processor, "chat_template", None) or self.tokenizer.chat_template)

    def next_tokens(self, image: np.ndarray, rows: Sequence[tuple[str, tuple[int, ...]]]) -> list[np.ndarray]:
        """Return what the model says may come next, after each prompt and after each token that is read on.

        image: (H, W, 3) uint8. rows: prompts, each with the tokens that are read after it. Of each row the logarithms
        of the probabilities (tokens read + 1, vocabulary) float32, over the whole vocabulary and in float32 whatever
        the model's dtype.

        Raises `OutOfMemory`, and `BackendFailure` where the model fails or has no numbers to say.
        """
        with _typed(self.name):
            prompts = {text: self._inputs(image, text) for text, _ in rows}
            found: list[np.ndarray] = []
            for start in range(0, len(rows), self.at_once):
                found += self._forward(
                    [(prompts[text], read) for text, read in rows[start : start + self.at_once]]
                )
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

    def _forward(self, rows: Sequence[tuple[dict[str, Any], tuple[int, ...]]]) -> list[np.ndarray]:
        import torch

        batch = {
            key: value.to(self.device, self.model.dtype if value.is_floating_point() else value.dtype)
            for key, value in self._together(rows).items()
        }
        most = max(len(read) for _, read in rows) + 1
        # Of a long prompt over a large vocabulary, all the others would take gigabytes.
        kept = (
            {"logits_to_keep": most}
            if "logits_to_keep" in inspect.signature(self.model.forward).parameters
            else {}
        )
        with torch.inference_mode():
            logits = self.model(**batch, **kept, use_cache=False).logits[:, -most:]
            told = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
        if not np.isfinite(told.max(axis=-1)).all():
            raise BackendFailure(f"{self.name} answers with no numbers in {self.dtype}: choose dtype fp32.")
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
    """Return a vision-language model: a folder, or a model of the Hub, from its cache where it is there.

    Only safetensors and texts are read, and no code that comes with the model is run. device: of torch; CUDA, MPS or
    the CPU in this order by default. dtype: fp32, fp16 or bf16; by default bf16 on CUDA and fp32 elsewhere. at_once:
    prompts that go through it together.

    Raises `ModelLoadError` where it is not there or cannot be read, `CapabilityError` where it is no such model,
    `NotEnoughMemory`, and `InvalidParams` for another device or dtype.
    """
    if dtype not in (None, *DTYPES):
        raise InvalidParams(f"The dtype {dtype!r} is none of {', '.join(DTYPES)}.", field="dtype")
    place = pick_device(device or "auto")
    kind = dtype or ("bf16" if place.startswith("cuda") else "fp32")
    folder = _folder(model, revision)
    _check(model, folder, kind, place)
    with importing():
        import torch
        from transformers import AutoModelForImageTextToText
    try:
        processor = _processor(folder)
        loaded = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=getattr(torch, DTYPES[kind]),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
        loaded.eval().to(place)
    except (torch.OutOfMemoryError, MemoryError):
        raise OutOfMemory(f"There is no room for {model} on {place}: choose a smaller model.") from None
    except Exception as error:
        raise ModelLoadError(f"{model} could not be loaded: {first_line(error)}.", field="model") from error
    if loaded.config.is_encoder_decoder or not hasattr(processor, "tokenizer"):
        raise CapabilityError(
            f"{model} does not go on with a text that it is given, and so cannot be asked: choose another model.",
            field="model",
        )
    pinned = next(iter(model_info.revision(folder).values()))
    made = VisionLanguage(loaded, processor, model, pinned, place, kind, at_once)
    _check_reading(made)
    return made


def _folder(model: str, revision: str | None) -> Path:
    """The folder of a model's files, from the Hub's cache or the Hub where it is not one itself."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    def asked(local: bool) -> Path:
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=list(FILES), local_files_only=local)
        )

    try:
        here = asked(True)
        if (here / "config.json").is_file() and any(here.glob("*.safetensors")):
            return here
    except Exception:
        # Not in the cache, or no name of a model: the next call says which.
        pass
    check_hub_token()
    try:
        return asked(False)
    except Exception as error:
        named = f" (revision {revision!r})" if revision else ""
        raise ModelLoadError(
            f"{model!r}{named} is not on this machine and could not be fetched from the Hugging Face Hub "
            f"({first_line(error)}): check its name and the network, and that its licence is accepted and a token is "
            "set if it is gated.",
            field="model",
        ) from error


def _check(model: str, folder: Path, dtype: str, device: str) -> None:
    """Raise where a folder is no whole model, would have other files read, or does not fit."""
    names = {one.name for one in folder.iterdir()}
    weights = sorted(folder.glob("*.safetensors"))
    if "config.json" not in names or not weights:
        raise ModelLoadError(
            f"{model} is no model that can be read here: expected config.json and weights in .safetensors files.",
            field="model",
        )
    if "adapter_config.json" in names:
        raise ModelLoadError(
            f"{model} is an adapter of another model: merge the two, or choose a whole model.", field="model"
        )
    size = model_info.weight_bytes(weights, dtype)
    check_memory(model, int(size * HEADROOM), free_memory(device))


def _processor(folder: Path) -> Any:
    """What prepares pictures and texts for a model.

    Parts for videos are left out, as they want torchvision and nothing here has a video.
    """
    with importing():
        from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
        from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
        from transformers.utils import is_torchvision_available
    options = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **options)
    cls = PROCESSOR_MAPPING.get(type(config), None)
    if cls is None or "video_processor" not in cls.get_attributes() or is_torchvision_available():
        return AutoProcessor.from_pretrained(folder, **options)

    class WithoutVideos(cls):
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            """As it is, but for the part that is left out."""
            return (
                None if argument is None else super().check_argument_for_proper_class(argument_name, argument)
            )

    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(folder, **options),
        "tokenizer": AutoTokenizer.from_pretrained(folder, **options),
    }
    settings, _ = cls.get_processor_dict(folder, local_files_only=True)
    made = WithoutVideos.from_args_and_dict([parts.get(name) for name in cls.get_attributes()], settings)
    # Some ask for its settings even so.
    made.video_processor = SimpleNamespace(num_frames=None, fps=None)
    return made


def _check_reading(asked: VisionLanguage) -> None:
    """Raise `CapabilityError` where a prompt means something else when others, or an answer, stand beside it."""
    image = np.full((64, 64, 3), 128, np.uint8)
    image[16:48, 16:48] = (200, 30, 30)
    short, long = "Is it red?", "Is there anything in this picture that is not red?"
    word = tuple(asked.tokenizer.encode("no", add_special_tokens=False))
    alone = [asked.next_tokens(image, [(text, ())])[0][0] for text in (short, long)]
    together = [told[0] for told in asked.next_tokens(image, [(short, ()), (long, word)])]
    apart = max(float(np.abs(np.exp(a) - np.exp(b)).max()) for a, b in zip(alone, together, strict=True))
    if apart > _TOLERANCE[asked.dtype]:
        raise CapabilityError(
            f"{asked.name} says something else of a question when another is asked beside it (by {apart:.2g}): this "
            "version of transformers cannot ask it several at once.",
            field="model",
        )


@contextmanager
def _typed(name: str) -> Iterator[None]:
    """Turn whatever a model throws into a typed error."""
    import torch

    try:
        yield
    except DiffAtlasError:
        raise
    except (torch.OutOfMemoryError, MemoryError):
        raise OutOfMemory(
            f"There is no room to ask {name}: ask fewer questions at once, or a smaller model."
        ) from None
    except Exception as error:
        raise BackendFailure(
            f"{name} could not be asked: {type(error).__name__}: {first_line(error)}."
        ) from error
