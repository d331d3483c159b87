"""``trimseek pull``, ``trimseek encoder info`` and ``trimseek encoder export``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.console import print_json, say
from trimseek.encoders.card import QUERY_TOWER, EncoderCard, described
from trimseek.encoders.catalog import (
    find_checkpoint,
    find_encoder,
    find_folder,
    split_precision,
    with_dim,
)
from trimseek.encoders.export import Target, export_encoder
from trimseek.encoders.folder import graph_bytes, open_card
from trimseek.encoders.prompts import described_prompts
from trimseek.options import Dim

app = typer.Typer()


@app.command()
def pull(
    model: Annotated[
        str,
        typer.Argument(
            help="minilm, mpnet, a hub id (owner/name) or a model folder, "
            "with -int8 (the default) or -float32 behind it."
        ),
    ] = "minilm",
    dim: Dim = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Fetch a base model and quantize it, so that it is ready to run."""
    model = with_dim(model, dim)
    checkpoint = find_checkpoint(split_precision(model)[0])
    folder = find_folder(model, open_card)
    card = open_card(folder)
    size = graph_bytes(folder)
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
    say(f"checkpoint  {checkpoint}")
    say(f"encoder     {folder}  ({card.precision.value}, {size / 1e6:.1f} MB)")


@app.command("encoder export")
def export(
    encoder: Annotated[str, typer.Argument(help="An encoder folder, or a name as pull takes it.")],
    to: Annotated[Target, typer.Option(help="Who is to load it.")],
    into: Annotated[Path, typer.Option("-o", "--into", help="The folder to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write an encoder as a folder that other libraries load."""
    exported = export_encoder(find_encoder(encoder), into, to)
    if as_json:
        print_json({"folder": str(exported.folder), "cosine": exported.cosine})
        return
    say(f"folder      {exported.folder}  (for {to.value}; README.md there says how to load it)")
    say(f"cosine      {exported.cosine:.4f} at least to the vectors that trimseek gives")


def layers_of(folder: Path, card: EncoderCard) -> dict[str, str]:
    """The layers of an encoder, of each tower where there are two."""
    own = f"{len(card.layers)}: {described(card.layers)}"
    if not card.query_tower:
        return {"layers": own}
    query = open_card(folder / QUERY_TOWER)
    reads = "histories" if query.histories else "queries"
    layers = f"{len(query.layers)}: {described(query.layers)}"
    return {
        "layers": own,
        "query tower": f"reads {reads} of up to {query.max_tokens} tokens; layers {layers}",
    }


@app.command("encoder info")
def info(
    encoder: Annotated[str, typer.Argument(help="An encoder folder, or a name as pull takes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Say what an encoder is and what was measured of it."""
    folder = find_folder(encoder, open_card)
    card = open_card(folder)
    if as_json:
        print_json(asdict(card) | {"folder": str(folder)})
        return
    if card.cross_encoder:
        gives = {"scores": "one for each pair of texts: a cross-encoder"}
    else:
        unit = ", unit length" if card.normalize else ""
        vectors = f"{card.vector_dim} dimensions, {card.pooling.value} pooling{unit}"
        gives = {"space": card.space, "vectors": vectors}
    lines = {
        "encoder": f"{card.name}  ({folder})",
        "base": f"{card.base} ({card.architecture}), sha256 {card.base_sha256[:16]}...",
        **gives,
        **layers_of(folder, card),
        "stored as": str(card.quantization),
        "model": f"{graph_bytes(folder) / 1e6:.1f} MB",
        "max tokens": str(card.max_tokens),
        "prompts": described_prompts(card.prompts),
    }
    for name, value in lines.items():
        say(f"{name:<11} {value}")
    for step in card.recipe:
        say(f"{'step':<11} {step}")
    for name, number in card.measured.items():
        say(f"{'measured':<11} {name} {number:.6g}")
