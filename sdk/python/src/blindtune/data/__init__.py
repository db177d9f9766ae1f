"""Rows that are read where they lie: texts for the hosts, labels that stay here.

Owns: the public names of the data. Must never: know a host, or what is trained on the rows.

    dataset.py     texts with their labels, batches, and the file that is uploaded
    sources.py     files, tables and Hugging Face datasets, opened (text_files.py: encodings and delimiters)
    source.py      what they become: rows with a place to name
    label_sets.py  several labels for a row
    spans.py       labels that stand in the text; alignment.py finds the tokens of a backbone there
    chats.py       chats of OpenAI's fine-tuning: which messages are the text, and which is the label
    columns.py     which column is the text, its pair and the label
"""

from ..tasks import TASKS
from .chunks import evaluation_chunks, upload_bytes
from .columns import Text
from .dataset import Batches, Dataset, read_dataset, read_texts, text_lengths
from .source import DataError
from .spans import Span, from_tags, to_tags

__all__ = [
    "TASKS",
    "Batches",
    "DataError",
    "Dataset",
    "Span",
    "Text",
    "evaluation_chunks",
    "from_tags",
    "read_dataset",
    "read_texts",
    "text_lengths",
    "to_tags",
    "upload_bytes",
]
