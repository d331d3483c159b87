"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Where = Annotated[
    str | None,
    typer.Option(help="""Only documents with such metadata: 'year >= 2020 and lang = "en"'."""),
]
Folder = Annotated[Path, typer.Argument(help="The index folder.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Dim = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cut vectors to so many dimensions, for encoders trained for it (Matryoshka).",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        help="Of the texts, whose words are reduced to their stems: english, german, ...; none; or "
        "auto, which looks at the texts. Default: the index's own, or auto."
    ),
]
QueryPrompt = Annotated[
    str | None,
    typer.Option(help='What stands before each query, as "query: ". Default: the encoder\'s own.'),
]
DocumentPrompt = Annotated[
    str | None,
    typer.Option(help='What stands before each document, as "passage: ".'),
]
TextColumns = Annotated[
    bool,
    typer.Option("--text-columns", help="Leave all columns of CSV and TSV text, numbers too."),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out lines, rows and files that cannot be read."),
]
SkipEmpty = Annotated[
    bool, typer.Option("--skip-empty", help="Leave out documents without any text.")
]
Overlap = Annotated[
    int,
    typer.Option(min=0, max=128, help="Tokens that neighbouring chunks of a document share."),
]
FacetFields = Annotated[
    list[str] | None,
    typer.Option(help="A metadata field (author.name) whose filters are to be fast. Repeatable."),
]
IdField = Annotated[str | None, typer.Option(help="Field of the id. Default: _id, id.")]
TitleField = Annotated[str | None, typer.Option(help="Field of the title. Default: title.")]
TextField = Annotated[
    str | None, typer.Option(help="Field of the text. Default: text, contents, content, body.")
]
