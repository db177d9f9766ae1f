"""Rows that are read where they lie: texts for the hosts, labels that stay here.

Owns: the public names of the data. Must never: know a host, or what is trained on the rows.

    dataset.py     texts with their labels, batches, and the file that is uploaded
    sources.py     files, tables and Hugging Face datasets, opened
    label_sets.py  several labels for a row
    columns.py     which column is the text, its pair and the label
"""

from .columns import Text
from .dataset import TASKS, Batches, Dataset, evaluation_chunks, read_dataset, read_texts, text_lengths, upload_bytes
from .sources import DataError

__all__ = [
    "TASKS",
    "Batches",
    "DataError",
    "Dataset",
    "Text",
    "evaluation_chunks",
    "read_dataset",
    "read_texts",
    "text_lengths",
    "upload_bytes",
]
