"""The runner behind `make test` and `make test-portable`; see parts.py."""
