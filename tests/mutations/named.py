"""Mutations that are written down: faults that were made once, or that a change must not bring back.

Each replaces a few characters of the source. The schedules of `tests.proofs.soak` find it, or the tests that it names.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from tests import ROOT
from tests.mutations.planting import Mutant

SEEDS = 100
"""One of so many seeds must find a mutation."""


@cache
def sources():
    """The text of each module, by its path."""
    return {path: path.read_text() for room in ("handlers", "reactor") for path in (ROOT / room).rglob("*.py")}


class Mutation(NamedTuple):
    """``old``, which occurs once in the source, is replaced by ``new``."""

    name: str
    old: str
    new: str
    needs_faults: bool = False
    """Whether all seeds pass without faults."""
    seeds: int = SEEDS
    """How many seeds are tried."""
    tests: str = ""
    """Test modules, and behind ``-k`` a part of the names of the tests in them; empty if the schedules find it."""

    def mutant(self):
        """The one module in which the old text stands, with the new text. Raises `ValueError` if there is none."""
        places = [path for path, source in sources().items() for _ in range(source.count(self.old))]
        if len(places) != 1:
            raise ValueError(f"{self.name}: {self.old!r} stands in the source {len(places)} times, not once")
        source = sources()[places[0]].replace(self.old, self.new)
        return Mutant(places[0].relative_to(ROOT).as_posix(), source)

    def modules(self):
        """The test modules that find it."""
        return self.tests.partition(" -k ")[0].split()

    def takes(self, test):
        """Whether the test with this name is one of those that find it."""
        module, _, name = test.partition("::")
        return module in self.modules() and self.tests.partition(" -k ")[2] in name


RARE = 500
"""The seeds for a mutation that only schedules with one of several filters can find."""

CHECKED = "tests/testing/check/test_through.py -k plain_text"
HOT = "tests/handlers/test_hot_path.py"
HOT_ROW = "tests/rows/test_hot_path.py"
RPC_CALLS = "tests/handlers/sunrpc/test_calls.py"
BRIEF = "tests/servers/test_brief.py"
ROWLESS = "tests/servers/test_rowless.py"
TLS_RECORDS = "tests/rows/test_tls_records.py"
TLS_FILTER = "tests/rows/test_tls_filter.py"
RELAYING = "tests/rows/test_relaying.py"
DIRECT = "tests/servers/test_direct.py"
EVERY_CAUSE = "tests/modes/test_every_cause.py"


MUTATIONS = [
    Mutation(
        "the result of send() is ignored, so a short send is dropped",
        "channel.sent(count)", "channel.sent(len(outbox))", needs_faults=True,
    ),
    Mutation(
        "EAGAIN is taken for the end of the stream",
        "else self._bulk_size())\n        except AGAIN:\n            pass\n",
        "else self._bulk_size())\n        except AGAIN:\n            channel.end()\n",
    ),
    Mutation(
        "the end of the stream drops the output",
        "        elif channel.wait is None:\n", "        if channel.wait is None:\n",
    ),
    Mutation(
        "EMFILE kills the loop",
        "in PUT_OFF:\n                self.", "in PUT_OFF:\n                raise\n                self.",
        needs_faults=True,
    ),
    Mutation(
        "arrivals that were put off for EMFILE are never taken",
        "self._service.reactor.call_later(PAUSE, source.look_again)", "pass", needs_faults=True,
    ),
    Mutation(
        "an interrupted call breaks the connection",
        "AGAIN = (BlockingIOError, InterruptedError)", "AGAIN = (BlockingIOError,)", needs_faults=True,
    ),
    Mutation(
        "the write interest is never cleared",
        "mask = EVENT_READ if channel.wants_input else self.resting()",
        "mask = (EVENT_READ if channel.wants_input else self.resting()) | self.mask & EVENT_WRITE",
    ),
    Mutation(
        "a row reads although its output waits",
        "mask = EVENT_READ if channel.wants_input else self.resting()",
        "mask = EVENT_READ if channel.wait is not None and channel.wait.reads else self.resting()",
    ),
    Mutation(
        "a socket is closed before it is unregistered",
        "        if taken == 0:\n            self.reactor.end(self)\n",
        "        if taken == 0:\n            self.socket.close()\n            self.reactor.end(self)\n",
    ),
    Mutation(
        "a row that is held back stays in the selector",
        "  # see resting()\n        if mask != self.mask:", "\n        if mask and mask != self.mask:",
    ),
    Mutation(
        "a server takes one request too many",
        "len(self.reactor.table) < self.server.max_requests", "len(self.reactor.table) <= self.server.max_requests",
    ),
    Mutation(
        "a server takes its arrivals one by one",
        "self._expected = min(2 * self._expected, most)", "pass", tests="tests/servers/test_accept.py",
    ),
    Mutation(
        "a new connection loses its number to a stale source",
        "old.mask = 0  # the number now belongs to the new source", "raise", tests="tests/loop/test_watches.py",
    ),
    Mutation(
        "a row that has ended stays in the table",
        "self._rows.pop(row.serial, None) is None", "self._rows.get(row.serial) is None",
    ),
    Mutation("a row that has ended is not let go of", "                row.release()\n", ""),
    Mutation(
        "the hot path does not see an earlier deadline",
        "if deadline < self.armed:\n                        self.reactor",
        "if False:\n                        self.reactor",
        tests=HOT_ROW,
    ),
    Mutation(
        "the hot path leaves output to nobody",
        "(self.flush(now) and self.mask == EVENT_READ and not channel.blocked)", "(self.flush(now) or True)",
    ),
    Mutation(
        "the hot path leaves the bytes of before in the budget",
        "not (self.unsettled or self.counted)", "not self.unsettled",
        tests="tests/testing/kernel/test_simulated_clients.py -k speaks_tls",
    ),
    Mutation(
        "the hot path does not keep to the pace",
        "(rare.pace is None and rare.relay is None)", "rare.relay is None", tests="tests/table/test_limits.py",
    ),
    Mutation(
        "the hot path passes the high-water mark",
        "elif len(outbox) > self.handler.high_water", "elif len(outbox) > 2 * self.handler.high_water", tests=HOT,
    ),
    Mutation(
        "the hot path passes over what a state has put back",
        "self.inbox is not data or not turns", "not turns", tests=HOT,
    ),
    Mutation(
        "a packet that the kernel did not take is lost with its request",
        "self._keep(brief, packets[number:], error)", "self._keep(brief, packets[number + 1 :], error)", tests=BRIEF,
    ),
    Mutation(
        "a request without a row may send what it likes",
        "self._row is not None or self.size > self.handler.max_output", "self._row is not None", tests=BRIEF,
    ),
    Mutation(
        "a request without a row is finished twice",
        "self.place == STATE", "self.place != SETUP", tests=BRIEF,
    ),
    Mutation(
        "a connection without a row is closed although its client still sends",
        "self.total_in += len(more)\n        return not more", "self.total_in += len(more)\n        return True",
        tests=ROWLESS,
    ),
    Mutation(
        "the reason of a request without a row is not told",
        "is None and machine.reason is None and machine.output", "is None and machine.output", tests=ROWLESS,
    ),
    Mutation(
        "output that the kernel has not taken is lost with its connection",
        "        machine.sent(self.total_out)\n        return not machine.outbox", "        return True", tests=ROWLESS,
    ),
    Mutation(
        "a request that was broken off in its first turn is in no table",
        "            row = self.make_row()\n            if isinstance(error, (KeyboardInterrupt, SystemExit)):\n"
        "                raise  # it ends the program; if the loop goes on all the same, the row ends then\n",
        "            if isinstance(error, (KeyboardInterrupt, SystemExit)):\n                raise\n"
        "            row = self.make_row()\n", tests=ROWLESS,
    ),
    Mutation(
        "a packet is given twice to a request that gets a row",
        "elif not channel.finished:", "if not channel.finished:", tests=BRIEF,
    ),
    Mutation(
        "a credential is known by its length",
        "return start if data[HEADER.size : start] in _accepted else 0", "return start if _accepted else 0",
        tests=RPC_CALLS,
    ),
    Mutation(
        "the hot path takes a frame past its limit",
        "if kind is Exactly and wait.n <= wait.limit else", "if kind is Exactly else", tests=HOT,
    ),
    Mutation(
        "the hot path takes a line past its limit",
        "if found < 0 or end - start > wait.limit:", "if found < 0:", tests=HOT,
    ),
    Mutation(
        "the hot path takes part of a frame",
        "if not start < end <= size:", "if not start < end:", tests=HOT,
    ),
    Mutation(
        "the hot path takes what a coroutine must not await",
        "if type(state) is not MethodType:  # it is of a coroutine\n"
        "                    following, then = step, state\n                elif step", "if step", tests=HOT,
    ),
    Mutation(
        "the hot path takes one of many waits that a coroutine must not await",
        "if is_coroutine:\n                if step is wait:\n                    continue\n            elif step",
        "if is_coroutine and step is wait:\n                continue\n            if step", tests=HOT,
    ),
    Mutation(
        "the hot path takes a wait without a state",
        "len(step) == 2 and type(step[1]) is MethodType:\n                    following",
        "len(step) == 2:\n                    following", tests=HOT,
    ),
    Mutation(
        "the hot path takes one of many waits without a state",
        "step[0] is wait and type(step[1]) is MethodType:", "step[0] is wait:", tests=HOT,
    ),
    Mutation(
        "a relay stops reading before the other side is settled",
        "if channel.blocked:  # if it waits for", "if False:  # if it waits for", tests=HOT_ROW,
    ),
    Mutation(
        "the hot path is taken past the high-water mark",
        "(outbox is not None and len(outbox) > handler.high_water)", "(outbox is not None and not outbox)", tests=HOT,
    ),
    Mutation(
        "the hot path goes on with pieces of another wait",
        "if step is wait:", "if step.__class__ is Until:", tests=HOT,
    ),
    Mutation(
        "the hot path takes one of many pieces past its limit",
        "if len(piece) > limit or self.blocked or", "if self.blocked or", tests=HOT,
    ),
    Mutation(
        "the hot path takes many pieces although a state has changed what is held",
        "or self.blocked or self.inbox is not data:", "or self.blocked:", tests=HOT,
    ),
    Mutation(
        "the hot path takes many pieces past the high-water mark",
        "or self.blocked or self.inbox is not data:", "or self.inbox is not data:", tests=HOT,
    ),
    Mutation(
        "the hot path has no end of a turn",
        "self.inbox is not data or not turns", "self.inbox is not data", tests=HOT,
    ),
    Mutation(
        "the hot path forgets that the output ends",
        "if not is_hungry or self.output is not OPEN:", "if not is_hungry:", tests=HOT,
    ),
    Mutation(
        "the hot path begins although another request has put something back",
        "            self.running = self.running or False  # it is not `STEADY` now\n", "", tests=HOT,
    ),
    Mutation(
        "the hot path takes any callable for one of a coroutine",
        " and is_plain(self.state):", ":", tests=HOT,
    ),
    Mutation(
        "a deadline is not armed",
        "            reactor.timers.arm(self)\n        if reactor.work.jobs",
        "            pass\n        if reactor.work.jobs",
    ),
    Mutation(
        "a deadline that has moved on is forgotten",
        "                return moment\n            self._place(item)\n",
        "                return moment\n            self._take_out(item)\n",
    ),
    Mutation("what is due is not done", "                self._expire(now)\n", "                pass\n"),
    Mutation(
        "a row that another writes to is not settled",
        "self.reactor.settle_soon(self)", "pass",
    ),
    Mutation(
        "room that a row has made is not used",
        "        if self.paused:\n", "        if False:\n",
    ),
    Mutation(
        "a reply goes to whoever asked first",
        "self.socket.sendto(packet, DONTWAIT, self.peer)",
        "self.socket.sendto(packet, DONTWAIT, next(iter(self.server._srv.exchanges.opened), self.peer))",
    ),
    Mutation(
        "a datagram that the kernel does not take is dropped",
        "                self.sent = before\n                break\n",
        "                self.sent = before\n                channel.outbox.popleft()\n",
        needs_faults=True,
    ),
    Mutation(
        "a datagram that must wait is never sent",
        "writing = self._senders and self.retry is None", "writing = 0",
        needs_faults=True,
    ),
    Mutation(
        "send_eof() does not end the stream",
        "        self.channel.end_output()\n        self.socket.shutdown(socket.SHUT_WR)\n",
        "        self.channel.end_output()\n",
    ),
    Mutation(
        "a request goes on whose output was cut at the bound of its handler",
        "if self.excess is None and self.state is not None:", "if False:",
    ),
    Mutation(
        "all rows together may hold what they like",
        "if self.held > self._reactor.max_held and held:", "if False:", needs_faults=True,
    ),
    Mutation(
        "what a row held is counted when it has ended",
        "        self.budget.let_go(row)\n", "",
    ),
    Mutation(
        "a connecting socket that can be written is taken for connected",
        "            sock.getpeername()  # not", "            pass  # not", needs_faults=True,
    ),
    Mutation("why a connection could not be had is not asked", "            if number:\n", "            if False:\n"),
    Mutation(
        "a socket whose connection could not be had stays open",
        "        if sock is not None:\n            close(sock)\n", "",
    ),
    Mutation(
        "a connection that can't even begin to be made is watched for its end",
        "if error.errno == errno.EAGAIN:", "if False:",
    ),
    Mutation(
        "what was begun for a wait goes on after its time",
        "        if reactor.work.jobs:\n            reactor.work.forget(self)\n", "",
    ),
    Mutation(
        "after a timeout the search goes on where it stopped for something else",
        "    def leave_wait(self) -> None:\n        self.scanned = self.start",
        "    def leave_wait(self) -> None:\n        self.scanned += 0",
    ),
    Mutation(
        "timers are in the order of their arming",
        "sorted(self._moments + self._new[:count], reverse=True)", "self._moments + self._new[:count]",
    ),
    Mutation(
        "the deadline that is new is taken for the next one",
        "insert(self._index(moment), moment)", "append(moment)",
        tests="tests/loop/test_timers.py -k after_each_of_many",
    ),
    Mutation("only the first event of a batch is heeded", "for key, mask in ready:", "for key, mask in ready[:1]:"),
    Mutation(
        "a wait that begins late ends early",
        "self.deadline = now + channel.patience if pace is",
        "now = now if self.deadline == float('inf') else min(now, self.deadline)\n"
        "        self.deadline = now + channel.patience if pace is",
    ),
    Mutation(
        "who takes the rest of the output slowly is out of time",
        "                self.took_some(count, now)\n", "                pass\n", needs_faults=True,
    ),
    Mutation(
        "when a byte last came in is not noted",
        "                self.progress = now\n                size = len(data)\n", "                size = len(data)\n",
    ),
    Mutation(
        "who waits for another's output is not told that it has drained",
        "if self.outbox is None and self.followers:", "if False:",
    ),
    Mutation(
        "a row that is held back goes on at the high-water mark",
        "self.handler.low_water if self.blocked else self.handler.high_water", "self.handler.high_water",
        needs_faults=True,
    ),
    # Filters
    Mutation(
        "a truncated stream is taken for one that ends",
        'self.fail(Truncated("and the', 'self.deliver_end() if True else self.fail(Truncated("and the', seeds=RARE,
    ),
    Mutation("no close_notify is sent", "self.object.unwrap()", "self.object.version()", seeds=RARE),
    Mutation(
        "what comes in one segment with the end of the handshake is not read",
        "        self._unseal(self._part, _end_of_records(self._part, 0))\n", "", tests=TLS_RECORDS,
    ),
    Mutation(
        "a record that comes alone overtakes a part of another",
        "if self._open and not self._part and", "if self._open and", tests=TLS_RECORDS,
    ),
    Mutation(
        "a record that is wrong and comes alone ends nothing",
        "            self._read_up(error.with_traceback(None))\n            return None", "            return None",
        tests=f"{TLS_RECORDS} {TLS_FILTER}",
    ),
    Mutation(
        "an end that comes alone is no end",
        "if not plain or self._out.pending:", "if self._out.pending:", tests=f"{TLS_RECORDS} {TLS_FILTER}",
    ),
    Mutation(
        "what a filter returns overtakes what it has delivered",
        "if plain.__class__ is not bytes or self._held or", "if plain.__class__ is not bytes or",
        tests="tests/handlers/test_filter.py",
    ),
    Mutation("any number of records is taken in a turn", "if not turns:", "if False:", tests=TLS_RECORDS),
    Mutation(
        "a filter that has more to deliver has several turns in a batch",
        "self.driver.rest()  # others", "pass  # others", tests="tests/rows/test_turns.py",
    ),
    Mutation(
        "what a filter holds is not counted if the request has taken the rest",
        "or self._filter.pending:  # which", ":  # which", tests=HOT_ROW,
    ),
    Mutation(
        "a close_notify is sent behind what an exception has cut",
        "if not isinstance(self.reason, (Cause, type(None))):", "if False:",
        tests="tests/modes/test_tls.py -k exception",
    ),
    Mutation(
        "the rest of a record that has come in part is dropped",
        "self._part = data[start:]", 'self._part = b""', tests=TLS_RECORDS,
    ),
    Mutation(
        "the output of a filter is sent twice, if the kernel takes a part of it",
        "inner.sent(self._wire.take(count))", "inner.sent(self._wire.take(count - count // 9))",
        seeds=RARE,
    ),
    Mutation(
        "a filter gives the handler input that it does not want",
        "if self._held and self._can_give():", "if self._held and self._is_open():",
        tests="tests/handlers/test_filter.py tests/handlers/test_filtered.py",
    ),
    Mutation(
        "the end of the input overtakes what is held",
        "if self._end_due and not self._held and self._can_give():", "if self._end_due:",
        tests="tests/handlers/test_filter.py tests/handlers/test_filtered.py",
    ),
    Mutation(
        "the output of a step is not told to the filter in front",
        "self.driver.touched()  # so that a link", "pass  # a link in front", tests=CHECKED,
    ),
    Mutation(
        "an end that comes before the turn of the last step fails the handshake",
        "return not self._step_due if self._stage is OPENING else", "return self._stage is OPENING or", tests=CHECKED,
    ),
    Mutation(
        "a step is done at once, and not in its turn",
        "if not self.driver.queue_step(self._step):", "if True:", tests=TLS_FILTER,
    ),
    Mutation("any number of steps is done in a batch", "min(self._left(), len(self._waiting))", "len(self._waiting)",
             tests=TLS_FILTER),
    Mutation("the alert is not sent", "self._emit()  # the alert", "pass  # the alert", tests=TLS_FILTER),
    Mutation("what waits for a step is not counted", "return len(self._part)", "return 0", tests=TLS_FILTER),
    Mutation(
        "what was sent in plain text before STARTTLS is fed behind it",
        "if wait.held == REFUSE and (held or ahead):", "if False:", tests="tests/handlers/test_filtered.py",
    ),
    Mutation("a PROXY header is taken from anybody", "return peer[0] in _networks(self._trusted)", "return True"),
    Mutation("a PROXY header does not name the peer", "self.driver.peer = header.source", "pass"),
    Mutation("what follows a PROXY header is dropped", "self.leave(self._head[header.size :])", "self.leave()"),
    Mutation("the checksum of a PROXY header is ignored", "if told != crc32c(", "if not told != crc32c("),
    Mutation(
        "what comes while a filter leaves is dropped",
        "elif self._stage is LEAVING:\n            self._held = grown(self._held, data)",
        "elif self._stage is LEAVING:\n            pass",
        tests="tests/handlers/test_filter.py tests/handlers/test_filtered.py",
    ),
    Mutation(
        "a filter that opens goes on opening when the connection has ended",
        "if self._is_opening():\n                self.fail(EndOfStream())", "if False:\n                pass",
        tests="tests/modes/test_proxy_protocol.py",
    ),
    Mutation(
        "a thread that has ended a request never wakes the loop",
        "return not is_idle or bool(service.queue.rows or reactor.paused)", "return False",
        tests="tests/modes/test_threads.py",
    ),
    Mutation(
        "a thread of the crew keeps the context of its last request",
        "Context().run(hand.work)", "hand.work()", tests="tests/modes/test_threads.py",
    ),
    Mutation(
        "a wrapped listener does the handshake in accept()",
        "_here.defers = True", "_here.defers = False", tests="tests/servers/test_tls_by_hand.py",
    ),
    Mutation(
        "bytes of a wrapped connection are not decrypted",
        "return plain, (partial(TLS, context=request.context),)", "return plain, ()",
        tests="tests/servers/test_tls_by_hand.py",
    ),
    # Faults that were made from outside, and that neither the schedules nor the fast tests had found
    Mutation(
        "a stopped drive() leaves rows",
        "            self.cancel(self.table)\n\n    def drive_while", "            pass\n\n    def drive_while",
        tests="tests/loop/test_stop.py -k driven_alone",
    ),
    Mutation(
        "a connection that has gone hides the next",
        "return isinstance(error, ConnectionError)  # the", "return False  # the",
        tests="tests/servers/test_accept.py -k hides_none",
    ),
    Mutation(
        "timers drop rings of one item together with empty ones",
        "                if ring._next is ring:\n"
        "                    del self._rings[moment], ring._previous, ring._next\n"
        "            self._moments = sorted",
        "                if ring._next is ring._previous:\n"
        "                    del self._rings[moment], ring._previous, ring._next\n"
        "            self._moments = sorted",
        tests="tests/loop/test_timers.py -k alternating",
    ),
    Mutation(
        "only as many rows are ended as the budget is passed by",
        "self.held <= limit - limit // SLACK", "self.held <= limit", tests="tests/table/test_limits.py -k eighth",
    ),
    Mutation(
        "wake-ups are taken one by one",
        "self._reader.recv(4096)", "self._reader.recv(1)", tests="tests/loop/test_watches.py -k many_wakes",
    ),
    Mutation(
        "a full queue of a Unix peer makes the loop spin",
        "writing = self._senders and self.retry is None", "writing = self._senders",
        tests="tests/servers/test_exchanges.py -k makes_no_spinning",
    ),
    Mutation(
        "a thread that was given up leaves its place at once",
        "        if not self._begun:\n            self._pool.leave(self)",
        "        if True:\n            self._pool.leave(self)",
        tests="tests/modes/test_work.py -k timed_out_counts",
    ),
    Mutation(
        "an exchange holds any number of packets",
        "        if len(self.pending) >= PENDING:\n            return False",
        "        if False:\n            return False",
        tests="tests/servers/test_held_packets.py -k an_exchange_holds",
    ),
    Mutation(
        "any number of exchanges wait for room",
        "        if len(self.ready) < PENDING:", "        if True:",
        tests="tests/servers/test_held_packets.py -k exchanges_wait",
    ),
    Mutation(
        "any number of packets wait for a child or a thread",
        "return len(self._service.queue) < PENDING", "return True",
        tests="tests/servers/test_queue_bounds.py -k at_most_256",
    ),
    Mutation(
        "a child keeps the Ctrl-C of its parent",
        "        signal.signal(signal.SIGINT, signal.default_int_handler)\n    if _descriptors",
        "        pass\n    if _descriptors",
        tests="tests/loop/test_signals.py -k in_a_child_at_once",
    ),
    Mutation(
        "the row of a request that has failed is kept",
        "            if row is not None:\n                self.ended(row)",
        "            if False:\n                self.ended(row)",
        tests="tests/servers/test_hooks.py -k whatever_closes_it",
    ),
    Mutation(
        "a drain goes on accepting",
        "            port.finish()\n", "            pass\n", tests="tests/servers/test_drain.py -k accepts_nothing_new",
    ),
    Mutation(
        "a peer that drains slowly has all the time",
        "self.deadline = min(self.deadline + count / DRAIN_RATE, latest)",
        "self.deadline = self.deadline + count / DRAIN_RATE",
    ),
    Mutation(
        "a peer that drains slowly and has a pace has all the time",
        "self._due = min(self._due + seconds, latest)", "self._due = self._due + seconds",
        tests="tests/table/test_limits.py",
    ),
    Mutation(
        "a packet that was too big for the path ends the exchange",
        "if error.errno == errno.EMSGSIZE:\n                    continue", "if False:\n                    continue",
        tests="tests/modes/test_bursts.py -k too_big",
    ),
    # Relays in the kernel, and the direct way of a connection
    Mutation(
        "a byte is lost of what the other side of a relay does not take",
        "pipe.rest(taken - sent)", "pipe.rest(taken - sent)[1:]", tests=f"{RELAYING} -k slow_receiver",
    ),
    Mutation(
        "a relay reads on although the other side has not taken the last piece",
        "row.channel.advance()  # it waits", "pass  # it waits", tests=f"{RELAYING} -k slow_receiver",
    ),
    Mutation(
        "a piece overtakes the output that the other side holds",
        "or target.outbox or target.state is None", "or target.state is None", tests=f"{RELAYING} -k goes_before",
    ),
    Mutation(
        "a piece is moved to a side that has ended its output",
        " or target.output is not OPEN:\n        return None", ":\n        return None",
        tests=f"{RELAYING} -k sent_no_more",
    ),
    Mutation(
        "a relay in the kernel passes by the filters of the other side",
        'getattr(other, "channel", None) is target and ', "", tests=f"{RELAYING} -k filters",
    ),
    Mutation(
        "bytes of a relay that a signal broke off stay in the pipe for the next",
        "        pipe.close()\n        other.lose(Failed(", "        other.lose(Failed(", tests=f"{RELAYING} -k signal",
    ),
    Mutation(
        "a forked child keeps the pipe of relays",
        "pipe is the parent's.\"\"\"\n        self.close()", "pipe is the parent's.\"\"\"",
        tests=f"{RELAYING} -k forked_child",
    ),
    Mutation(
        "a relay does not tell that the stream has ended",
        "return None if machine.over and not machine.held_in else NOTHING", "return NOTHING",
        tests="tests/handlers/test_relayed.py",
    ),
    Mutation(
        "the direct way passes by filters", "            and not server.filters\n", "", tests=f"{DIRECT} -k declared",
    ),
    Mutation(
        "the direct way passes by shutdown_request()",
        "kind.finish_request, kind.shutdown_request,\n", "kind.finish_request,\n",
        tests=f"{DIRECT} -k declared",
    ),
    Mutation(
        "the direct way passes by max_per_peer",
        "if bound < server.max_requests and reactor.table.count_of(peer) >= bound:", "if False:",
        tests=f"{DIRECT} -k limit_of_the_host",
    ),
    Mutation(
        "the direct way closes a connection before its client has taken the rest",
        "            return unacknowledged_data(request)\n", "            return 0\n",
        tests="tests/rows/test_lingering.py -k without_a_framing",
    ),
    Mutation(
        "a peer that lacks output is told that it has all: the output is dropped before the close",
        "        if self.outbox:\n            self.output = CUT\n        super().lose(cause)\n",
        "        super().lose(cause)\n",
        tests="tests/modes/test_cut_output.py -k dropped_ends_with_a_reset",
    ),
    Mutation(
        "a peer that lacks output is told that it has all: the close drops it",
        "(channel.is_cut or bool(channel.outbox))", "channel.is_cut",
        tests="tests/modes/test_cut_output.py -k server_that_closes",
    ),
    Mutation(
        "the peer of a request that is aborted is told that it has all",
        "        if self.output is not ENDED:\n            self.output = CUT\n", "",
        tests="tests/modes/test_cut_output.py -k abort_a_request",
    ),
    Mutation(
        "the wire of a request whose output was cut ends as a whole stream does",
        "            if not self.is_cut:  # else the end of the wire must not look like that of the stream\n"
        "                self._ask(self._filter.farewell)\n",
        "            self._ask(self._filter.farewell)\n",
        tests="tests/modes/test_cut_output.py -k not_end_the_wire",
    ),
    Mutation(
        "what process_request_thread() raises leaves the connection open, and has no reason",
        "                service.fail(row, request, client_address, error)\n            finally:\n",
        "                pass\n            finally:\n",
        tests="tests/servers/test_hooks.py -k what_process_request_thread_raises",
    ),
    Mutation(
        "a result is handed to a row that has gone on in the same batch",
        "channel is not None and not channel.fresh:", "channel is not None:",
        tests="tests/modes/test_events.py -k of_two",
    ),
    Mutation(
        "that requests wait is logged when none does",
        "return len(self._busy) < int(self.service.server.max_threads)",
        "return len(self._busy) < int(self.service.server.max_threads) or bool(self.tell_of_waiting())",
        tests="tests/servers/test_queue.py -k nothing_is_logged",
    ),
    Mutation(
        "a child logs that the client of its reply was too slow, and so does the loop",
        "if outcome.error is not None and not outflow.is_cut:", "if outcome.error is not None:",
        tests=f"{EVERY_CAUSE} -k answers_is_told",
    ),
    Mutation(
        "max_request is not for a request that one wait takes",
        "if len(data) > self.max_request:", "if False:", tests="tests/handlers/test_framings.py -k a_wait_takes",
    ),
    Mutation(
        "a handler in the caller sends on after a piece that was cut",
        "if handler._machine.finished or self._is_cut:", "if handler._machine.finished:",
        tests=f"{EVERY_CAUSE} -k nothing_follows",
    ),
    Mutation(
        "a child sends on after a piece that was cut", "        if self.is_cut:\n            raise _gone()\n", "",
        tests=f"{EVERY_CAUSE} -k nothing_follows",
    ),
    Mutation(
        "an answer waits for those of all rows of its batch",
        "(len(unsent) >= TOGETHER or monotonic() - now >= PROMPT)", "(monotonic() - now >= PROMPT)",
        tests="tests/rows/test_together.py -k few_others",
    ),
    Mutation(
        "answers wait for a handler that takes long",
        "len(unsent) >= TOGETHER or monotonic() - now >= PROMPT", "len(unsent) >= TOGETHER",
        tests="tests/rows/test_together.py -k takes_long",
    ),
    Mutation(
        "large answers are held until others are sent", "if len(outbox) <= SMALL:", "if True:",
        tests="tests/rows/test_together.py -k large_answer",
    ),
    Mutation(
        "answers that wait are lost when the program ends in the batch",
        "        finally:  # also if the program ends for an exception\n",
        "        except Exception:\n            raise\n        else:\n",
        tests="tests/rows/test_together.py -k loses_no_answer",
    ),
    Mutation(
        "a child sends the answers of its parent once more",
        "        if self.is_copy:\n            unsent.clear()\n        while", "        while",
        tests="tests/rows/test_together.py -k no_answer_of_its_parent",
    ),
    Mutation(
        "a row of an exchange sends before an earlier answer of the exchange that waits",
        "            self.send(reactor.time)  # what waits may be of the same exchange\n", "",
        tests="tests/servers/test_brief.py -k before_a_row_is_made",
    ),
    Mutation(
        "a request that got its row while its answer was sent is counted twice",
        "if may_close and self._row is None:", "if may_close:", tests="tests/servers/test_rowless.py -k any_time",
    ),
    Mutation(
        "a packet is lost if its request gets a row while it is sent",
        "                self.handler.send(packet)\n        elif", "                pass\n        elif",
        tests="tests/servers/test_brief.py -k any_time",
    ),
    Mutation(
        "a plain server serves on in its batch, however long that takes",
        "return not is_ending and reactor.clock.monotonic() - reactor.time < PROMPT", "return not is_ending",
        tests="tests/servers/test_accept.py -k takes_long",
    ),
    Mutation(
        "a row that was settled while its answer waited watches for writing on",
        " and self.mask == EVENT_READ and not channel.blocked", " and not channel.blocked",
        tests="tests/rows/test_together.py -k settled_while",
    ),
]  # fmt: skip
