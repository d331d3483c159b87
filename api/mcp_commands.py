"""``trimseek mcp``."""

from pathlib import Path
from typing import Annotated

import typer

from trimseek.api.indexes import open_searchers
from trimseek.encoders.cross_encoder import load_cross_encoder

app = typer.Typer()


@app.command()
def mcp(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The index folders.")],
    query_encoder: Annotated[
        str | None,
        typer.Option(help="Encoder of queries, or fast, balanced or best; else each index's."),
    ] = None,
    rerank: Annotated[
        str | None, typer.Option(help="A cross-encoder, for searches that ask for it.")
    ] = None,
) -> None:
    """Let agents search indexes by the Model Context Protocol (stdin and stdout)."""
    from trimseek.api.mcp_server import mcp_server

    scorer = None if rerank is None else load_cross_encoder(rerank)
    mcp_server(open_searchers(folders, query_encoder), scorer).run("stdio")
