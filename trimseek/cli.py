"""The command line: imports the module of the command that is called; an error is one line.

Data go to stdout, everything else to stderr. The exit status is 2 for a user's mistake, 1 for a
failure, and 130 for an interrupted command.
"""

import importlib
import os
import sys
from difflib import get_close_matches
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from trimseek import __version__
from trimseek.command_table import COMMAND_SYNONYMS, COMMANDS, OPTION_SYNONYMS
from trimseek.errors import TrimseekError, print_error
from trimseek.printable import replace_unknown_characters

INTERRUPTED = 130


def load_command(name: str) -> Any:
    """The command itself; its module is imported now."""
    app = importlib.import_module(COMMANDS[name].module).app
    return typer.main.get_group(app).commands[name]


class LazyGroup(typer.core.TyperGroup):
    """Lists commands without importing them. ``prefix``: the first word of theirs, with a space."""

    prefix = ""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names below the prefix."""
        names = [name.removeprefix(self.prefix) for name in COMMANDS if self.has(name)]
        if ctx.resilient_parsing:  # for the shell's completion: one word at a time
            names = list(dict.fromkeys(name.split()[0] for name in names))
        return names

    def has(self, name: str) -> bool:
        """Whether a command is of this group."""
        return name.startswith(self.prefix)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the first line of the help, or a group; None."""
        name = self.prefix + cmd_name
        if name in COMMANDS:
            return typer.core.TyperCommand(cmd_name, help=COMMANDS[name].help)
        if has_subcommands(name):
            return group_of(cmd_name)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of one word or two; UnknownCommandError."""
        for words in (2, 1):
            name = self.prefix + " ".join(args[:words])
            if name in COMMANDS:
                return name, load_command(name), args[words:]
        if (command := self.get_command(ctx, args[0])) is not None:
            return args[0], command, args[1:]
        raise UnknownCommandError(self.prefix, args[0])


def group_of(word: str) -> Any:
    """The commands of two words that begin with this one."""
    group = LazyGroup(name=word, help=f"Commands of {word}.")
    group.prefix = f"{word} "
    return group


class UnknownCommandError(TrimseekError):
    """No command is called so; the message names those that are called nearly so."""

    def __init__(self, prefix: str, word: str) -> None:
        names = {name.removeprefix(prefix) for name in COMMANDS if name.startswith(prefix)}
        known = COMMAND_SYNONYMS.get(word, "")
        near = [known] if known in names else get_close_matches(word, names)
        hint = f"did you mean {' or '.join(near)}?" if near else "trimseek --help lists them"
        super().__init__(f"No such command {prefix + word!r}; {hint}")


app = typer.Typer(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})


def print_version(wanted: bool) -> None:
    """The eager option's callback."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def trimseek(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback on errors; give it first.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Semantic search on a CPU budget: index, search, serve and measure."""


def main(args: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    args = as_options(sys.argv[1:] if args is None else args)
    debug = args[0] == "--debug"
    replace_unknown_characters()
    try:
        status = app(args, prog_name="trimseek", standalone_mode=False)
    except (TrimseekError, typer.TyperException) as error:
        if debug:
            raise
        return report(message_of(error), error.exit_code)
    except BrokenPipeError:  # the reader of our output has left: nothing to say, nobody to hear
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # the disk, or what our output goes to
        if debug:
            raise
        return report(f"{error.filename or 'standard output'}: {error.strerror or error}", 1)
    except typer.Abort as abort:
        # typer's for an interrupt, and for the end of a file, wherever that was
        if isinstance(abort.__cause__, EOFError):
            if debug:
                raise
            return report(unexpected(abort.__cause__), 1)
        status = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        return report(unexpected(error), 1)
    if status == INTERRUPTED:
        return report("interrupted; what was finished is kept", INTERRUPTED)
    return status if isinstance(status, int) else 0


def as_options(args: list[str]) -> list[str]:
    """What many type, as the options that it is here: help, version, the first of two words."""
    if not args:
        return ["--help"]
    if args[0] == "help":
        return [*args[1:], "--help"]
    if len(args) == 1 and args[0] not in COMMANDS and has_subcommands(args[0]):
        return [*args, "--help"]
    return ["--version"] if args == ["version"] else args


def has_subcommands(word: str) -> bool:
    """Whether commands of two words begin with this one."""
    return any(name.startswith(f"{word} ") for name in COMMANDS)


def message_of(error: TrimseekError | typer.TyperException) -> str:
    """What an error says, with what was probably meant by an option that there is not."""
    if isinstance(error, TrimseekError):
        return str(error)
    option, ctx = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if ctx is None:
        return error.format_message()
    if option is None:
        return (
            f"{error.format_message().rstrip('.')}; {ctx.command_path} --help shows what it takes"
        )
    known: set[str] = {
        name for parameter in ctx.command.params for name in getattr(parameter, "opts", ())
    }
    known.update(ctx.help_option_names)
    synonym = OPTION_SYNONYMS.get(option, "")
    near: list[str] = [synonym] if synonym in known else get_close_matches(option, known)
    if not near:
        return f"{error.message}; {ctx.command_path} --help lists them"
    return f"{error.message}; did you mean {' or '.join(near)}?"


def unexpected(error: BaseException) -> str:
    """The line of an error that nobody has thought of."""
    kind = error.__class__.__name__
    return f"unexpected {kind}: {error} (trimseek --debug ... shows where)"


def report(message: str, status: int) -> int:
    """Print an error's line; the status."""
    print_error(message)
    return status
