"""Evaluation: how well a policy does, with controls and intervals.

    results = evaluate(of_textworld(level=2, n=20, seed=1), Subject(policy="ocr"), workers=2)
    print(summary(results))

Promises: what is measured is the product's own graph; a run that failed is never counted as a wrong answer;
a killed evaluation goes on where it was. Does not: tune anything, or draw (the page does).
"""

from r4agent.evaluation.questions import Questions, of_file, of_textworld
from r4agent.evaluation.results import Results, Row
from r4agent.evaluation.run import evaluate
from r4agent.evaluation.subject import Subject
from r4agent.evaluation.summary import by_category, compare, summary

__all__ = [
    "Questions",
    "Results",
    "Row",
    "Subject",
    "by_category",
    "compare",
    "evaluate",
    "of_file",
    "of_textworld",
    "summary",
]
