"""``trimseek serve``."""

from pathlib import Path
from typing import Annotated

import typer

from api.server import bind, open_searchers
from api.server import serve as run_server

app = typer.Typer()


@app.command()
def serve(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The index folders.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    query_encoder: Annotated[
        str | None,
        typer.Option(help="Encoder of queries, of the indexes' space. Default: each index's own."),
    ] = None,
) -> None:
    """Serve indexes over HTTP."""
    bound = bind(host, port)
    run_server(open_searchers(folders, query_encoder), bound)
