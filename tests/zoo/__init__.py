"""Small random pipelines of the classes of diffusers that make images, built from configs without downloads."""

from __future__ import annotations

from tests.zoo import cascades, dit, flow, sd, sdxl
from tests.zoo.parts import Entry, takes_callback

__all__ = ["ENTRIES", "LEFT_OUT", "Entry", "takes_callback"]

ENTRIES: list[Entry] = [*sd.ENTRIES, *sdxl.ENTRIES, *flow.ENTRIES, *dit.ENTRIES, *cascades.ENTRIES]

#: Pipelines that would belong here and cannot be built small, and why.
LEFT_OUT = {
    "KolorsPipeline": "needs sentencepiece",
    "KolorsImg2ImgPipeline": "needs sentencepiece",
    "KolorsPAGPipeline": "needs sentencepiece",
    "QwenImageEditPipeline": "encodes its reference image at a fixed area of 1024 x 1024 pixels",
    "QwenImageEditInpaintPipeline": "encodes its reference image at a fixed area of 1024 x 1024 pixels",
    "QwenImageEditPlusPipeline": "encodes its reference image at a fixed area of 1024 x 1024 pixels",
    "ChromaInpaintPipeline": "reads guidance_embeds of its transformer's config, which has none",
    "LongCatImagePipeline": "tokenizes the prompt with the chat template of a Qwen2.5-VL tokenizer",
    "FluxPriorReduxPipeline": "makes embeddings, and has no denoiser",
    "OnnxStableDiffusionPipeline": "needs onnxruntime",
}
