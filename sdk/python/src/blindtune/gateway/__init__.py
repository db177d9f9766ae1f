"""A server in the label holder's house that speaks OpenAI's fine-tuning API, labels included.

Stock code points at it and goes on unchanged: it keeps the labels, and fine-tunes on hosts that get texts alone. Needs
the extra `gateway`.

Owns: that API, for classification. Must never: send a host what `training/` would not, or listen beyond this machine
without a key.
"""

from __future__ import annotations
