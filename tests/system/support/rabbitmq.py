"""A RabbitMQ broker with its AMQP 1.0 plug-in, of Debian's package: a queue behind the router that nobody here wrote.

    with RabbitMQ(tmp_path, queues=["q"]) as broker:
        ...                          # connectors to broker.port; the queue's address there is '/amq/queue/q'
        broker.kill()
        broker.start()               # its queues, and the durable messages that it has accepted, are as they were

Its files, its node's name and its ports are its own; epmd, which Erlang needs to find nodes, is ours too and ends with it.
"""
import json
import os
import signal
import socket
from pathlib import Path

from support.programs import Program

PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
READY = "Server startup complete"  # in its log, when it takes connections
CONFIGURATION = """\
amqp1_0.default_user = guest
loopback_users = none
log.console = true
log.console.level = info
log.file = false
load_definitions = %s
"""


def definitions(queues):
    """One user, and durable queues."""
    return {
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "queues": [{"name": name, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}} for name in queues],
    }


def free_ports(count):
    """Ports that nobody has now. All are taken before one is given up, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class RabbitMQ:
    def __init__(self, directory, queues, name="broker"):
        assert PROGRAM.exists(), "no RabbitMQ: scripts/deps test installs rabbitmq-server"
        self.directory, self.name = Path(directory) / name, name
        self.directory.mkdir()
        self.port, distribution, epmd = free_ports(3)
        (self.directory / "plugins").write_text("[rabbitmq_amqp1_0].\n")
        (self.directory / "definitions.json").write_text(json.dumps(definitions(queues)))
        (self.directory / "rabbitmq.conf").write_text(CONFIGURATION % (self.directory / "definitions.json"))
        self.environment = {
            "HOME": str(self.directory),  # Erlang's cookie
            "RABBITMQ_NODENAME": "t%d@localhost" % self.port,
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RUNNING_UNDER_SYSTEMD": "true",  # the start script becomes the broker, instead of waiting for it
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -start_epmd false",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.epmd_port = epmd
        self.epmd, self.server, self.starts = None, None, 0

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def start(self):
        """Start it, and wait until it takes connections."""
        self.launch()
        self.server.wait_output(READY, limit=90)
        return self

    def launch(self):
        """Start it, and see to something else meanwhile: it takes ten seconds and more."""
        self.starts += 1
        # The start script ends in exec, so this is the broker itself.
        self.server = Program([PROGRAM], self.directory, "%s-%d" % (self.name, self.starts), self.environment)

    def is_ready(self):
        return READY in self.server.output()

    def kill(self):
        """As if the machine had lost it."""
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def _end(self, signal_number):
        if self.server and self.server.process.poll() is None:
            self.server.process.send_signal(signal_number)
            self.server.process.wait(60)

    def __enter__(self):
        self.epmd = Program(["epmd", "-port", self.epmd_port, "-address", "127.0.0.1"], self.directory, "epmd")
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception):
        self.kill()
        self.epmd.end()
