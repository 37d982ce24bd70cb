"""Brings the curated schema of the raw examples into the pipeline."""
