"""bfloat16 is used where the hardware computes in it, and nowhere else."""

from types import MappingProxyType

import pytest
import torch

from training.precision import autocast, computes_bf16, mixed_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False, "fp16_arith": True}, False),
    ],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(capabilities))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert computes_bf16(CPU) is expected
    assert mixed_precision("auto") == ("bf16" if expected else "no")
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if expected else torch.float32)


def test_this_cpu_says_what_it_can() -> None:
    assert any(name.endswith("bf16") for name in torch.cpu.get_capabilities())


def test_who_asks_for_a_precision_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType({"avx512_bf16": False}))
    assert mixed_precision("bf16") == "bf16"
    assert mixed_precision("no") == "no"


def test_a_gpu_that_emulates_bfloat16_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not computes_bf16(torch.device("cuda"))
