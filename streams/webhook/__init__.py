"""Events as webhooks: CloudEvents in JSON, signed after Standard Webhooks, posted until taken."""
