"""The nano policy's table: does looking again help, what does each stage add, and is it the looking?

    python benchmarks/nano_table.py SCHOOL RUN SINGLE FORM --n 500 --seed 71 --out nano/table

SCHOOL: the checkpoint that comes out of school. RUN: the folder of the nano curriculum's run, whose last
stage is the policy that ships. SINGLE, FORM: checkpoints of the single pass and of the form alone. Rows:

    single pass                     SINGLE, which never learnt to look, on the overview
    single pass at equal pixels     SINGLE, on an overview of as many image tokens as the shipped policy used
    school, drp-sft, rl-d, …        rumination after each stage
    random crop, blank crop         the shipped policy; what it asks for is shown elsewhere, or blank
    no tool                         the shipped policy, its calls refused
    form alone                      FORM, which was taught the form of episodes from random weights

Promises: each row is real vLLM through the product's graph, on the same questions, by `r4 eval` (equal
pixels: by what it is made of); two rows at a time. Killed and run again, it goes on. The last line is JSON:
{row: {exact_match, anls, ci95, n}}.
Does not: train.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from r4agent.evaluation import Results, of_textworld, summary
from r4agent.evaluation.asker import Asker
from r4agent.evaluation.subject import Subject, equal_pixels, machine
from r4agent.log import Log
from r4agent.policy.chat import ChatR4

AT_ONCE = 2
CONTROLS = ("random crop", "blank crop", "no tool")
MOST = 150  # tokens of a reply


def main() -> None:
    given = _arguments()
    rows, last = _rows(given)
    print(f"{machine()}; {given.n} questions of world {given.seed}", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {name: pool.submit(_eval, given, name, *row) for name, row in rows.items()}
        table = {name: done.result() for name, done in waiting.items()}
    one, equal = "single pass", "single pass at equal pixels"
    table = {one: table.pop(one), equal: _equal(given, equal, last)} | table
    print(f"\n{'':30} exact match, %          ANLS   n")
    for name, cell in table.items():
        low, high = (100 * v for v in cell["ci95"])
        exact = f"{100 * cell['exact_match']:5.1f} ({low:4.1f} to {high:4.1f})"
        print(f"{name:30} {exact:22} {cell['anls']:.3f} {cell['n']:4}")
    print(json.dumps(table))


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("school", "run", "single", "form"):
        made.add_argument(name, type=Path)
    made.add_argument("--n", type=int, default=500)
    made.add_argument("--seed", type=int, default=71)
    made.add_argument("--out", type=Path, default=Path("nano/table"), help="folder of results")
    return made.parse_args()


def _rows(given: argparse.Namespace) -> tuple[dict[str, tuple[Path, list[str]]], str]:
    """Of each row a checkpoint and what else is said to `r4 eval`; and the name of the last stage."""
    stages = {path.parent.name[3:]: path for path in sorted(given.run.glob("[0-9][0-9]-*/checkpoint"))}
    if not stages:
        sys.exit(f"{given.run}: no stage has ended there; run `r4 train` first")
    last = list(stages)[-1]
    rows = {
        "single pass": (given.single, ["--single-pass"]),
        "school": (given.school, []),
        **{name: (checkpoint, list[str]()) for name, checkpoint in stages.items()},
        **{control: (stages[last], ["--control", control.replace(" ", "-")]) for control in CONTROLS},
        "form alone": (given.form, []),
    }
    return rows, last


def _eval(given: argparse.Namespace, name: str, checkpoint: Path, more: list[str]) -> dict[str, Any]:
    said = [sys.executable, "-m", "r4agent", "eval", "textworld", "--level", "0", "--n", str(given.n)]
    said += ["--seed", str(given.seed), "--model", str(checkpoint), "--engine", "vllm", *more]
    said += ["--model-arg", f"max_tokens={MOST}", "--out", str(_folder(given, name)), "--resume", "--json"]
    log = _folder(given, name) / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as errors:
        done = subprocess.run(said, stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode or not done.stdout:
        sys.exit(f"{name}: r4 eval failed ({done.returncode}); {log} says why")
    cell = _cell(json.loads(done.stdout.splitlines()[-1]))
    print(f"{name}: {cell}", flush=True)
    return cell


def _cell(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "exact_match": told["exact_match"],
        "anls": told["anls"],
        "ci95": told["ci95"]["exact_match"],
        "n": told["n"],
    }


def _folder(given: argparse.Namespace, name: str) -> Path:
    return Path(given.out) / name.replace(" ", "-")


def _equal(given: argparse.Namespace, name: str, last: str) -> dict[str, Any]:
    """SINGLE, each question with the image tokens that the shipped policy used on it."""
    ruminated = Results.read(max(_folder(given, last).glob("*.jsonl")))
    costs = {row.id: row for row in ruminated.rows}
    subject = Subject(ChatR4(model=str(given.single), engine="vllm", max_tokens=MOST), single_pass=True)
    path = _folder(given, name) / "results.jsonl"
    asker = Asker(subject, path)
    Log(path).once("results", ruminated.header | {"config": subject.config(asker.reader.name)})
    there = {row.id for row in Results.read(path).scored}
    for item in of_textworld(0, given.n, given.seed).items:
        if item.id not in there:
            asker.ask(item, equal_pixels(costs[item.id], subject.budget, subject.speaks))
    cell = _cell(summary(Results.read(path)))
    print(f"{name}: {cell}", flush=True)
    return cell


if __name__ == "__main__":
    main()
