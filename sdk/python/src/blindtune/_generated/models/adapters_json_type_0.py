from typing import Literal

AdaptersJsonType0 = Literal['all', 'none']

ADAPTERS_JSON_TYPE_0_VALUES: set[AdaptersJsonType0] = { 'all', 'none',  }

def check_adapters_json_type_0(value: str) -> AdaptersJsonType0:
    if value in ADAPTERS_JSON_TYPE_0_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {ADAPTERS_JSON_TYPE_0_VALUES!r}")
