"""The console's threads: topics → database, decisions → inspection-outcomes."""
