"""What operators run: deploy topics and schemas, check an installation, replay dead letters."""
