"""The run board: a page on this machine that shows run folders to whoever holds the labels.

It reads what `train`, `evaluate`, `audit` and `frontier` left in their folders, and follows a run that is under way.
Needs the extra `board`.

Owns: that page and its server. Must never: listen beyond 127.0.0.1, answer without its token, or ask a host unless the
user pressed the button that says so.
"""

from __future__ import annotations
