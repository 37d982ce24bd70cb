"""Chooses the best model that passed its gates and pushes it as one bundle."""
