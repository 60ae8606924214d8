"""The digest of a pipeline in memory changes with whatever changes its results, and with nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from diffatlas.capture.digest import code_of, digest_of, weight_sums
from diffatlas.errors import CapabilityError
from tests.pipelines import arguments, build_flux2, build_sd, build_sd3


@pytest.fixture(params=[build_sd, build_sd3, build_flux2], ids=["sd", "sd3", "flux2"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def sd() -> Any:
    return build_sd()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (7, 5), (70_001,)])
def test_the_sums_are_those_of_plain_integers(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)).mul(3).to(dtype)
    data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    data += bytes(-len(data) % 8)
    plain = placed = 0
    for i in range(len(data) // 8):
        word = int.from_bytes(data[8 * i : 8 * i + 8], "little", signed=True)
        mixed = word ^ (word >> 29)
        plain, placed = plain + mixed, placed + i * mixed
    assert weight_sums([torch.ones(3), tensor])[1] == (plain % 2**64, placed % 2**64)


def test_layout_in_memory_decides_nothing() -> None:
    x = torch.randn(2, 3, 5, 7)
    assert weight_sums([x]) == weight_sums([x.contiguous(memory_format=torch.channels_last)])
    assert weight_sums([torch.arange(9)[1:]]) == weight_sums([torch.arange(1, 9)])
    odd = torch.arange(17, dtype=torch.uint8)
    assert weight_sums([odd[1:]]) == weight_sums([odd[1:].clone()])


def test_a_copy_and_a_run_leave_it_as_it_is(pipe: Any) -> None:
    digest = digest_of(pipe)
    assert digest_of(copy.deepcopy(pipe)) == digest
    pipe(**arguments(pipe))
    assert digest_of(pipe) == digest


def test_what_is_loaded_from_a_folder_has_the_digest_of_what_was_saved(sd: Any, tmp_path: Any) -> None:
    sd.save_pretrained(tmp_path / "sd")
    again = type(sd).from_pretrained(tmp_path / "sd", local_files_only=True)
    assert digest_of(again) == digest_of(sd)


def _past_autograd(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data[0, 0, 0, 0] += 1e-3


def _two_exchanged(pipe: Any) -> None:
    with torch.no_grad():
        row = pipe.unet.conv_in.weight.view(-1)
        row[0], row[8] = row[8].clone(), row[0].clone()


def _two_words_exchanged(pipe: Any) -> None:
    with torch.no_grad():
        words = pipe.unet.conv_in.weight.view(-1)[:6].view(3, 2)
        words[[0, 2]] = words[[2, 0]]


def _lowest_bit(pipe: Any) -> None:
    pipe.unet.conv_in.weight.data.view(torch.int32)[0, 0, 0, 0] ^= 1


def _another_processor(pipe: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    pipe.unet.set_attn_processor(AttnProcessor())


def _table_of_the_scheduler(pipe: Any) -> None:
    pipe.scheduler.alphas_cumprod = pipe.scheduler.alphas_cumprod.clone() * 0.99


def _config_of_the_vae(pipe: Any) -> None:
    pipe.vae.register_to_config(scaling_factor=0.5)


CHANGES: list[Callable[[Any], Any]] = [
    _past_autograd,
    _two_exchanged,
    _two_words_exchanged,
    _lowest_bit,
    _another_processor,
    _table_of_the_scheduler,
    _config_of_the_vae,
    lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.1, b2=1.2),
    lambda pipe: pipe.unet.to(torch.float16),
    lambda pipe: pipe.tokenizer.add_tokens(["<mine>"]),
    lambda pipe: pipe.unet.train(),
    lambda pipe: setattr(pipe, "vae_scale_factor", 16),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_results_changes_it(sd: Any, change: Callable[[Any], Any]) -> None:
    digest = digest_of(sd)
    change(sd)
    assert digest_of(sd) != digest


def _hooked(pipe: Any) -> None:
    pipe.unet.conv_in.register_forward_hook(lambda module, args, output: output * 2)


def _replaced(pipe: Any) -> None:
    forward = pipe.unet.forward
    pipe.unet.forward = lambda *args, **kwargs: forward(*args, **kwargs)


def _not_here(pipe: Any) -> None:
    pipe.unet.to("meta")


def _without_source(pipe: Any) -> None:
    made: dict[str, Any] = {"__name__": "odd"}
    exec("class Odd:\n    x = None\n    def __init__(self): self.config = {}", made)
    pipe.vae = made["Odd"]()


def _compiled(pipe: Any) -> None:
    pipe.unet.compile(backend="eager")


def _with_a_tensor(pipe: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    processor = AttnProcessor()
    processor.mask = torch.ones(3)
    pipe.unet.set_attn_processor(processor)


@pytest.mark.parametrize(
    "change", [_hooked, _replaced, _not_here, _without_source, _compiled, _with_a_tensor]
)
def test_what_cannot_be_told_is_refused(sd: Any, change: Callable[[Any], Any]) -> None:
    change(sd)
    with pytest.raises(CapabilityError):
        digest_of(sd)


class _Plain(torch.nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2


def test_code_is_pinned_by_a_version_or_by_its_source() -> None:
    from diffusers import UNet2DConditionModel

    assert code_of(UNet2DConditionModel).split()[1][0].isdigit()
    assert len(code_of(_Plain).split()[1]) == 64
