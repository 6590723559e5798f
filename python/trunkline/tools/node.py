"""A management node of a router, as a client sees it.

A request is a message to the node with the operation among its application properties and a reply address that the router
made for us; the answer carries statusCode and statusDescription and the result as body (AMQP Management draft; see
docs/tools.md for the addresses). Requests are made up exactly as the Qpid Dispatch 1.19 tools did: routers dispatch on them.
"""

from http import HTTPStatus

from proton import Message
from proton.utils import SendException, SyncRequestResponse

from .errors import CLASS_OF_STATUS, ManagementError

PREFIX = "org.apache.qpid.dispatch."
PAGE = 500  # rows asked for at once
# Fewer where a row with all attributes holds lists of 128 numbers: proton drops in silence what a message has beyond 65,535
# values, and a page that is short for that would be taken for the last.
PAGES_OF_LONG_ROWS = {"router.link": 250, "router.address": 100}

# Types that may be named without their folder.
SHORT_NAMES = {
    "link": "router.link",
    "node": "router.node",
    "address": "router.config.address",
    "linkRoute": "router.config.linkRoute",
    "autoLink": "router.config.autoLink",
}


def full_type(name):
    """The type name that goes on the wire for what a person writes: `link` is org.apache.qpid.dispatch.router.link."""
    if not name or "." in name:
        return name
    return PREFIX + SHORT_NAMES.get(name, name)


def node_address(router=None, edge=None, path=None):
    """The address of the management node of an interior router, an edge router, or the one connected to."""
    if router:
        return "_topo/0/%s/$management" % router
    if edge:
        return "_edge/%s/$management" % edge
    return path or "$management"


def plain(value):
    """The value without proton's types: their text is `ulong(3)`, and a router answers with all widths of integers."""
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for base in (int, float, str):
        if isinstance(value, base):
            return base(value)
    return value


class Answer:
    """What QUERY gives: attribute names in the router's order, and a map for each entity."""

    def __init__(self, names, rows):
        self.names = names
        self.rows = rows

    def __contains__(self, name):
        return name in self.names


class Node:
    """A management node. Use as context manager: leaving it closes the connection."""

    def __init__(self, connection, address):
        """Attach to the node at address. Takes the connection over and closes it if that fails.

        Raises LinkDetached if the router refuses the links, Timeout, ConnectionException.
        """
        self._connection = connection
        self._links = None
        try:
            self.attach(address)
        except BaseException:
            connection.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def attach(self, address):
        """Speak to the node at address from now on, over the same connection. Raises as the constructor."""
        if self._links:
            self._connection.restart_clock()
            self._links.sender.close()
            self._links.receiver.close()
        self._links = SyncRequestResponse(self._connection, address)
        self.address = address

    def call(self, properties, body=None, expect=HTTPStatus.OK):
        """Send a request and give the body of its answer.

        properties: application properties; those that are None are left out.
        Raises the class of CLASS_OF_STATUS (or ManagementError) for a failure, ValueError for a success other than expected,
        Timeout, ConnectionException.
        """
        request = Message(
            properties={key: value for key, value in properties.items() if value is not None},
            body={} if body is None else body,
        )
        self._connection.restart_clock()
        try:
            answer = self._links.call(request)
        except SendException as error:
            raise SendException("The router did not take the request to %s: %s" % (self.address, error.state)) from error
        _check_status(answer, expect)
        return plain(answer.body)

    def query(self, entity_type=None, names=(), limit=0):
        """All entities of a type (of all types if None), or the first `limit` if not 0. Gives an Answer.

        Raises as call(); ManagementError if what comes is not the answer to a QUERY.
        """
        result = Answer([], [])
        may_ignore_offset = True
        full_page = PAGE if names else PAGES_OF_LONG_ROWS.get((entity_type or "").removeprefix(PREFIX), PAGE)
        while True:
            offset = len(result.rows)
            count = min(full_page, limit - offset) if limit else full_page
            page = self._page(entity_type, names, offset, count)
            if offset == 0:
                result.names = page.names
            elif page.rows and may_ignore_offset:
                if len(page.rows) > count or self._ignores_offset(entity_type, names, offset):
                    result.rows = page.rows[:limit or None]
                    return result
                may_ignore_offset = False
            result.rows += page.rows
            if limit and len(result.rows) >= limit:
                del result.rows[limit:]
                return result
            if len(page.rows) != count:  # the last page, or everything at once from a router that ignores count
                return result

    def _ignores_offset(self, entity_type, names, offset):
        """Whether the router answers a QUERY from an offset with everything.

        Qpid Dispatch answers queries of most configured types so, whatever offset and count are. If it has as many entities
        as a page, it gives the same full page for ever, and whoever waits for a short one never ends. Asking for one row
        tells: such a router gives them all.
        """
        return len(self._page(entity_type, names, offset, 1).rows) > 1

    def _page(self, entity_type, names, offset, count):
        body = self.management("QUERY", {"attributeNames": list(names)}, entityType=entity_type, offset=offset, count=count)
        try:
            columns = body["attributeNames"]
            if any(len(row) != len(columns) for row in body["results"]):
                raise ManagementError("The answer to QUERY has rows of other than %d values" % len(columns))
            return Answer(columns, [dict(zip(columns, row)) for row in body["results"]])
        except (TypeError, KeyError) as error:
            raise ManagementError("The answer to QUERY has no attributeNames and results: %.200r" % (body,)) from error

    def management(self, operation, body=None, **properties):
        """Ask an operation of the management node itself, such as GET-MGMT-NODES. Gives the body; raises as call()."""
        return self.call({"name": "self", "type": "org.amqp.management", "operation": operation, **properties}, body)

    def router(self, names=()):
        """The attributes of the router entity, an empty map if the router gives none."""
        rows = self.query(PREFIX + "router", names).rows
        return rows[0] if rows else {}

    def mgmt_nodes(self):
        """The addresses of all management nodes of the network; empty if the router is not part of one."""
        return [str(address) for address in self.management("GET-MGMT-NODES") or ()]

    def unreachable(self):
        """{id: why it says nothing} of the interior routers that are remembered, and to which there is no way now: an
        answer of theirs would be waited for in vain."""
        answer = self.query(PREFIX + "router.node", ("id", "nextHop", "routerLink"))
        return {
            row["id"]: "there is no way to it now"
            for row in answer.rows
            if row.get("nextHop") is None and row.get("routerLink") is None
        }


def _phrase(code):
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "unknown status"


def _check_status(answer, expect):
    properties = answer.properties or {}
    code = properties.get("statusCode")
    description = properties.get("statusDescription")
    if not isinstance(code, int):
        raise ManagementError("The answer has no statusCode: %.200r" % (properties,))
    if code == expect:
        return
    if 200 <= code < 300:
        raise ValueError("Response was %d(%s) but expected %d(%s): %s"
                         % (code, _phrase(code), expect, _phrase(expect), description))
    raise CLASS_OF_STATUS.get(code, ManagementError)(description or _phrase(code))
