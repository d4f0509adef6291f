"""How charts and pictures of this package look."""

from __future__ import annotations

from csk_ros.modality import Route

ROUTE_COLORS = {Route.FUSED: "#1d5fa8", Route.IR_ONLY: "#c2500c", Route.EO_ONLY: "#2f7d32"}
"""The colour of each route, wherever it is drawn."""
