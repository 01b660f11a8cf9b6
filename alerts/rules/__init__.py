"""Limits without machine learning: those of sensors, and rules of several conditions."""
