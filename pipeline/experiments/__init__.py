"""The paper's experiments: cross-validation, tuning, and its figures beside ours."""
