"""``trimseek encoder compare``, which needs no torch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.compression.encoder_compare import compare_encoders, comparison_cells
from trimseek.console import print_json, print_table
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.unlabelled import read_unlabelled
from trimseek.eval.bench.report import terminal_table
from trimseek.eval.quality.known_items import known_items
from trimseek.options import AsJson

app = typer.Typer()


@app.command("encoder compare")
def compare_two_encoders(
    first: Annotated[str, typer.Argument(help="An encoder: what the second is compared with.")],
    second: Annotated[str, typer.Argument(help="Another one of the same space.")],
    texts: Annotated[
        Path, typer.Option(help="Documents, unlabelled: JSON Lines or one text a line.")
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two encoders of one space: size, speed, and how far they agree."""
    documents = [f"{line.title} {line.text}".strip() for line in read_unlabelled(texts)]
    collection = known_items(documents, str(texts))
    comparison = compare_encoders(find_encoder(first), find_encoder(second), collection)
    if as_json:
        print_json(asdict(comparison))
        return
    print_table(terminal_table(comparison_cells(comparison)))
