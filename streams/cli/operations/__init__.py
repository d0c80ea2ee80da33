"""`redlane lag` and `support-bundle`: how the workers are."""
