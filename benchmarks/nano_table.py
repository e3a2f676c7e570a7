"""The nano policy's table: does looking again help, what does each stage add, and is it the looking?

    python benchmarks/nano_table.py SCHOOL RUN SINGLE FORM --n 500 --seed 74 --out nano/table

SCHOOL: the checkpoint that comes out of school. RUN: the folder of the nano curriculum's run. SINGLE, FORM:
checkpoints of nano_single.yaml and nano_form.yaml. --of NAME: the policy that the controls are of, `school`
or a stage; else the last stage. --rows NAMES: only these, that policy, and where pixels are to be equal the
single pass; checkpoints of no such row may be missing. Rows:

    single pass                     SINGLE, taught after the same school to answer at once, on the overview;
                                    its calls, should it make any, are refused
    single pass at equal pixels     SINGLE, its eight pictures of the least size that it was taught with that
                                    makes them together at least as many image tokens as that policy used on
                                    the question
    school, drp-sft, rl-d, …        rumination after each stage
    random crop, blank crop         that policy; what it asks for is shown elsewhere, or blank
    no tool                         that policy, its calls refused
    form alone                      FORM, which had SFT on episodes of that form, and no school

Promises: each row is real vLLM through the product's graph, on the same questions, by `r4 eval` (equal
pixels: by the function that it calls). Killed and run again, it goes on; another checkpoint in the same
place is another run.
The last line is JSON: {row: {exact_match, anls, ci95, n, evidence_hit, image_tokens, answered}}; the last
three are the share of questions whose answer names the right place, a question's image tokens, and how many
ended with an answer.
Does not: train. "no tool" shows a policy errors that it never met: it measures whether it still answers.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nano_single import SIZES

from r4agent.budget import Budget
from r4agent.engines import Checkpoint
from r4agent.evaluation import Results, evaluate, of_textworld, summary
from r4agent.evaluation.subject import Subject, machine
from r4agent.geometry import QWEN2_5_VL, Size
from r4agent.policy.chat import ChatR4

SINGLE, EQUAL = "single pass", "single pass at equal pixels"
CONTROLS = ("random crop", "blank crop", "no tool")
ONCE = "no-tool"  # SINGLE is taught to call none; a call that it makes shows it nothing
MOST = 150  # tokens of a reply


class Row(NamedTuple):
    """A checkpoint, and what else is said to `r4 eval`."""

    checkpoint: Path
    more: Sequence[str] = ()


def main() -> None:
    given = _arguments()
    rows, of = _rows(given)
    print(f"{machine()}; {given.n} questions of world {given.seed}", flush=True)
    told = {name: _eval(given, name, row) for name, row in rows.items()}
    table = {name: _cell(figures) for name, figures in told.items()}
    if EQUAL in given.rows:
        equal = _equal(given, Results.read(Path(told[of]["results"])))
        table = {SINGLE: table.pop(SINGLE), EQUAL: equal, **table}
    print(f"\n{'':30} exact match, %          ANLS   right place  image tokens  answered  n")
    for name, cell in table.items():
        low, high = (100 * v for v in cell["ci95"])
        exact = f"{100 * cell['exact_match']:5.1f} ({low:4.1f} to {high:4.1f})"
        more = f"{100 * cell['evidence_hit']:9.1f} %  {cell['image_tokens']:12.0f}  {cell['answered']:8}"
        print(f"{name:30} {exact:22} {cell['anls']:.3f}  {more}  {cell['n']}")
    print(json.dumps(table))


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("school", "run", "single", "form"):
        made.add_argument(name, type=Path)
    made.add_argument("--n", type=int, default=500)
    made.add_argument("--seed", type=int, default=74)
    made.add_argument("--out", type=Path, default=Path("nano/table"), help="folder of results")
    made.add_argument("--rows", nargs="+", help="their names (default: all)")
    made.add_argument("--of", help="the policy that the controls are of (default: the last stage)")
    return made.parse_args()


def _rows(given: argparse.Namespace) -> tuple[dict[str, Row], str]:
    """The rows, and the name of the policy that controls are of. Exits where a checkpoint has another
    budget."""
    found = {path.parent.name[3:]: path for path in sorted(given.run.glob("[0-9][0-9]-*/checkpoint"))}
    if not found and not given.rows:
        sys.exit(f"{given.run}: no stage has ended there; run `r4 train` first, or name --rows")
    stages = {"school": given.school, **found}
    of = given.of or list(stages)[-1]
    if of not in stages:
        sys.exit(f"--of {of}: there are {', '.join(stages)}")
    rows: dict[str, Row] = {
        SINGLE: Row(given.single, ["--control", ONCE]),
        **{name: Row(path) for name, path in stages.items()},
        **{control: Row(stages[of], ["--control", control.replace(" ", "-")]) for control in CONTROLS},
        "form alone": Row(given.form),
    }
    given.rows = given.rows or [*rows, EQUAL]
    if unknown := sorted({*given.rows} - {*rows, EQUAL}):
        sys.exit(f"--rows {', '.join(unknown)}: there are {', '.join([*rows, EQUAL])}")
    asked = {of, *given.rows, *([SINGLE] if EQUAL in given.rows else [])}
    rows = {name: row for name, row in rows.items() if name in asked}
    budget = Checkpoint.load(str(stages[of])).budget
    for row in rows.values():
        if Checkpoint.load(str(row.checkpoint)).budget != budget:
            sys.exit(
                f"{row.checkpoint}: its budget is not that of {stages[of]}; the rows could not be compared"
            )
    return rows, of


def _eval(given: argparse.Namespace, name: str, row: Row) -> dict[str, Any]:
    """What `r4 eval --json` says."""
    folder = _folder(given, name, row.checkpoint)
    asked = f"eval textworld --level 0 --n {given.n} --seed {given.seed} --engine vllm --workers 8"
    said = [sys.executable, "-m", "r4agent", *asked.split(), "--model", str(row.checkpoint), *row.more]
    said += ["--model-arg", f"max_tokens={MOST}", "--out", str(folder), "--resume", "--json"]
    with (folder / "log").open("a") as errors:
        done = subprocess.run(said, stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode or not done.stdout:
        sys.exit(f"{name}: r4 eval failed ({done.returncode}); {folder / 'log'} says why")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {_cell(told)}", flush=True)
    return told


def _cell(told: Mapping[str, Any]) -> dict[str, Any]:
    same = {name: told[name] for name in ("exact_match", "anls", "evidence_hit")}
    same["image_tokens"] = told["cost"]["image_tokens"]
    answered = told["statuses"].get("answered", 0)
    return same | {"ci95": told["ci95"]["exact_match"], "n": told["scored"], "answered": answered}


def _folder(given: argparse.Namespace, name: str, checkpoint: Path) -> Path:
    """Of results, by the weights that gave them."""
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    folder: Path = given.out / name.replace(" ", "-") / weights[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _equal(given: argparse.Namespace, ruminated: Results) -> dict[str, Any]:
    """SINGLE, with at least as many image tokens as the ruminating policy used on each question."""
    subject = Subject(ChatR4(model=str(given.single), engine="vllm", max_tokens=MOST), control=ONCE)
    questions = of_textworld(0, given.n, given.seed)
    budgets = {row.id: _as_large(subject.budget, int(row.cost["image_tokens"])) for row in ruminated.scored}
    folder = _folder(given, EQUAL, given.single)
    done = evaluate(questions, subject, out=folder, resume=True, workers=8, budgets=budgets)
    if not done.finished:
        sys.exit(f"{EQUAL}: questions failed; {done.path} says why")
    told = summary(done)
    print(f"{EQUAL}: {_cell(told)}", flush=True)
    return _cell(told)


def _as_large(budget: Budget, tokens: int) -> Budget:
    """The least of SIZES with which the overview has at least so many tokens, or the largest."""
    enough = [size for size in SIZES if budget.overview_images * _shown(size) >= tokens]
    size = enough[0] if enough else SIZES[-1]
    return budget.model_copy(
        update={"overview_tokens": size, "picture_tokens": max(size, budget.picture_tokens)}
    )


def _shown(tokens: int) -> int:
    """Image tokens that a frame really has where it may have so many."""
    return QWEN2_5_VL.tokens(QWEN2_5_VL.fit(Size(1280, 720), tokens))


if __name__ == "__main__":
    main()
