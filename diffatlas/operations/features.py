"""What a picture shows, as a vector or in words."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from diffatlas.errors import DiffAtlasError, OutOfMemory
from diffatlas.importing import importing
from diffatlas.shapes import EMBEDDED
from diffatlas.stopping import look

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.library.study import Study

CLIP = "openai/clip-vit-base-patch32"
#: Of the pictures that CLIP was trained on, by channel.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
#: Larger pictures are made smaller before a VAE's encoder sees them: the sums over places hardly change.
LONGEST_SIDE = 512
#: Pictures of one size that go through an encoder together.
BATCH = 8

_ENCODERS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@dataclass(frozen=True)
class Encoder:
    """Turns pictures, each (H, W, 3) uint8, into features (n, d) float64. Distances between them are of the cosine.

    ``name`` is short, ``about`` one sentence. Calling it raises `OutOfMemory` where the device is full.
    """

    name: str
    about: str
    embed: Callable[[Sequence[np.ndarray]], np.ndarray]

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features of the pictures, (n, d) float64; pictures may differ in size."""
        import torch

        if not len(images):
            return np.zeros((0, 0))
        try:
            with torch.no_grad():
                return np.asarray(self.embed(images), dtype=np.float64)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory(
                f"There is no memory left for {self.name}: free some, then measure again."
            ) from error


def encoder_for(backend: Backend | None, model: str) -> Encoder | None:
    """Return what turns pictures into features here, or None where nothing does.

    CLIP (Radford et al. 2021, arXiv 2103.00020) where its weights are on this machine already; nothing is ever
    fetched. Otherwise the encoder of the model's own VAE, where ``backend`` has that model loaded: waits for a run
    in progress the first time.
    """
    return clip_encoder() or _own_encoder(backend, model)


def encoder_for_study(backend: Backend | None, study: Study) -> Encoder | None:
    """Return `encoder_for` the first of the lanes' models for which there is one. All lanes share it."""
    models = dict.fromkeys(cell.params.model for cell in study.cells)
    return next(filter(None, (encoder_for(backend, model) for model in models)), None)


@functools.lru_cache(maxsize=1)
def _loaded_clip(folder: str) -> Any:
    with importing():
        from transformers import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()


def clip_encoder(cache: str | Path | None = None) -> Encoder | None:
    """Return CLIP's image embeddings, or None where they are not in the Hugging Face cache. Never downloads.

    cache: the cache's folder; None for the usual one.
    """
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(CLIP, "config.json", cache_dir=cache)
    if not isinstance(found, str):
        return None
    try:
        model = _loaded_clip(str(Path(found).parent))
    except (OSError, ValueError, RuntimeError):
        # Half of it is in the cache, which is as good as nothing.
        return None

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        import torch

        side = model.config.image_size
        batches = [
            model(
                torch.from_numpy(
                    np.stack([clip_pixels(image, side) for image in images[start : start + BATCH]])
                )
            )
            for start in range(0, len(images), BATCH)
        ]
        return np.concatenate([batch.image_embeds.numpy() for batch in batches])

    return Encoder("CLIP ViT-B/32", "The image embedding of CLIP ViT-B/32 (Radford et al. 2021).", embed)


def clip_pixels(image: np.ndarray, side: int) -> np.ndarray:
    """Return what CLIP sees of a picture (H, W, 3) uint8: (3, side, side) float32.

    Its own preparation: the shorter side scaled to ``side`` (bicubic), the middle square, CLIP's mean and deviation.
    """
    from PIL import Image

    height, width = image.shape[:2]
    ratio = side / min(height, width)
    size = (max(side, int(width * ratio)), max(side, int(height * ratio)))
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    small = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    square = np.asarray(small.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    return ((square - np.float32(CLIP_MEAN)) / np.float32(CLIP_STD)).transpose(2, 0, 1)


def _own_encoder(backend: Backend | None, model: str) -> Encoder | None:
    # A backend that runs elsewhere may have the model loaded, and no pipeline here.
    if not (hasattr(backend, "pipeline") and hasattr(backend, "is_loaded") and backend.is_loaded(model)):
        return None
    try:
        pipe = backend.pipeline(model)
    except DiffAtlasError:
        return None
    return vae_encoder(pipe)


def vae_encoder(pipe: Any) -> Encoder | None:
    """Return features by a pipeline's own VAE: the mean and the standard deviation of each channel over the picture.

    The channels are those of the mean of the encoder's distribution, without the scaling of the pipeline; the
    features are (means, deviations), so they say what is in a picture and not where. None for a pipeline without an
    image VAE.
    """
    import torch

    vae = getattr(pipe, "vae", None)
    if (
        vae is None
        or not hasattr(vae, "encode")
        or any(isinstance(m, torch.nn.Conv3d) for m in vae.modules())
    ):
        return None
    factor = int(getattr(pipe, "vae_scale_factor", 8))

    def embed(images: Sequence[np.ndarray]) -> np.ndarray:
        rows = []
        for image in images:
            look()
            rows.append(_means_and_deviations(_encoder_of(vae), image, factor))
        return np.stack(rows)

    about = (
        "The model's own encoder, without places: mean and standard deviation over the picture of each channel that "
        "its VAE encodes it to."
    )
    return Encoder("the model's own encoder", about, embed)


#: What accelerate sets on a module that it moves.
_OFFLOADING = ("_hf_hook", "_old_forward", "forward")


def _encoder_of(vae: Any) -> Any:
    """Return a copy of the VAE in float32: a run may change the dtype of the VAE itself at any time."""
    import torch

    if vae not in _ENCODERS:
        # The decoder is never called; copying it would cost twice the memory.
        memo: dict[int, Any] = {id(vae.decoder): torch.nn.Identity()} if hasattr(vae, "decoder") else {}
        # What moves an offloaded VAE holds the denoiser, to send it away, and would be copied with it.
        memo |= {id(vars(vae)[name]): False for name in _OFFLOADING if name in vars(vae)}
        twin = copy.deepcopy(vae, memo).eval()
        for name in _OFFLOADING:
            vars(twin).pop(name, None)
        # Not diffusers' own `to`, which warns of a list of modules that is empty.
        _ENCODERS[vae] = torch.nn.Module.to(twin, torch.float32)
    return _ENCODERS[vae]


def _means_and_deviations(vae: Any, image: np.ndarray, factor: int) -> np.ndarray:
    import torch

    pixels = torch.from_numpy(_fitted(image, factor)).permute(2, 0, 1)[None].to(vae.device, torch.float32)
    encoded = vae.encode(pixels / 127.5 - 1, return_dict=False)[0]
    z = (encoded.mode() if hasattr(encoded, "mode") else encoded)[0].double()
    return torch.cat([z.mean((1, 2)), z.std((1, 2), correction=0)]).cpu().numpy()


def _fitted(image: np.ndarray, factor: int) -> np.ndarray:
    """Return the picture with sides that are multiples of ``factor``, the longest at most `LONGEST_SIDE`."""
    from PIL import Image

    height, width = image.shape[:2]
    ratio = min(1.0, LONGEST_SIDE / max(height, width))
    size = tuple(max(factor, round(side * ratio / factor) * factor) for side in (width, height))
    if size == (width, height):
        return np.array(image)
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def shape_names() -> Callable[[np.ndarray], str]:
    """Return what names the contents of a picture (H, W, 3) uint8 of the embedded models, by the exact detector.

    "red circle, blue square on black"; "two red circles on white"; "no shape on black". Objects are in order of the
    alphabet, so pictures of the same objects have one name wherever those lie.
    """
    from diffatlas.shapes.detect import background, detect
    from diffatlas.shapes.scenes import NUMBERS

    def name(image: np.ndarray) -> str:
        look()
        counts = Counter(f"{found.color} {found.shape}" for found in detect(image))
        objects = [
            noun if n == 1 else f"{NUMBERS.get(n, str(n))} {noun}s" for noun, n in sorted(counts.items())
        ]
        return f"{', '.join(objects) or 'no shape'} on {background(image)}"

    return name


def names_for(study: Study) -> dict[str, Callable[[np.ndarray], str]]:
    """Return, by lane, what names the pictures of those lanes that run embedded models alone."""
    models: dict[str, set[str]] = {}
    for cell in study.cells:
        models.setdefault(cell.lane, set()).add(cell.params.model)
    name = shape_names()
    return {lane: name for lane, used in models.items() if used <= set(EMBEDDED)}
