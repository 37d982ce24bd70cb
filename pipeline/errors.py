"""Errors of running the DAG."""


class RunFailedError(RuntimeError):
    """A node failed for a reason that is not the user's input; exit status 1.

    The message names the node and what it said; the traceback is in the run's log.
    """
