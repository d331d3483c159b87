"""The command line: finds the package that has a command, and turns errors into one line.

A command's module is imported when the command is called, so that ``trimseek --help`` does not
wait for onnxruntime and FAISS. DESIGN: data on stdout, everything else on stderr; exit 2 for a
user's mistake, 1 for a failure, 130 when interrupted.
"""

import importlib
import os
import sys
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from trimseek import __version__
from trimseek.errors import TrimseekError

INTERRUPTED = 130

# command (of one word or two) -> (module whose ``app`` has it, the first line of its help)
COMMANDS = {
    "pull": (
        "encoders.commands",
        "Fetch a base model and quantize it, so that it is ready to run.",
    ),
    "compress": (
        "eval.compress_commands",
        "Make an encoder as small and fast as a stated loss allows, and prove it.",
    ),
    "encoder info": ("encoders.commands", "Say what an encoder is and what was measured of it."),
    "encoder compare": (
        "eval.commands",
        "Compare two encoders of one space: size, speed, and how far they agree.",
    ),
    "encoder storage": (
        "eval.compress_commands",
        "Compare the ways to store an encoder: size, speed, and agreement with float32.",
    ),
    "index": ("indexer.commands", "Embed a corpus into an index folder; run it again to update."),
    "add": (
        "indexer.care_commands",
        "Add documents to an index, or replace them, while it is searched and served.",
    ),
    "delete": ("indexer.care_commands", "Delete documents by their ids or by a filter."),
    "patch": (
        "indexer.care_commands",
        "Change a document's metadata without embedding it again.",
    ),
    "verify": (
        "indexer.care_commands",
        "Check that an index is whole: checksums, counts, vectors, words and snapshot in step.",
    ),
    "compact": (
        "indexer.care_commands",
        "Give back the room of what was deleted, and build the snapshot anew.",
    ),
    "reembed": (
        "indexer.care_commands",
        "Embed an index anew with another encoder, while the old one goes on serving.",
    ),
    "export": (
        "indexer.care_commands",
        "Write every document to a JSON Lines or Parquet file, as trimseek index reads it.",
    ),
    "snapshot": (
        "indexer.care_commands",
        "Copy an index into one file, while it may be written to.",
    ),
    "restore": (
        "indexer.care_commands",
        "Make an index folder from a snapshot file, which is verified first.",
    ),
    "info": ("indexer.commands", "Say what an index holds and which encoder made it."),
    "search": ("search.commands", "Search an index and print the passages that match."),
    "recommend": ("search.commands", "Find documents like some of the index and unlike others."),
    "tune": (
        "search.commands",
        "Find and keep the least effort of an hnsw or ivf index that finds enough.",
    ),
    "serve": ("api.commands", "Serve indexes over HTTP."),
    "config": ("api.commands", "Print the settings that are in force, and where each is from."),
    "key": (
        "api.commands",
        "Make an API key, and the line to put into the file of `serve --keys-file`.",
    ),
    "bench": ("eval.commands", "Measure retrieval quality and latency, encoder beside encoder."),
    "bench compare": (
        "eval.commands",
        "Say what changed between two benchmarks, and whether it is more than noise.",
    ),
    "doctor": ("trimseek.commands", "Check this machine, the model and, when given, an index."),
}


def load_command(name: str) -> Any:
    """The command itself, from its package's ``commands.py``."""
    module, _ = COMMANDS[name]
    return typer.main.get_group(importlib.import_module(module).app).commands[name]


class LazyGroup(typer.core.TyperGroup):
    """Lists the commands without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return typer.core.TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if (two_words := " ".join(args[:2])) in COMMANDS:
            args = [two_words, *args[2:]]
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(str(name)), rest


app = typer.Typer(cls=LazyGroup, add_completion=False)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def trimseek(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback on errors; give it first.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Semantic search on a CPU budget: index, search, serve and measure."""


def main(args: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    args = (sys.argv[1:] if args is None else args) or ["--help"]
    debug = args[0] == "--debug"
    try:
        status = app(args, standalone_mode=False)
    except (TrimseekError, typer.TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        return report(message, error.exit_code)
    except BrokenPipeError:  # the reader of our output has left: nothing to say, nobody to hear
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # the disk, or what our output goes to
        if debug:
            raise
        return report(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    except typer.Abort:
        status = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        kind = error.__class__.__name__
        return report(f"unexpected {kind}: {error} (trimseek --debug ... shows where)", 1)
    if status == INTERRUPTED:
        return report("interrupted; what was finished is kept", INTERRUPTED)
    return status if isinstance(status, int) else 0


def report(message: str, status: int) -> int:
    sys.stderr.write("trimseek: " + " ".join(message.split()) + "\n")
    return status
