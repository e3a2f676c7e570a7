"""`r4 ask` on real clips and on a document: does it end, with evidence, without error?

Runs the command as a user would, one question for each clip of `../shared/videos` (skipped, and said so,
when the folder is not there), each of `examples/demo.jsonl`, and one for a generated PDF of 40 pages. Every
run reads afresh: the cache is a temporary folder. This is no accuracy benchmark; whether the answer is
right is shown only to be seen.

    python benchmarks/ask.py [--all]     --all: every question of the clips, not only the first

Ends with one line of JSON: n, ended, with_evidence, errors, right, median_seconds, slowest_seconds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = ROOT.parent / "shared" / "videos"


def make_pdf(path: Path, pages: int = 40) -> tuple[str, list[str]]:
    """A report of 40 pages, one of which names the warehouse's stock of copper; the question and answers."""
    canvas = Canvas(str(path), pagesize=A4)
    for page in range(1, pages + 1):
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawString(70, 760, f"Quarterly report, section {page}")
        canvas.setFont("Helvetica", 11)
        for line in range(24):
            canvas.drawString(
                70, 720 - 18 * line, f"Entry {page}.{line}: shipment {page * 317 + line * 29} was delivered."
            )
        if page == 27:
            canvas.drawString(70, 250, "Stock of copper wire: 6482 metres")
        canvas.showPage()
    canvas.save()
    return "What is the stock of copper wire?", ["6482", "6482 metres"]


def questions(every: bool, folder: Path) -> Iterator[tuple[Path, str, list[str]]]:
    seen: set[str] = set()
    if VIDEOS.exists():
        for line in (VIDEOS / "qa.jsonl").read_text().splitlines():
            row = json.loads(line)
            if every or row["video"] not in seen:
                seen.add(row["video"])
                yield VIDEOS / row["video"], row["question"], row["answers"]
        yield VIDEOS / "pyscenedetect_counter.mp4", "What is the frame number?", []
    else:
        print(f"{VIDEOS} is not there: its clips are skipped")
    for line in (ROOT / "examples" / "demo.jsonl").read_text().splitlines():
        row = json.loads(line)
        yield ROOT / "examples" / row["media"], row["question"], row["answers"]
    pdf = folder / "report.pdf"
    question, answers = make_pdf(pdf)
    yield pdf, question, answers


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "R4_HOME": str(Path(folder) / "home")}
        for media, question, answers in questions(options.all, Path(folder)):
            started = time.monotonic()
            command = [sys.executable, "-m", "r4agent", "ask", str(media), question, "--json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - started
            result = json.loads(done.stdout.splitlines()[-1]) if done.returncode in (0, 1) else {}
            rows.append((done.returncode, result, seconds, answers))
            answer = str(result.get("answer"))
            right = any(a.lower() in answer.lower() for a in answers)
            status = result.get("status", done.stderr.strip())
            print(
                f"{media.name:42} {'right' if right else '     '} {status:9} "
                f"{result.get('supported', ''):9} {seconds:6.1f} s  {answer[:40]!r:42} {question[:60]}",
                flush=True,
            )
    times = [seconds for _, _, seconds, _ in rows]
    summary = {
        "n": len(rows),
        "ended": sum(code in (0, 1) for code, *_ in rows),
        "with_evidence": sum(bool(result.get("evidence")) for _, result, *_ in rows),
        "errors": sum(code not in (0, 1) for code, *_ in rows),
        "right": sum(
            any(a.lower() in str(r.get("answer")).lower() for a in answers) for _, r, _, answers in rows
        ),
        "median_seconds": round(statistics.median(times), 1),
        "slowest_seconds": round(max(times), 1),
    }
    print(json.dumps(summary))
    return 1 if summary["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
