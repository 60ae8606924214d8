"""Why did it fail: failure of a bench's images against what the geometry of their runs says.

::

    cases = cases_of(bench, library)
    found = why(list(measure(cases)))
    print(*(line.sentence for line in found.lines), sep="\\n")
    explain(cases[3], cases)
"""

from diffatlas.bench.why.case import Case
from diffatlas.bench.why.explained import Beside, Explained, Opening, explain, explained
from diffatlas.bench.why.gathered import Line, Why, why
from diffatlas.bench.why.measured import MeasuredPrompt, measure, measure_prompt
from diffatlas.bench.why.measures import MEASURES, Measure
from diffatlas.bench.why.of_bench import cases_of

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
    "cases_of",
    "explain",
    "explained",
    "measure",
    "measure_prompt",
    "why",
]
