"""Alarms of a guard in service: that more goes to a person, that more is wrong, valid whenever they are looked at."""

from demur.alarms.alarm_plan import AlarmPlan
from demur.alarms.alarm_reference import Reference, reference_of
from demur.alarms.alarm_status import Status
from demur.alarms.alarms import Alarms, kept_plan
from demur.alarms.feedback_table import FeedbackTable, write_feedback
from demur.alarms.observations import ContradictionError, Feedback, Observation, Question, UnknownImageError

__all__ = [
    "AlarmPlan",
    "Alarms",
    "ContradictionError",
    "Feedback",
    "FeedbackTable",
    "Observation",
    "Question",
    "Reference",
    "Status",
    "UnknownImageError",
    "kept_plan",
    "reference_of",
    "write_feedback",
]
