"""The DAG: configuration, presets, `create_pipeline`, the local runner, the command line."""
