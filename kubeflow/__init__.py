"""Running the same DAG on Kubeflow Pipelines, and serving what it pushes."""
