"""Experiments (one TOML each) and the pycaffe training driver."""
