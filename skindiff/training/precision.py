"""How precisely the frozen base model of a training is held, and what that asks of the machine."""

from importlib.util import find_spec
from typing import Literal

import torch
from accelerate.utils import is_bf16_available

from skindiff.wrong_settings import refuse

BaseDtype = Literal["float32", "bfloat16", "float16", "nf4"]
_TORCH: dict[BaseDtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "nf4": torch.bfloat16,
}


def torch_dtype(base_dtype: BaseDtype) -> torch.dtype:
    """Return the precision that a base model computes in: of nf4 that in which its weights are multiplied."""
    return _TORCH[base_dtype]


def check_base_dtype(base_dtype: BaseDtype, setting: str, mixed_precision: str | None) -> None:
    """Refuse a precision that this machine does not have, or that does not go with mixed precision.

    Args:
        base_dtype: of the frozen base model.
        setting: its name, for the message.
        mixed_precision: of Accelerate, ``no``, ``fp16`` or ``bf16``; None where it is not known yet.

    Raises:
        ConfigError: the setting cannot work.
    """
    if base_dtype == "nf4" and (lacking := lacking_for_bitsandbytes()):
        refuse(f"{setting} is nf4, which {lacking}, or set it to bfloat16")
    elif base_dtype == "bfloat16" and not is_bf16_available():
        refuse(f"{setting} is bfloat16, which this device has not: set it to float32, or to float16")
    elif base_dtype == "float16" and mixed_precision not in (None, "fp16"):
        refuse(
            f"{setting} is float16, in which small gradients vanish unless the loss is scaled: launch with "
            "--mixed_precision fp16, or set it to bfloat16"
        )
    elif base_dtype in ("bfloat16", "nf4") and mixed_precision == "fp16":
        refuse(
            f"{setting} is {base_dtype}, which computes in bfloat16, and mixed precision is fp16: launch "
            "with --mixed_precision bf16"
        )


def lacking_for_bitsandbytes() -> str | None:
    """Return what the package bitsandbytes asks for that is not here; None where it can work."""
    if find_spec("bitsandbytes") is None:
        return 'needs bitsandbytes: pip install "skindiff[quantised]"'
    if not torch.cuda.is_available():
        return "needs a GPU with CUDA: run it where there is one"
    return None
