"""Studies that play to their end on made-up backends, for the tests of running a study."""

from diffatlas.events import Failed
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.studies.run import StudyChanged, run_study
from tests.studies.fake_backends import TOTAL

BASE = GenerationParams(prompt="a red circle", seed=3, num_inference_steps=TOTAL, width=64, height=64)
BROKEN = Failed("backend_failure", "It broke.", "seed")


def seeds(values="1 2 3", lanes=(), base=BASE, **options):
    return plan_sweep(base, "seed", values, lanes=lanes, **options)


def two_lanes(values="1 2 3", **options):
    return seeds(values, [{"backend": "other"}], **options)


def play(study, backends, library, **options):
    """Run a study to its end; returns the events and the study as it is then."""
    if not isinstance(backends, dict):
        backends = dict.fromkeys(("local", "other"), backends)
    events = [*run_study(study, backends.__getitem__, library, **options)]
    assert isinstance(events[0], StudyChanged)
    assert isinstance(events[-1], StudyChanged)
    assert library.studies.open(study.id) == events[-1].study
    return events, events[-1].study


def statuses(study, lane="a"):
    return [cell.status for cell in study.in_lane(lane)]


def of(events, kind, key=None):
    return [e for e in events if isinstance(e, kind) and key in (None, e.key)]
