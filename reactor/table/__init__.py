"""What is open: the explicit table of partially finished requests, and the reactor that works through it.

`request` is a row; `table` holds the rows; `bounds` what a row may cost, in time and in memory; `ends` what is logged
of a row's end; `work` the work outside the loop that rows wait for; `steps` the costly steps inside it;
`preparing` what is imported before anything is served; `posted` a handler's channel as other threads see it; `reactor`
is the loop together with the table.

Nothing here knows a socket or a server. Where a row's bytes come from is for the room `rows` to say, and who hears of
its end is the row's `request.Owner`.
"""
