"""Which of ONNX Runtime's precisions this machine's processor is quickest at."""

from pathlib import Path

from retriever.onnx_cache import Precision

_CPUINFO = Path("/proc/cpuinfo")
_BYTE_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}  # instructions for eight-bit numbers: x86's, and ARM's


def quickest() -> tuple[Precision, Precision]:
    """The quickest first: eight bits where the processor has instructions for them, else full precision.

    Without these instructions eight bits take 1.5 to 2.4 times as long as full precision: docs/performance.md.
    """
    try:
        flags = set(_CPUINFO.read_text().split())
    except OSError:  # macOS: Apple's processors have them
        return "int8", "fp32"
    return ("int8", "fp32") if flags & _BYTE_PRODUCTS else ("fp32", "int8")
