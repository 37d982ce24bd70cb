"""What the Trainer runs: features, the preprocessing graph, the three classifiers, the loop."""
