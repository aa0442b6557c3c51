"""A function whose import fails; tests/integration/test_streaming.py runs it in real runtimes."""

from vms import streaming

streaming.install(stall_seconds=2.0)
raise ValueError("at init")
