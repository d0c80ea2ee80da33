"""Metrics → two Grafana dashboards: of operators, and of the model's owner.

`python -m streams.operations.dashboards` writes them into deploy/grafana/dashboards, `--check`
fails when they are out of date. It needs the extra `dev`.
"""
