"""How long the stages of a run took, and what GRPO's rollouts were like at its beginning and its end.

    python benchmarks/nano_steps.py nano/run nano/more

Promises: a line of JSON for each stage: its seconds (as nano_when.py counts them) and, where rollouts were
sampled, the means of the first and the last five steps.
Does not: say what a stage is worth; nano_table.py asks it questions.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from nano_when import seconds

from r4agent.training import recorder

AT_EACH_END = 5  # steps
OF_ROLLOUTS = ("reward", "accuracy", "tool_rate", "failure_rate", "cut")


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("runs", type=Path, nargs="+")
    for run in made.parse_args().runs:
        for path in sorted(run.glob("[0-9][0-9]-*/metrics.jsonl")):
            lines = recorder.read(path)
            told: dict[str, Any] = {"stage": str(path.parent), "seconds": round(seconds(lines))}
            if "reward" in lines[0]:
                for name in OF_ROLLOUTS:
                    ends = (lines[:AT_EACH_END], lines[-AT_EACH_END:])
                    told[name] = [round(fmean(line[name] for line in end), 3) for end in ends]
            print(json.dumps(told))


if __name__ == "__main__":
    main()
