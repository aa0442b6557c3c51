"""A function whose import fails; tests/integration/test_streaming.py runs it in real runtimes."""

from vms import streaming

streaming.install()
raise ValueError("at init")
