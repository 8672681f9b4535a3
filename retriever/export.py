"""`python -m retriever.export`: makes a checkpoint's graphs for ONNX Runtime, once for each checkpoint."""

import argparse
from collections.abc import Sequence
from typing import get_args

from retriever import cpu
from retriever.onnx_cache import Precision
from retriever.onnx_export import export
from retriever.retriever import find


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m retriever.export",
        description="Export a checkpoint for ONNX Runtime, which runs it several times faster on a CPU. The graphs go "
        "into the user's cache (XDG_CACHE_HOME), and SEARCH_INFERENCE=auto finds them there.",
    )
    parser.add_argument("--model", default="compact", help="shipped name, checkpoint folder or hub name (compact)")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=get_args(Precision),
        default=[cpu.quickest()[0]],
        help=f"of the Q-Former (what this processor is quickest at: {cpu.quickest()[0]})",
    )
    options = parser.parse_args(arguments)
    try:
        for precision in options.precision:
            print(export(find(options.model), precision))
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
