"""``trimseek bench``."""

from typing import Annotated

import typer

from eval.bench import bench as run_bench
from eval.collection import read_collection
from eval.report import setting, terminal_tables
from eval.results import to_json
from trimseek.console import note, print_json, stdout

app = typer.Typer()


@app.command()
def bench(
    collections: Annotated[
        list[str],
        typer.Argument(
            metavar="COLLECTION...",
            help="BEIR folders (corpus.jsonl, queries.jsonl, qrels/test.tsv) or sample:python.",
        ),
    ],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="An encoder; give it again for more. Default: minilm at both precisions."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which qrels: qrels/SPLIT.tsv.")] = "test",
    baseline: Annotated[
        bool,
        typer.Option("--baseline", help="Time transformers + torch, float32, in the same run."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure retrieval quality and latency, encoder beside encoder."""
    names = list(dict.fromkeys(encoder or ["minilm-float32", "minilm-int8"]))
    report = run_bench(
        [read_collection(name, split) for name in collections], names, baseline=baseline
    )
    if as_json:
        print_json(to_json(report))
        return
    for table in terminal_tables(report):
        stdout.print(table)
    note(setting(report))
