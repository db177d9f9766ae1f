from enum import StrEnum

class Pooling(StrEnum):
    CLS = "cls"
    EOS = "eos"
    LAST = "last"
    MEAN = "mean"
    NONE = "none"

    def __str__(self) -> str:
        return str(self.value)
