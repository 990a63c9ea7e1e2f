"""The room that reads the source of a handler class: its states and steps as a diagram, and the linter's warnings.

The source is parsed, and nothing in it runs except arithmetic on constants. `observed` is the exception: it runs the
handler, to compare the steps that happen with the steps that are written. Modules, lowest first:

============  =============================================================================
``source``    the methods of a class as syntax trees, and what the names in them mean
``ending``    whether a request can end after its input has ended
``growth``    whether something that a handler keeps grows without a bound
``largest``   comparisons that leave out the largest that is allowed
``steps``     the steps between states
``dropped``   the steps that a statement makes and drops
``blocking``  the calls that wait for something outside
``linter``    the warnings: `lint`
``diagram``   states and steps as text, for Graphviz and for Mermaid: `written`, `observed`
============  =============================================================================

This room imports the room ``running`` (for the handler class and for a run), no other room and no test library. An
expression whose value cannot be told without running it is never a reason for a warning.
"""
