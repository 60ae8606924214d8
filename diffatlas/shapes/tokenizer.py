"""A CLIP-layout byte-level BPE tokenizer in which every word of the grammar is one token, and any text fits."""

from __future__ import annotations

import json
from pathlib import Path

from diffatlas.shapes.scenes import vocabulary

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 24


def learn_bpe(words: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges (CLIP's format) that make each word a single token.

    The 256 bytes come first, alone and at a word's end, so that no text is unknown.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    learner.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=5000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator(words, trainer)
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges), START, END]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, merges


def build_tokenizer():
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


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer where a pipeline looks for it."""
    build_tokenizer().save_pretrained(folder)
