"""Scores of label maps, and everything that is measured of a checkpoint."""

from csk_ros.evaluation.metrics import RouteScores, Scores
from csk_ros.evaluation.routes import score_routes
from csk_ros.evaluation.run import Evaluation, EvaluationSettings, evaluate

__all__ = ["Evaluation", "EvaluationSettings", "RouteScores", "Scores", "evaluate", "score_routes"]
