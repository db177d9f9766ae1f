from typing import Literal

Pooling = Literal['cls', 'eos', 'last', 'mean', 'none']

POOLING_VALUES: set[Pooling] = { 'cls', 'eos', 'last', 'mean', 'none',  }

def check_pooling(value: str) -> Pooling:
    if value in POOLING_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {POOLING_VALUES!r}")
