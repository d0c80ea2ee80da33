"""Pure: records and bytes in, numbers out. One door: `models.scorer.Scorer`."""
