from typing import Literal

Precision = Literal['bfloat16', 'float32', 'nf4']

PRECISION_VALUES: set[Precision] = { 'bfloat16', 'float32', 'nf4',  }

def check_precision(value: str) -> Precision:
    if value in PRECISION_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {PRECISION_VALUES!r}")
