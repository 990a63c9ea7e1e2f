"""`check` tells the handlers of `kinds` and `third` to `sixteenth` apart: 36 pairs of 12 kinds in each.

The sets of thirty-six pairs were written before the source of `check` was read. When they were first tried, it found 24
of the 36 faults of `kinds`, and 22 of those of `third`; one of each for another reason: the pairs of stomp and of the
database had a second fault, which was mended. Of `fourth` it found 23, of `fifth` 28, of `sixth` 24, of `seventh` 27,
of `eighth` 26, and two for another reason: nmdc and psyc had a second fault, which was mended. It accused no right
handler of `kinds`, `third` and `fifth`, and five of `fourth`: those of mgcp and fastagi had a fault, which was mended,
and the answer of quake depended on the port of the client; resp and fix were accused wrongly. Of `sixth` it accused
six: four let a client drip, which was mended; gpsd and collectd were accused wrongly. Of `seventh` it accused enet,
bootp and msrp, wrongly. Of `eighth` it accused fsp and mqtt-sn, which answered their own answers, which was mended, and
edonkey, wrongly. Of `ninth` it found 15, and accused raknet-frames, binkp and, once of three times, pcep, wrongly. Of
`tenth`, whose conversations show little of where their faults are, it found 7, and one for another reason; it accused
battleye wrongly, and mercurial and pana, which had a fault, which was mended. Of `eleventh` it found 22, and three for
another reason; it accused scpi-supply for signs that it takes rightly, tcp-table, which searched 4 KiB anew with each
byte, both mended, and iax, wrongly. Of `twelfth`, whose kinds and protocols are those of the first set, it found 23,
and three for another reason: they, and another one, need ``kept`` or ``meant``; it came to no end with beanstalk, which
has a body of 70,000 letters. Of `thirteenth` it found 27; two right ones needed ``kept``, and one was accused of a step
that it drops on purpose. Of `fourteenth` it found 23, and two for another reason; it accused sip-pattern for blanks
that SIP allows, which is mended, and smtp-truncated, which needed more `kept`. Of `fifteenth` it found 23, and one for
another reason; it accused qmtp-largest-mail wrongly, svnserve-lists, which needed more `kept`, and
memcached-udp-pieces, which answers its own answers, as memcached does. Of `sixteenth` it found 19; it
accused ubx-wrong-check wrongly, icb-nicknames, and mbus-link-reset, which answers a request that comes again as before.

The 21 faults of `reported` were reported for servers of others. When they were first tried, it found 14 of them, and
one for another reason; it accused two right handlers, which had a fault, which was mended. `FINDERS` are the properties
that fail; each is tried alone here.
`tests.proofs.check_figures` runs all properties on the right handlers.
"""

from collections import Counter

import pytest

from handlers import World
from reactor import testing
from reactor.testing.inputs.tried import Message
from reactor.testing.running.report import CheckFailed
from reactor.testing.running.subject import PEER
from tests.support.pairs.by_kind import PAIRS, SETS
from tests.support.pasted import assert_red_then_green

FINDERS = {
    "9p": "stays_in_bounds_when_repeated",
    "amqp": "same_at_its_limits",
    "beanstalkd": "takes_plain_numbers_only",
    "calculator": "leaves_the_process_as_it_was",
    "chunked": "takes_plain_numbers_only",
    "coap": "answers_duplicates_once",
    "dhcp": "leaves_nothing_behind",
    "dht": "bears_any_nesting",
    "dnp3": "bears_any_number",
    "ftp": "calls_nothing_that_blocks",
    "gelf": "stays_in_bounds_when_repeated",
    "graphite": "same_at_its_limits",
    "ident": "ends_if_it_drips",
    "imap": "works_linearly",
    "irc": "takes_causes_for_ends",
    "json-rpc": "bears_any_nesting",
    "ldap": "bears_any_nesting",
    "memcached": "same_at_its_limits",
    "modbus": "same_for_any_chunking_of_faults",
    "mqtt": "ends_if_it_drips",
    "nntp": "takes_causes_for_ends",
    "pop3": "leaves_nothing_behind",
    "postgresql": "drops_no_step",
    "radius": "drops_no_step",
    "redirect": "splits_no_answer",
    "rtsp": "stays_in_bounds_when_repeated",
    "sip": "takes_exact_ends_only",
    "smtp": "takes_exact_ends_only",
    "ssh": "ends_if_it_drips",
    "statsd": "takes_plain_numbers_only",
    "stomp": "same_for_any_chunking_of_faults",
    "stun": "ends_at_any_byte",
    "tftp": "answers_duplicates_once",
    "websocket": "works_linearly",
    "whois": "matches_in_time",
    "xmpp": "forgives_timeouts",
    # those of `third`
    "access": "same_at_its_limits",
    "broker": "stays_in_bounds_when_repeated",
    "calls": "bears_any_nesting",
    "clock": "answers_no_answer",
    "control": "splits_no_answer",
    "database": "works_linearly",
    "delivery": "takes_exact_ends_only",
    "documents": "bears_any_nesting",
    "file": "answers_duplicates_once",
    "lease": "ends_if_it_drips",
    "maker": "answers_duplicates_once",
    "managed": "works_linearly",
    "manager": "calls_nothing_that_blocks",
    "master": "takes_plain_numbers_only",
    "meta": "same_for_any_chunking_of_faults",
    "miner": "stays_in_bounds_when_repeated",
    "news": "takes_plain_numbers_only",
    "node": "bears_any_nesting",
    "options": "stays_in_bounds_when_repeated",
    "orders": "survives_any_input",
    "positions": "same_for_any_chunking_of_faults",
    "queues": "same_at_its_limits",
    "registers": "stays_in_bounds_when_repeated",
    "scanner": "works_linearly",
    "scripts": "takes_causes_for_ends",
    "search": "takes_exact_ends_only",
    "shell": "ends_if_it_drips",
    "socks": "drops_no_step",
    "spooler": "ends_if_it_drips",
    "tables": "ends_if_it_drips",
    "tube": "takes_causes_for_ends",
    "ward": "same_at_its_limits",
    "words": "leaves_nothing_behind",
    "worker": "leaves_nothing_behind",
    # those of `fourth`
    "rtmp": "works_linearly",
    "adb": "ends_at_any_byte",
    "ami": "calls_nothing_that_blocks",
    "astm": "same_for_any_chunking_of_faults",
    "bacnet": "answers_duplicates_once",
    "bitcoin": "ends_if_it_drips",
    "cassandra": "drops_no_step",
    "clamd": "ends_if_it_drips",
    "diameter": "works_linearly",
    "dict": "leaves_nothing_behind",
    "fastagi": "stays_in_bounds_when_repeated",
    "fix": "leaves_nothing_behind",
    "gtp": "skips_what_it_refuses",
    "iax2": "answers_no_answer",
    "lmtp": "takes_causes_for_ends",
    "lpd": "stays_in_bounds_when_repeated",
    "managesieve": "takes_plain_numbers_only",
    "mdns": "survives_any_input",
    "mgcp": "takes_plain_numbers_only",
    "mllp": "takes_exact_ends_only",
    "mongodb": "bears_any_nesting",
    "mpd": "same_for_any_chunking",
    "msnp": "splits_no_answer",
    "natpmp": "stays_in_bounds_when_repeated",
    "nats": "same_at_its_limits",
    "nut": "same_at_its_limits",
    "quake": "ends_if_it_drips",
    "resp": "bears_any_nesting",
    "rip": "same_at_its_limits",
    "slcan": "takes_plain_numbers_only",
    "ssdp": "takes_exact_ends_only",
    "stratum": "works_linearly",
    "torcontrol": "leaves_nothing_behind",
    "xmodem": "forgives_timeouts",
    "zmtp": "same_at_its_limits",
    # those of `fifth`
    "bfd": "ends_at_any_byte",
    "bittorrent": "ends_if_it_drips",
    "cddb": "takes_exact_ends_only",
    "cvs": "leaves_nothing_behind",
    "dbgp": "leaves_nothing_behind",
    "dbus": "ends_if_it_drips",
    "distcc": "stays_in_bounds_when_repeated",
    "dovecot": "splits_no_answer",
    "epp": "takes_causes_for_ends",
    "erlang": "bears_any_nesting",
    "fins": "bears_any_number",
    "ganglia": "survives_any_input",
    "git": "takes_plain_numbers_only",
    "icap": "takes_exact_ends_only",
    "jdwp": "takes_causes_for_ends",
    "l2tp": "forgives_timeouts",
    "lcdproc": "ends_if_it_drips",
    "netconf": "works_linearly",
    "netflow": "works_linearly",
    "nmea": "same_for_any_chunking_of_faults",
    "opentsdb": "takes_plain_numbers_only",
    "pfcp": "stays_in_bounds_when_repeated",
    "policy": "stays_in_bounds_when_repeated",
    "rfb": "drops_no_step",
    "riak": "same_for_any_chunking",
    "rtcp": "survives_any_input",
    "s7": "same_at_its_limits",
    "secs": "works_linearly",
    "slp": "same_at_its_limits",
    "snmp": "bears_any_nesting",
    "sonic": "same_at_its_limits",
    "soupbin": "leaves_nothing_behind",
    "ssdb": "same_at_its_limits",
    "subversion": "bears_any_nesting",
    # those of `sixth`
    "a2s": "skips_what_it_refuses",
    "aprs-is": "ends_if_it_drips",
    "art-net": "bears_any_number",
    "capwap": "forgives_timeouts",
    "dicom": "leaves_nothing_behind",
    "dsi": "same_at_its_limits",
    "fcp": "stays_in_bounds_when_repeated",
    "fluentd": "bears_any_nesting",
    "gdb": "takes_plain_numbers_only",
    "gemini": "same_at_its_limits",
    "gopher": "ends_if_it_drips",
    "gpsd": "leaves_nothing_behind",
    "haproxy": "takes_causes_for_ends",
    "jetdirect": "works_linearly",
    "kafka": "same_for_any_chunking",
    "knx": "answers_duplicates_once",
    "lumberjack": "stays_in_bounds_when_repeated",
    "m3ua": "stays_in_bounds_when_repeated",
    "mavlink": "same_for_any_chunking_of_faults",
    "minecraft": "drops_no_step",
    "nsq": "stays_in_bounds_when_repeated",
    "openflow": "works_linearly",
    "openvpn": "ends_if_it_drips",
    "ptp": "leaves_nothing_behind",
    "rcon": "calls_nothing_that_blocks",
    "rigctld": "takes_plain_numbers_only",
    "rmcp": "takes_causes_for_ends",
    "scgi": "takes_plain_numbers_only",
    "scpi": "same_at_its_limits",
    "smpp": "takes_causes_for_ends",
    "snpp": "takes_exact_ends_only",
    "squeezebox": "splits_no_answer",
    "swank": "bears_any_nesting",
    "xpl": "takes_exact_ends_only",
    # those of `seventh`
    "iscsi": "works_linearly",
    "announcements": "takes_exact_ends_only",
    "avro": "stays_in_bounds_when_repeated",
    "beep": "takes_plain_numbers_only",
    "bgp": "ends_if_it_drips",
    "blocks": "answers_duplicates_once",
    "bolt": "bears_any_nesting",
    "bootp": "bears_any_number",
    "cbor": "bears_any_nesting",
    "dead peers": "forgives_timeouts",
    "elm327": "leaves_nothing_behind",
    "enet": "answers_duplicates_once",
    "event socket": "splits_no_answer",
    "flap": "same_at_its_limits",
    "gamespy": "works_linearly",
    "icecast": "stays_in_bounds_when_repeated",
    "intel hex": "takes_plain_numbers_only",
    "lirc": "same_for_any_chunking_of_faults",
    "modem": "takes_causes_for_ends",
    "msrp": "takes_exact_ends_only",
    "munin": "leaves_nothing_behind",
    "nbd": "takes_causes_for_ends",
    "pelco-d": "same_for_any_chunking_of_faults",
    "pjlink": "same_at_its_limits",
    "quotients": "leaves_nothing_behind",
    "rlogin": "ends_if_it_drips",
    "rsync": "ends_if_it_drips",
    "rtpproxy": "takes_plain_numbers_only",
    "sacn": "works_linearly",
    "sane": "bears_any_number",
    "spamd": "drops_no_step",
    "tacacs": "calls_nothing_that_blocks",
    "varlink": "bears_any_nesting",
    "varnish": "skips_what_it_refuses",
    "xdmcp": "stays_in_bounds",
    "zabbix": "ends_if_it_drips",
    # those of `eighth`
    "acap": "bears_any_nesting",
    "adc": "splits_no_answer",
    "apple-midi": "takes_causes_for_ends",
    "asterix": "works_linearly",
    "ci-v": "same_for_any_chunking_of_faults",
    "dap": "leaves_nothing_behind",
    "dlms": "takes_true_lengths_only",
    "doip": "takes_causes_for_ends",
    "edonkey": "works_linearly",
    "fsp": "answers_duplicates_once",
    "gnutella": "stays_in_bounds_when_repeated",
    "hessian": "bears_any_nesting",
    "iec-104": "forgives_timeouts",
    "iso-8583": "same_at_its_limits",
    "kenwood": "takes_plain_numbers_only",
    "ldp": "bears_any_number",
    "lsp": "takes_plain_numbers_only",
    "megaco": "takes_plain_numbers_only",
    "mobile-ip": "survives_any_input",
    "mqtt-sn": "answers_duplicates_once",
    "nmdc": "ends_if_it_drips",
    "opc-ua": "ends_if_it_drips",
    "osc": "bears_any_nesting",
    "psyc": "works_linearly",
    "qmtp": "takes_true_lengths_only",
    "rexec": "drops_no_step",
    "sccp": "ends_at_any_byte",
    "slmp": "bears_any_number",
    "some-ip": "stays_in_bounds_when_repeated",
    "telescope": "leaves_nothing_behind",
    "tracker": "leaves_nothing_behind",
    "uucp": "survives_any_input",
    "visca": "same_for_any_chunking",
    # those of `ninth`
    "agentx-search": "works_linearly",
    "binkp": "works_linearly",
    "agentx": "stays_in_bounds_when_repeated",
    "ajp": "ends_if_it_drips",
    "amanda": "ends_if_it_drips",
    "assuan": "survives_any_input",
    "assuan-words": "takes_exact_ends_only",
    "ccso": "works_linearly",
    "enocean": "same_for_any_chunking_of_faults",
    "fastcgi": "ends_if_it_drips",
    "gearman": "stays_in_bounds_when_repeated",
    "gena": "stays_in_bounds_when_repeated",
    "gvcp": "ends_if_it_drips",
    "kiss": "takes_exact_ends_only",
    "lifx": "drops_no_step",
    "lora": "bears_any_nesting",
    "mrcp": "takes_true_lengths_only",
    "msgpackrpc": "bears_any_nesting",
    "openocd": "calls_nothing_that_blocks",
    "pcep": "takes_causes_for_ends",
    "qmp": "works_linearly",
    "raknet": "leaves_nothing_behind",
    "rcp": "takes_causes_for_ends",
    "relp": "same_at_its_limits",
    "rotctld": "takes_plain_numbers_only",
    "rwhois": "leaves_nothing_behind",
    "saslauthd": "leaves_nothing_behind",
    "saslauthd-delay": "drops_no_step",
    "ssip": "ends_if_it_drips",
    "zookeeper": "same_for_any_chunking_of_faults",
    # those of `tenth`
    "message-send": "works_linearly",
    "msp": "works_linearly",
    "apt-method": "ends_if_it_drips",
    "bacula": "takes_causes_for_ends",
    "battleye": "ends_if_it_drips",
    "debconf": "takes_exact_ends_only",
    "dhcpv6": "bears_any_nesting",
    "fastboot": "drops_no_step",
    "form-data": "takes_exact_ends_only",
    "go": "leaves_nothing_behind",
    "http2": "stays_in_bounds_when_repeated",
    "lutron": "takes_plain_numbers_only",
    "mercurial": "works_linearly",
    "ovsdb": "same_for_any_chunking_of_faults",
    "pana": "ends_if_it_drips",
    "pcp": "stays_in_bounds_when_repeated",
    "pptp": "drops_no_step",
    "prologix": "leaves_nothing_behind",
    "rtr": "same_for_any_chunking_of_faults",
    "ssh-agent": "calls_nothing_that_blocks",
    "svdrp": "same_for_any_chunking_of_faults",
    "thrift": "bears_any_nesting",
    "tl1": "leaves_nothing_behind",
    "watchman": "bears_any_nesting",
    "wayland": "stays_in_bounds_when_repeated",
    "zvt": "takes_plain_numbers_only",
    # those of `eleventh`
    "bittorrent-pieces": "works_linearly",
    "asterisk": "stays_in_bounds_when_repeated",
    "clam": "works_linearly",
    "clamd-stream": "stays_in_bounds_when_repeated",
    "eftp": "answers_duplicates_once",
    "git-pkt-line": "takes_plain_numbers_only",
    "gtp-path": "answers_no_answer",
    "hayes": "calls_nothing_that_blocks",
    "http": "takes_exact_ends_only",
    "iax": "answers_duplicates_once",
    "ipc": "works_linearly",
    "krpc": "bears_any_nesting",
    "lmtp-mail": "takes_causes_for_ends",
    "mgcp-gateway": "stays_in_bounds_when_repeated",
    "milter-relay": "leaves_nothing_behind",
    "mllp-admissions": "ends_if_it_drips",
    "mllp-results": "takes_exact_ends_only",
    "mpd-outputs": "leaves_nothing_behind",
    "msp-flight": "same_for_any_chunking_of_faults",
    "nats-pub": "takes_plain_numbers_only",
    "nbd-writes": "drops_no_step",
    "nmdc-hub": "ends_if_it_drips",
    "nut-ups": "same_for_any_chunking_of_faults",
    "nut-variables": "drops_no_step",
    "policy-postfix": "ends_if_it_drips",
    "rip-routes": "same_at_its_limits",
    "scpi-supply": "takes_plain_numbers_only",
    "sieve": "same_at_its_limits",
    "smtp-data": "takes_exact_ends_only",
    "ssip-voices": "leaves_nothing_behind",
    "stratum-pool": "bears_any_nesting",
    "svn": "bears_any_nesting",
    "tcp-table": "same_for_any_chunking_of_faults",
    "zabbix-sender": "ends_if_it_drips",
    # those of `twelfth`
    "socks5": "takes_causes_for_ends",
    "frames": "works_linearly",
    "protobuf": "works_linearly",
    "beanstalk": "same_at_its_limits",
    "ber": "bears_any_nesting",
    "bson": "bears_any_nesting",
    "coap-meter": "answers_duplicates_once",
    "fix-session": "works_linearly",
    "ftp-control": "same_for_any_chunking",
    "git-refs": "takes_causes_for_ends",
    "heartbeat": "forgives_timeouts",
    "http-head": "stays_in_bounds_when_repeated",
    "imap-bad": "same_for_any_chunking",
    "irc-channels": "stays_in_bounds_when_repeated",
    "json-rpc-lines": "bears_any_nesting",
    "kafka-frames": "survives_any_input",
    "lpd-job": "stays_in_bounds_when_repeated",
    "memcached-set": "takes_plain_numbers_only",
    "mqtt-broker": "ends_if_it_drips",
    "nats-payload": "same_at_its_limits",
    "netstring-capitals": "same_for_any_chunking_of_faults",
    "nntp-group": "leaves_nothing_behind",
    "pop3-login": "leaves_nothing_behind",
    "postgres": "ends_at_any_byte",
    "redis-multi": "leaves_nothing_behind",
    "relp-open": "takes_plain_numbers_only",
    "rtsp-head": "takes_exact_ends_only",
    "siptcp": "takes_one_length_only",
    "smtpdot": "takes_exact_ends_only",
    "statsd-tcp": "drops_no_step",
    "stomp-queue": "ends_if_it_drips",
    "telnetlogin": "leaves_nothing_behind",
    "tftp-read": "answers_duplicates_once",
    # those of `thirteenth`
    "accept-quality": "takes_plain_numbers_only",
    "amqp-tables": "bears_any_nesting",
    "beanstalkd-digits": "takes_plain_numbers_only",
    "coap-counter": "answers_duplicates_once",
    "coap-echo": "bears_any_number",
    "ftp-login": "drops_no_step",
    "ftp-port": "takes_plain_numbers_only",
    "http-chunks": "takes_exact_ends_only",
    "http-discard": "drops_no_step",
    "imap-done": "takes_causes_for_ends",
    "imap-idle": "stays_in_bounds",
    "imap-literals": "stays_in_bounds_when_repeated",
    "imap-search": "bears_any_nesting",
    "irc-text": "same_for_any_chunking_of_faults",
    "ldap-filter": "bears_any_nesting",
    "lmtp-hops": "works_linearly",
    "memcached-causes": "skips_what_it_refuses",
    "memcached-values": "same_at_its_limits",
    "mqtt-sensors": "ends_if_it_drips",
    "nats-options": "leaves_nothing_behind",
    "nntp-lines": "same_at_its_limits",
    "nntp-overlong": "same_at_its_limits",
    "pop3-lines": "same_at_its_limits",
    "pop3-marks": "leaves_nothing_behind",
    "postgres-statements": "stays_in_bounds_when_repeated",
    "redis-pipeline": "same_for_any_chunking_of_faults",
    "resp-arrays": "works_linearly",
    "sip-fields": "takes_one_length_only",
    "smtp-recipients": "forgives_timeouts",
    "socks-resolver": "ends_if_it_drips",
    "stomp-topics": "works_linearly",
    "telnet-option": "stays_in_bounds",
    "tftp-download": "takes_causes_for_ends",
    "tftp-files": "answers_duplicates_once",
    "tftp-upload": "leaves_nothing_behind",
    # those of `fourteenth`
    "imap-fetch": "works_linearly",
    "sip-pattern": "matches_in_time",
    "asterisk-manager": "stays_in_bounds",
    "beanstalkd-size": "same_at_its_limits",
    "gearman-skip": "drops_no_step",
    "http-blanks": "takes_exact_ends_only",
    "mllp-pieces": "works_linearly",
    "modbus-range": "same_at_its_limits",
    "relp-reads": "ends_if_it_drips",
    "rtsp-lines": "ends_if_it_drips",
    "smtp-content": "takes_exact_ends_only",
    "turn-allocation": "answers_duplicates_once",
    "dict-lookups": "takes_causes_for_ends",
    "fastcgi-params": "stays_in_bounds_when_repeated",
    "ftp-restart": "takes_plain_numbers_only",
    "gearman-abilities": "stays_in_bounds_when_repeated",
    "http-ranges": "takes_plain_numbers_only",
    "krpc-node": "bears_any_nesting",
    "language-server": "bears_any_nesting",
    "modbus-registers": "same_for_any_chunking_of_faults",
    "opentsdb-put": "takes_plain_numbers_only",
    "postfix-tcp-table": "same_for_any_chunking_of_faults",
    "postgres-settings": "leaves_nothing_behind",
    "redis-transactions": "leaves_nothing_behind",
    "relp-frames": "skips_what_it_refuses",
    "smtp-truncated": "takes_causes_for_ends",
    "websocket-fragments": "stays_in_bounds_when_repeated",
    # those of `fifteenth`
    "ssdb-parsed-again": "works_linearly",
    "bitcoin-ping": "bears_any_nesting",
    "clamd-instream": "stays_in_bounds_when_repeated",
    "coap-firmware-blocks": "answers_duplicates_once",
    "freeswitch-event-socket": "takes_plain_numbers_only",
    "git-unknown-repository": "drops_no_step",
    "git-want-lines": "takes_plain_numbers_only",
    "http-coding-chunked": "takes_exact_ends_only",
    "http-upload-pace": "ends_if_it_drips",
    "http2-continuation": "stays_in_bounds_when_repeated",
    "imap-store": "leaves_nothing_behind",
    "irc-channel-count": "forgives_timeouts",
    "irc-monitor": "stays_in_bounds_when_repeated",
    "irrd-queries": "same_for_any_chunking_of_faults",
    "lpd-data-file": "takes_causes_for_ends",
    "munin-node": "ends_at_any_byte",
    "mysql-packets": "same_for_any_chunking",
    "nbd-copy-on-write": "leaves_nothing_behind",
    "nntp-growing-article": "works_linearly",
    "nntp-next": "leaves_nothing_behind",
    "pop3-auth-plain": "takes_causes_for_ends",
    "pop3-wrong-password-pause": "calls_nothing_that_blocks",
    "qmtp-largest-mail": "same_at_its_limits",
    "redis-database-index": "bears_any_number",
    "rigctld-limit": "same_for_any_chunking_of_faults",
    "smtp-bdat-refused": "skips_what_it_refuses",
    "statsd-gauges": "takes_plain_numbers_only",
    "stomp-content-length": "takes_exact_ends_only",
    "svnserve-lists": "bears_any_nesting",
    "thrift-skip": "bears_any_nesting",
    "zookeeper-joined-request": "works_linearly",
    # those of `sixteenth`
    "bfcp-release-again": "answers_duplicates_once",
    "cvs-pserver-first-request": "same_for_any_chunking",
    "dicom-release-artim": "ends_if_it_drips",
    "enip-data-not-skipped": "drops_no_step",
    "esl-event-body": "takes_causes_for_ends",
    "fastcgi-values-meanwhile": "ends_if_it_drips",
    "ftp-site-idle": "stays_in_bounds",
    "http-byte-ranges": "takes_plain_numbers_only",
    "kiss-replaced-twice": "takes_exact_ends_only",
    "livestatus-settings": "leaves_nothing_behind",
    "ntp-control-errors": "answers_no_answer",
    "opentsdb-long-line": "same_at_its_limits",
    "relp-half-message": "takes_causes_for_ends",
    "rfb-pixel-format": "leaves_nothing_behind",
    "smpp-silent-client": "takes_causes_for_ends",
    "snpp-lock-while-waiting": "leaves_nothing_behind",
    "spamd-content-length": "takes_plain_numbers_only",
    "tacacs-half-logins": "leaves_nothing_behind",
    "ubx-wrong-check": "same_for_any_chunking_of_faults",
    "visca-last-preset": "bears_any_number",
    # those of `reported`
    "coap-again": "answers_duplicates_once",
    "console-shared": "leaves_nothing_behind",
    "dates-loose": "matches_in_time",
    "framed-loops": "ends_at_any_byte",
    "gate-no-return": "skips_what_it_refuses",
    "http-fed-again": "same_for_any_chunking",
    "http-merged-lengths": "takes_one_length_only",
    "lines-decoded-anew": "works_linearly",
    "mail-bare-lf": "takes_exact_ends_only",
    "modbus-first-only": "same_for_any_chunking",
    "modbus-other-unit": "same_for_any_chunking",
    "modbus-out-of-step": "skips_what_it_refuses",
    "orders-signed": "survives_any_input",
    "packages-stepped-over": "stays_in_bounds",
    "patterns-deep": "bears_any_nesting",
    "scgi-colon": "same_for_any_chunking",
    "sessions-kept": "stays_in_bounds_when_repeated",
    "tags-growing": "works_linearly",
    "topics-unforgotten": "stays_in_bounds_when_repeated",
    "cddb-query-spaces": "matches_in_time",
    "esl-length-anywhere": "takes_exact_ends_only",
    "relp-bytes-before-the-end": "takes_exact_ends_only",
    "websocket-empty-fragments": "stays_in_bounds_when_repeated",
    "sftp-directory-handles": "stays_in_bounds_when_repeated",
    "firmata-next-message": "stays_in_bounds",
    "imap-search-keys": "bears_any_nesting",
}
"""The property that finds the fault of each pair. Pairs that are not here are missed; mapi not each time."""

NO_TEST = {
    "ami", "cassandra", "cvs", "fastboot", "ftp", "lifx", "manager", "minecraft", "openocd", "postgresql", "pptp",
    "radius", "rcon", "rfb",
    "hayes", "nbd-writes", "nut-variables", "saslauthd-delay", "socks", "spamd", "ssh-agent", "rexec", "tacacs", "uucp",
    "statsd-tcp", "telnetlogin", "ftp-login", "http-discard",
    "gearman-skip", "dates-loose", "enip-data-not-skipped", "snpp-lock-while-waiting",
}  # fmt: skip
"""What the source shows, or what ends the check at once, has no test to print."""

DEEP = {
    "amqp": 2, "broker": 1, "calls": 2, "dhcpv6": 2, "diameter": 1, "documents": 1, "dsi": 1, "mongodb": 1, "queues": 2,
    "ftp-site-idle": 4, "git-want-lines": 1, "nntp-overlong": 5, "s7": 2, "svdrp": 4, "thrift": 2, "thrift-skip": 3,
    "firmata-next-message": 0, "websocket-empty-fragments": 4,
}  # fmt: skip
"""`check` tries the later messages too, and finds these in this one."""

found = pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.name in FINDERS], ids=lambda pair: pair.name)


def try_property(pair, kind):
    """The property that finds the fault of the pair, for one handler of it."""
    name = FINDERS[pair.name]
    conversation, place = pair.conversation, DEEP.get(pair.name)
    if place is not None:
        conversation = Message(conversation[:place], conversation[place])
    server = pair.options.get("server")
    world = {} if server is None else {"world": World(PEER, server, lambda: 0.0)}
    given = [] if name in ("drops_no_step", "calls_nothing_that_blocks") else [conversation]
    getattr(testing, name)(kind, *given, **world)


@pytest.mark.slow
@pytest.mark.in_turn
@found
def test_a_fault_is_found(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        try_property(pair, pair.broken)
    code = str(caught.value).partition("\n\n")[2]
    if code:
        given = [pair.options["server"]] if "(server)" in code else []
        assert_red_then_green(code, pair.broken, pair.right, tmp_path, given, given)
    else:
        assert pair.name in NO_TEST


@pytest.mark.slow
@pytest.mark.in_turn
@found
def test_the_mended_handler_passes(pair):
    try_property(pair, pair.right)


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("fix", testing.ends_if_it_drips),
        ("resp", testing.skips_what_it_refuses),
        ("gpsd", testing.takes_exact_ends_only),
        ("collectd", testing.takes_exact_ends_only),
        ("enet", testing.answers_duplicates_once),
        ("bootp", testing.answers_no_answer),
        ("msrp", testing.same_at_its_limits),
        ("edonkey", testing.takes_plain_numbers_only),
        ("collectd", testing.takes_true_lengths_only),
        ("raknet-frames", testing.answers_duplicates_once),
        ("gamespy", testing.takes_exact_ends_only),
        ("mysql", testing.takes_exact_ends_only),
        ("iax", testing.takes_plain_numbers_only),
        ("icb-nicknames", testing.takes_exact_ends_only),
    ],
)
def test_a_right_handler_that_was_accused_is_not(name, holds):
    """One has messages without an answer among others; one answers what it refuses in words, once.

    One has blank lines between its messages, and one a length that is the number of LF. One answers a doubled packet as
    before, and its answer is longer; one answers its own answers until a count of them ends it; one has a delimiter of
    sixteen bytes; one has bytes that look like a number, of which it only counts the different ones; one leaves a part
    out whose length is too large, and which it has had before; one acknowledges a doubled packet, and does not answer
    it again; one has a backslash between words, which is no sign of escapes; one has a number that is CR; one looks at
    the first byte of a part only; and one has a mark at the end of its parts that may be missing.
    """
    pair = next(pair for pair in PAIRS if pair.name == name)
    holds(pair.right, pair.conversation)


def test_a_message_that_has_no_answer_of_its_own_shows_nothing():
    """The name of a file, whose data follow; a longer number in it goes beyond the frame."""
    pair = next(pair for pair in PAIRS if pair.name == "binkp")
    before, message = pair.conversation[:3], pair.conversation[3]
    testing.takes_plain_numbers_only(pair.right, Message(before, message))


@pytest.mark.parametrize("pairs", SETS.values(), ids=SETS)
def test_each_kind_has_three_pairs(pairs):
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(range(1, 13), 3)


def test_the_names_tell_the_pairs_apart():
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    assert {pair.name for pair in PAIRS} >= FINDERS.keys()
