"""Which prediction is which follows from what guidance mixed, and from what each pass was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diffatlas.capture.roles import Pass, RoleFinder, find_roles, fit_weights, parts_of

SHAPE = (2, 4, 16, 16)
BATCH = 2


class Denoiser(nn.Module):
    """Its signature is that of a UNet."""

    def forward(
        self, sample: Any, timestep: Any, encoder_hidden_states: Any = None, image: Any = None
    ) -> Any:
        raise AssertionError


MODULE = Denoiser()


def noise(seed: int, shape: Sequence[int] = SHAPE) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STATE, OTHER_STATE = noise(100), noise(101)
PROMPT, NEGATIVE, EDIT = (noise(seed, (BATCH, 7, 8)) for seed in (200, 201, 202))
C, U, P, V, E = (noise(seed) for seed in range(1, 6))


def doubled(*given: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> list[Pass]:
    """One call for several (prediction, text, state)."""
    predictions, texts, states = (torch.cat(each) for each in zip(*given, strict=True))
    return [Pass(MODULE, (states, 5), {"encoder_hidden_states": texts}, predictions)]


def apart(*given: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> list[Pass]:
    """A call for each."""
    return [Pass(MODULE, (state, 5), {"encoder_hidden_states": text}, p) for p, text, state in given]


def names(guided: torch.Tensor, passes: list[Pass]) -> tuple[str | None, ...] | None:
    roles, _ = find_roles(guided, parts_of(passes, BATCH, guided.shape))
    return None if roles is None else roles.names


@pytest.mark.parametrize("make", [doubled, apart])
@pytest.mark.parametrize("scale", [1.1, 5.0, 30.0])
@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-3])
def test_two_passes_in_either_order(make: Any, scale: float, distance: float) -> None:
    near = U + distance * C
    guided = U + scale * (near - U)
    assert names(guided, make((U, NEGATIVE, STATE), (near, PROMPT, STATE))) == ("uncond", "cond")
    assert names(guided, make((near, PROMPT, STATE), (U, NEGATIVE, STATE))) == ("cond", "uncond")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("factor", [1.0, -1.0, 0.4, -0.4], ids=["plain", "negated", "rescaled", "both"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_negated_or_rescaled(dtype: Any, factor: float, swapped: bool) -> None:
    u, c = U.to(dtype), (U + 0.1 * C).to(dtype)
    guided = (factor * (u + 1.5 * (c - u))).to(dtype)
    given = (
        [(c, PROMPT, STATE), (u, NEGATIVE, STATE)] if swapped else [(u, NEGATIVE, STATE), (c, PROMPT, STATE)]
    )
    roles, certain = find_roles(guided, parts_of(doubled(*given), BATCH, SHAPE))
    assert certain
    assert roles.names == (("cond", "uncond") if swapped else ("uncond", "cond"))
    assert roles.sign == np.sign(factor)


@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_perturbed_attention_with_and_without_guidance(scale: float) -> None:
    near = C + 0.05 * P
    guided = C + 3 * (C - near) if not scale else U + scale * (C - U) + 3 * (C - near)
    given = [(C, PROMPT, STATE), (near, PROMPT, STATE)]
    assert names(guided, doubled(*([(U, NEGATIVE, STATE)] if scale else []), *given)) == (
        ("uncond", "cond", "perturbed") if scale else ("cond", "perturbed")
    )


def test_self_attention_guidance_perturbs_the_latents_of_the_unconditional_pass() -> None:
    guided = U + 5 * (C - U) + 0.75 * (U - P)
    main = doubled((U, NEGATIVE, STATE), (C, PROMPT, STATE))
    assert names(guided, [*main, *apart((P, NEGATIVE, OTHER_STATE))]) == ("uncond", "cond", "perturbed")


def test_a_pass_that_is_not_mixed_has_no_name() -> None:
    """Attend-and-Excite looks ahead with the prompt, moves the latents, and then makes its two passes."""
    main = doubled((U, NEGATIVE, STATE), (C, PROMPT, STATE))
    ahead = apart((C + 0.01 * P, PROMPT, OTHER_STATE), (C + 0.003 * V, PROMPT, OTHER_STATE))
    assert names(U + 7.5 * (C - U), [*ahead, *main]) == (None, None, "uncond", "cond")
    # Where nothing was moved it predicts the same.
    assert names(U + 7.5 * (C - U), [*apart((C.clone(), PROMPT, STATE)), *main]) == (None, "uncond", "cond")
    assert names(C, [*apart((P, PROMPT, OTHER_STATE)), *apart((C, PROMPT, STATE))]) == (None, "cond")


@pytest.mark.parametrize(("scale", "image_scale"), [(7.5, 1.5), (2.0, 8.0), (1.2, 1.1)])
def test_instruct_pix2pix_has_three_parts(scale: float, image_scale: float) -> None:
    """Brooks et al. 2023, eq. 3: u + s_image (image - u) + s (text - image), whichever of the scales is larger."""
    picture = noise(300)
    states = [torch.cat([STATE, extra], 1) for extra in (picture, picture, torch.zeros_like(picture))]
    given = zip((C, V, U), (PROMPT, NEGATIVE, NEGATIVE), states, strict=True)
    guided = U + scale * (C - V) + image_scale * (V - U)
    assert names(guided, doubled(*given)) == ("cond", "image", "uncond")


def test_what_cannot_be_told_is_not_named() -> None:
    # Two prompts, mixed evenly: neither is the unconditional one.
    assert names(0.5 * C + 0.5 * E, doubled((C, PROMPT, STATE), (E, EDIT, STATE))) is None
    # Edits by masks (semantic guidance).
    mask = (noise(7) > 0).float()
    passes = doubled((U, NEGATIVE, STATE), (C, PROMPT, STATE), (E, EDIT, STATE))
    assert names(U + 5 * (C - U) + 5 * mask * (E - U), passes) is None
    # What the scheduler received has nothing to do with the passes.
    assert names(noise(9), doubled((U, NEGATIVE, STATE), (C, PROMPT, STATE))) is None


def test_of_equal_predictions_either_order_is_right_but_not_certain() -> None:
    for make, expected in ((doubled, ("uncond", "cond")), (apart, ("cond", "uncond"))):
        parts = parts_of(make((U, NEGATIVE, STATE), (U.clone(), PROMPT, STATE)), BATCH, SHAPE)
        roles, certain = find_roles(U, parts)
        assert roles.names == expected
        assert not certain


def test_samples_that_broke_do_not_count() -> None:
    c, u = C.clone(), U.clone()
    c[1] = torch.nan
    passes = doubled((u, NEGATIVE, STATE), (c, PROMPT, STATE))
    assert names(u + 3 * (c - u), passes) == ("uncond", "cond")
    assert names(torch.full_like(u, torch.nan), passes) is None


def test_other_shapes_and_batches_have_no_predictions() -> None:
    assert parts_of([Pass(MODULE, (), {}, noise(1, (3, 4, 16, 16)))], 2, SHAPE) == []
    (part,) = parts_of([Pass(MODULE, (), {}, noise(1, (2, 3)))], 2, SHAPE)
    assert part.prediction is None
    (part,) = parts_of([Pass(MODULE, (), {}, noise(1, (2, 8, 16, 16)))], 2, SHAPE)  # with a learned variance
    assert part.prediction.shape == SHAPE


def test_roles_are_found_anew_where_other_texts_are_given() -> None:
    """Guidance that ends while perturbed attention goes on leaves as many passes, of other kinds."""
    finder = RoleFinder()

    def found(guided: torch.Tensor, passes: list[Pass]) -> tuple[str | None, ...]:
        return finder.find(guided, parts_of(passes, BATCH, SHAPE)).names

    guided = U + 3 * (C - U)
    passes = doubled((U, NEGATIVE, STATE), (C, PROMPT, STATE))
    assert found(guided, passes) == ("uncond", "cond")
    # The same texts, now with predictions that tell nothing.
    equal = [Pass(MODULE, passes[0].args, passes[0].kwargs, torch.cat([U, U]))]
    assert found(U, equal) == ("uncond", "cond")
    assert found(C + 2 * (C - P), doubled((C, PROMPT, STATE), (P, PROMPT, STATE))) == ("cond", "perturbed")
    # The tensor of the texts is written to.
    texts = passes[0].kwargs["encoder_hidden_states"]
    texts[:BATCH] = PROMPT
    assert found(C + 2 * (C - P), [Pass(MODULE, passes[0].args, passes[0].kwargs, torch.cat([C, P]))]) == (
        "cond",
        "perturbed",
    )


def test_texts_that_are_cut_anew_at_each_step_are_known_again() -> None:
    """Then nothing of the predictions is looked at, which a GPU would be waited for."""
    finder, texts = RoleFinder(), torch.cat([NEGATIVE, PROMPT])
    looked: list[None] = []

    def passes(first: torch.Tensor, second: torch.Tensor) -> list[Any]:
        given = apart((first, texts[:BATCH], STATE), (second, texts[BATCH:], STATE))
        return parts_of(given, BATCH, SHAPE)

    def find(guided: torch.Tensor, parts: list[Any]) -> tuple[str | None, ...]:
        return finder.find(guided, parts, lambda: looked.append(None)).names

    assert not finder.knows(passes(U, C))
    assert find(U + 3 * (C - U), passes(U, C)) == ("uncond", "cond")
    assert finder.knows(passes(P, V))
    assert find(torch.full_like(U, torch.nan), passes(P, V)) == ("uncond", "cond")
    assert len(looked) == 1
    texts[BATCH:] = EDIT
    assert not finder.knows(passes(U, C))


@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("scale", [1.1, 5.0, 30.0])
def test_weights_are_those_of_the_formula(distance: float, scale: float) -> None:
    u, c = U.double().flatten().numpy(), (U + distance * C).double().flatten().numpy()
    weights, left = fit_weights(u + scale * (c - u), [u, c])
    np.testing.assert_allclose(weights, [1 - scale, scale], rtol=1e-6)
    assert left < 1e-6
    assert fit_weights(u, [u, u.copy()]) == (None, 1.0)
