"""What a model must achieve to be pushed, and how that is measured."""
