"""Which prompts an index's encoders get: its own where some were given, else the encoder's."""

from pathlib import Path

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import find_index_encoder
from trimseek.encoders.encoder import DocumentEncoder, check_room
from trimseek.encoders.folder import TOKENIZER
from trimseek.encoders.pairs import Pair, check_pair
from trimseek.encoders.tokens import TextTokenizer
from trimseek.errors import IndexFolderError
from trimseek.indexer.card import IndexCard, Prompts


def new_card(
    folder: Path,
    encoder: EncoderCard,
    name: str,
    queries: str,
    overlap: int,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> IndexCard:
    """The card of a new index; prompts are None where the encoder's own are to count.

    ``folder``, ``encoder``, ``name``: of the documents' encoder. ``queries``: the name of the query
    encoder, "" if it is the same. ConfigError for a prompt that leaves no room for a text,
    EncoderError for queries of another space.
    """
    check_pair(Pair(name, queries or name), encoder.space)
    for prompt in (query_prompt, document_prompt):
        if prompt:
            check_room(TextTokenizer.from_file(folder / TOKENIZER, encoder.max_tokens, prompt))
    own = encoder.prompts
    prompts = Prompts(
        own.get("query", "") if query_prompt is None else query_prompt,
        own.get("document", "") if document_prompt is None else document_prompt,
        given=query_prompt is not None or document_prompt is not None,
    )
    return IndexCard(
        encoder.space,
        encoder.vector_dim,
        name,
        overlap,
        prompts=prompts,
        queries="" if queries == name else queries,
    )


def document_encoder(card: IndexCard, folder: Path) -> DocumentEncoder:
    """The encoder of an index's documents, with the prompt that the index has; EncoderError."""
    return DocumentEncoder(find_index_encoder(card.encoder, folder), prompt=given_prompt(card))


def given_prompt(card: IndexCard, role: str = "document") -> str | None:
    """The prompt that was given when an index was made; None where the encoder's own counts."""
    if card.prompts is None or not card.prompts.given:
        return None
    return card.prompts.query if role == "query" else card.prompts.document


def check_given(
    card: IndexCard, folder: Path, query_prompt: str | None, document_prompt: str | None
) -> None:
    """IndexFolderError for prompts that are given, and are not those of an index that is there."""
    own = card.prompts or Prompts("", "", given=False)
    for role, given, known in (
        ("query", query_prompt, own.query),
        ("document", document_prompt, own.document),
    ):
        if given is not None and given != known:
            raise IndexFolderError(
                f"{folder}: its {role} prompt is {known!r}, not {given!r}; leave it out, or embed "
                f"the index anew: trimseek reembed {folder} --encoder {card.encoder} "
                f"--{role}-prompt {given!r}"
            )


def check_queries(card: IndexCard, folder: Path, pair: Pair) -> None:
    """IndexFolderError for a query encoder that is not that of an index there.

    It was named, or belongs to an encoder of documents that was.
    """
    if pair.queries not in (pair.documents, card.query_encoder):
        raise IndexFolderError(
            f"{folder}: made with {Pair(card.encoder, card.query_encoder)}, not {pair}; leave the "
            f"encoder out, search with --query-encoder {pair.queries}, or embed the index anew: "
            f"trimseek reembed {folder} --encoder {pair}"
        )


def check_prompt(card: IndexCard, encoder: DocumentEncoder, folder: Path) -> None:
    """IndexFolderError unless documents would get the prompt that those of the index have."""
    if card.prompts is None or card.prompts.document == encoder.prompt:
        return
    raise IndexFolderError(
        f"{folder}: its documents have the prompt {card.prompts.document!r}, and new ones would "
        f"get {encoder.prompt!r}; embed it anew: trimseek reembed {folder} --encoder {card.encoder}"
    )
