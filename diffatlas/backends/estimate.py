"""How long a request will take here and what memory it will need, from what runs on this machine have taken.

With the area A of the picture in units of the model's own size, and R rows in the batch of a pass (the images, twice
where guidance is on), a pass of the denoiser is taken to cost::

    seconds = fixed + R (linear A + quadratic A^2) / rate

``linear`` and ``quadratic`` are the FLOPs of one row at the model's own size: those of convolutions and of layers on
tokens, and those of self-attention, where every place looks at every other. They are counted in a real pass
(`diffatlas.backends.between`); ``fixed`` and ``rate`` are fitted to passes that were timed. The decoder is taken to
cost the same seconds, and each of the two the same bytes, for every pixel.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from diffatlas.capture.spec import Capture
from diffatlas.params import GenerationParams

#: Timed passes that are kept of each area; the estimate goes by their median, and by the fastest ever.
KEPT = 8
#: Schedulers that ask the denoiser twice a step.
_TWICE = ("heun", "flow_heun")
#: Guidance methods that add a row to the batch, or a pass of one row.
_MORE_ROWS = ("pag", "slg")
#: Reading the maps of attention between places makes every probability a second time: about so many times the
#: attention's own work for an image (docs/attention.md).
_READING = 2.0


#: What a process holds for each byte of a tensor that is alive: kernels work in memory of their own, and what is freed
#: is not given back at once (benchmarks/estimates.py).
_HELD = 2.0


@dataclass(frozen=True)
class Work:
    """FLOPs of one call of a module, a row of its batch: in all by how they grow, and of its largest layers."""

    linear: float
    quadratic: float
    largest_linear: float
    largest_quadratic: float

    def per_area(self, area: float) -> Work:
        """Return what the work is at area 1 where it was counted at ``area``."""
        return Work(
            self.linear / area,
            self.quadratic / area**2,
            self.largest_linear / area,
            self.largest_quadratic / area**2,
        )

    def at(self, area: float) -> float:
        """Return the FLOPs at an area, which is 1 where they were counted."""
        return self.linear * area + self.quadratic * area**2

    def largest_at(self, area: float) -> float:
        """Return the FLOPs of the layer that has most to do at an area."""
        return max(self.largest_linear * area, self.largest_quadratic * area**2)


@dataclass(frozen=True)
class Memory:
    """Bytes of tensors that are alive at once: of a pass, a row at area 1; and of decoding one picture at area 1."""

    row: float
    picture: float


@dataclass(frozen=True)
class Estimate:
    """What a request is expected to take.

    seconds: from the first pass to the picture. memory: bytes besides the model, None where it was not measured.
    layer: seconds of the longest layer, in which nothing can be stopped. size, own: width and height in pixels, asked
    for and of the model. alone: seconds where nothing else uses the machine, by the fastest passes that were timed;
    None as ``seconds``. ``layer`` goes by these too.
    """

    seconds: float
    memory: int | None
    layer: float
    size: tuple[int, int]
    own: tuple[int, int]
    alone: float | None = None

    @property
    def work(self) -> float:
        """Seconds that this takes of the machine, however busy it is with other work meanwhile."""
        return self.seconds if self.alone is None else self.alone

    @property
    def larger(self) -> bool:
        """Whether the picture has more pixels than those that the model was made for."""
        return self.size[0] * self.size[1] > self.own[0] * self.own[1]


@dataclass
class Pace:
    """What was measured of one model. ``own``: its own width and height."""

    own: tuple[int, int]
    work: Work | None = None
    decoder_work: Work | None = None
    memory: Memory | None = None
    #: By area and rows: seconds of a pass. And by area: seconds of decoding one picture.
    passes: dict[tuple[float, int], deque[float]] = field(default_factory=dict)
    decodings: dict[float, deque[float]] = field(default_factory=dict)
    #: The least of all that were ever noted, by the same.
    fastest_passes: dict[tuple[float, int], float] = field(default_factory=dict)
    fastest_decodings: dict[float, float] = field(default_factory=dict)

    def area(self, width: int, height: int) -> float:
        """Return an area in units of the model's own size."""
        return width * height / (self.own[0] * self.own[1])

    def note_pass(self, area: float, rows: int, seconds: float) -> None:
        """Keep the time of a pass."""
        self.passes.setdefault((area, rows), deque(maxlen=KEPT)).append(seconds)
        self.fastest_passes[area, rows] = min(seconds, self.fastest_passes.get((area, rows), seconds))

    def note_decoding(self, area: float, seconds: float) -> None:
        """Keep the time of decoding one picture."""
        self.decodings.setdefault(area, deque(maxlen=KEPT)).append(seconds)
        self.fastest_decodings[area] = min(seconds, self.fastest_decodings.get(area, seconds))

    def fitted(self, fastest: bool = False) -> tuple[float, float] | None:
        """Return (seconds of any pass, seconds a FLOP), of late or at the fastest; None where nothing was timed."""
        if self.work is None or not self.passes:
            return None
        late = {key: statistics.median(t) for key, t in self.passes.items()}
        times = self.fastest_passes if fastest else late
        return fit({rows * self.work.at(area): t for (area, rows), t in times.items()})

    def estimate(self, params: GenerationParams, capture: Capture) -> Estimate | None:
        """Return what a request should take; None where too little was measured."""
        late, fastest = self.fitted(), self.fitted(fastest=True)
        if late is None or fastest is None or self.work is None:
            return None
        width, height = params.width or self.own[0], params.height or self.own[1]
        area, images = self.area(width, height), params.num_images_per_prompt
        rows = rows_of(params)
        flops = rows * self.work.at(area)
        reading = _read_share(capture) * images * self.work.quadratic * area**2 * _READING
        pictures = images * (1 + previews_of(params, capture))

        def seconds(fit: tuple[float, float], decoding: float) -> float:
            return passes_of(params) * (fit[0] + fit[1] * (flops + reading)) + pictures * decoding

        # Of one picture.
        decoding = alone = 0.0
        if self.decodings:
            decoding = area * statistics.median(median_by_area(self.decodings))
            alone = area * min(t / at for at, t in self.fastest_decodings.items())
        layer = fastest[1] * rows * self.work.largest_at(area)
        if self.decoder_work is not None and self.decoder_work.at(1):
            share = self.decoder_work.largest_at(area) / self.decoder_work.at(area)
            layer = max(layer, images * alone * share)
        memory = None
        if self.memory is not None:
            memory = int(_HELD * area * max(rows * self.memory.row, images * self.memory.picture))
        return Estimate(
            seconds(late, decoding), memory, layer, (width, height), self.own, seconds(fastest, alone)
        )


def fit(times: Mapping[float, float]) -> tuple[float, float]:
    """Return (fixed, slope), neither negative, for which ``fixed + slope * flops`` is nearest to ``times`` by FLOPs.

    Nearest in the sum of the squares of the relative errors, so that a small time counts as much as a large one.
    """
    # Weighted least squares with weights 1 / t^2, written out for two unknowns.
    s = [(1 / t**2, x, t) for x, t in times.items() if t > 0]
    w, wx, wxx = (sum(a * x**k for a, x, _ in s) for k in range(3))
    wt, wxt = sum(a * t for a, _, t in s), sum(a * x * t for a, x, t in s)
    determinant = w * wxx - wx**2
    if len(s) > 1 and determinant > 1e-9 * w * wxx:
        fixed, slope = (wt * wxx - wxt * wx) / determinant, (w * wxt - wx * wt) / determinant
        if fixed >= 0 and slope > 0:
            return fixed, slope
        if slope <= 0:
            # Too fast for the work to be seen: all of it is taken to be work, which is not too little.
            return 0.0, max(t / x for _, x, t in s)
    return 0.0, wxt / wxx


def median_by_area(times: Mapping[float, deque[float]]) -> list[float]:
    """Return the seconds of decoding at area 1 that each area amounts to."""
    return [statistics.median(t) / area for area, t in times.items()]


def rows_of(params: GenerationParams) -> int:
    """Return how many rows a step has to pass: the images, those without the prompt, and those of a method."""
    each = 1 + params.guided + (params.guidance_method in _MORE_ROWS)
    return params.num_images_per_prompt * each


def passes_of(params: GenerationParams) -> int:
    """Return how often the denoiser is asked."""
    steps = params.num_inference_steps
    strength = (params.extra or {}).get("strength")
    if params.inputs and isinstance(strength, (int, float)):
        steps = max(1, int(steps * min(1.0, strength)))
    return steps * 2 if params.scheduler in _TWICE else steps


def previews_of(params: GenerationParams, capture: Capture) -> int:
    """Return how many previews the decoder makes."""
    if capture.previews == "off" or capture.preview_decoder != "vae":
        return 0
    every = 1 if capture.previews == "every" else int(capture.previews)
    return -(-params.num_inference_steps // every)


def _read_share(capture: Capture) -> float:
    """Return of how many of the steps the attention between places is read."""
    return 1 / capture.attention_every if capture.attention in ("self", "all") else 0.0
