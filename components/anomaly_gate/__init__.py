"""Stops the run over anomalies in the data."""
