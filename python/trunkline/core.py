"""The contract between the router in C and its management in Python.

The C side offers the builtin module `_trunkline` (made with PyImport_AppendInittab before the interpreter starts); this
module wraps it and is the only one that imports it. The tests put a module of the same shape,
tests/unit/python/fake_core.py, into sys.modules['_trunkline'] before anything else is imported.

Thread: control, for everything here, both ways. C holds the GIL while it calls; Python never blocks and starts no
thread.

What C calls, in this order
---------------------------
boot.check(path) -> list[str]
    For `qdrouterd --check`. Validates the file, applies nothing; of `_trunkline` it uses log() only, for warnings. An
    empty list: valid. Else one line for each error, in file order: print each on stderr and exit 1.
boot.start(path) -> None
    Reads the whole file, checks all of it, then applies it through apply() in the order of the management reference, 6.1:
    log, router, policy, address, linkRoute, autoLink, exchange, binding, connector, listener. Raises boot.StartError:
    `str(error)` is the text for `<argv0>:
    <text>` on stderr and for the log lines `ERROR (error) <text>` and `MAIN (critical) Router start-up failed:
    <text>`, which C writes; further errors of the same file have been logged (AGENT, error) already. Any other
    exception is a defect of ours: treat it the same way. C starts its I/O threads when this has returned: listeners
    are open by then and connections wait in the backlog.
agent.on_request(message: bytes, conn_id: int, to: str) -> None
    One request message that reached the management node: the bare message with its sections, as received, without the
    router's annotations or with them. conn_id: the number of the client's connection ([C<n>]); 0 when it came from
    another router. to: the address it came by. Never raises; answers through send(). Accept the delivery whatever
    happens, but reject messages of more than agent.MAX_REQUEST octets (1 MiB): they are no requests. `import
    trunkline.agent` costs 1 to 5 ms: do it after start-up.

agent.is_full() -> bool
    Whether so many answers are unfinished that C is to keep what comes, in order, until a go_on() has made room.
agent.go_on() -> None
    In the turn after again() was called. Never raises.

Builtin module `_trunkline`: what C offers
------------------------------------------
VERSION: str            the router's version, as `qdrouterd --version` prints it
Error: exception class  of (kind: str, message: str), raised by apply(), query() and read(). kind is one of the texts
                        'Not found', 'Already exists', 'Allocation', 'Invalid message', 'Python', 'Configuration',
                        'Type', 'Value', 'Run Time', 'System' (management reference 6.2). Clients see `CError: <kind>:
                        <message>`.
log(module: str, level: int, text: str, file: str | None, line: int) -> None
                        level is one of the bits TRACE .. CRITICAL below. module is a log module's name ('AGENT').
log_enabled(module: str, level: int) -> bool
                        whether log() would write. Lets callers skip the making of the text.
log_entries(limit: int) -> list[tuple[str, str, str, str | None, int | None, int]]
                        the most recent `limit` entries kept in memory (0: all, at most 1000), oldest first: module,
                        level name ('info'), text, source file or None, line or None, time in whole seconds since the
                        epoch.
apply(kind: str, op: str, identity: str, attrs: dict) -> object
                        make, change or remove one configured thing; see "Kinds for apply" below. Either all of it
                        happens or Error is raised and nothing has changed.
query(kind: str, columns: tuple[str, ...], offset: int, count: int, conn_id: int) -> list[tuple]
                        rows `offset` .. of all objects of that kind in order of creation (identity), at most `count`
                        (0: no limit); each row a tuple with as many values as columns. Counters are read without
                        stopping the workers. See "Kinds for query and read". conn_id as given to on_request.
query_page(kind: str, columns: tuple[str, ...], after: int, offset: int, count: int, conn_id: int)
    -> tuple[list[tuple], int]
                        the same of the objects behind position `after` (0: from the first), and the position of the
                        last row, to go on from in a later turn: what goes meanwhile is left out, what stays comes once.
                        connection, router.link and router.address only.
again() -> None         have agent.go_on() called in the next turn, once other work of the router has had its turn.
read(kind: str, identity: str, columns: tuple[str, ...], conn_id: int) -> tuple | None
                        one such row; None if there is no such object.
send(to: str, message: bytes) -> bool
                        send an encoded message, pre-settled, as if a client of the router had sent it to address `to`
                        (any form: 'amqp:/_topo/0/A/temp.x', '_topo/...', 'queue'). False if there is nobody to receive
                        it; the answer is then lost, as for any pre-settled message. Copies the bytes before it returns.

Values given to C are None, bool, int, str, list, dict (and float inside openProperties), exactly of the types that the
tables name; values from C likewise (bytes never). An int given to C fits 32 bits signed, except maxMessageSize and
ints inside openProperties: 64 bits signed. An int from C may be up to 2^64-1. Texts given to C hold neither NUL nor
lone surrogates.

Kinds for apply
---------------
Every key of a table is present in attrs on create; None where the table says "or None" and nothing was configured.
Defaults are filled in, names are current, values checked. C needs no defaults of its own and reports a missing key as
a defect (Error 'Python').

log      op 'update', at start for DEFAULT and then for the modules that the file names, later for each change.
         identity 'log/<MODULE>'. A module that has had no update follows DEFAULT in everything.
         module             str           as in management reference 8.1; DEFAULT among them; MAIN and DISPLAYNAME
                                          follow DEFAULT
         mask               int or None   levels shown: sum of TRACE .. CRITICAL; 0 shows nothing
         timestamp, source  bool or None  includeTimestamp, includeSource
         output             str or None   'stderr', 'stdout', 'syslog' or a path, opened for append
         None: as DEFAULT says; for DEFAULT nothing is None. Error('Configuration', "Failed to open log file '<f>'") if
         the file cannot be opened: the old setting stays.
router   op 'create', once, before policy and all that follow. identity '1'.
         id                   str          1 to 127 characters; also the container id
         mode                 str          'standalone'|'interior'|'edge'
         workerThreads        int          >= 1
         defaultDistribution  str          'multicast', 'closest', 'balanced', 'unavailable'
         metadata             str or None
         timestampsInUTC      bool
         timestampFormat      str or None  strftime, then printf for the microseconds: management reference 8.4
         and, for later, as in the schema: hello*Seconds, ra*Seconds, remoteLsMaxAgeSeconds, saslConfigDir,
         saslConfigName, debugDumpFile, allowResumableLinkRoute, allowUnsettledMulticast
policy   op 'create', once. identity 'policy/None'.
         maxConnections       int          >= 0; incoming TCP connections over this are closed at once
         maxMessageSize       int          without effect as long as there is no vhost policy
         and, for later, as in the schema: enableVhostPolicy, enableVhostNamePatterns, policyDir, defaultVhost
address  op 'create' returns str, the new identity: a decimal number from the counter that links and addresses share;
         identity is '' on create. op 'delete' with that identity.
         name                 str or None
         prefix, pattern      str or None  as configured; exactly one is set
         match                list[str]    the tokens to match, normalised as router/route/rules.h says: prefix 'a.b' is
                                           ['a', 'b', '#']. Unique over all addresses: Python has checked
         distribution         str          as for router
         ingressPhase, egressPhase  int    0..9
         priority             int          -1..9; -1: none
         fallback             bool
         A rule holds for links that attach after it; those attached already keep their treatment.
linkRoute op 'create' returns str, the new identity, as of an address; op 'delete' with that identity.
         name                 str or None
         prefix, pattern      str or None  as configured; exactly one is set
         in                   bool         of links of clients that send; else of those that receive
         connection           str or None  name of a connector or listener; at most one of these two is set, and without
         containerId          str or None  either it is never active
         addExternalPrefix, delExternalPrefix  str or None  put before the address at the container, after taking off
connection.linkRoute op 'create' returns str, the new identity; op 'delete' with that identity.
         ofConnection         str          number of the connection whose route it is; the same for delete
         name                 str or None
         pattern              str
         in                   bool         as above
autoLink op 'create' returns str, the new identity, as of an address; op 'delete' with that identity.
         name                 str or None
         address              str          not empty
         in                   bool         the router receives; else it sends
         phase                int          0..9
         connection           str or None  name of a connector or listener; at most one of these two is set, and without
         containerId          str or None  either it is never active
         externalAddress      str or None  address at the container, if another
         fallback             bool         of the address's fallback destination: its phase does not count
exchange, binding  op 'create', 'delete' as for autoLink. Error('Value', text) says what cannot be, as CREATE says it.
         Bindings go with their exchange.
         exchange: name str, address str, phase int 0..9, alternateAddress str or None, alternatePhase int 0..9, mqtt bool
         binding: name str or None, exchangeName str, bindingKey str or None, nextHopAddress str, nextHopPhase int 0..9
listener op 'create', 'delete'. identity as in management reference 1.3, e.g. 'listener/0.0.0.0:amqp'.
         name                 str          the identity if the user gave none
         named                bool         whether the user gave it
         host                 str          '': all addresses, IPv6 and IPv4
         port                 str          number or service name; '0': ephemeral
         portNumber           int          the same resolved
         role                 str          'normal', 'route-container'
         saslMechanisms       str or None  separated by blanks; None: all that this build has
         maxFrameSize         int          >= 512
         maxSessions          int          1..32768
         maxSessionFrames     int or None  >= 1; None: unlimited
         idleTimeoutSeconds   int          >= 0
         cost                 int          >= 1: of the way to another router
         linkCapacity         int          >= 1
         stripIn, stripOut    bool         remove the router's annotations from messages received, sent
         openProperties       dict[str, value]  ASCII keys; added to our Open, keys as symbols
         messageLogging       list[str]    component names in order of management reference 8.5; empty: none
         authenticatePeer     bool
         multiTenant          bool         addresses of its clients stand below their vhost; not between routers
         policyVhost          str or None  the vhost of all its clients; None: the hostname that each names
         initialHandshakeTimeoutSeconds  int  >= 0; 0: off
         failover             list of dict(scheme str or None, host str, port str)  for the Open property
                                           failover-server-list; empty: leave the property away
         socketAddressFamily  str or None  without effect
         create binds and listens, and logs `Listening on <hp>`; Python logs `Configured Listener: ...`. On failure
         Error('System', 'Listener error on <host>:<port>: <why>'), nothing left behind. delete stops listening;
         connections stay.
connector op 'create', 'delete'. identity 'connector/<host>:<port>[:<name>]'.
         name .. messageLogging            as for listeners
         saslUsername, saslPassword  str or None  the password itself: env:, file: ... are resolved
         create never fails for an unreachable host; it retries. delete closes the connection.
connection op 'update'. identity: the connection's number in decimal. attrs has one or both of
         adminStatus          str          'deleted': drop the connection, without a Close
         enableProtocolTrace  bool
         Error('Not found', ...) if it does not exist.

Kinds for query and read
------------------------
Columns are named as in the schema. Python supplies constant ones (`type`) and never asks C for them; it maps old and
doubled names. C raises Error('Value', "unknown column '<c>' of <kind>") for a column that it does not have.

router          one row, identity '1'. Figures only; Python has the rest: addrCount linkCount nodeCount linkRouteCount
                autoLinkCount connectionCount presettledDeliveries droppedPresettledDeliveries acceptedDeliveries
                rejectedDeliveries releasedDeliveries modifiedDeliveries deliveriesDelayed1Sec deliveriesDelayed10Sec
                deliveriesStuck deliveriesIngress deliveriesEgress deliveriesTransit deliveriesIngressRouteContainer
                deliveriesEgressRouteContainer deliveriesRedirectedToFallback linksBlocked uptimeSeconds
                memoryUsage (None: unknown)
connection      identity (decimal text) host role protocol dir container sasl isAuthenticated user isEncrypted sslProto
                sslCipher properties (dict) sslSsf tenant ssl opened active adminStatus operStatus uptimeSeconds
                lastDlvSeconds enableProtocolTrace. Python makes name from host.
router.link     the columns of the schema but type; name is linkName
router.address  the columns of the schema but type, name and identity: C knows an address by its key, and so does read()
router.config.linkRoute  name identity prefix pattern distribution connection containerId direction operStatus
                addExternalPrefix delExternalPrefix
router.connection.linkRoute  name identity pattern direction containerId ofConnection; those of all connections
router.config.exchange  name identity address phase alternateAddress alternatePhase matchMethod bindingCount
                receivedCount droppedCount forwardedCount divertedCount
router.config.binding  name identity exchangeName bindingKey nextHopAddress nextHopPhase matchedCount
router.config.autoLink  name identity address direction phase connection containerId externalAddress linkRef operStatus
                lastError fallback
router.node     id protocolVersion instance linkState nextHop validOrigins address routerLink cost lastTopoChange index;
                no rows on a standalone router
logStats        name (the module) traceCount debugCount infoCount noticeCount warningCount errorCount criticalCount;
                read() by module
allocator       typeName typeSize ...; may have no rows; read() by typeName
connector       read() only, identity as given on create: failoverUrls connectionStatus connectionMsg
policy          read() only, identity 'policy/None': connectionsProcessed connectionsDenied connectionsCurrent
                linksDenied maxMessageSizeDenied totalDenials
explain         read() only, by an address's text; None for a text that names none. address (stripped), rule (dict or
                None), uses: a dict for each phase in use, with senders, receivers and routers; trunks: a dict for each
                neighbour; edges: names of edge routers that are connected; interior: that of an edge router's uplink, or
                None; linkRoutes, autoLinks, exchanges: dicts. Their keys: docs/explain.md, router/mgmt/query_explain.c and
                query_explain_ways.c
"""

import _trunkline

# Log levels as bits of a mask, lowest first.
TRACE, DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL = 1, 2, 4, 8, 16, 32, 64

VERSION = _trunkline.VERSION
Error = _trunkline.Error
apply = _trunkline.apply
query = _trunkline.query
query_page = _trunkline.query_page
again = _trunkline.again
read = _trunkline.read
send = _trunkline.send
log_entries = _trunkline.log_entries
log_enabled = _trunkline.log_enabled


def log(module, level, text):
    """Write one line to the router's log, where that module's settings send it."""
    _trunkline.log(module, level, text, None, 0)
