"""Mutations made by rule that no test can find, each with the reason: it changes nothing that can be observed."""

EQUIVALENT = {
    "reactor/rows/framed.py FramedRow.held_in: is one more: return [0]": (
        "The line is never run: the loop drives every row of a framing, and fork_request() refuses it, so the row always "
        "has its channel."
    ),
    "reactor/rows/connected.py ConnectedRow.ready: becomes or: if events & EVENT_READ [and] self.channel.wants_input:": (
        "The socket is watched for input only while the channel wants some; an attempt to read more raises EAGAIN, and a "
        "packet that is read too early is held by the machine instead of by the kernel."
    ),
    "reactor/table/preparing.py prepare: is passed over: "
    "[traceback.format_exc()]  # for handle_error(): the first traceback imports more": (
        "The call only imports earlier what the first traceback would import."
    ),
}
