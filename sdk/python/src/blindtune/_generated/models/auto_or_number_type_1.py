from typing import Literal

AutoOrNumberType1 = Literal['auto']

AUTO_OR_NUMBER_TYPE_1_VALUES: set[AutoOrNumberType1] = { 'auto',  }

def check_auto_or_number_type_1(value: str) -> AutoOrNumberType1:
    if value in AUTO_OR_NUMBER_TYPE_1_VALUES:
        return value
    raise TypeError(f"Unexpected value {value!r}. Expected one of {AUTO_OR_NUMBER_TYPE_1_VALUES!r}")
