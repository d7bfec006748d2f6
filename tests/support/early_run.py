"""A run that ends early after its fourth evaluation, alone or through torchrun; see test_distributed.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import hivlp.train.run as run_module
from micro import micro_run, model_values

AVERAGES = (1.0, 5.0, 2.0, 3.0)  # of the evaluations after the first four steps


def ended_early(out: Path) -> dict[str, Any]:
    """Two evaluations without a better one end it at step 4 of 6, with the weights of step 2. No dropout."""
    text = {**model_values()["text"], "dropout": 0.0}
    text["options"] = {**text["options"], "hidden_dropout_prob": 0.0}
    config = micro_run(
        model=model_values(text=text),
        steps=6,
        evaluate_every=1,
        early_stopping={"patience": 2},
        batch_size=6,
    )
    averages = iter(AVERAGES)
    evaluate = run_module._evaluate

    def made_up(*arguments: Any) -> list[dict[str, Any]]:
        return [{**result, "AR": next(averages, 0.0)} for result in evaluate(*arguments)]

    with (
        mock.patch.object(run_module, "_evaluate", made_up),
        mock.patch.object(run_module, "export"),
        mock.patch.object(run_module.curves, "draw", return_value=None),
    ):
        return run_module.run(config, out=out)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    document = ended_early(folder)
    (folder / f"ended-{os.environ['RANK']}.json").write_text(json.dumps(document), encoding="utf-8")
