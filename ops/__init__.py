"""What an operator runs against a deployed stack, and what writes generated files."""
