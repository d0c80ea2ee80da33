"""Records in, records out: the worker around a stage, and all that speaks Kafka's protocol."""
