"""``trimseek train-recommender``, which needs torch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.console import note, print_json
from trimseek.encoders.catalog import DEFAULT_ENCODER
from trimseek.encoders.recommender.events import EventFields
from trimseek.encoders.recommender.towers import Kind, Shape
from trimseek.encoders.recommender.training.train import ITEMS, train_recommender
from trimseek.encoders.recommender.training.trainer import RecommenderSettings
from trimseek.options import AsJson

app = typer.Typer()
FieldName = Annotated[str | None, typer.Option(help="Where it is called otherwise.")]


@app.command("train-recommender")
def train(
    events: Annotated[
        Path, typer.Argument(help="JSON Lines, CSV or TSV of user, item and time, in any order.")
    ],
    into: Annotated[Path, typer.Option("-o", "--into", help="The encoder folder to write.")],
    kind: Annotated[
        Kind, typer.Option(help="Reads histories from their beginning (sasrec), or both ways.")
    ] = Kind.SASREC,
    dim: Annotated[int, typer.Option(help="Of an item's vector.")] = Shape.dim,
    layers: Annotated[int, typer.Option(help="Of the transformer.")] = Shape.layers,
    heads: Annotated[int, typer.Option(help="Attention heads of each layer.")] = Shape.heads,
    length: Annotated[
        int, typer.Option(help="How many items of a history are read, the latest.")
    ] = Shape.length,
    minutes: Annotated[
        float, typer.Option(help="Wall clock at most; it ends when nothing improves.")
    ] = RecommenderSettings.minutes,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share left out at random in training.")
    ] = RecommenderSettings.dropout,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
    items: Annotated[
        Path | None,
        typer.Option(
            help="The items as JSON Lines with an id and a text: those without events get a vector "
            "from their text, and queries may be texts."
        ),
    ] = None,
    text_encoder: Annotated[
        str, typer.Option(help="With --items: what reads the texts.")
    ] = DEFAULT_ENCODER,
    user_field: FieldName = None,
    item_field: FieldName = None,
    time_field: FieldName = None,
    as_json: AsJson = False,
) -> None:
    """Train a recommender on a log of events: an encoder whose tokens are items."""
    trained = train_recommender(
        events,
        into,
        shape=Shape(kind, dim, layers, heads, length),
        settings=RecommenderSettings(minutes=minutes, dropout=dropout, seed=seed),
        fields=EventFields(user_field, item_field, time_field),
        item_texts=items,
        text_encoder=text_encoder,
    )
    if as_json:
        print_json(
            {
                "encoder": str(into),
                "space": trained.card.space,
                "events": len(trained.log.taken),
                "users": len(trained.log.users),
                "items": len(trained.log.items),
                "tested": trained.tested,
                "measured": asdict(trained.card)["measured"],
            }
        )
        return
    note(
        f"{into}: the last event of {trained.tested:,} users, among all items: HR@10 "
        f"{trained.test.hit_rate:.4f}, NDCG@10 {trained.test.ndcg:.4f}"
    )
    note(f"next: trimseek index {into / ITEMS} --into INDEX --encoder {into}")
