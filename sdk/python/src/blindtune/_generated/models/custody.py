from enum import StrEnum

class Custody(StrEnum):
    CLIENT = "client"
    HOST = "host"

    def __str__(self) -> str:
        return str(self.value)
