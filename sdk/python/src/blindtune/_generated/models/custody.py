from typing import Literal

Custody = Literal['client', 'host']

CUSTODY_VALUES: set[Custody] = { 'client', 'host',  }

def check_custody(value: str) -> Custody:
    if value in CUSTODY_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {CUSTODY_VALUES!r}")
