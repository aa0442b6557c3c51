"""The rules: each module has the SQL of its rules beside them. Knows no HTTP, no events, no metrics."""
