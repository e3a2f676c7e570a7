"""The yardstick: how much of what answers a question is seen, and read, at which cost.

Four ways to look, all with the embedded reader as policy: eight uniform frames of 448² pixels, eight and
thirty-two uniform native frames (each one look, no tools), and rumination. Asked of the development
questions on real recordings (`../shared/videos`; skipped, and said so, when the folder is not there) and of
sixty clips of the text world: twenty each of levels 0, 2 and 3.

    python benchmarks/devset.py [--workers W]

It takes an hour or two; what is done is kept under $R4_HOME/devset, and the same command goes on. Text that
was read once is not read again, but counts with the seconds it took. Evidence recall needs no reader: a
picture given to the policy shows the answer's box at its moment, at least 10 pixels high (docs/metrics.md).

Ends with one line of JSON: {mode: {evidence_recall, exact_match, anls, decoded_frames, megapixels, seconds,
statuses, textworld: {…}}}, the first figures over the recordings, costs as means of a question.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from r4agent.budget import Budget
from r4agent.evaluation import Questions, Subject, evaluate, of_file, of_textworld, summary
from r4agent.media.store import home
from r4agent.progress import counter

VIDEOS = Path(__file__).resolve().parents[2] / "shared" / "videos" / "qa.jsonl"
LEVELS, CLIPS, SEED = (0, 2, 3), 20, 1
NATIVE = dict.fromkeys(("image_tokens", "overview_tokens", "picture_tokens"), 1_000_000)

MODES = {
    "8 frames at 448": Subject(single_pass=True, budget=Budget(overview_tokens=448 * 448 // 28**2)),
    "8 native frames": Subject(single_pass=True, budget=Budget(**NATIVE)),
    "32 native frames": Subject(single_pass=True, budget=Budget(images=32, overview_images=32, **NATIVE)),
    "rumination": Subject(),
}
METRICS = ("evidence_recall", "exact_match", "anls")
COSTS = ("decoded_frames", "megapixels", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    workers = parser.parse_args().workers
    sets = [of_textworld(level, CLIPS, SEED) for level in LEVELS]
    if VIDEOS.exists():
        sets.insert(0, of_file(VIDEOS))
    else:
        print(f"{VIDEOS} is not there: the recordings are skipped")
    line: dict[str, dict[str, Any]] = {}
    for mode, subject in MODES.items():
        figures = {questions.name: measured(questions, subject, workers) for questions in sets}
        for name, found in figures.items():
            print(
                f"{mode:<18}{name:<22}{found['n']:>4} "
                + "  ".join(f"{k} {found[k]:.3f}" for k in METRICS + COSTS)
            )
        world = {name: found for name, found in figures.items() if name != VIDEOS.name}
        line[mode] = figures.get(VIDEOS.name, {}) | {"textworld": world}
    print(json.dumps(line))


def measured(questions: Questions, subject: Subject, workers: int) -> dict[str, Any]:
    """The figures of one way to look on one set of questions."""
    with counter(questions.name) as step:
        results = evaluate(
            questions, subject, out=home() / "devset", resume=True, workers=workers, progress=step
        )
    found = summary(results)
    if found["failed"]:
        raise SystemExit(f"{found['failed']} questions of {results.path} failed; run the command again")
    means = {key: found[key] for key in METRICS} | {key: found["cost"][key] for key in COSTS}
    return {"n": found["n"], **means, "ci95": found["ci95"]["exact_match"], "statuses": found["statuses"]}


if __name__ == "__main__":
    main()
