"""A denoiser made worse on purpose: self-attention that looks at each place alone, or blocks that are skipped.

Which layers: of a UNet, the transformers of the middle block and of levels as coarse as that of Stable Diffusion (8 x 8
places), which a small UNet has more of; of a transformer, the block in the middle for attention (as
diffusers' pipelines do for Stable Diffusion 3 and PixArt), and for skipping the blocks at the depth of 7, 8 and 9 of
24, as Stability AI recommends for Stable Diffusion 3.5. They are found by what they are made of, not by their class.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from diffatlas.errors import CapabilityError
from diffatlas.importing import importing

#: The lists of blocks of a transformer, in the order in which they are looked for.
STACKS = ("transformer_blocks", "blocks", "layers", "single_transformer_blocks")
#: A block's self-attention, in the order in which it is looked for.
SELF_ATTENTION = ("attn1", "self_attn", "attn", "attention")
#: The side of the coarsest map of Stable Diffusion, whose middle block is what the paper perturbs. A smaller UNet does
#: at levels of this size what the large one does in its middle.
FEW = 8
#: A block's input that it returns, changed.
_HIDDEN = ("hidden_states", "x")


def perturbed(denoiser: Any, method: str) -> AbstractContextManager[None]:
    """Return a context in which ``denoiser.forward`` is perturbed as ``method`` ("pag" or "slg") says.

    The weights are not touched, and nothing is left behind. Raises `CapabilityError` for a denoiser that cannot be
    perturbed so, when the context begins or inside it.
    """
    if method == "pag":
        return identity_attention(_attentions(denoiser))
    return skipped(_blocks(denoiser, method))


@contextmanager
def identity_attention(modules: Sequence[Any]) -> Iterator[None]:
    """Inside these attention modules each place attends to itself alone: attention returns its values.

    Ahn et al. 2024 (arXiv 2403.17377), eq. 12. Of a joint sequence of text and image this is so for all tokens, as in
    diffusers' PerturbedAttentionGuidance.

    Raises `CapabilityError` where no attention was computed by PyTorch's scaled_dot_product_attention.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    attend = torch.nn.functional.scaled_dot_product_attention
    depth = seen = 0

    class Identity(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal seen
            kwargs = kwargs or {}
            if func is attend and depth:
                query, key, value = (
                    kwargs[name] if name in kwargs else args[i]
                    for i, name in enumerate(("query", "key", "value"))
                )
                if query.shape[-2] == key.shape[-2]:
                    seen += 1
                    # Several heads may share their values.
                    return value.repeat_interleave(query.shape[-3] // value.shape[-3], dim=-3)
            return func(*args, **kwargs)

    def enter(*_: Any) -> None:
        nonlocal depth
        depth += 1

    def leave(*_: Any) -> None:
        nonlocal depth
        depth -= 1

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        with Identity():
            yield
    if not seen:
        raise _cannot("pag", "its attention is not computed by PyTorch's scaled_dot_product_attention")


@contextmanager
def skipped(blocks: Sequence[Any]) -> Iterator[None]:
    """These blocks return what they were given."""
    with ExitStack() as stack:
        for block in blocks:
            hook = block.register_forward_hook(_hand_through, with_kwargs=True)
            stack.callback(hook.remove)
        yield


def _hand_through(block: Any, args: tuple, kwargs: Mapping[str, Any], output: Any) -> Any:
    """Forward hook: return the inputs in place of the outputs."""
    given = inspect.signature(block.forward).bind(*args, **kwargs).arguments
    hidden = next((given[name] for name in _HIDDEN if name in given), None)
    text = given.get("encoder_hidden_states")
    if hidden is None:
        raise _cannot("slg", f"the inputs of its {type(block).__name__} are not known")
    if not isinstance(output, tuple):
        return hidden if output.shape == hidden.shape else _mismatch(block)
    if text is None:
        return (_matching(block, output[0], hidden), *output[1:])
    if hidden.shape == text.shape:
        first_is_text = _text_comes_first(block)
        return (text, hidden) if first_is_text else (hidden, text)
    # A last block may drop its text.
    return tuple(o if o is None else _matching(block, o, hidden, text) for o in output)


def _matching(block: Any, output: Any, *inputs: Any) -> Any:
    """Return the input of the shape of ``output``."""
    for value in inputs:
        if value.shape == output.shape:
            return value
    return _mismatch(block)


def _mismatch(block: Any) -> Any:
    raise _cannot("slg", f"its {type(block).__name__} does not return what it was given, changed")


def _text_comes_first(block: Any) -> bool:
    """Whether a block of two streams returns that of the text first, as diffusers has it on its own list."""
    with importing():
        from diffusers.hooks._helpers import TransformerBlockRegistry

    try:
        return TransformerBlockRegistry.get(type(block)).return_encoder_hidden_states_index == 0
    except ValueError as error:
        raise _cannot("slg", f"what its {type(block).__name__} returns is not known") from error


def _attentions(denoiser: Any) -> list[Any]:
    """Return the self-attention modules to perturb."""
    found = []
    for block in _blocks(denoiser, "pag"):
        module = next((getattr(block, name) for name in SELF_ATTENTION if hasattr(block, name)), None)
        if module is not None:
            found.append(module)
    if not found:
        raise _cannot("pag", "its blocks have no self-attention")
    return found


def _blocks(denoiser: Any, method: str) -> list[Any]:
    """Return the transformer blocks to perturb."""
    if hasattr(denoiser, "mid_block"):
        blocks = _unet_blocks(denoiser)
        if not blocks:
            raise _cannot(method, "its middle block has no transformer")
        return blocks
    import torch

    stack = next((s for s in (getattr(denoiser, n, None) for n in STACKS) if _is_stack(s, torch)), None)
    if stack is None:
        raise _cannot(method, f"{type(denoiser).__name__} has no list of transformer blocks")
    return [stack[i] for i in depths(len(stack), method)]


def _is_stack(value: Any, torch: Any) -> bool:
    return isinstance(value, torch.nn.ModuleList) and len(value) > 0


def _unet_blocks(denoiser: Any) -> list[Any]:
    """Return the transformer blocks of the middle, and of each level that works at few places as well."""
    parts = [denoiser.mid_block, *_small_levels(denoiser)]
    return [m for part in parts if part for m in part.modules() if hasattr(m, "attn1") and hasattr(m, "ff")]


def _small_levels(denoiser: Any) -> list[Any]:
    """Return the blocks on the way down and up that work at `FEW` places a side or fewer, by the native size."""
    side = getattr(denoiser.config, "sample_size", None)
    if not isinstance(side, int):
        return []
    small, coming_up = [], []
    for block in denoiser.down_blocks:
        small += [block] if side <= FEW else []
        coming_up.append(side)
        side = side // 2 if getattr(block, "downsamplers", None) else side
    return small + [
        block for block, side in zip(denoiser.up_blocks, reversed(coming_up), strict=True) if side <= FEW
    ]


def depths(count: int, method: str) -> list[int]:
    """Return the positions of the blocks to perturb, of ``count`` in a row."""
    if method == "pag":
        return [count // 2]
    return list(range(7 * count // 24, 9 * count // 24 + 1))


def _cannot(method: str, why: str) -> CapabilityError:
    name = {"pag": "Perturbed-attention", "slg": "Skip-layer"}[method]
    return CapabilityError(
        f"{name} guidance does not fit this model: {why}. Choose another method.", field="guidance_method"
    )


def take_rows(value: Any, total: int, rows: slice, name: str = "") -> Any:
    """Return the part of a denoiser's input that belongs to the samples in ``rows``, of a batch of ``total``.

    Tensors and lists by sample are cut, in dicts and tuples too; all else stays. Positions of tokens that all
    samples share (``img_ids``, ``txt_ids``) stay, also where they happen to be as many.
    """
    import torch

    if isinstance(value, torch.Tensor):
        shared = name in ("img_ids", "txt_ids") and value.ndim == 2
        return value[rows] if value.ndim and len(value) == total and not shared else value
    if isinstance(value, Mapping):
        return {key: take_rows(part, total, rows, key) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        if isinstance(value, list) and len(value) == total:
            return value[rows]
        return type(value)(take_rows(part, total, rows) for part in value)
    return value
