"""The worker around a stage, and everything else that speaks Kafka's protocol."""
