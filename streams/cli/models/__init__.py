"""Commands about the model: bundles, verdicts without services, training and evaluation."""
