"""Synthetic scenes in DeepGlobe's format: both tasks can be learnt from them, nothing is to be downloaded."""
