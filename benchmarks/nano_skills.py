"""What a nano policy can do, skill by skill, on clips that it was never trained on.

    python benchmarks/nano_skills.py CHECKPOINT EPISODES [--n 1000]

CHECKPOINT: a folder, or `nano`, the one that comes with the package. EPISODES: a store of trajectories of the
kind `closer`, whose beginnings the rows go on from, made with that checkpoint as --model. Unknown typefaces
are those whose texts are never learnt; labels that a search passed by may have been in them.

Promises: each token is said greedily after the right ones before it; intervals are Wilson's, of 95 %. The
last line is JSON. Chance for the frame is one in eight.
Does not: follow a wrong token. `r4 eval textworld --level 0 --policy nano` runs whole episodes.
"""

import argparse
import json
from pathlib import Path

from r4agent.engines import cpu

cpu.prepare()

from r4agent.evaluation.statistics import mean  # noqa: E402
from r4agent.evaluation.subject import machine  # noqa: E402
from r4agent.policy.nano import nano_checkpoint  # noqa: E402
from r4agent.training.nano.school import enter  # noqa: E402


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("checkpoint")
    made.add_argument("episodes", type=Path)
    made.add_argument("--n", type=int, default=1000)
    made.add_argument("--frames", type=Path, default=Path("nano/frames"), help="drawn there unless they are")
    given = made.parse_args()
    checkpoint = str(nano_checkpoint()) if given.checkpoint == "nano" else given.checkpoint
    school = enter(
        checkpoint, given.episodes, given.frames, clips=20, held=given.n // 8
    )  # a frame a question
    told = {}
    for name, values in school.score(given.n).items():
        value, low, high = mean(values)[:3]
        print(f"{name:26} {100 * value:5.1f} %  {100 * low:5.1f} to {100 * high:5.1f}  n = {len(values)}")
        told[name] = {"mean": round(value, 4), "ci95": [round(low, 4), round(high, 4)], "n": len(values)}
    print(json.dumps({"machine": machine(), **told}))


if __name__ == "__main__":
    main()
