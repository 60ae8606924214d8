"""Which of a step's predictions is which, told from what guidance made of them.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) mixes the predictions of several passes of the
denoiser, g = w_0 p_0 + w_1 p_1 + ..., whatever way a pipeline obtains them: one call of a doubled batch or several, in
either order, negated or rescaled, with passes that are not mixed at all. Two things tell the passes apart: the weights
w, and what each pass was given.

- Passes that were given the same text belong together. The weights of those of the prompt sum to more than 0, those of
  the negative prompt to less: (s, 1 - s) for a scale s.
- Beside the conditional pass, one of the same text is "perturbed": attention, layers or latents were made worse on
  purpose (PAG, arXiv 2403.17377; SAG, arXiv 2210.00939; SLG). It has the smaller weight.
- Beside the unconditional pass, one of other latents is "perturbed" too, and one that has an image where the
  unconditional one has zeros is "image" (InstructPix2Pix, arXiv 2211.09800, eq. 3).
- A pass without weight is none of these (Attend-and-Excite's, arXiv 2301.13826, which only move the latents).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.capture.calls import split_batch
from diffatlas.capture.signatures import argument_names
from diffatlas.capture.tables import is_in_memory

if TYPE_CHECKING:
    import torch

#: Numbers of a prediction that the weights are fitted to.
FITTED = 2**16
#: Two predictions closer than this, relative to their norm, are one.
SAME = 1e-5
#: What the weights may leave unexplained, relative to the norm: predictions of half precision, rescaled ones.
UNEXPLAINED = 0.5
#: A pass is left out of the mixture where that leaves as little unexplained: rounding in float32 and in half precision.
ROUNDING, HALF_ROUNDING = 1e-4, 1e-2
#: Weights nearer to 0 than this say nothing.
SMALL = 0.02
_SAMPLE = ("sample", "hidden_states", "x", "latents")
_TIME = ("timestep", "timesteps", "t", "sigma", "guidance", "r", "timestep_r")


@dataclass(frozen=True)
class Pass:
    """One call of a denoiser: what it was given, and its prediction (n * B, ...)."""

    module: Any
    args: tuple
    kwargs: Mapping[str, Any]
    output: torch.Tensor


@dataclass(frozen=True)
class Part:
    """What one pass holds for each sample of the batch.

    rows: of the pass. prediction: (B, ...) of the shape of the guided prediction; None where it has another.
    """

    source: Pass
    rows: slice
    prediction: torch.Tensor | None


@dataclass(frozen=True)
class Roles:
    """What each part of a step is: "cond", "uncond", "perturbed", "image", or None for one that was not mixed.

    sign: -1 where the pipeline negates its model's output before the scheduler receives it (Z-Image, HiDream).
    """

    names: tuple[str | None, ...]
    sign: float = 1.0

    def index(self, name: str) -> int | None:
        """Return the number of the part of this name; None where there is none."""
        return self.names.index(name) if name in self.names else None

    @property
    def guided(self) -> bool:
        """Whether more than one pass was mixed."""
        return sum(name is not None for name in self.names) > 1


def parts_of(passes: Sequence[Pass], batch: int, shape: Sequence[int]) -> list[Part]:
    """Cut passes into parts of ``batch`` samples, in order. A pass of no multiple of the batch has none.

    shape: of the guided prediction, (B, ...).
    """
    parts = []
    for source in passes:
        total = len(source.output)
        predictions = split_batch(source.output, batch, shape)
        for k in range(total // batch if total % batch == 0 else 0):
            rows = slice(k * batch, (k + 1) * batch)
            parts.append(Part(source, rows, predictions[k] if predictions else None))
    return parts


class RoleFinder:
    """Finds the roles of each step's parts; what is known of one step holds for others that were given the same."""

    def __init__(self) -> None:
        self._known: list[tuple[tuple, Roles | None]] = []

    def knows(self, parts: Sequence[Part]) -> bool:
        """Whether `find` can tell the roles of a step without looking at its predictions."""
        key = _given(parts)
        return any(_is_same_key(known, key) for known, _ in self._known)

    def find(
        self, guided: torch.Tensor, parts: Sequence[Part], arrive: Callable[[], None] = lambda: None
    ) -> Roles | None:
        """Return `find_roles` of a step. arrive: called before the numbers of the predictions are looked at."""
        key = _given(parts)
        for known, roles in self._known:
            if _is_same_key(known, key):
                return roles
        arrive()
        roles, certain = find_roles(guided, parts)
        if certain:
            # The tensors in the key are held, so that no other takes their place. Most pipelines make one key.
            self._known = [(key, roles), *self._known[:3]]
        return roles


def role_of_one(parts: Sequence[Part]) -> Roles | None:
    """Return the roles of parts of which one has a prediction, with a sign that is not looked for; else None."""
    names = tuple(None if part.prediction is None else "cond" for part in parts)
    return Roles(names) if names.count("cond") == 1 else None


def find_roles(guided: torch.Tensor, parts: Sequence[Part]) -> tuple[Roles | None, bool]:
    """Return the roles of the parts that ``guided`` (B, ...) was made of, and whether other steps will have the same.

    None where they cannot be told. Not certain are those of predictions that do not differ beyond rounding: either
    order is right then, and that of most pipelines is taken.
    """
    found = [i for i, part in enumerate(parts) if part.prediction is not None]
    none = [None] * len(parts)
    if len(found) < 2:
        sign = _sign(parts[found[0]].prediction, guided) if found else 1.0
        return Roles(tuple("cond" if i in found else n for i, n in enumerate(none)), sign), True
    goal = _flat(guided)
    columns = {i: _flat(parts[i].prediction) for i in found}
    finite = np.logical_and.reduce([np.isfinite(c) for c in (goal, *columns.values())])
    if not finite.any():
        return None, False
    goal, columns = goal[finite], {i: c[finite] for i, c in columns.items()}
    apart, twins = _distinct(parts, columns)
    if len(apart) == 1:
        if len(found) != 2:
            return None, False
        first, second = ("cond", "uncond") if parts[0].source is not parts[1].source else ("uncond", "cond")
        names = dict(zip(found, (first, second), strict=True))
        return Roles(
            tuple(names.get(i) for i in range(len(parts))), _sign(guided, parts[found[0]].prediction)
        ), False
    texts = _groups(parts, apart)
    mixed = _mixed(goal, columns, apart, texts, _tolerance(guided))
    weights, left = fit_weights(goal, [columns[i] for i in mixed])
    if weights is None or left > UNEXPLAINED:
        return None, False
    sign = -1.0 if weights.sum() < 0 else 1.0
    by_part = dict(zip(mixed, sign * weights, strict=True))
    named = _named(parts, by_part, texts)
    if named is None:
        return None, not twins
    return Roles(tuple(named.get(i) for i in range(len(parts))), sign), not twins


def fit_weights(goal: np.ndarray, columns: Sequence[np.ndarray]) -> tuple[np.ndarray | None, float]:
    """Return the least-squares weights w of goal = sum_i w_i columns_i, and the norm of what is left, relative to it.

    goal and columns: (n,) float64. (None, 1) where the columns do not differ, which leaves the weights undetermined.
    """
    first, *others = columns
    # Predictions are nearly parallel, their differences are not: solve for (sum of w, w_1, w_2, ...).
    basis = np.stack([first, *(c - first for c in others)])
    lengths = np.sqrt(np.einsum("id,id->i", basis, basis))
    if np.any(lengths <= SAME * lengths[0]):
        return None, 1.0
    basis /= lengths[:, None]
    scaled = np.linalg.lstsq(basis @ basis.T, basis @ goal, rcond=None)[0]
    left = float(np.linalg.norm(goal - scaled @ basis)) / (float(np.linalg.norm(goal)) or 1.0)
    solution = scaled / lengths
    return np.concatenate([[solution[0] - solution[1:].sum()], solution[1:]]), left


def _named(
    parts: Sequence[Part], weights: Mapping[int, float], texts: Sequence[Sequence[int]]
) -> dict[int, str] | None:
    """Return the names of the mixed parts; None where they cannot be told.

    texts: the parts that were given the same text, group by group.
    """
    groups = [[i for i in group if i in weights] for group in texts]
    groups = sorted((g for g in groups if g), key=lambda g: -sum(weights[i] for i in g))
    sums = [sum(weights[i] for i in g) for g in groups]
    if len(groups) > 2 or sums[0] <= SMALL or (len(groups) == 2 and sums[1] >= -SMALL):
        return None
    ours = sorted(groups[0], key=lambda i: -weights[i])
    named = {ours[0]: "cond"} | dict.fromkeys(ours[1:], "perturbed")
    if len(groups) == 1:
        return named
    others = groups[1]
    if len(others) == 1:
        return named | {others[0]: "uncond"}
    state = _inputs(parts[ours[0]])[0]
    true = [i for i in others if _is_same(_inputs(parts[i])[0], state)]
    if not true:
        return None
    named |= {i: "perturbed" for i in others if i not in true}
    if len(true) == 1:
        return named | {true[0]: "uncond"}
    blank = [i for i in true if _is_blank(_inputs(parts[i])[1])]
    if len(blank) != 1:
        return None
    return named | {i: "uncond" if i in blank else "image" for i in true}


def _mixed(
    goal: np.ndarray,
    columns: Mapping[int, np.ndarray],
    apart: Sequence[int],
    texts: Sequence[Sequence[int]],
    tolerance: float,
) -> list[int]:
    """Return the parts that the guided prediction cannot do without.

    A text's only pass stays, also where it hardly differs from another.
    """
    mixed = list(apart)
    weights, least = fit_weights(goal, [columns[i] for i in mixed])
    if weights is None:
        return mixed
    by_weight = dict(zip(mixed, np.abs(weights), strict=True))
    for i in sorted(apart, key=by_weight.get):
        group = next(g for g in texts if i in g)
        rest = [j for j in mixed if j != i]
        if len([j for j in group if j in mixed]) < 2 or not rest:
            continue
        _, left = (
            fit_weights(goal, [columns[j] for j in rest])
            if len(rest) > 1
            else _fit_one(goal, columns[rest[0]])
        )
        if left <= max(tolerance, 1.5 * least):
            mixed = rest
    return mixed


def _fit_one(goal: np.ndarray, column: np.ndarray) -> tuple[None, float]:
    weight = float(column @ goal) / (float(column @ column) or 1.0)
    return None, float(np.linalg.norm(goal - weight * column)) / (float(np.linalg.norm(goal)) or 1.0)


def _distinct(parts: Sequence[Part], columns: Mapping[int, np.ndarray]) -> tuple[list[int], bool]:
    """Return the parts whose predictions differ, and whether others were equal to one of them.

    Of equal ones that of the last pass stands for all: passes that only look ahead come before it.
    """
    apart: list[int] = []
    twins = False
    for i in sorted(columns, key=lambda i: (-_order(parts, i), i)):
        size = float(np.linalg.norm(columns[i]))
        if any(np.linalg.norm(columns[i] - columns[j]) <= SAME * size for j in apart):
            twins = True
        else:
            apart.append(i)
    return sorted(apart), twins


def _order(parts: Sequence[Part], i: int) -> int:
    """The place of a part's pass among the passes."""
    return next(k for k, part in enumerate(parts) if part.source is parts[i].source)


def _groups(parts: Sequence[Part], chosen: Sequence[int]) -> list[list[int]]:
    """Return the chosen parts in groups that were given the same text, or whatever else conditions them."""
    groups: list[list[int]] = []
    inputs = {i: _inputs(parts[i])[2] for i in chosen}
    if not any(inputs.values()):
        return [[i] for i in chosen]
    for i in chosen:
        group = next((g for g in groups if _is_same_dict(inputs[g[0]], inputs[i])), None)
        groups.append([i]) if group is None else group.append(i)
    return groups


def _inputs(part: Part) -> tuple[torch.Tensor | None, list[torch.Tensor], dict[str, torch.Tensor]]:
    """Return what a part was given: its state, what came beside the state as an image, and what conditions it.

    The image is what the denoiser's input has beyond the shape of its prediction: more channels, or more tokens.
    """
    source, rows = part.source, part.rows
    named = _by_name(source)
    sample = next((named[name] for name in _SAMPLE if name in named), None)
    if isinstance(sample, (list, tuple)):
        import torch

        taken = list(sample)[rows]
        sample = torch.stack(taken) if taken and len({t.shape for t in taken}) == 1 else None
    elif sample is not None:
        sample = sample[rows]
    image = []
    if sample is not None and part.prediction is not None and sample.ndim == part.prediction.ndim:
        for dim, size in enumerate(part.prediction.shape[1:], start=1):
            if sample.shape[dim] > size:
                image.append(sample.narrow(dim, size, sample.shape[dim] - size))
                sample = sample.narrow(dim, 0, size)
    conditions = {}
    for name, value in named.items():
        if name not in _SAMPLE and name not in _TIME and "residual" not in name:
            for path, tensor in _per_sample(name, value, len(source.output)):
                conditions[path] = tensor[rows]
    return sample, image, conditions


def _by_name(source: Pass) -> dict[str, Any]:
    """Return the arguments of a denoiser's call by name."""
    try:
        names = argument_names(source.module.forward)
    except (TypeError, ValueError, AttributeError):
        names = ()
    if len(names) < len(source.args) or (names and names[0] in ("args", "kwargs")):
        names = ("sample", "timestep", *(f"argument_{i}" for i in range(2, len(source.args))))
    return dict(zip(names, source.args, strict=False)) | dict(source.kwargs)


def _per_sample(name: str, value: Any, total: int) -> Iterator[tuple[str, Any]]:
    """Yield what an argument holds sample by sample: tensors (total, ...), and lists of a tensor for each sample."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.ndim and len(value) == total:
            yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _per_sample(f"{name}.{key}", inner, total)
    elif isinstance(value, (list, tuple)) and value:
        # A tuple of tensors is a pair that all samples share, such as (cos, sin) of rotary embeddings.
        if (
            isinstance(value, list)
            and len(value) == total
            and all(isinstance(v, torch.Tensor) for v in value)
        ):
            yield name, value
        else:
            for i, inner in enumerate(value):
                yield from _per_sample(f"{name}.{i}", inner, total)


def _given(parts: Sequence[Part]) -> tuple:
    """Return what the roles of a step hang on: its passes, and the very tensors that condition them."""
    passes = list(dict.fromkeys(id(part.source) for part in parts))
    sources = {id(part.source): part.source for part in parts}
    key = []
    for each in passes:
        source = sources[each]
        tensors = []
        for name, value in _by_name(source).items():
            if name not in _SAMPLE and name not in _TIME and "residual" not in name:
                for _, found in _per_sample(name, value, len(source.output)):
                    tensors += [(t, _version(t)) for t in (found if isinstance(found, list) else [found])]
        key.append((source.module, len(source.output), tuple(tensors)))
    return tuple(key)


def _is_same_key(a: tuple, b: tuple) -> bool:
    if len(a) != len(b):
        return False
    for (module, total, tensors), (other, size, others) in zip(a, b, strict=True):
        if module is not other or total != size or len(tensors) != len(others) or not tensors:
            return False
        if any(v != w or not is_same_memory(t, o) for (t, v), (o, w) in zip(tensors, others, strict=True)):
            return False
    return True


def is_same_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are one, or views of the same numbers: pipelines cut the same text anew at each step."""
    if a is b:
        return True
    if not is_in_memory(a) or not is_in_memory(b) or a.device != b.device or a.data_ptr() != b.data_ptr():
        return False
    return (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def _version(tensor: torch.Tensor) -> int:
    # Tensors of inference mode count no writes.
    return 0 if tensor.is_inference() else tensor._version


def _is_same_dict(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(_is_same(a[name], b[name]) for name in a)


def _is_same(a: Any, b: Any) -> bool:
    import torch

    if isinstance(a, list) or isinstance(b, list):
        return (
            isinstance(a, list)
            and isinstance(b, list)
            and len(a) == len(b)
            and all(_is_same(x, y) for x, y in zip(a, b, strict=True))
        )
    if a is None or b is None or a.shape != b.shape or a.device != b.device:
        return False
    return a is b or bool(torch.equal(a, b))


def _is_blank(images: Sequence[torch.Tensor]) -> bool:
    return bool(images) and not any(bool(image.any()) for image in images)


def _flat(tensor: torch.Tensor) -> np.ndarray:
    """Return numbers of a tensor, at most about `FITTED` of them and evenly over it, as float64."""
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // FITTED)].double().cpu().numpy()


def _tolerance(tensor: torch.Tensor) -> float:
    return HALF_ROUNDING if tensor.element_size() < 4 else ROUNDING


def _sign(a: torch.Tensor, b: torch.Tensor) -> float:
    """-1 where one is the other negated."""
    return -1.0 if float(_flat(a) @ _flat(b)) < 0 else 1.0
