"""Admission webhooks: HTTPS endpoints that are asked before an object is written."""

from knarr.apiserver.webhooks.admission import ConditionRules, WebhookAdmission
from knarr.apiserver.webhooks.caller import Caller, CallFailed, HttpsCaller
from knarr.apiserver.webhooks.dispatch import Webhooks
from knarr.apiserver.webhooks.subject import ReviewSubject

__all__ = [
    "CallFailed",
    "Caller",
    "ConditionRules",
    "HttpsCaller",
    "ReviewSubject",
    "WebhookAdmission",
    "Webhooks",
]
