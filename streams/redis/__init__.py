"""What the users of Redis share: names of keys, reading of records, leaving a failing one alone."""
