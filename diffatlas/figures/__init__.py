"""What is drawn of runs and studies, as Plotly figures: one figure a file, with all that is seen in it.

Everything numerical comes from `diffatlas.geometry`, `diffatlas.measured`, `diffatlas.lab2d`, `diffatlas.bench` or from
what a study's measures are; nothing here runs a model, and nothing here knows a page::

    from diffatlas import Library, figures

    figures.curves(Library().open("20260131-120000-1a2b3c4d"))
"""

from diffatlas.figures.agreement import agreement
from diffatlas.figures.attention_curves import attention_curves
from diffatlas.figures.attention_divergence import attention_divergence
from diffatlas.figures.attention_objects import attention_objects, attention_seeds
from diffatlas.figures.attention_words import attention_words
from diffatlas.figures.bench_agreement import bench_agreement
from diffatlas.figures.bench_audit import bench_audit
from diffatlas.figures.bench_compared import bench_compared
from diffatlas.figures.bench_difficulty import bench_difficulty
from diffatlas.figures.bench_rates import bench_rates
from diffatlas.figures.bench_seeds import bench_seeds
from diffatlas.figures.bench_why import bench_why, bench_why_measure
from diffatlas.figures.budget import budget
from diffatlas.figures.comparison import comparison
from diffatlas.figures.curves import curves
from diffatlas.figures.density import density
from diffatlas.figures.departure import departure
from diffatlas.figures.distances import distances
from diffatlas.figures.drift import drift
from diffatlas.figures.field import field
from diffatlas.figures.figure import CONFIG, Figure, page
from diffatlas.figures.growth import growth
from diffatlas.figures.guidance_by_step import guidance_by_step
from diffatlas.figures.histograms import histograms
from diffatlas.figures.loss import loss
from diffatlas.figures.map import map
from diffatlas.figures.memory import memory
from diffatlas.figures.path import path
from diffatlas.figures.picture_values import picture_values
from diffatlas.figures.quality import quality

__all__ = [
    "CONFIG",
    "Figure",
    "agreement",
    "attention_curves",
    "attention_divergence",
    "attention_objects",
    "attention_seeds",
    "attention_words",
    "bench_agreement",
    "bench_audit",
    "bench_compared",
    "bench_difficulty",
    "bench_rates",
    "bench_seeds",
    "bench_why",
    "bench_why_measure",
    "budget",
    "comparison",
    "curves",
    "density",
    "departure",
    "distances",
    "drift",
    "field",
    "growth",
    "guidance_by_step",
    "histograms",
    "loss",
    "map",
    "memory",
    "page",
    "path",
    "picture_values",
    "quality",
]
