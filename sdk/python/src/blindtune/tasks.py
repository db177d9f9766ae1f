"""What can be learned of texts, by name.

Owns: the names. Must never: import anything; the command line's help reads them.
"""

TASKS = ("classification", "regression", "multilabel", "tokens")
