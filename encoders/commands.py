"""``trimseek pull``."""

from typing import Annotated

import typer

from encoders.catalog import find_checkpoint, find_encoder, split_precision
from encoders.folder import GRAPH, open_encoder
from trimseek.console import print_json

app = typer.Typer()


@app.command()
def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="minilm, a hub id (owner/name) or a model folder, "
            "with -int8 (the default) or -float32 behind it."
        ),
    ] = "minilm",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fetch a base model and quantize it, so that it is ready to run."""
    checkpoint = find_checkpoint(split_precision(model)[0])
    folder = find_encoder(model)
    card = open_encoder(folder)
    size = (folder / GRAPH).stat().st_size
    if as_json:
        print_json(
            {
                "checkpoint": str(checkpoint),
                "encoder": str(folder),
                "space": card.space,
                "precision": card.precision.value,
                "graph_bytes": size,
            }
        )
        return
    typer.echo(f"checkpoint  {checkpoint}")
    typer.echo(f"encoder     {folder}  ({card.precision.value}, {size / 1e6:.1f} MB)")
