"""What tests against real hosts import; the hosts themselves are fixtures of ../conftest.py."""

from real_host import MODEL, RealHost, new_host

__all__ = ["MODEL", "RealHost", "new_host"]
