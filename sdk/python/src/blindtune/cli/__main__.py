"""`python -m blindtune.cli`.

Owns: nothing. Must never: do more than call `main`.
"""

import sys

from .app import main

sys.exit(main())
