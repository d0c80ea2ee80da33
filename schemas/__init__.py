"""The contract: events, topics and reason codes. No Kafka, no torch."""
