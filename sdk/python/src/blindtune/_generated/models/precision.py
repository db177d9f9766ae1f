from enum import StrEnum

class Precision(StrEnum):
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"

    def __str__(self) -> str:
        return str(self.value)
