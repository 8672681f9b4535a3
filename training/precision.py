"""bfloat16 where the hardware computes in it.

A CPU without such instructions takes some forty times as long in it as in full precision, and older GPUs emulate it:
there nothing is gained and much is lost.
"""

import torch


def computes_bf16(device: torch.device) -> bool:
    """Whether the hardware has instructions for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":  # avx512_bf16, amx_bf16; bf16 and sve_bf16 on ARM
        return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return True


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where `computes_bf16`, else full precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device))


def mixed_precision(asked: str) -> str:
    """What a `--precision` means here: `auto` is `bf16` where the device that torch takes computes in it, else `no`."""
    if asked != "auto":
        return asked
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    return "bf16" if computes_bf16(device) else "no"
