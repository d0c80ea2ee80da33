"""Which HS subheading goods are of, from text, photo or both."""
