"""What a run request of `tell_operators` would tell."""

from typing import Any

import dagster as dg


def messages_of(request: dg.RunRequest) -> list[dict[str, str]]:
    assert request.job_name == "tell_operators"
    config: dict[str, Any] = dict(request.run_config)
    told: list[dict[str, str]] = config["ops"]["send_messages"]["config"]["messages"]
    return told
