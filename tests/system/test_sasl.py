"""Who gets in by SASL, and who does not. This version knows no passwords and no certificates of clients."""
import pytest
from proton import symbol

from support.router import Config
from support.wire import AMQP_HEADER, OPEN, SASL_HEADER, SASL_INIT, SASL_MECHANISMS, SASL_OUTCOME, Wire


@pytest.fixture
def listening(start_router):
    return start_router(Config().listener("both", saslMechanisms="ANONYMOUS PLAIN EXTERNAL", authenticatePeer=True)
                        .listener("default", saslMechanisms=None))


def attempt(router, listener, mechanism, response):
    """(mechanisms offered, code of the outcome, the router's open or None)"""
    with Wire(("127.0.0.1", router.ports[listener])) as wire:
        wire.raw(SASL_HEADER)
        wire.send(SASL_INIT, mechanism=symbol(mechanism), initial_response=response)
        wire.raw(AMQP_HEADER)
        wire.send(OPEN, container_id="client")
        offered = wire.expect(SASL_MECHANISMS).fields["mechanisms"]
        outcome = int(wire.expect(SASL_OUTCOME).fields["code"])
        opened = next((got for got in wire.expect_end() if got.code == OPEN), None) if outcome else wire.expect(OPEN)
        return [str(word) for word in offered], outcome, opened


@pytest.mark.parametrize("listener", ["both", "default"])
def test_sasl_anonymous_gets_in(listening, listener):
    offered, outcome, opened = attempt(listening, listener, "ANONYMOUS", b"somebody")
    assert (offered, outcome, opened is not None) == (["ANONYMOUS"], 0, True)


@pytest.mark.parametrize("listener", ["both", "default"])
@pytest.mark.parametrize("mechanism, response", [
    ("PLAIN", b"\0guest\0guest"), ("PLAIN", b"\0admin\0"), ("PLAIN", b"\0\0"), ("PLAIN", b""), ("EXTERNAL", b""),
    ("EXTERNAL", b"root"), ("CRAM-MD5", b""), ("", b""), ("anonymous", b"")])
def test_sasl_nobody_gets_in_by_what_cannot_be_checked(listening, listener, mechanism, response):
    offered, outcome, opened = attempt(listening, listener, mechanism, response)
    assert (offered, outcome, opened) == (["ANONYMOUS"], 1, None)


def test_sasl_mechanisms_that_are_not_offered_are_told(listening):
    listening.wait_log(r"AGENT \(warning\) Attribute 'saslMechanisms' of entity 'listener' is carried out in part: "
                       r"PLAIN and EXTERNAL are not offered")
