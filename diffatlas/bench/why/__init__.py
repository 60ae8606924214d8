"""Why did it fail: failure of a bench's images against what the geometry of their runs says.

::

    cases = [Case(task, number, library.open(run_id), failed) for ...]
    found = why(list(measure(cases)))
    print(*(line.sentence for line in found.lines), sep="\\n")
    explain(cases[3], cases)
"""

from diffatlas.bench.why.case import Case
from diffatlas.bench.why.explained import Beside, Explained, Opening, explain, explained
from diffatlas.bench.why.gathered import Line, Why, why
from diffatlas.bench.why.measured import MeasuredPrompt, measure, measure_prompt
from diffatlas.bench.why.measures import MEASURES, Measure

__all__ = [
    "MEASURES",
    "Beside",
    "Case",
    "Explained",
    "Line",
    "Measure",
    "MeasuredPrompt",
    "Opening",
    "Why",
    "explain",
    "explained",
    "measure",
    "measure_prompt",
    "why",
]
