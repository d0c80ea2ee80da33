"""Sample goods, declarations made of them, and the demo. Nothing here runs in production."""
