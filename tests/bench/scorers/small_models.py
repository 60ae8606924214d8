"""Random vision-language models of a few thousand weights, in the form in which real ones are kept."""

from pathlib import Path

FAMILIES = ("qwen3_vl", "qwen2_5_vl", "smolvlm", "gemma3", "internvl", "paligemma")

#: What the small tokenizers have words for, alone and after a space; everything else is spelled by bytes.
WORDS = ("yes", "no", "Yes", "No", "two")
_TURNS = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
_LANGUAGE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 4096,
}
_SIGLIP = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def tokenizer(*marks: str, whole: tuple[str, ...] = WORDS, lower: bool = False):
    """A tokenizer of bytes with a few whole words.

    Digits stand alone, so that " 2" is a space and a digit. lower: whether it knows no capitals.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate(letters)}
    merges = []
    for word in (*(f"Ġ{word}" for word in whole), *whole):
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            vocabulary.setdefault(word[: end + 1], len(vocabulary))
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges))))
    if lower:
        made.normalizer = normalizers.Lowercase()
    pattern = Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+")
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<|start|>", "<|end|>", *marks]
    made.add_special_tokens([AddedToken(mark, normalized=False, special=True) for mark in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


def save_small(family: str, folder: Path, whole: tuple[str, ...] = WORDS) -> Path:
    """Make a random model of a family with its processor, and keep it in a folder as the Hub does."""
    import json

    import torch

    torch.manual_seed(0)
    model, parts, settings = {
        "qwen3_vl": _qwen3,
        "qwen2_5_vl": _qwen2_5,
        "smolvlm": _smolvlm,
        "gemma3": _gemma3,
        "internvl": _internvl,
        "paligemma": _paligemma,
    }[family](whole)
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than they are drawn, so that pictures and words make a difference; some are drawn as zeros.
            if parameter.dim() > 1:
                parameter.normal_(std=0.15)
    model.save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder


def _ids(made, *marks: str) -> list[int]:
    return [made.convert_tokens_to_ids(mark) for mark in marks]


def _qwen_parts(whole):
    from transformers import Qwen2VLImageProcessorPil

    made = tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", whole=whole)
    made.chat_template = _TURNS.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    images = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, size=size)
    keys = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    marks = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    return made, images, dict(zip(keys, _ids(made, *marks), strict=True))


def _qwen3(whole):
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    made, images, marks = _qwen_parts(whole)
    text = {
        **_LANGUAGE,
        "vocab_size": len(made),
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [2, 1, 1],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
        "out_hidden_size": 32,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **marks)
    return Qwen3VLForConditionalGeneration(config), (made, images), {"processor_class": "Qwen3VLProcessor"}


def _qwen2_5(whole):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    made, images, marks = _qwen_parts(whole)
    text = {
        **_LANGUAGE,
        "vocab_size": len(made),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 14,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **marks)
    return (
        Qwen2_5_VLForConditionalGeneration(config),
        (made, images),
        {"processor_class": "Qwen2_5_VLProcessor"},
    )


def _smolvlm(whole):
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil

    rows = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
    made = tokenizer(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *rows, whole=whole
    )
    made.chat_template = _TURNS.replace("IMAGE", "<image>")
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}, do_image_splitting=True
    )
    text = {**_LANGUAGE, "model_type": "llama", "vocab_size": len(made), "pad_token_id": made.pad_token_id}
    config = SmolVLMConfig(
        text_config=text,
        vision_config={**_SIGLIP, "patch_size": 7},
        scale_factor=2,
        image_token_id=_ids(made, "<image>")[0],
        pad_token_id=made.pad_token_id,
    )
    settings = {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    return SmolVLMForConditionalGeneration(config), (made, images), settings


def _gemma3(whole):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil

    made = tokenizer("<boi>", "<eoi>", "<image_soft>", whole=whole)
    for name, mark in (("boi_token", "<boi>"), ("eoi_token", "<eoi>"), ("image_token", "<image_soft>")):
        made._set_model_specific_special_tokens({name: mark})
    made.chat_template = "{{ bos_token }}" + _TURNS.replace("IMAGE", "<boi>")
    images = Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    boi, eoi, soft = _ids(made, "<boi>", "<eoi>", "<image_soft>")
    config = Gemma3Config(
        text_config={**_LANGUAGE, "vocab_size": len(made), "sliding_window": 64},
        vision_config=_SIGLIP,
        mm_tokens_per_image=1,
        boi_token_index=boi,
        eoi_token_index=eoi,
        image_token_index=soft,
        image_token_id=soft,
    )
    settings = {"processor_class": "Gemma3Processor", "image_seq_length": 1}
    return Gemma3ForConditionalGeneration(config), (made, images), settings


def _internvl(whole):
    from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

    made = tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<video>", whole=whole)
    names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
    made._set_model_specific_special_tokens(
        dict(zip(names, ("<img>", "</img>", "<IMG_CONTEXT>", "<video>"), strict=True))
    )
    made.chat_template = _TURNS.replace("IMAGE", "<IMG_CONTEXT>")
    images = GotOcr2ImageProcessorPil(size={"height": 28, "width": 28}, crop_to_patches=True, max_patches=4)
    config = InternVLConfig(
        text_config={**_LANGUAGE, "model_type": "qwen2", "vocab_size": len(made)},
        vision_config={**_SIGLIP, "image_size": [28, 28], "patch_size": [7, 7]},
        image_token_id=_ids(made, "<IMG_CONTEXT>")[0],
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    return InternVLForConditionalGeneration(config), (made, images), settings


def _paligemma(whole):
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, SiglipImageProcessorPil

    made = tokenizer("<image>", whole=whole)
    images = SiglipImageProcessorPil(size={"height": 28, "width": 28})
    images.image_seq_length = 4
    config = PaliGemmaConfig(
        text_config={**_LANGUAGE, "model_type": "gemma2", "vocab_size": len(made), "sliding_window": 64},
        vision_config={**_SIGLIP, "projection_dim": 32},
        projection_dim=32,
        image_token_id=_ids(made, "<image>")[0],
    )
    return (
        PaliGemmaForConditionalGeneration(config),
        (made, images),
        {"processor_class": "PaliGemmaProcessor"},
    )
