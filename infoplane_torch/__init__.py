"""Differentiable Fisher information and entropy, and the auto-encoders they control."""
