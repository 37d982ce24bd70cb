"""Which of Beam's local runners runs a pipeline that names none."""


def use_in_process_runner() -> None:
    """Makes Beam's own in-process runner the default of this process.

    Left alone, Beam 2.68 and newer first downloads another runner (Prism, a Go program)
    from GitHub without a checksum and runs it where that works, and falls back to the
    in-process runner where it does not. Then the same command behaves differently from one
    machine to the next: with Prism, the errors by which we tell a person what is wrong with
    the data arrive as a bare RuntimeError.

    Given as an option instead, TFX would build a wheel of itself in every Beam node.
    """
    from apache_beam.options.pipeline_options import StandardOptions

    StandardOptions.DEFAULT_RUNNER = "FnApiRunner"
