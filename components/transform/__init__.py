"""TFX's Transform, with batches bounded by bytes."""
