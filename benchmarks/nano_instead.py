"""Does GRPO help? What a stage of it gained, beside as many minutes more of the SFT that came before it.

    python benchmarks/nano_instead.py examples/curricula/nano.yaml --out nano/instead

The curriculum's run has ended. For each of its stages of GRPO, the stage of SFT before it goes on, from the
same checkpoint, with other samples, for as many steps as the seconds of GRPO allow at what a step of that
SFT took. Both are asked the curriculum's own questions; differences are of the same questions.

Promises: seconds are those of training steps, with their rollouts; what it takes to start is in neither.
Killed and run again, it goes on. The last line is JSON: {stage: {steps, seconds, n, before, grpo, sft, …,
tools}}; before, grpo, sft and their differences are [exact match, low, high].
Does not: choose settings; the best of either may be others.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r4agent.evaluation import Results, compare
from r4agent.evaluation.subject import machine
from r4agent.progress import counter
from r4agent.training import recorder
from r4agent.training.curriculum import Curriculum, Grpo, Sft
from r4agent.training.outcomes import evaluated
from r4agent.training.stages import run

TOOLS = ("reward", "accuracy", "evidence_recall", "tool_rate", "failure_rate", "repeat_rate", "turns")
FEW = 3  # steps, of which the first and last of a stage are told


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("curriculum", type=Path)
    made.add_argument("--out", type=Path, default=Path("nano/instead"))
    given = made.parse_args()
    curriculum = Curriculum.read(given.curriculum)
    told = {}
    for number, stage in enumerate(curriculum.stages, start=1):
        if isinstance(stage, Grpo):
            told[stage.name] = instead(curriculum, number, given.out)
            print(f"{stage.name}: {told[stage.name]}", flush=True)
    print(json.dumps({"machine": machine(), **told}))


def instead(curriculum: Curriculum, number: int, out: Path) -> dict[str, Any]:
    """Of one stage of GRPO."""
    stage, before = curriculum.stages[number - 1], curriculum.stages[max(number - 2, 0)]
    if not isinstance(before, Sft):
        sys.exit(f"{stage.name}: no stage of SFT comes before it")
    folder, start = curriculum.folder(number), curriculum.folder(number - 1)
    first, grpo = (_asked(curriculum, one) for one in (start, folder))  # both are there, or no use to train
    lines, own = recorder.read(folder / "metrics.jsonl"), recorder.read(start / "metrics.jsonl")
    taken = seconds(lines)
    steps = round(taken / (seconds(own) / own[-1]["step"]))
    longer = before.model_copy(update={"name": "sft", "settings": before.settings | {"max_steps": steps}})
    changes = {"model": str(start / "checkpoint"), "out": out / stage.name, "stages": (longer,)}
    more = curriculum.model_copy(update=changes | {"seed": curriculum.seed + 1, "evaluation": None})
    [done] = run(more, resume=True, watch=counter)
    return {
        "steps": {"grpo": lines[-1]["step"], "sft": steps},
        "seconds": {
            "grpo": round(taken),
            "sft": round(seconds(recorder.read(done.folder / "metrics.jsonl"))),
        },
        **_differences(first, grpo, _asked(curriculum, done.folder)),
        "tools": {"first": tools(lines[:FEW]), "last": tools(lines[-FEW:])},
    }


def _asked(curriculum: Curriculum, folder: Path) -> Results:
    """The curriculum's questions of the checkpoint in a stage's folder."""
    results = evaluated(curriculum, str(folder / "checkpoint"), folder, counter)
    if results is None or not results.finished:
        sys.exit(f"{folder}: its evaluation has no results, or failed ones; the curriculum needs one")
    return results


def seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    return sum(line["seconds"] for line in lines)


def _differences(before: Results, grpo: Results, sft: Results) -> dict[str, Any]:
    """Exact match of each, and what each of them is better by, all with their intervals."""
    first, second = (compare(before, other)["metrics"]["exact_match"] for other in (grpo, sft))
    between = compare(sft, grpo)["metrics"]["exact_match"]
    return {
        "n": len(before.scored),
        "before": _cell(first, "a"),
        "grpo": _cell(first, "b"),
        "sft": _cell(second, "b"),
        "grpo - before": _cell(first, "difference"),
        "sft - before": _cell(second, "difference"),
        "grpo - sft": _cell(between, "difference"),
    }


def _cell(found: Mapping[str, Any], name: str) -> list[float]:
    return [round(value, 4) for value in (found[name], *found["ci95"][name])]


def tools(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over a few steps."""
    known = {name: [line[name] for line in lines if name in line] for name in TOOLS}  # some steps lack one
    return {name: round(fmean(values), 4) for name, values in known.items() if values}


if __name__ == "__main__":
    main()
