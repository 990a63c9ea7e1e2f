"""The table of partially finished requests, and the reactor, which is a loop with a table.

`request`    one row
`table`      holds the rows
`bounds`     limits the time and the memory of rows
`ends`       logs the end of a row
`work`       work outside the loop that rows wait for
`steps`      costly steps inside the loop: a few in each batch
`posted`     a handler's machine, for other threads
`preparing`  imports before anything is served
`reactor`    the reactor

Nothing here knows a socket: the classes of the room `rows` read and send for a row. A row carries its server, for its
handler, and never calls it: it tells its `request.Owner` of its end.
"""
