"""Text → (image + text) product retrieval: `retriever.load()` gives a model that embeds queries and items."""

import os

# ONNX Runtime tells its makers which models it runs, unless this is set before it is imported. A shop's business is
# its own.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from retriever.config import PRESETS, RetrieverConfig
from retriever.processor import Processor, item_text
from retriever.retriever import ItemInput, Retriever, identify, load

__all__ = [
    "PRESETS",
    "ItemInput",
    "Processor",
    "Retriever",
    "RetrieverConfig",
    "identify",
    "item_text",
    "load",
]
