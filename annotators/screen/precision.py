"""In which type a network's products are computed: bfloat16 pays where the hardware multiplies
matrices of it (a GPU, AMX) and costs where it does not.
"""

from __future__ import annotations

from typing import Any, Literal

Precision = Literal["auto", "float32", "bfloat16"]


def product_type(precision: Precision, device: str) -> Any:
    """The torch.dtype; "auto" is bfloat16 where it is fast on that device."""
    import torch

    if precision == "auto":
        fast = (
            torch.cuda.is_bf16_supported()
            if device.startswith("cuda")
            else torch.cpu.get_capabilities().get("amx_bf16", False)
        )
        precision = "bfloat16" if fast else "float32"
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
