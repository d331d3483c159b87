"""``trimseek serve``, ``trimseek config`` and ``trimseek key``."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from trimseek.api.keys import ROLES, new_key
from trimseek.api.settings import ServiceSettings
from trimseek.console import note, print_json
from trimseek.errors import ConfigError
from trimseek.options import AsJson
from trimseek.settings import CONFIG, make_settings, sources

app = typer.Typer()
Config = Annotated[
    Path | None, typer.Option(help="A TOML file of settings; trimseek config lists them.")
]
SECRET = ("keys",)  # settings that are not shown


def setting(name: str, *flags: str) -> Any:
    """An option's flags, and for help what the setting says of itself."""
    description = ServiceSettings.model_fields[name].description
    return typer.Option(*flags, help=description, show_default=False)


@app.command()
def serve(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR...]", help="The index folders.")
    ] = None,
    config: Config = None,
    host: Annotated[str | None, setting("host")] = None,
    port: Annotated[int | None, setting("port")] = None,
    data: Annotated[Path | None, setting("data")] = None,
    query_encoder: Annotated[
        str | None, setting("query_encoder", "--query-encoder", "--encoder")
    ] = None,
    reranker: Annotated[str | None, setting("reranker")] = None,
    workers: Annotated[int | None, setting("workers")] = None,
    keys_file: Annotated[Path | None, setting("keys_file")] = None,
    log: Annotated[str | None, setting("log")] = None,
) -> None:
    """Serve indexes over HTTP."""
    from trimseek.api.server import serve as run_server

    given = {
        "host": host,
        "port": port,
        "data": data,
        "query_encoder": query_encoder,
        "reranker": reranker,
        "workers": workers,
        "keys_file": keys_file,
        "log": log,
    }
    settings = settings_of(config, given)
    run_server(folders or [], settings)


@app.command()
def config(
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Print the settings that are in force, and where each is from."""
    settings = settings_of(config, {})
    origins = sources(settings)
    values = settings.model_dump(mode="json")
    shown = {name: value for name, value in values.items() if name not in SECRET}
    shown |= {name: "(set)" if values[name] else "" for name in SECRET}
    if as_json:
        print_json({name: {"value": shown[name], "from": origins[name]} for name in values})
        return
    for name in values:
        unset = shown[name] is None or name in SECRET
        line = f"# {name} = {shown[name] or ''}" if unset else f"{name} = {toml(shown[name])}"
        what = ServiceSettings.model_fields[name].description or ""
        typer.echo(f"{line}  # {origins[name]}{'; ' + what if what else ''}")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[str, typer.Option(help="read, write or admin.")] = "read",
    last_day: Annotated[str | None, typer.Option(help="As 2027-01-31. Default: no end.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key, and the line to put into the file of `serve --keys-file`."""
    if role not in ROLES:
        raise ConfigError(f"--role {role}: one of {', '.join(ROLES)}")
    try:
        last = datetime.strptime(last_day, "%Y-%m-%d").date() if last_day else None
    except ValueError:
        raise ConfigError(f"--last-day {last_day}: must be as 2027-01-31") from None
    secret, made = new_key(name, ROLES[role], last)
    if as_json:
        print_json({"key": secret, "line": made.line()})
        return
    note("the key, which is shown once and stored nowhere:")
    typer.echo(secret)
    note("the line for --keys-file, of which the key cannot be told:")
    typer.echo(made.line())


def settings_of(file: Path | None, given: dict[str, Any]) -> ServiceSettings:
    """The settings in force; ConfigError. ``given``: on the command line, None for what is not."""
    if file is not None:
        os.environ[CONFIG] = str(file)
    return make_settings(
        ServiceSettings, **{name: value for name, value in given.items() if value is not None}
    )


def toml(value: Any) -> str:
    """A value as a TOML file has it: but for None, as JSON has it."""
    return json.dumps(value, ensure_ascii=False)
