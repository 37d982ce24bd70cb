"""The Quarantine artifact: what was refused and why, for people and for the report."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence

from tfx.dsl.io import fileio

from components.ingestion.names import spreadsheet_safe
from components.ingestion.refusals import Refusal

JSONL = "quarantine.jsonl"
CSV = "quarantine.csv"
SUMMARY = "summary.json"


def write(folder: str, refusals: Sequence[Refusal], summary: dict[str, object]) -> None:
    """Writes `quarantine.jsonl`, the same as `quarantine.csv`, and `summary.json`.

    Names are printable already; here the CSV is made safe for spreadsheets too. Whoever
    turns any of it into HTML must escape it.
    """
    fileio.makedirs(folder)
    lines = [json.dumps(refusal.to_dict(), sort_keys=True) for refusal in refusals]
    _write(folder, JSONL, "".join(f"{line}\n" for line in lines))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["path", "reason", "detail", "digest"])
    for refusal in refusals:
        rows.writerow(spreadsheet_safe(cell) for cell in refusal.to_dict().values())
    _write(folder, CSV, table.getvalue())
    counts = Counter(refusal.reason for refusal in refusals)
    content = {**summary, "refused": dict(sorted(counts.items()))}
    _write(folder, SUMMARY, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _write(folder: str, name: str, text: str) -> None:
    with fileio.open(f"{folder.rstrip('/')}/{name}", "w") as file:
        file.write(text)
