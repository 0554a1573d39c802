"""Compiled loops: float64 arrays in, arrays out, no checks."""
