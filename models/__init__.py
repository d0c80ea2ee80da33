"""Pure: records and bytes in, numbers out. One door: `models.scoring.scorer.Scorer`."""

from models import arithmetic

arithmetic.pin()  # before any module of ours loads NumPy
