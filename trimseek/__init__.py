"""trimseek: semantic search on a CPU budget.

    import trimseek

    with trimseek.create_index("notes", [{"id": "a", "text": "Bread rises when warm."}]) as notes:
        print(notes.search("how to let dough rise").hits[0].id)

The names below are the public Python API; each is imported when it is first used.
"""

from pkgutil import extend_path
from typing import TYPE_CHECKING

# The root of a clone has this folder alone under the name of trimseek; the other packages are then
# found where the editable installation links to them.
__path__ = extend_path(__path__, __name__)

from trimseek.lazy import lazy_names

if TYPE_CHECKING:
    from trimseek.api.client import AsyncClient, Client
    from trimseek.compression.compress import compress
    from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder
    from trimseek.encoders.recommender.training.train import train_recommender
    from trimseek.encoders.text_encoder import TextEncoder, load_encoder
    from trimseek.errors import TrimseekError
    from trimseek.eval.bench.evaluate import evaluate
    from trimseek.indexer.documents import Document
    from trimseek.search.hits import Hit, Results
    from trimseek.search.index import Index, create_index, open_index

__all__ = [
    "AsyncClient",
    "Client",
    "CrossEncoder",
    "Document",
    "Hit",
    "Index",
    "Results",
    "TextEncoder",
    "TrimseekError",
    "__version__",
    "compress",
    "create_index",
    "evaluate",
    "load_cross_encoder",
    "load_encoder",
    "open_index",
    "train_recommender",
]

__version__ = "0.1.0"
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AsyncClient": "trimseek.api.client",
        "Client": "trimseek.api.client",
        "CrossEncoder": "trimseek.encoders.cross_encoder",
        "Document": "trimseek.indexer.documents",
        "Hit": "trimseek.search.hits",
        "Index": "trimseek.search.index",
        "Results": "trimseek.search.hits",
        "TextEncoder": "trimseek.encoders.text_encoder",
        "TrimseekError": "trimseek.errors",
        "compress": "trimseek.compression.compress",
        "create_index": "trimseek.search.index",
        "evaluate": "trimseek.eval.bench.evaluate",
        "load_cross_encoder": "trimseek.encoders.cross_encoder",
        "load_encoder": "trimseek.encoders.text_encoder",
        "open_index": "trimseek.search.index",
        "train_recommender": "trimseek.encoders.recommender.training.train",
    },
)
