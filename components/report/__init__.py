"""The page that says what a run did, and the model card."""
