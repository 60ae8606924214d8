"""What takes programs longest to import: `tests.copied` has it imported once."""

# ruff: noqa: F401
import gc

import diffusers
import torch
import transformers
from diffusers import AutoPipelineForImage2Image, StableDiffusionPipeline

import diffatlas.ui.app

# Of no interest to any collection: it is there to the end.
gc.collect()
gc.freeze()
