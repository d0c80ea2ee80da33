"""The decision log: what was decided, in hash chains that show what was altered later."""
