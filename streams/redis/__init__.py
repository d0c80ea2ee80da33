"""What all users of Redis share: the names of its keys, and when to leave a failing one alone."""
