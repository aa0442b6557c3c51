"""Serves template.yaml on this machine: no Docker, no AWS account."""
