"""Text → (image + text) product retrieval: `retriever.load()` gives a model that embeds queries and items."""

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
