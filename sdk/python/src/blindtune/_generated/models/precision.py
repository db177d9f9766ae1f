from enum import StrEnum

class Precision(StrEnum):
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"
    NF4 = "nf4"

    def __str__(self) -> str:
        return str(self.value)
