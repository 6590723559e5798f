"""A management node without a router behind it, for tests of management clients.

    with FakeRouter(Tables.of("A")) as router:
        run("qdstat", "-c", "-b", router.address)
    assert router.requests[0].properties["operation"] == "GET-MGMT-NODES"

FakeRouter speaks AMQP; what it answers comes from a book: a function of (address, properties, body) that gives
(status, description, body), or None to stay silent. Two kinds of book: Tables answers from the rows of entities, Exchanges
repeats what was recorded with a Qpid Dispatch 1.19 router and its own tools.
"""

import json
import threading

from pathlib import Path

from proton import Condition, Message, SSLDomain, int32
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container

from support.deadline import wait_until
from support.errands import Errands

DATA = Path(__file__).resolve().parents[1] / "data"
PREFIX = "org.apache.qpid.dispatch."


class Request:
    """What a client sent, and over which connection."""

    def __init__(self, message, address, connection):
        self.properties = message.properties
        self.body = message.body
        self.reply_to = message.reply_to
        self.correlation_id = message.correlation_id
        self.address = address
        self.container = connection.remote_container
        self.authenticated = connection.transport.authenticated


class Tables:
    """Answers from tables, as a router does: QUERY by pages, READ, CREATE, UPDATE, DELETE of rows, GET-...

    tables      {full type name: {"attributeNames": [...], "results": [[...], ...]}}
    others      {operation: body of its answer}
    paging      False: ignore offset and count of QUERY, as the old router did for most types
    mute        operations that get no answer
    """

    def __init__(self, tables, others=None, paging=True, mute=()):
        self.tables = json.loads(json.dumps(tables))
        self.others = dict(others or {})
        self.paging = paging
        self.mute = set(mute)

    @classmethod
    def of(cls, router, **arguments):
        """The recorded tables of router A or B, neighbours in one network."""
        recorded = json.loads((DATA / "routers.json").read_text())[router]
        return cls(recorded["tables"], {"GET-MGMT-NODES": recorded["nodes"]}, **arguments)

    def __call__(self, address, properties, body):
        operation = properties["operation"]
        if operation in self.mute:
            return None
        if operation in self.others:
            return 200, "OK", self.others[operation]
        method = getattr(self, operation.lower(), None)
        if method is None:
            return 501, "Operation '%s' not implemented" % operation, {}
        return method(properties, body)

    def query(self, properties, body):
        table = self.tables.get(properties["entityType"])
        if table is None:
            return 400, "No such entity type '%s'" % properties["entityType"], {}
        have, rows = table["attributeNames"], table["results"]
        if self.paging:
            end = properties["offset"] + properties["count"] if properties["count"] else None
            rows = rows[properties["offset"]:end]
        # An unknown name is answered with the first column, by the old router and so here.
        wanted = [name if name in have else have[0] for name in body["attributeNames"]] or have
        rows = [[row[have.index(name)] for name in wanted] for row in rows]
        return 200, "OK", {"attributeNames": wanted, "results": rows}

    def _find(self, properties):
        key = "identity" if "identity" in properties else "name"
        table = self.tables[properties["type"]]
        at = table["attributeNames"].index(key)
        for row in table["results"]:
            if row[at] == properties[key]:
                return table, row, None
        return table, None, (404, "No entity with %s=%s" % (key, properties[key]), {})

    def read(self, properties, body):
        table, row, error = self._find(properties)
        return error or (200, "OK", dict(zip(table["attributeNames"], row)))

    def update(self, properties, body):
        table, row, error = self._find(properties)
        if error:
            return error
        for name, value in body.items():
            row[table["attributeNames"].index(name)] = value
        return 200, "OK", dict(zip(table["attributeNames"], row))

    def delete(self, properties, body):
        table, row, error = self._find(properties)
        if error:
            return error
        table["results"].remove(row)
        return 204, "No Content", {}

    def create(self, properties, body):
        table = self.tables[properties["type"]]
        entity = {**body, **{key: properties[key] for key in ("type", "name") if key in properties}}
        if any(row[table["attributeNames"].index("name")] == entity["name"] for row in table["results"]):
            return 400, "Name conflicts with an existing entity", None
        table["results"].append([entity.get(name) for name in table["attributeNames"]])
        return 201, "Created", dict(zip(table["attributeNames"], table["results"][-1]))


class Exchanges:
    """Repeats recorded exchanges: each request must be one of the recording, to the letter."""

    def __init__(self):
        self.recorded = json.loads((DATA / "exchanges.json").read_text())

    def __call__(self, address, properties, body):
        for exchange in self.recorded:
            # As lists: the order of keys is part of what was recorded.
            if (list(exchange["properties"].items()) == list(properties.items())
                    and json.dumps(exchange["body"]) == json.dumps(body)):
                return exchange["status"], exchange["description"], exchange["answer"]
        return 500, "Not recorded: %s %s" % (json.dumps(properties), json.dumps(body)), {}


class Network:
    """Several routers behind one: {id: book}. The management addresses choose; the first is the one connected to."""

    def __init__(self, books):
        self.books = books

    def reaches(self, address):
        return address == "$management" or any(address == self._address(router) for router in self.books)

    @staticmethod
    def _address(router):
        return "_topo/0/%s/$management" % router

    def __call__(self, address, properties, body):
        for router, book in self.books.items():
            if address in (self._address(router), "$management"):
                return book(address, properties, body)
        raise AssertionError("a request came over a link without credit: %s" % address)


class FakeRouter(MessagingHandler):
    """Listens on a free port while used as context manager.

    book        see above
    ssl         an SSLDomain in server mode: speak TLS
    refuse      condition name: refuse links with this error
    hang_up     operations at which the connection is cut instead of answered
    """

    def __init__(self, book, ssl=None, refuse=None, hang_up=()):
        super().__init__(prefetch=0, auto_accept=True)
        self.book, self.refuse, self.hang_up = book, refuse, set(hang_up)
        self.requests = []
        self.opened = 0
        self.closed = 0  # connections that the client ended with a close
        self.failure = None
        self._links = {}
        self._errands = Errands()
        self._container = Container(self)
        self._container.container_id = "A"
        self._container.selectable(self._errands)
        self._acceptor = self._container.acceptor("127.0.0.1", 0)
        self.port = self._acceptor._selectable._delegate.getsockname()[1]
        if ssl:
            self._acceptor.set_ssl_domain(ssl)
        self._thread = threading.Thread(target=self._run, name="fake router")

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._errands.trigger(ApplicationEvent("stop"))
        self._thread.join(20)
        assert not self._thread.is_alive(), "the fake router does not end"
        self._errands.release()
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            self._container.run()
        except Exception as error:  # told where the test can see it, in __exit__
            self.failure = error

    def on_stop(self, event):
        self._acceptor.close()
        self._container.stop()

    def wait_closed(self):
        """Until every connection was closed in order by its client."""
        wait_until(lambda: self.closed == self.opened > 0, what="the clients to close their connections")

    # Links as a router grants them

    def on_connection_opening(self, event):
        self.opened += 1

    def on_connection_closing(self, event):
        self.closed += 1

    def on_link_opening(self, event):
        link = event.link
        if self.refuse:
            return  # with null termini, which announces what on_link_opened does
        if link.is_sender:
            name = "amqp:/_topo/0/A/temp.%d" % len(self._links)
            link.source.address = name
            link.source.dynamic = True
            self._links[name] = link
        else:
            link.target.address = link.remote_target.address
            reaches = getattr(self.book, "reaches", lambda address: True)
            if reaches(link.target.address):
                link.flow(250)

    def on_link_opened(self, event):
        # AMQP 1.0 part 2.6.3, Establishing Or Resuming A Link: a refused attach is answered and then detached.
        if self.refuse:
            event.link.condition = Condition(self.refuse, "by the policy of this test")
            event.link.close()

    def on_message(self, event):
        message, address = event.message, event.link.target.address
        self.requests.append(Request(message, address, event.connection))
        event.link.flow(1)
        if message.properties["operation"] in self.hang_up:
            event.transport.close_head()
            event.transport.close_tail()
            return
        found = self.book(address, message.properties, message.body)
        if found is None:
            return
        status, description, body = found
        answer = Message(address=message.reply_to, correlation_id=message.correlation_id, body=body, inferred=False,
                         properties={"statusCode": int32(status), "statusDescription": description})
        delivery = self._links[message.reply_to].send(answer)
        delivery.settle()


def server_tls(certificate, key):
    """TLS for FakeRouter with these PEM files."""
    domain = SSLDomain(SSLDomain.MODE_SERVER)
    domain.set_credentials(str(certificate), str(key), None)
    return domain
