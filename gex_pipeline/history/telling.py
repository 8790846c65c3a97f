"""Telling operators from Dagster: a run sends the messages, so that no host that hangs holds up a sensor."""

from collections.abc import Sequence

import dagster as dg

from gex_pipeline.notify import Message, notify
from gex_pipeline.settings import Settings

# An address that does not take a message is tried again after these pauses, and then given up.
RETRY_SECONDS = (10.0, 60.0, 300.0)


class Messages(dg.Config):
    """What is to be told."""

    messages: list[dict[str, str]]


@dg.op
def send_messages(context: dg.OpExecutionContext, config: Messages, settings: dg.ResourceParam[Settings]) -> None:
    """Send each message to every address once; those that do not take it are tried again."""
    for each in config.messages:
        message = Message(each["title"], each["text"])
        context.log.info("%s\n%s", message.title, message.text)
        if left := notify(settings, message, RETRY_SECONDS):
            numbers = ", ".join(str(number + 1) for number in left)
            raise dg.Failure(f"address {numbers} of GEX_NOTIFY_URLS did not take: {message.title}")


@dg.job(executor_def=dg.in_process_executor, description="Send messages to the addresses of GEX_NOTIFY_URLS.")
def tell_operators() -> None:
    """Run the one step."""
    send_messages()


def tell(messages: Sequence[Message], run_key: str) -> dg.RunRequest:
    """Ask for a run that sends these messages, before whatever else is queued; once for each key."""
    told = [{"title": each.title, "text": each.text} for each in messages]
    return dg.RunRequest(
        run_key=run_key,
        job_name=tell_operators.name,
        run_config=dg.RunConfig(ops={send_messages.name: Messages(messages=told)}),
        tags={"dagster/priority": "10"},
    )
