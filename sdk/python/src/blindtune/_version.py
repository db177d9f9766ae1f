"""The version of this package, which is the host's: Cargo.toml has it first.

Owns: the only copy in the package. Must never: import anything; the build reads it.
"""

__version__ = "0.3.0"
