"""X-rays in, tf.Examples out: the pipeline's custom ExampleGen, one idea a module."""
