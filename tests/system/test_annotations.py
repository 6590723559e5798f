"""What becomes of message annotations on the way through one router: stripAnnotations, in and out (wire-protocol 4.1)."""
import pytest
from proton import Data, symbol, ulong

from support.router import Config, Router
from support.wire import ACCEPTED, DISPOSITION, REJECTED, TRANSFER, Wire, described, encode

SECTIONS = ("both", "in", "out", "no")
BODY = encode(described(0x77, "x"))
TO, INGRESS, TRACE = ("x-opt-qd.to", "elsewhere"), ("x-opt-qd.ingress", "0/X"), ("x-opt-qd.trace", ["0/X"])
OTHER, USER, LATE = ("x-opt-qd.other", 1), ("user", "u"), ("late", 3)


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    config = Config()
    for name in SECTIONS:
        config.listener(name, stripAnnotations=name)
    with Router(config, tmp_path_factory.mktemp("annotations")) as made:
        yield made


def annotations(*entries):
    """A message annotations section, its entries in this order."""
    data = Data()
    data.put_described()
    data.enter()
    data.put_ulong(ulong(0x72))
    data.put_map()
    data.enter()
    for key, value in entries:
        data.put_symbol(symbol(key))
        data.put_object(value)
    data.exit()
    data.exit()
    return data.encode()


def through(router, into, out_of, entries, address="closest/a"):
    """Send a message with these annotations from a client of one listener to that of another; return its octets there."""
    with Wire(("127.0.0.1", router.ports[into])) as sender, Wire(("127.0.0.1", router.ports[out_of])) as receiver:
        receiver.open_session()
        receiver.attach("in", 0, False, "closest/a")
        receiver.credit(0, 1)
        sender.open_session()
        sender.attach("out", 0, True, address)
        sender.wait_credit(0)
        sender.transfer(0, 0, annotations(*entries) + BODY)
        got = receiver.expect(TRANSFER)
        receiver.send(DISPOSITION, role=True, first=got.fields["delivery_id"], settled=True, state=described(ACCEPTED))
        sender.expect(DISPOSITION)
        return got.payload


def entries_of(payload):
    """The entries of a message that has no other section before its body, which is checked to be whole."""
    assert payload.endswith(BODY)
    if payload == BODY:
        return ()
    section = Data()
    assert section.decode(payload) == len(payload) - len(BODY)
    section.rewind()
    section.next()
    value = section.get_object()
    assert int(value.descriptor) == 0x72
    return tuple((str(key), item) for key, item in value.value.items())


@pytest.mark.parametrize("into", ["both", "in"])
@pytest.mark.parametrize("out_of", SECTIONS)
@pytest.mark.parametrize("entries, kept", [
    ((USER, TO, INGRESS, TRACE), (USER,)),
    ((USER, TO, INGRESS, TRACE, LATE), (USER,)),
    ((TO, INGRESS, TRACE), ()),
    ((OTHER, USER), (OTHER, USER)),
    ((OTHER, TO, USER), (OTHER,)),
    ((USER, LATE), (USER, LATE)),
])
def test_annotations_of_a_client_s_own_stop_at_the_first_router_s(router, into, out_of, entries, kept):
    """In: what follows the first entry that only routers write is dropped; a client cannot say where its message goes."""
    assert entries_of(through(router, into, out_of, entries)) == kept


@pytest.mark.parametrize("into", ["out", "no"])
@pytest.mark.parametrize("out_of", ["both", "out"])
@pytest.mark.parametrize("entries, kept", [
    ((USER, INGRESS, TRACE), (USER,)),
    ((INGRESS, TRACE), ()),
    ((OTHER, USER), (OTHER, USER)),
])
def test_annotations_of_routers_do_not_reach_a_client(router, into, out_of, entries, kept):
    """Out: the user's entries stay."""
    assert entries_of(through(router, into, out_of, entries)) == kept


@pytest.mark.parametrize("into", ["out", "no"])
@pytest.mark.parametrize("out_of", ["in", "no"])
def test_annotations_pass_untouched_where_nothing_is_stripped(router, into, out_of):
    assert through(router, into, out_of, (USER, INGRESS, TRACE)) == annotations(USER, INGRESS, TRACE) + BODY


@pytest.mark.parametrize("into, goes", [("no", True), ("out", True), ("both", False), ("in", False)])
def test_annotations_say_where_an_anonymous_message_goes_if_its_client_may(router, into, goes):
    """x-opt-qd.to counts before `to` in the properties, which this message does not have."""
    if goes:
        through(router, into, "both", (("x-opt-qd.to", "closest/a"),), address=None)
        return
    with Wire(("127.0.0.1", router.ports[into])) as sender:
        sender.open_session()
        sender.attach("out", 0, True, None)
        sender.wait_credit(0)
        sender.transfer(0, 0, annotations(("x-opt-qd.to", "closest/a")) + BODY)
        state = sender.expect(DISPOSITION).fields["state"]
        assert (int(state.descriptor), str(state.value[0].value[0])) == (REJECTED, "amqp:precondition-failed")


@pytest.mark.parametrize("entries, text", [
    ((("x-opt-qd.to", symbol("a")),), "to-override not a valid string type"),
    ((("x-opt-qd.ingress", 7),), None),
    ((("x-opt-qd.trace", "0/X"),), None),
])
def test_annotations_of_a_wrong_type_are_rejected(router, entries, text):
    with Wire(("127.0.0.1", router.ports["no"])) as receiver, Wire(("127.0.0.1", router.ports["no"])) as sender:
        receiver.open_session()
        receiver.attach("in", 0, False, "closest/b")
        receiver.credit(0, 1)
        sender.open_session()
        sender.attach("out", 0, True, "closest/b")
        sender.wait_credit(0)
        sender.transfer(0, 0, annotations(*entries) + BODY)
        state = sender.expect(DISPOSITION).fields["state"]
        error = state.value[0].value
        assert (int(state.descriptor), str(error[0])) == (REJECTED, "amqp:invalid-field")
        assert text in (None, error[1])
