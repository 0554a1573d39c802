"""Measurements of the estimators, beside those of other packages."""
