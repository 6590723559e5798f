"""Options that the tools share, and the connection made from them."""

import argparse
import math

from proton import SSLDomain, SSLException, Url

from .connection import Connection
from .node import Node, node_address

DEFAULT_TIMEOUT = 5.0
# Proton's word for "no time-out given", which the older tools passed on for `-t 0`.
TIMEOUT_OF_ZERO = 60.0


def seconds(text):
    """Argument type: a time-out in seconds, 0 or more."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError("must be 0 or more seconds: %r" % text)
    return value


def count(text):
    """Argument type: a number of rows, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more: %r" % text)
    return value


def new_parser(prog, version, **kwargs):
    """A parser with --help and --version."""
    parser = argparse.ArgumentParser(prog=prog, **kwargs)
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    return parser


def add_router(group):
    """The options that name another router. group: a mutually exclusive group."""
    group.add_argument("-r", "--router", metavar="ID", help="ask the interior router with this id")
    group.add_argument("-d", "--edge-router", metavar="ID", help="ask the edge router with this id")


def add_connection(parser):
    """The options of connecting."""
    group = parser.add_argument_group("connection options")
    group.add_argument("-b", "--bus", metavar="URL", default="0.0.0.0",
                       help="router to connect to: [amqp[s]://][user[:password]@]host[:port][/address] (default %(default)s)")
    group.add_argument("-t", "--timeout", metavar="SECS", type=seconds, default=DEFAULT_TIMEOUT,
                       help="seconds for connecting and for each answer (default 5)")
    group.add_argument("--ssl-certificate", metavar="FILE", help="client certificate, PEM")
    group.add_argument("--ssl-key", metavar="FILE", help="private key of the client certificate, PEM")
    group.add_argument("--ssl-trustfile", metavar="FILE", help="certificates of the trusted authorities, PEM")
    group.add_argument("--ssl-password", metavar="PASSWORD", help="password of the private key")
    group.add_argument("--ssl-password-file", metavar="FILE", help="file that holds the password of the private key")
    group.add_argument("--ssl-disable-peer-name-verify", action="store_true",
                       help="verify the router's certificate but not its host name")
    group.add_argument("--sasl-mechanisms", metavar="LIST", help="SASL mechanisms to allow")
    group.add_argument("--sasl-username", metavar="NAME", help="user name for SASL")
    group.add_argument("--sasl-password", metavar="PASSWORD", help="password for SASL")
    group.add_argument("--sasl-password-file", metavar="FILE", help="file that holds the password for SASL")


def connect(options):
    """Connect as the options say and attach to the management node. Gives a Node.

    Raises what Connection and Node raise; ValueError for a URL that is none; OSError for an unreadable file.
    """
    url = _url(options)
    tls = url.scheme == Url.AMQPS
    user = options.sasl_username or url.username
    password = _secret(options.sasl_password_file, options.sasl_password) or url.password
    address = node_address(options.router, options.edge_router, url.path)
    connection = Connection(
        # Without user and password: the URL is part of error texts.
        Url(scheme=url.scheme, host=url.host, port=int(url.port)),
        timeout=options.timeout or TIMEOUT_OF_ZERO,
        ssl_domain=_ssl_domain(options) if tls else None,
        # A router that asks for no authentication lists a client without SASL as no-auth; that is how one tells these tools.
        sasl_enabled=bool(tls or options.sasl_mechanisms or user or password),
        allowed_mechs=options.sasl_mechanisms,
        user=user,
        password=password,
    )
    return Node(connection, address)


def _url(options):
    url = Url(options.bus, defaults=False)
    if options.ssl_certificate or options.ssl_trustfile:
        url.scheme = Url.AMQPS
    url.defaults()
    if url.scheme not in (Url.AMQP, Url.AMQPS):
        raise ValueError("Unknown scheme '%s' in '%s': use amqp or amqps" % (url.scheme, options.bus))
    return url


def _secret(file, text):
    if not file:
        return text
    with open(file, encoding="utf-8") as stream:
        return stream.read().strip()


def _ssl_domain(options):
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    if options.ssl_trustfile:
        _load(domain.set_trusted_ca_db, options.ssl_trustfile)
    verify = SSLDomain.VERIFY_PEER if options.ssl_disable_peer_name_verify else SSLDomain.VERIFY_PEER_NAME
    domain.set_peer_authentication(verify, options.ssl_trustfile)
    if options.ssl_certificate:
        # One PEM file often holds certificate and key.
        key = options.ssl_key or options.ssl_certificate
        _load(domain.set_credentials, options.ssl_certificate, key,
              _secret(options.ssl_password_file, options.ssl_password))
    return domain


def _load(function, *arguments):
    files = arguments[:2]
    for file in files:
        with open(file, "rb"):
            pass  # Proton says only that something failed; this names the file that is missing
    try:
        function(*arguments)
    except SSLException as error:
        raise SSLException("Cannot use %s: not PEM, key and certificate do not match, or wrong key password"
                           % " with ".join(dict.fromkeys(files))) from error
