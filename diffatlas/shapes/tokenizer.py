"""A CLIP-layout byte-level BPE tokenizer in which every word of the grammar is one token, and any text fits."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import torch

from diffatlas.shapes.scenes import vocabulary

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 24


def learn_bpe(words: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges (CLIP's format) that make each word a single token (Sennrich et al. 2016,
    arXiv 1508.07909).

    The most frequent pair is merged first, the alphabetically first of equals: the `tokenizers` trainer breaks
    such ties differently from process to process. The 256 bytes come first in the vocabulary, alone and at a
    word's end, so that no text is unknown.
    """
    from tokenizers import pre_tokenizers

    spelled = [[*word[:-1], word[-1] + "</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merge(symbols, best) for symbols in spelled]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges), START, END]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out


def build_tokenizer() -> Any:
    """Return the model's `transformers.CLIPTokenizer`."""
    from transformers import CLIPTokenizer

    vocab, merges = learn_bpe(vocabulary())
    return CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=MAX_LENGTH,
    )


def token_ids(tokenizer: Any, captions: list[str], device: str | torch.device = "cpu") -> torch.Tensor:
    """Token ids padded as the pipeline pads them, (N, 24)."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids.to(device)
