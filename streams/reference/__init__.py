"""Risk profiles, tariff and exchange rates, followed from their compacted topics."""
