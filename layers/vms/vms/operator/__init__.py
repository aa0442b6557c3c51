"""What the operator of the service may do: statements about any corporation, for the function `operator` alone.

No function with a route imports this package; `tests/unit/test_template.py` holds it.
"""
