"""Small checkpoints with random weights of the models that judge pictures, saved as the real ones are."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

COCO = ("person", "car", "dog", "mouse")


def clip(folder: Path, seed: int = 0, wide: int = 16) -> Path:
    """Save a CLIP whose tokens are letters."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokenizer = letters(77)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    body = {
        "hidden_size": wide,
        "intermediate_size": wide,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**body, **special, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id},
        vision_config={**body, "image_size": 32, "patch_size": 8},
        projection_dim=wide,
    )
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _saved(folder, _drawn(CLIPModel, config, seed), tokenizer, processor)


def mask2former(folder: Path, seed: int = 0, names: tuple[str, ...] = COCO) -> Path:
    """Save a segmenter of a few classes."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=16,
        num_attention_heads=2,
        num_queries=12,
        id2label=dict(enumerate(names)),
    )
    processor = Mask2FormerImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, _drawn(Mask2FormerForUniversalSegmentation, config, seed), processor)


def eomt(folder: Path, seed: int = 0, names: tuple[str, ...] = COCO) -> Path:
    """Save a segmenter that sees an image in the corner of a square."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    config = EomtConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_blocks=1,
        mlp_ratio=1,
        image_size=64,
        patch_size=16,
        num_queries=12,
        num_upscale_blocks=1,
        id2label=dict(enumerate(names)),
    )
    processor = EomtImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True)
    return _saved(folder, _drawn(EomtForUniversalSegmentation, config, seed), processor)


def detr(folder: Path, seed: int = 0, names: tuple[str, ...] = COCO) -> Path:
    """Save the first of the detectors that need no anchors."""
    from transformers import DetrConfig, DetrForObjectDetection, DetrImageProcessor, ResNetConfig

    config = DetrConfig(
        backbone_config=_resnet(ResNetConfig, ["stage4"]),
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=12,
        id2label=dict(enumerate(names)),
    )
    processor = DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    return _saved(folder, _drawn(DetrForObjectDetection, config, seed), processor)


def rt_detr_v2(folder: Path, seed: int = 0, names: tuple[str, ...] = COCO) -> Path:
    """Save a quick detector."""
    from transformers import (
        RTDetrImageProcessor,
        RTDetrResNetConfig,
        RTDetrV2Config,
        RTDetrV2ForObjectDetection,
    )

    config = RTDetrV2Config(
        backbone_config=_resnet(RTDetrResNetConfig, ["stage2", "stage3", "stage4"]),
        **_REAL_TIME,
        id2label=dict(enumerate(names)),
    )
    processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, _drawn(RTDetrV2ForObjectDetection, config, seed), processor)


def d_fine(folder: Path, seed: int = 0, names: tuple[str, ...] = COCO) -> Path:
    """Save another quick one."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config, RTDetrImageProcessor

    backbone = HGNetV2Config(
        embedding_size=8,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 8, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 8, 16, 16],
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, False, False],
        stage_kernel_size=[3, 3, 3, 3],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
        out_indices=[2, 3, 4],
    )
    # Its convolutions want channels to spare.
    config = DFineConfig(
        backbone_config=backbone,
        **{**_REAL_TIME, "encoder_in_channels": [8, 16, 16]},
        hidden_expansion=1.0,
        id2label=dict(enumerate(names)),
    )
    processor = RTDetrImageProcessor(size={"height": 64, "width": 64})
    return _saved(folder, _drawn(DFineForObjectDetection, config, seed), processor)


def owlv2(folder: Path, seed: int = 0) -> Path:
    """Save a detector that looks for what is named; its tokens are letters."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor

    tokenizer = letters(48)
    body = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = Owlv2Config(
        text_config={**body, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 48},
        vision_config={**body, "image_size": 48, "patch_size": 16},
        projection_dim=16,
    )
    processor = Owlv2ImageProcessor(size={"height": 48, "width": 48})
    return _saved(folder, _drawn(Owlv2ForObjectDetection, config, seed), tokenizer, processor)


def grounding_dino(folder: Path, seed: int = 0) -> Path:
    """Save a detector that is asked for all classes in one text; its tokens are letters."""
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        SwinConfig,
    )

    # It knows what ends a class by the numbers of BERT's own vocabulary.
    words = [f"[unused{k}]" for k in range(1100)]
    for number, word in ((0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]")):
        words[number] = word
    words[1012], words[1029] = ".", "?"
    for k, letter in enumerate(string.ascii_lowercase):
        words[200 + k], words[300 + k] = letter, f"##{letter}"
    tokenizer = BertTokenizer(vocab={word: k for k, word in enumerate(words)}, do_lower_case=True)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    text = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_n_points=2,
        decoder_n_points=2,
        num_queries=12,
        max_text_len=64,
    )
    processor = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    return _saved(folder, _drawn(GroundingDinoForObjectDetection, config, seed), tokenizer, processor)


_REAL_TIME = {
    "encoder_in_channels": [8, 16, 16],
    "encoder_hidden_dim": 16,
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "encoder_layers": 1,
    "d_model": 16,
    "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 12,
    "num_denoising": 0,
}


def _resnet(cls: Any, features: list[str]) -> Any:
    return cls(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=features,
    )


def letters(longest: int) -> Any:
    """Return a tokenizer in CLIP's layout whose tokens are letters: the same, ending a word, and the two specials."""
    from transformers import CLIPTokenizer

    signs = sorted(string.printable.strip())
    tokens = [*signs, *(sign + "</w>" for sign in signs), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=longest
    )


def _drawn(cls: Any, config: Any, seed: int) -> Any:
    import torch

    torch.manual_seed(seed)
    model = cls(config).eval()
    for weights in model.parameters():
        # Those of a fresh model are so small that all its answers are nearly alike.
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=weights[0].numel() ** -0.5)
    return model


def _saved(folder: Path, *parts: Any) -> Path:
    for part in parts:
        part.save_pretrained(folder)
    return folder
