"""Risk profiles and tariff, followed from their compacted topics."""
