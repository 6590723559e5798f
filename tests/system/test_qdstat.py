"""qdstat shows what a router tells, in the form that scripts have come to cut apart.

The router is a fake one (support/fake_router.py) that answers with data recorded from Qpid Dispatch 1.19.
"""

import re
import socket
import textwrap
import time

import pytest

from support.deadline import seconds
from support.fake_router import PREFIX, FakeRouter, Network, Tables
from support.tool import failure, output, run, usage_error

pytestmark = pytest.mark.python_only

TIME = re.compile(r"\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})? UTC\n")


def show(book, *arguments, **options):
    """The output of a successful qdstat at a router with this book."""
    with FakeRouter(book, **options) as router:
        text = output("qdstat", "-b", router.address, *arguments)
        router.wait_closed()
        return text


def view(book, *arguments, router_id="A"):
    """The output without the frame of time and router id, which must be there."""
    return without_frame(show(book, *arguments), router_id)


def without_frame(text, router_id="A"):
    assert TIME.match(text), text
    rest = TIME.sub("", text)
    assert rest.startswith("%s\n\n" % router_id), text
    return rest[len(router_id) + 2:]


def expected(text):
    return textwrap.dedent(text).lstrip("\n")


def one_table(short_type, names, *rows, others=None, **arguments):
    """Router A with this table instead of its own."""
    book = Tables.of("A", **arguments)
    book.tables[PREFIX + short_type] = {"attributeNames": names, "results": [list(row) for row in rows]}
    book.others.update(others or {})
    return book


# Views

ROUTER = {
    "name": "A", "identity": "1", "id": "A", "type": PREFIX + "router", "mode": "interior", "area": "0",
    "version": "1.20.0+snapshot", "metadata": None, "addrCount": 14, "linkCount": 2, "nodeCount": 0, "linkRouteCount": 1,
    "autoLinkCount": 1, "connectionCount": 1, "presettledDeliveries": 0, "droppedPresettledDeliveries": 0,
    "acceptedDeliveries": 4, "rejectedDeliveries": 0, "releasedDeliveries": 0, "modifiedDeliveries": 0,
    "deliveriesDelayed1Sec": 0, "deliveriesDelayed10Sec": 0, "deliveriesStuck": 0, "deliveriesIngress": 5,
    "deliveriesEgress": 4, "deliveriesTransit": 0, "deliveriesIngressRouteContainer": 0,
    "deliveriesEgressRouteContainer": 0, "deliveriesRedirectedToFallback": 0, "linksBlocked": 0, "uptimeSeconds": 11,
    "memoryUsage": 408944640, "workerThreads": 4,
}


def router_with(**changes):
    """Router A with these attributes changed; those that are `...` it does not know."""
    attributes = {name: value for name, value in {**ROUTER, **changes}.items() if value is not ...}
    return one_table("router", list(attributes), attributes.values())


GENERAL = expected("""
    Router Statistics
      attr                             value
      ==================================================
      Version                          1.20.0+snapshot
      Mode                             interior
      Router Id                        A
      Worker Threads                   4
      Uptime                           000:00:00:11
      VmSize                           390 MiB
      Area                             0
      Link Routes                      1
      Auto Links                       1
      Links                            2
      Nodes                            0
      Addresses                        14
      Connections                      1
      Presettled Count                 0
      Dropped Presettled Count         0
      Accepted Count                   4
      Rejected Count                   0
      Released Count                   0
      Modified Count                   0
      Deliveries Delayed > 1sec        0
      Deliveries Delayed > 10sec       0
      Deliveries Stuck > 10sec         0
      Deliveries to Fallback           0
      Links Blocked                    0
      Ingress Count                    5
      Egress Count                     4
      Transit Count                    0
      Deliveries from Route Container  0
      Deliveries to Route Container    0
    """)


@pytest.mark.parametrize("option", [(), ("-g",), ("--general",), ("--gen",), ("-v",)])
def test_general_shows_the_statistics(option):
    assert view(router_with(), *option) == GENERAL


def test_general_of_an_older_router_leaves_out_what_it_does_not_have():
    old = view(router_with(workerThreads=..., uptimeSeconds=..., memoryUsage=None, deliveriesStuck=...))
    labels = [line.strip().split("  ")[0] for line in old.splitlines()[3:]]
    assert labels == ["Version", "Mode", "Router Id", "Area", "Link Routes", "Auto Links", "Links", "Nodes", "Addresses",
                      "Connections", "Presettled Count", "Dropped Presettled Count", "Accepted Count", "Rejected Count",
                      "Released Count", "Modified Count", "Deliveries Delayed > 1sec", "Deliveries Delayed > 10sec"]


def test_connections():
    assert view(Tables.of("A"), "-c") == expected("""
        Connections
          id  host             container                             role          proto  dir  security     authentication  tenant  last dlv      uptime
          ======================================================================================================================================================
          1   127.0.0.1:55168  consumer                              normal        amqp   in   no-security  anonymous-user          -             000:00:00:04
          2   127.0.0.1:34182  B                                     inter-router  amqp   in   no-security  anonymous-user          000:00:00:01  000:00:00:04
          3   127.0.0.1:55180  87f57402-e3a1-493c-b490-777b090a146e  normal        amqp   in   no-security  no-auth                 000:00:00:00  000:00:00:00
        """)


CONNECTION = ["identity", "host", "container", "role", "protocol", "dir", "isEncrypted", "sslProto", "sslCipher",
              "isAuthenticated", "sasl", "user", "tenant", "active"]


def connection(number, *, role="normal", tls=True, auth=True, sasl="PLAIN", user=None, tenant=None, active=True):
    return (str(number), "h:%d" % number, "c%d" % number, role, "amqp", "in", tls, "TLSv1.3" if tls else None,
            "AES" if tls else None, auth, sasl, user, tenant, active)


def test_connections_name_how_they_are_secured_and_an_older_router_has_no_times():
    book = one_table("connection", CONNECTION, connection(1, user="u@h", tenant="t/"),
                     connection(2, sasl="GSSAPI", user="u"), connection(3, sasl="EXTERNAL"), connection(4, sasl="ANONYMOUS"),
                     connection(5, tls=False, auth=False, sasl=None))
    assert view(book, "--connections") == expected("""
        Connections
          id  host  container  role    proto  dir  security      authentication  tenant
          ===============================================================================
          1   h:1   c1         normal  amqp   in   TLSv1.3(AES)  u@h(PLAIN)      t
          2   h:2   c2         normal  amqp   in   Kerberos      u(Kerberos)     
          3   h:3   c3         normal  amqp   in   TLSv1.3(AES)  x.509           
          4   h:4   c4         normal  amqp   in   TLSv1.3(AES)  anonymous-user  
          5   h:5   c5         normal  amqp   in   no-security   no-auth         
        """)


def test_edge_shows_the_connections_of_edge_routers():
    book = one_table("connection", CONNECTION, connection(1), connection(2, role="edge"),
                     connection(3, role="edge", active=False))
    assert view(book, "-e") == expected("""
        Connections
          id  host  container  role  dir  security      authentication  tenant  active
          ==============================================================================
          2   h:2   c2         edge  in   TLSv1.3(AES)  PLAIN                   yes
          3   h:3   c3         edge  in   TLSv1.3(AES)  PLAIN                   no
        """)
    assert view(book, "--edge", "--limit", "2").splitlines()[3:] == [
        "  2   h:2   c2         edge  in   TLSv1.3(AES)  PLAIN                   yes"]


def test_edge_without_edge_routers_and_without_connections():
    assert view(Tables.of("A"), "-e") == ""
    assert view(one_table("connection", CONNECTION), "-e") == "No Edge Router Connections\n"


def test_links():
    lines = view(Tables.of("A"), "-l").splitlines()
    assert lines[0] == "Router Links"
    assert len(lines) == 3 + 25
    assert [line.rstrip() for line in (lines[1], lines[3], lines[4], lines[5], lines[-1])] == [
        "  type            dir  conn id  id  peer  class   addr                  phs  cap  pri  undel  unsett  deliv  presett  psdrop  acc  rej  rel  mod  delay  rate  stuck  cred  blkd",
        "  endpoint        out  1        3         mobile  closest/x             0    250  4    0      0       0      0        0       0    0    0    0    0      0     0      5     -",
        "  router-control  out  2        4         local   qdhello                    250  9    0      0       10     10       0       0    0    0    0    0      2     0      250   -",
        "  router-control  in   2        5                                            250  9    0      0       10     10       0       0    0    0    0    0      2     0      250   -",
        "  endpoint        out  4        29        local   temp.c8v2+eTb1fDBO8s       250  4    0      0       1      1        0       0    0    0    0    0      0     0      1     -",
    ]


def test_links_verbose_adds_state_and_name():
    lines = view(Tables.of("A"), "--links", "--verbose").splitlines()
    assert lines[1].endswith("  blkd  admin    oper  name")
    assert lines[3].endswith("  -     enabled  up    rx")


def test_links_with_delays_and_blocked_time_and_without_what_an_older_router_lacks():
    names = ["linkType", "linkDir", "connectionId", "identity", "owningAddr", "deliveriesDelayed1Sec",
             "deliveriesDelayed10Sec", "zeroCreditSeconds"]
    book = one_table("router.link", names, ("endpoint", "in", "7", "8", "M1a", 2, 3, 86400 + 3723),
                     ("endpoint", "out", "7", "9", "Zz", 0, 0, 0))
    assert view(book, "-l") == expected("""
        Router Links
          type      dir  conn id  id  class       addr  phs  delay  blkd
          ====================================================================
          endpoint  in   7        8   mobile      a     1    5      01:02:03
          endpoint  out  7        9   unknown: Z  z          0      -
        """)


NODE = ["id", "protocolVersion", "instance", "linkState", "nextHop", "validOrigins", "address", "routerLink", "cost",
        "lastTopoChange"]


def node(name, neighbours, next_hop=None, link=None, cost=None, changed=None):
    return (name, 1, 1795167775, neighbours, next_hop, [], "amqp:/_topo/0/" + name, link, cost, changed)


def test_nodes_verbose():
    book = one_table("router.node", NODE, node("B", ["A"], link=0, cost=3), node("A", ["B"], "(self)", changed=1795167786))
    assert view(book, "-n", "-v") == expected("""
        Routers in the Network
        Last Topology Change: Friday Nov 20 09:43:06 2026 GMT
          router-id  next-hop  link  ver  cost  neighbors  valid-origins
          ================================================================
          A          (self)    -     1          ['B']      []
          B          -         0     1    3     ['A']      []
        """)


def test_nodes_without_a_change_and_without_network():
    book = one_table("router.node", NODE, node("A", ["B"], "(self)", changed=0), node("C", ["B"], "B", cost=2))
    assert view(book, "--nodes") == expected("""
        Routers in the Network
          router-id  next-hop  link
          ===========================
          A          (self)    -
          C          B         -
        """)
    assert view(one_table("router.node", NODE), "-n") == "Router is Standalone - No Router List\n"


ADDRESS = ["distribution", "inProcess", "subscriberCount", "remoteCount", "containerCount", "deliveriesIngress",
           "deliveriesEgress", "deliveriesRedirectedToFallback", "deliveriesTransit", "deliveriesToContainer",
           "deliveriesFromContainer", "name", "priority"]


def address(key, distribution, local=0, remote=0, in_=0, out=0, thru=0, containers=0, priority=-1):
    return (distribution, 1, local, remote, containers, in_, out, 0, thru, 5, 6000, key, priority)


ADDRESSES = (address("Lqdhello", "flood", 1), address("Tqdrouter", "flood", 0, 1, thru=2),
             address("M0$management", "closest", in_=16), address("L$management", "closest", in_=4),
             address("L$_management_internal", "closest"), address("M0_$qd.edge_addr_tracking", "balanced"), address("M1q/one", "balanced"),
             address("Clr", "linkBalanced", 9), address("RB", "closest", 0, 1, 7, thru=12),
             address("HE", "balanced", 1, in_=3, out=9), address("Ltemp.aubF60VfEgFO9fG", "balanced", 1, out=1))


def test_addresses():
    assert view(one_table("router.address", ADDRESS, *ADDRESSES), "-a") == expected("""
        Router Addresses
          class    addr                     phs  distrib       pri  local  remote  in  out  thru  fallback
          ==================================================================================================
          local    $_management_internal         closest       -    0      0       0   0    0     0
          mobile   $management              0    closest       -    0      0       16  0    0     0
          local    $management                   closest       -    0      0       4   0    0     0
          router   B                             closest       -    0      1       7   0    12    0
          edge     E                             balanced      -    1      0       3   9    0     0
          mobile   _$qd.edge_addr_tracking  0    balanced      -    0      0       0   0    0     0
          link-in  lr                            linkBalanced  -    0      0       0   0    0     0
          mobile   q/one                    1    balanced      -    0      0       0   0    0     0
          local    qdhello                       flood         -    1      0       0   0    0     0
          topo     qdrouter                      flood         -    0      1       0   0    2     0
          local    temp.aubF60VfEgFO9fG          balanced      -    1      0       0   1    0     0
        """)


def test_addresses_verbose_with_commas_priority_and_containers():
    book = one_table("router.address", ADDRESS, address("Dlr", "linkBalanced", 9, containers=1234567),
                     address("M0p", "closest", 1000, 2000, 3000, 4000, 5000, priority=0))
    assert view(book, "--address", "-v") == expected("""
        Router Addresses
          class     addr  phs  distrib       pri  in-proc  local      remote  in     out    thru   fallback  to-proc  from-proc
          =======================================================================================================================
          link-out  lr         linkBalanced  -    1        1,234,567  0       0      0      0      0         5        6,000
          mobile    p     0    closest       0    1        1,000      2,000   3,000  4,000  5,000  0         5        6,000
        """)


def test_addresses_of_an_older_router():
    names = [name for name in ADDRESS if name not in ("priority", "deliveriesRedirectedToFallback")]
    row = [value for name, value in zip(ADDRESS, address("M0p", "closest", 1)) if name in names]
    # The old router answers an unknown name with its first column; that must not be taken for the attribute.
    assert view(one_table("router.address", names, row), "-a") == expected("""
        Router Addresses
          class   addr  phs  distrib  local  remote  in  out  thru  fallback
          ====================================================================
          mobile  p     0    closest  1      0       0   0    0     -
        """)


POOL = ["identity", "typeSize", "transferBatchSize", "localFreeListMax", "totalAllocFromHeap", "heldByThreads",
        "batchesRebalancedToThreads", "batchesRebalancedToGlobal"]
POOLS = (("allocator/qd_link_t", 2472, 64, 128, 64, 60, 0, 1), ("allocator/qd_buffer_t", 536, 1600, 3200, 4800, 1000, 2, 3))


def test_memory():
    assert view(one_table("allocator", POOL, *POOLS), "-m") == expected("""
        Memory Pools
          type         size   batch  thread-max  total  in-threads  rebal-in  rebal-out
          ===============================================================================
          qd_buffer_t  536    1600   3,200       4,800  1,000       2         3
          qd_link_t    2,472  64     128         64     60          0         1

        Memory Summary
          VmSize   Pooled
          ===================
          174 MiB  2.60 MiB
        """)


def test_memory_as_csv():
    lines = view(one_table("allocator", POOL, *POOLS), "--memory", "--csv").splitlines()
    assert lines[:4] == [
        "Memory Pools",
        '"type","size","batch","thread-max","total","in-threads","rebal-in","rebal-out"',
        '"qd_buffer_t","536","1600","3,200","4,800","1,000","2","3"',
        '"qd_link_t","2,472","64","128","64","60","0","1"',
    ]
    assert lines[4:] == ["", "Memory Summary", '"VmSize","Pooled"', '"174 MiB","2.60 MiB"']


def test_memory_of_a_router_without_pools():
    assert view(one_table("allocator", POOL), "-m") == "No memory statistics available\n"
    empty = (("allocator/x", 1, 1, 1, None, 0, 0, 0),)
    assert view(one_table("allocator", POOL, *empty), "-m") == "No memory statistics available\n"


POLICY = {"maxConnections": 65535, "maxMessageSize": 0, "enableVhostPolicy": False, "enableVhostNamePatterns": True,
          "policyDir": "", "defaultVhost": "$default", "connectionsProcessed": 12, "connectionsDenied": 1,
          "connectionsCurrent": 2, "linksDenied": 3, "maxMessageSizeDenied": 4, "totalDenials": 8}


def test_policy():
    assert view(one_table("policy", list(POLICY), POLICY.values()), "-p") == expected("""
        Policy Configuration
          attr                            value
          ==========================================
          Maximum Concurrent Connections  65535
          Maximum Message Size            0
          Enable Vhost Policy             False
          Enable Vhost Name Patterns      True
          Policy Directory                (nil)
          Default Vhost                   $default

        Policy Status
          attr                         value
          ====================================
          Connections Processed        12
          Connections Denied           1
          Connections Current          2
          Links Denied                 3
          Maximum Message Size Denied  4
          Total Denials                8
        """)


AUTOLINK = ["address", "direction", "phase", "externalAddress", "linkRef", "operStatus", "lastError"]
AUTOLINKS = one_table("router.config.autoLink", AUTOLINK, ("q1", "in", 1, None, "7", "active", None),
                      ("q1", "out", 0, "ext.q1", "9", "active", None))


def test_autolinks():
    assert view(AUTOLINKS, "--autolinks") == expected("""
        AutoLinks
          addr  dir  phs  extAddr  link  status  lastErr
          ================================================
          q1    in   1             7     active  
          q1    out  0    ext.q1   9     active  
        """)
    none = one_table("router.config.autoLink", AUTOLINK)
    assert view(none, "--autolinks") == "AutoLinks\nNo AutoLinks found\n"


LINK_ROUTE = ["prefix", "direction", "distribution", "operStatus", "pattern", "addExternalPrefix", "delExternalPrefix"]


def test_linkroutes():
    book = one_table("router.config.linkRoute", LINK_ROUTE, (None, "out", "linkBalanced", "inactive", "b.#", None, None),
                     ("a", "in", "linkBalanced", "active", None, None, None))
    assert view(book, "--linkroutes") == expected("""
        Link Routes
          address  dir  distrib       status
          ======================================
          a        in   linkBalanced  active
          b.#      out  linkBalanced  inactive
        """)
    none = one_table("router.config.linkRoute", LINK_ROUTE)
    assert view(none, "--linkroutes") == "Link Routes\nNo Link Routes found\n"


def test_linkroutes_with_prefixes_as_csv():
    book = one_table("router.config.linkRoute", LINK_ROUTE, ("a", "in", "linkBalanced", "active", None, 'x"y', None),
                     ("b", "in", "linkBalanced", "active", None, None, None))
    assert view(book, "--linkroutes", "--csv") == expected("""
        Link Routes
        "address","dir","distrib","status","add-ext-prefix","del-ext-prefix"
        "a","in","linkBalanced","active","x""y",
        "b","in","linkBalanced","active"
        """)


VHOST = ["hostname", "maxConnections", "maxMessageSize", "maxConnectionsPerUser", "maxConnectionsPerHost",
         "allowUnknownUser", "groups"]
GROUPS = {"$default": {"remoteHosts": "*", "allowDynamicSource": True, "maxSessions": 3, "sources": "a, b"},
          "admin": {"users": "alice", "maxFrameSize": 222}}
SCHEMA = {"entityTypes": {"vhostUserGroupSettings": {"attributes": {
    "maxSenders": {"type": "integer", "default": 2147483647}, "maxSessions": {"type": "integer"},
    "allowWaypointLinks": {"type": "boolean", "default": True}}}}}
VHOSTS = one_table("vhost", VHOST, ("h1", 10, None, 5, 6, True, GROUPS), ("h2", 20, 1000, 7, 8, False, None),
                   others={"GET-SCHEMA": SCHEMA})


def test_vhosts_without_frame():
    assert show(VHOSTS, "--vhosts") == expected("""
        Vhosts
          hostname  maxConnections  maxMessageSize  maxConnectionsPerUser  maxConnectionsPerHost  allowUnknownUser  groups
          ==================================================================================================================
          h1        10              None            5                      6                      True              2
          h2        20              1000            7                      8                      False             0
        """)
    none = one_table("vhost", VHOST)
    assert show(none, "--vhosts") == "No Vhosts\n"
    assert show(none, "--vhostgroups") == "No Vhosts\n"


def test_vhostgroups_fill_in_the_defaults_of_the_routers_schema():
    text = show(VHOSTS, "--vhostgroups", "--csv")
    assert text == expected("""
        Vhost Groups
        "vhost","group","maxConnectionsPerUser","maxConnectionsPerHost","maxMessageSize","maxFrameSize","maxSessionWindow","maxSessions","maxSenders","maxReceivers","allowDynamicSource","allowAnonymousSender","allowUserIdProxy","allowWaypointLinks","allowDynamicLinkRoutes","allowAdminStatusUpdate","allowFallbackLinks"
        "h1","$default","(nil)","(nil)","(nil)","(nil)","(nil)","3","2147483647","(nil)","True","False","False","True","False","False","False"
        "h1","admin","(nil)","(nil)","(nil)","222","(nil)","(nil)","2147483647","(nil)","False","False","False","True","False","False","False"

        Vhost 'h1' UserGroup '$default'
        "attr","value"
        "vhost","h1"
        "group","$default"
        "users","(nil)"
        "remoteHosts","*"
        "sources","a, b"
        "targets","(nil)"
        "sourcePattern","(nil)"
        "targetPattern","(nil)"

        Vhost 'h1' UserGroup 'admin'
        "attr","value"
        "vhost","h1"
        "group","admin"
        "users","alice"
        "remoteHosts","(nil)"
        "sources","(nil)"
        "targets","(nil)"
        "sourcePattern","(nil)"
        "targetPattern","(nil)"
        """)


def test_vhoststats():
    names = ["hostname", "connectionsApproved", "connectionsDenied", "connectionsCurrent", "perUserState", "sessionDenied",
             "senderDenied", "receiverDenied", "maxMessageSizeDenied"]
    book = one_table("vhostStats", names, ("h1", 1, 2, 3, {"anonymous": ["127.0.0.1:43592"]}, 4, 5, 6, 7))
    assert show(book, "--vhoststats") == expected("""
        Vhost Stats
          hostname  connectionsApproved  connectionsDenied  connectionsCurrent  sessionDenied  senderDenied  receiverDenied  maxMessageSizeDenied
          =========================================================================================================================================
          h1        1                    2                  3                   4              5             6               7

        Vhost User Stats
          vhost  user       remote hosts
          =======================================
          h1     anonymous  ['127.0.0.1:43592']
        """)
    assert show(one_table("vhostStats", names), "--vhoststats") == "No Vhost Stats\n"


def test_log_without_frame():
    text = ("[C15][L34] Link attached: dir=out source={(dyn)<none> expire:sess} target={<none> expire:sess}")
    book = Tables.of("A")
    book.others["GET-LOG"] = [["ROUTER_CORE", "info", text, None, None, 1795167389], ["X", "warning", "y", "f.c", 7, 1794009600]]
    with FakeRouter(book) as router:
        assert output("qdstat", "-b", router.address, "--log", "--limit=2") == expected("""
            Fri Nov 20 09:36:29 2026 ROUTER_CORE (info) %s
            Sat Nov  7 00:00:00 2026 X (warning) y
            """ % text)
        assert router.requests[-1].properties["limit"] == 2


def test_all_entities():
    book = router_with()
    for part in (one_table("router.address", ADDRESS, *ADDRESSES), AUTOLINKS, VHOSTS,
                 one_table("router.config.linkRoute", LINK_ROUTE), one_table("allocator", POOL),
                 one_table("policy", list(POLICY), POLICY.values()), one_table("vhostStats", ["hostname"])):
        for entity_type, table in part.tables.items():
            book.tables.setdefault(entity_type, table)
    text = view(book, "--all-entities")
    titles = [block.splitlines()[0] for block in text.split("\n\n")[:-1]]
    assert titles == ["Router Links", "Router Addresses", "Connections", "AutoLinks", "Link Routes", "Router Statistics",
                      "No memory statistics available", "Policy Configuration", "Policy Status", "Vhosts", "No Vhost Stats"]
    assert text.endswith("No Vhost Stats\n\n")
    assert "\n\n" + GENERAL + "\n" in text


# The network

def network():
    a = one_table("router.node", NODE, node("A", ["B"], "(self)", changed=1795167786), node("B", ["A"], link=0, cost=3))
    b = Tables.of("B")
    b.tables[PREFIX + "router.node"] = {"attributeNames": NODE, "results": [
        list(node("B", ["A"], "(self)", changed=1795167785)), list(node("A", ["B"], link=0, cost=3))]}
    return Network({"A": a, "B": b})


def test_all_routers():
    text = show(network(), "-n", "--all-routers")
    assert TIME.match(text)
    assert TIME.sub("", text) == expected("""
        Router  A

        Routers in the Network
        Last Topology Change: Friday Nov 20 09:43:06 2026 GMT
          router-id  next-hop  link
          ===========================
          A          (self)    -
          B          -         0

        Router  B

        Routers in the Network
        Last Topology Change: Friday Nov 20 09:43:05 2026 GMT
          router-id  next-hop  link
          ===========================
          A          -         0
          B          (self)    -

        """)


def test_all_routers_are_shown_but_those_that_do_not_answer():
    """C is remembered, and there is no way to it; to D there is one, but it gives no credit."""
    book = network()
    names = ["A", "C", "D", "B"]
    book.books["A"].others["GET-MGMT-NODES"] = ["amqp:/_topo/0/%s/$management" % name for name in names]
    book.books["A"].tables[PREFIX + "router.node"] = {"attributeNames": NODE, "results": [
        list(node("A", ["B"], "(self)", changed=1795167786)), list(node("B", ["A"], link=0)), list(node("C", [])),
        list(node("D", ["B"], next_hop="B"))]}
    with FakeRouter(book) as router:
        done = run("qdstat", "-b", router.address, "-n", "--all-routers", "-t", "%g" % seconds(1))
    assert done.returncode == 1
    parts = re.split(r"Router  (\w)\n\n", TIME.sub("", done.stdout))
    shown = dict(zip(parts[1::2], parts[2::2]))
    assert list(shown) == names
    assert shown["A"].startswith("Routers in the Network") and shown["B"].startswith("Routers in the Network")
    assert shown["C"] == "Timeout: not asked: there is no way to it now\n\n"
    assert re.fullmatch(r"Timeout: .* timed out: Sending on sender .*D/\$management\n\n", shown["D"])


@pytest.mark.parametrize("nodes", [[], ["amqp:/_topo/0/A/$management"]])
def test_all_routers_of_a_lone_router_is_the_plain_view(nodes):
    book = router_with()
    book.others["GET-MGMT-NODES"] = nodes
    assert view(book, "--all-routers") == GENERAL


def test_another_router_is_asked_over_the_one_connected_to():
    with FakeRouter(network()) as router:
        text = output("qdstat", "-b", router.address, "-c", "-r", "B")
        assert without_frame(text, "B").splitlines()[3].split()[:3] == ["1", "127.0.0.1:22000", "A"]
        assert {request.address for request in router.requests} == {"_topo/0/B/$management"}
        router.wait_closed()


@pytest.mark.parametrize("arguments, address", [
    (["-d", "E1"], "_edge/E1/$management"),
    (["--edge-router=E1"], "_edge/E1/$management"),
    (["--router", "A"], "_topo/0/A/$management"),
    ([], "$management"),
])
def test_address_of_the_node(arguments, address):
    with FakeRouter(Tables.of("A")) as router:
        output("qdstat", "-b", "amqp://" + router.address, *arguments)
        assert {request.address for request in router.requests} == {address}
        output("qdstat", "-b", router.address + "/other/node")
        assert router.requests[-1].address == "other/node"


# The protocol

def test_requests_are_those_of_the_old_tools():
    with FakeRouter(Tables.of("A")) as router:
        output("qdstat", "-b", router.address, "-c")
        everything = {"attributeNames": []}
        of_node = {"name": "self", "type": "org.amqp.management"}
        assert [(request.properties, request.body) for request in router.requests] == [
            ({**of_node, "operation": "GET-MGMT-NODES"}, {}),
            ({**of_node, "operation": "QUERY", "entityType": PREFIX + "connection", "offset": 0, "count": 500}, everything),
            ({**of_node, "operation": "QUERY", "entityType": PREFIX + "router", "offset": 0, "count": 500}, everything),
        ]
        assert [request.correlation_id for request in router.requests] == ["1", "2", "3"]
        assert router.opened == 1
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", router.requests[0].container)
        assert not router.requests[0].authenticated, "a plain qdstat does not attempt SASL"


def many_links(number):
    return [("endpoint", "in", "1", str(n)) for n in range(number)]


LINK = ["linkType", "linkDir", "connectionId", "identity"]


def shown_links(router, *arguments):
    lines = without_frame(output("qdstat", "-b", router.address, "-l", *arguments)).splitlines()[3:]
    return [line.split()[3] for line in lines]


def pages(router):
    """(offset, count) of each page of links that was asked for, probes of one row left out."""
    return [(request.properties["offset"], request.properties["count"]) for request in router.requests
            if request.properties.get("entityType") == PREFIX + "router.link" and request.properties["count"] != 1]


def test_long_lists_are_fetched_in_pages():
    with FakeRouter(one_table("router.link", LINK, *many_links(1203))) as router:
        assert shown_links(router) == [str(n) for n in range(1203)]
        assert pages(router) == [(0, 500), (500, 500), (1000, 500)]


def test_limit_asks_for_no_more_than_that():
    with FakeRouter(one_table("router.link", LINK, *many_links(1203))) as router:
        assert shown_links(router, "--limit", "600") == [str(n) for n in range(600)]
        assert shown_links(router, "--limit=3") == ["0", "1", "2"]
        assert pages(router) == [(0, 500), (500, 100), (0, 3)]
        assert len(shown_links(router, "--limit", "0")) == 1203


@pytest.mark.parametrize("number, limit, shown", [(2, "1", 1), (500, "0", 500), (1000, "0", 1000), (1000, "500", 500),
                                                 (700, "600", 600), (3, "7", 3)])
def test_a_router_that_ignores_offset_and_count_is_read_once(number, limit, shown):
    with FakeRouter(one_table("router.link", LINK, *many_links(number), paging=False)) as router:
        assert shown_links(router, "--limit", limit) == [str(n) for n in range(shown)]


# Failures

def test_refused_connection():
    assert failure("qdstat", "-b", "127.0.0.1:1") == (
        "ConnectionException: Connection amqp://127.0.0.1:1 disconnected: "
        "Condition('proton.pythonio', 'Connection refused to all addresses')\n")


def test_host_that_does_not_exist():
    assert failure("qdstat", "-b", "no-such-host.invalid").startswith(
        "ConnectionException: Connection amqp://no-such-host.invalid:5672 failed: ")


@pytest.mark.parametrize("bus", ["http://127.0.0.1:80", "127.0.0.1:nosuchservice"])
def test_url_that_is_none(bus):
    assert failure("qdstat", "-b", bus).startswith("ValueError: ")


def timed(limit, *arguments):
    began = time.monotonic()
    line = failure("qdstat", "-t", str(limit), *arguments)
    took = time.monotonic() - began
    assert limit <= took < limit + seconds(8), "took %.2f s" % took
    return line


def test_unknown_router_times_out():
    with FakeRouter(network()) as router:
        line = timed(2, "-b", router.address, "-r", "nosuch")
        assert re.fullmatch(r"Timeout: Connection amqp://%s timed out: "
                            r"Sending on sender [0-9a-f-]{36}-_topo/0/nosuch/\$management\n" % router.address, line)
        router.wait_closed()


def test_answer_that_never_comes_times_out():
    with FakeRouter(Tables.of("A", mute={"QUERY"})) as router:
        assert timed(2, "-b", router.address) == (
            "Timeout: Connection amqp://%s timed out: Waiting for response\n" % router.address)


def test_router_that_never_opens_times_out():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "127.0.0.1:%d" % silent.getsockname()[1]
        assert timed(2, "-b", address) == "Timeout: Connection amqp://%s timed out: Opening connection\n" % address


def test_refused_link():
    with FakeRouter(Tables.of("A"), refuse="amqp:unauthorized-access") as router:
        line = failure("qdstat", "-b", router.address)
        assert re.fullmatch(r"LinkDetached: sender \S+ to \$management closed due to: "
                            r"Condition\('amqp:unauthorized-access', 'by the policy of this test'\)\n", line)


def test_connection_lost_before_the_answer():
    with FakeRouter(Tables.of("A"), hang_up={"QUERY"}) as router:
        assert failure("qdstat", "-b", router.address).startswith(
            "ConnectionException: Connection amqp://%s disconnected: " % router.address)


@pytest.mark.parametrize("status, line", [
    (400, "BadRequestStatus: text"), (401, "UnauthorizedStatus: text"), (403, "ForbiddenStatus: text"),
    (404, "NotFoundStatus: text"), (500, "InternalServerErrorStatus: text"), (501, "NotImplementedStatus: text"),
    (503, "ManagementError: text"),
    (202, "ValueError: Response was 202(Accepted) but expected 200(OK): text"),
])
def test_status_other_than_success(status, line):
    with FakeRouter(lambda address, properties, body: (status, "text", {})) as router:
        assert failure("qdstat", "-b", router.address) == line + "\n"


@pytest.mark.parametrize("body", [None, {}, ["x"], {"attributeNames": None, "results": None}])
def test_answer_that_is_no_query_result(body):
    with FakeRouter(lambda address, properties, _: (200, "OK", [] if properties["operation"] != "QUERY" else body)) as router:
        assert failure("qdstat", "-b", router.address).startswith(
            "ManagementError: The answer to QUERY has no attributeNames and results: ")


def test_debug_variable_shows_where_it_failed():
    done = run("qdstat", "-b", "127.0.0.1:1", environment={"_QPID_DISPATCH_TOOLS_DEBUG_": ""})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback (most recent call last)")


def test_control_characters_of_peers_do_not_reach_the_terminal():
    book = one_table("connection", CONNECTION, ("1", "h\x1b[2J", "c\n\x9b", *connection(1)[3:]))
    text = view(book, "-c")
    assert "  1   h\\x1b[2J  c\\x0a\\x9b  normal" in text


# Usage

@pytest.mark.parametrize("arguments, error", [
    (["-g", "-c"], "argument -c/--connections: not allowed with argument -g/--general"),
    (["--log", "--all-entities"], "argument --all-entities: not allowed with argument --log"),
    (["-r", "A", "-d", "E"], "argument -d/--edge-router: not allowed with argument -r/--router"),
    (["--all-routers", "-r", "A"], "argument -r/--router: not allowed with argument --all-routers"),
    (["--vhost"], "ambiguous option: --vhost could match --vhosts, --vhostgroups, --vhoststats"),
    (["--limit", "-1"], "argument --limit: must be 0 or more: '-1'"),
    (["--limit", "x"], "argument --limit: invalid count value: 'x'"),
    (["-t", "nan"], "argument -t/--timeout: must be 0 or more seconds: 'nan'"),
    (["foo"], "unrecognized arguments: foo"),
])
def test_wrong_usage(arguments, error):
    assert usage_error("qdstat", *arguments) == "qdstat: error: " + error


def test_help_and_version():
    assert output("qdstat", "--help").startswith("usage: qdstat [-h] ")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", output("qdstat", "--version"))
