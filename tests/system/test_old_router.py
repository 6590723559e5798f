"""Ours beside 1.19 routers, played by support.old_router, which says what those would not have understood."""
import pytest
from proton import symbol

from support.peers import Peers
from support.router import Config
from support.wire import DETACH, SOURCE, TARGET, Wire, described, error_of

CONTROL = symbol("qd.router")


@pytest.fixture
def peers():
    with Peers() as peers:
        yield peers


@pytest.fixture
def ours(start_router):
    return start_router(Config(mode="interior", id="A").listener("mesh", role="inter-router"))


@pytest.mark.parametrize("is_sender", [True, False])
def test_client_that_is_no_router_is_refused_where_routers_connect(ours, is_sender):
    with Wire((ours.host, ours.ports["mesh"])) as wire:
        wire.open_session()
        answer = wire.attach("link", 0, is_sender, "closest/x")
        assert answer.fields["target" if is_sender else "source"] is None
        detach = wire.expect(DETACH)
        assert error_of(detach) == "qd:connection-role"
        assert str(detach.fields["error"].value[1]) == "Link attach forbidden on inter-router connection"
        # With a control link to it, it is a router, and its link routes come so.
        for handle, sends in ((1, False), (2, True)):
            wire.attach("control %d" % handle, handle, sends, None, source=described(SOURCE, *[None] * 10, CONTROL),
                        target=described(TARGET, *[None] * 6, CONTROL))
        answer = wire.attach("link again", 3, is_sender, "closest/x")
        assert answer.fields["target" if is_sender else "source"] is not None
