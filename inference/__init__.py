"""Trained weights -> probability maps, class masks, scores and pictures."""
