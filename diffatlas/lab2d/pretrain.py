"""Train the starts that ship, one for each preset: ``python -m diffatlas.lab2d.pretrain``."""

from __future__ import annotations

import json

from diffatlas.lab2d.floors import excess
from diffatlas.lab2d.states import PRETRAINED, to_json
from diffatlas.lab2d.targets import PRESETS
from diffatlas.lab2d.training import Recipe, Trainer

STEPS = 20_000


def main() -> None:
    """Train, print how far above the floor each is, and write ``pretrained/<preset>.json``."""
    PRETRAINED.mkdir(exist_ok=True)
    for name, make in PRESETS.items():
        trainer = Trainer(make(), Recipe(steps=STEPS))
        trainer.run(STEPS)
        model = trainer.learned()
        known, hidden = (
            excess(model, trainer.target, trainer.schedule, given, n=4000) for given in (True, False)
        )
        print(f"{name:16} excess {known.relative:.2%} with class, {hidden.relative:.2%} without", flush=True)
        kept = to_json(trainer)
        # The average is what samples. The rest is for going on to the bit, which a start need not.
        kept["weights"] = {"average": kept["weights"]["average"], "early": kept["weights"]["early"]}
        kept["losses"] = None
        (PRETRAINED / f"{name}.json").write_text(json.dumps(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
