"""Every command of trimseek: where it is, and the first line of its help.

A command's module is imported when the command runs, so that ``trimseek --help`` does not wait for
onnxruntime and FAISS; a test holds these lines to what the commands say of themselves.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """``module``: its ``app`` has the command. ``help``: the first line of its docstring."""

    module: str
    help: str


COMMANDS = {
    name: Entry(f"trimseek.{module}", help_)
    for name, module, help_ in (
        ("pull", "encoders.commands",
         "Fetch a base model and quantize it, so that it is ready to run."),
        ("compress", "compression.commands",
         "Make an encoder as small and fast as a stated loss allows, and prove it."),
        ("train-recommender", "encoders.recommender.training.commands",
         "Train a recommender on a log of events: an encoder whose tokens are items."),
        ("encoder info", "encoders.commands",
         "Say what an encoder is and what was measured of it."),
        ("encoder export", "encoders.commands",
         "Write an encoder as a folder that other libraries load."),
        ("encoder compare", "compression.compare_commands",
         "Compare two encoders of one space: size, speed, and how far they agree."),
        ("encoder storage", "compression.commands",
         "Compare the ways to store an encoder: size, speed, and agreement with float32."),
        ("index", "indexer.commands",
         "Embed a corpus into an index folder; run it again to update."),
        ("list", "indexer.commands",
         "List the indexes in a folder."),
        ("info", "indexer.commands",
         "Say what an index holds and which encoder made it."),
        ("add", "search.document_commands",
         "Add documents to an index, or replace them, while it is searched and served."),
        ("get", "search.document_commands",
         "Print a document as it was indexed."),
        ("documents", "search.document_commands",
         "List documents in the order in which they came."),
        ("count", "search.document_commands",
         "Count documents."),
        ("delete", "search.document_commands",
         "Delete documents by their ids or by a filter."),
        ("patch", "search.document_commands",
         "Change a document's metadata without embedding it again."),
        ("search", "search.commands",
         "Search an index and print the passages that match."),
        ("recommend", "search.commands",
         "Find documents like some and unlike others, or the items that follow a history."),
        ("tune", "search.commands",
         "Find and keep the least effort of an hnsw or ivf index that finds enough."),
        ("cluster build", "cluster.commands",
         "Build an index of several shards from a corpus; run it again to update, or to go on."),
        ("cluster serve", "cluster.commands",
         "Serve an index of several shards over HTTP, and take up what is built anew."),
        ("verify", "indexer.care_commands",
         "Check that an index is whole: checksums, counts, vectors, words and snapshot in step."),
        ("compact", "indexer.care_commands",
         "Give back the room of what was deleted, and make words and snapshot anew."),
        ("reembed", "indexer.care_commands",
         "Embed an index anew with another encoder, while the old one goes on serving."),
        ("export", "indexer.care_commands",
         "Write every document to a JSON Lines or Parquet file, as trimseek index reads it."),
        ("backup", "indexer.care_commands",
         "Copy an index into one file, while it may be written to."),
        ("restore", "indexer.care_commands",
         "Make an index folder from a backup, which is verified first."),
        ("serve", "api.commands",
         "Serve indexes over HTTP."),
        ("mcp", "api.mcp_commands",
         "Let agents search indexes by the Model Context Protocol (stdin and stdout)."),
        ("config", "api.commands",
         "Print the settings that are in force, and where each is from."),
        ("key", "api.commands",
         "Make an API key, and the line to put into the file of `serve --keys-file`."),
        ("bench", "eval.bench.commands",
         "Measure retrieval quality and latency, encoder beside encoder."),
        ("bench compare", "eval.bench.commands",
         "Say what changed between two benchmarks, and whether it is more than noise."),
        ("bench load", "eval.bench.commands",
         "Load a running service with requests at a fixed rate, and measure their latency."),
        ("bench profile", "eval.bench.commands",
         "Say where the time of encoding goes: tokenization, Python, each part of the runtime."),
        ("doctor", "indexer.doctor_commands",
         "Check this machine, the model and, when given, an index."),
    )
}  # fmt: skip

# What people type who know another tool, and what it is called here.
COMMAND_SYNONYMS = {
    "ls": "list", "stats": "info", "status": "info", "describe": "info", "show": "get",
    "query": "search", "find": "search", "rm": "delete", "remove": "delete", "drop": "delete",
    "insert": "add", "upsert": "add", "update": "add", "create": "index", "build": "index",
    "snapshot": "backup", "dump": "export", "server": "serve", "start": "serve", "run": "serve",
    "benchmark": "bench", "eval": "bench", "evaluate": "bench", "prune": "compress",
    "quantize": "compress", "shrink": "compress", "check": "verify", "download": "pull",
    "scroll": "documents", "browse": "documents",
    "vacuum": "compact", "optimize": "compact", "similar": "recommend", "settings": "config",
}  # fmt: skip
OPTION_SYNONYMS = {
    "--top-k": "-k", "--topk": "-k", "--limit": "-k", "--num": "-k", "-n": "-k", "--k": "-k",
    "--filter": "--where", "--model": "--encoder", "--output": "--into", "--out": "--into",
    "--input": "--texts", "--force": "--yes", "-y": "--yes", "-f": "--yes",
    "--metric": "--measure", "--facets": "--facet", "--format": "--json",
}  # fmt: skip
