"""`redlane audit` and `redlane replay`: what was decided, and that it can be decided again."""
