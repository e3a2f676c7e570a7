"""What the nano policy gets wrong, and where it looked, by kind of question.

    python benchmarks/nano_wrong.py nano/table/school/*/*.jsonl

RESULTS: of `r4 eval textworld --level 0`, whose episodes are still where they were logged.
Promises: a line of JSON for each file and kind: n, right, right_place (the answer names the right place), and
of those that are wrong: said_otherwise (the thought of the last reply reads rightly, the answer does not say
it), misread (neither does: another text, or another sign), cut (no answer).
Does not: ask anything.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from r4agent import Episode
from r4agent.evaluation import Results
from r4agent.evaluation.answers import exact_match
from r4agent.evaluation.results import Row
from r4agent.training.nano.lessons import SHOWN


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("results", type=Path, nargs="+")
    for path in made.parse_args().results:
        counts = dict[str, Counter[str]]()
        for row in Results.read(path).scored:
            counts.setdefault(row.category, Counter()).update(_told(row))
        for kind, told in sorted(counts.items()):
            print(json.dumps({"results": str(path), "kind": kind, **told}))


def _told(row: Row) -> dict[str, int]:
    wrong = None if row.scores["exact_match"] else _wrong(row)
    return {
        "n": 1,
        "right": int(wrong is None),
        "right_place": int(row.scores["evidence_hit"] or 0),
        **{name: int(wrong == name) for name in ("said_otherwise", "misread", "cut")},
    }


def _wrong(row: Row) -> str:
    if row.answer is None:
        return "cut"
    replies = [str(line["content"]) for line in Episode.read(row.episode).messages if line["role"] == "ai"]
    read = replies[-1].partition(SHOWN)[2].partition("</think>")[0].removesuffix(".")
    return "said_otherwise" if exact_match(read, row.answers) else "misread"


if __name__ == "__main__":
    main()
