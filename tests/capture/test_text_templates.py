"""Words of prompts that pipelines put into templates, lay out by two encoders, or hand on in part."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from diffatlas.attention.tokens import Token, find_word
from tests.capture.seen_texts import looking_on, said

WORDS = [
    "a",
    "big",
    "red",
    "dog",
    "cat",
    "image",
    "the",
    "user",
    "assistant",
    "system",
    "You",
    "are",
    "an",
    "designed",
]


def word_tokenizer(length: int) -> Any:
    """One token a word, others unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "</s>", "<unk>", *WORDS]
    raw = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=length
    )


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipe


@pytest.fixture(scope="module")
def qwen() -> Any:
    """Qwen-Image with a text encoder: a template around the prompt, its beginning cut off, the padding dropped."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from tests import pipelines

    pipe = pipelines.build_qwen()
    torch.manual_seed(0)
    rope = {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 1e6}
    text = {
        "hidden_size": 32,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 64,
        "rope_parameters": rope,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    names = ("vision_start", "vision_end", "vision", "image", "video")
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, **{f"{name}_token_id": 50 + i for i, name in enumerate(names)}
    )
    encoder = Qwen2_5_VLForConditionalGeneration(config)
    pipe.register_modules(text_encoder=encoder, tokenizer=word_tokenizer(512))
    return quiet(pipe)


@pytest.fixture(scope="module")
def lumina() -> Any:
    """Lumina 2: a system prompt before the prompt, all of it among the keys."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        Lumina2Pipeline,
        Lumina2Transformer2DModel,
    )
    from transformers import Gemma2Config, Gemma2Model

    torch.manual_seed(0)
    tokenizer = word_tokenizer(64)
    tokenizer.padding_side = "right"
    encoder = Gemma2Model(
        Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            pad_token_id=0,
        )
    )
    transformer = Lumina2Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=4,
        hidden_size=8,
        num_layers=1,
        num_attention_heads=1,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=[4, 2, 2],
        cap_feat_dim=8,
    )
    vae = AutoencoderKL(latent_channels=4, block_out_channels=(8,), norm_num_groups=8)
    scheduler = FlowMatchEulerDiscreteScheduler()
    return quiet(
        Lumina2Pipeline(
            transformer=transformer, vae=vae, scheduler=scheduler, text_encoder=encoder, tokenizer=tokenizer
        )
    )


@pytest.fixture(scope="module")
def hunyuan(tmp_path_factory) -> Any:
    """HunyuanDiT: BERT's and T5's hidden states are two arguments, which the denoiser joins by itself."""
    from diffusers import AutoencoderKL, DDPMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline
    from transformers import BertConfig, BertModel, BertTokenizer

    from tests import pipelines

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bert")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "ca", "##t", "big"]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    transformer = HunyuanDiT2DModel(
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=32,
        cross_attention_dim_t5=32,
        pooled_projection_dim=16,
        hidden_size=24,
    )
    bert = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
    )
    vae = AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
    )
    return quiet(
        HunyuanDiTPipeline(
            vae=vae,
            text_encoder=BertModel(bert),
            tokenizer=BertTokenizer.from_pretrained(folder),
            transformer=transformer,
            scheduler=DDPMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            text_encoder_2=pipelines._t5(32),
            tokenizer_2=pipelines._t5_tokenizer(),
        )
    )


def chatting(pipe: Any, width: int, layers: int) -> Any:
    """Give a pipeline a Qwen 3 of random weights and a tokenizer with a chat template."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
    )
    tokenizer = word_tokenizer(512)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    )
    pipe.register_modules(text_encoder=Qwen3ForCausalLM(config), tokenizer=tokenizer)
    return quiet(pipe)


CALL: dict[str, Any] = {"num_inference_steps": 1, "output_type": "latent", "height": 64, "width": 64}


def spelled(table: list[Token]) -> list[str]:
    return [token.text for token in table if token.word is not None]


def test_words_of_a_template_are_not_those_of_the_prompt(qwen):
    """Prompts of other lengths in one batch, one of which says what the template says as well."""
    prompts = ["a red  cat", "a big dog, the image of an assistant"]
    with looking_on(qwen) as seen:
        qwen(prompts, negative_prompt=[" ", " "], true_cfg_scale=3.0, **CALL)
    first, second = seen.tables([0, 1])
    assert said(first) == ["a", "red", "cat"]
    assert said(second) == ["a", "big", "dog", "the", "image", "of", "an", "assistant"]
    # The template's beginning is cut off within it, and its end stays: its own words are no words of the prompt.
    assert first[1].text == "user"
    assert first[1].special
    ending = [t for t in second if t.text == "assistant"]
    assert [t.special for t in ending] == [False, True]
    # Behind the shorter one there are zeros in the place of its padding.
    assert first[-1].text == ""
    for table in seen.tables([0, 1], call=1):
        assert said(table) == []
        assert "assistant" in [t.text for t in table]


def test_a_system_prompt_among_the_keys_has_no_words(lumina):
    with looking_on(lumina) as seen:
        lumina("a red cat", negative_prompt="big  dog", max_sequence_length=40, **CALL)
    cond, uncond = seen.table(0), seen.table(0, call=1)
    assert said(cond) == ["a", "red", "cat"]
    assert [t.text for t in cond[:4]] == ["You", "are", "an", "assistant"]
    assert all(t.special and t.word is None for t in cond[:4])
    assert said(uncond) == ["big", "dog"]
    assert find_word(uncond, "dog") == [1]


def test_a_chat_whose_texts_are_a_list() -> None:
    """Z-Image: each sample's text without its padding, which the denoiser fills up by itself."""
    from tests import pipelines

    pipe = chatting(pipelines.build_zimage(), width=32, layers=2)
    with looking_on(pipe) as seen:
        pipe(["a red  cat", "big dog"], negative_prompt=["cat", "dog red user"], guidance_scale=3.0, **CALL)
    tables = seen.tables([0, 1, 2, 3], length=32)
    assert [said(table) for table in tables] == [
        ["a", "red", "cat"],
        ["big", "dog"],
        ["cat"],
        ["dog", "red", "user"],
    ]
    for table, text in zip(tables, seen.calls[0][1][2], strict=True):
        assert [bool(t.text) for t in table] == [i < len(text) for i in range(32)]


def test_a_chat_of_which_several_layers_are_taken() -> None:
    """FLUX.2 klein sets the hidden states of several layers side by side."""
    from tests import pipelines

    pipe = chatting(pipelines.build_flux2(), width=16, layers=3)
    with looking_on(pipe) as seen:
        prompts = ["a red  cat", "big dog"]
        pipe(
            prompt=prompts, text_encoder_out_layers=(1, 2), max_sequence_length=24, guidance_scale=3.0, **CALL
        )
    cond, other = seen.tables([0, 1])
    assert said(cond) == ["a", "red", "cat"]
    assert said(other) == ["big", "dog"]
    # The unconditional half has the template around nothing.
    for table in seen.tables([0, 1], call=1):
        assert said(table) == []
        assert table[3].text == "user"


def test_two_texts_that_the_denoiser_joins_are_one_behind_the_other(hunyuan):
    with looking_on(hunyuan) as seen:
        hunyuan("a red cat", negative_prompt="big dog", use_resolution_binning=False, **CALL)
    uncond, cond = seen.tables([0, 1], length=77 + 256)
    assert [t.text for t in cond[1:5]] == ["a", "red", "ca", "t"]
    assert {t.encoder for t in cond[:77]} == {"bert"}
    assert find_word(cond, "cat")[:2] == [3, 4]
    assert min(i for i in find_word(cond, "red") if cond[i].encoder == "t5") >= 77
    assert spelled([cond[i] for i in find_word(cond, "red") if cond[i].encoder == "t5"])
    assert find_word(uncond, "dog")[0] == 2
    # What it was given of T5 stands there: by an encoder of the test's own, position by position.
    given = seen.calls[0][2]["encoder_hidden_states_t5"][1]
    ids = hunyuan.tokenizer_2("a red cat", padding="max_length", max_length=256, return_tensors="pt")
    with torch.no_grad():
        own = hunyuan.text_encoder_2(ids.input_ids, attention_mask=ids.attention_mask)[0][0]
    assert torch.equal(own, given)
    assert [t.id for t in cond[77:]] == ids.input_ids[0].tolist()
