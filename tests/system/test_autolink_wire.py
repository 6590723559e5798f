"""AutoLinks frame by frame, at a container that does not do what it should."""
import pytest
from proton import symbol

from support.brokers import states, wait_states
from support.deadline import wait_until
from support.router import Config
from support.wire import DETACH, ERROR, described, error_of
from test_link_routes_wire import Container

REFUSED = "the link was refused without an error, and not detached"


@pytest.fixture
def router(start_router):
    config = Config().listener("containers", role="route-container")
    return start_router(config.add("autoLink", address="q", direction="out", containerId="container"))


def test_autolink_refused_without_a_detach_fails_and_says_so(router):
    """Its answer has no target, and then it is silent; what it says late is the last error."""
    with Container(router) as container:
        handle = container.take_attach(target=None).fields["handle"]
        wait_states(router, {("q", "out"): ("failed", REFUSED)})
        detach = container.expect(DETACH)
        assert detach.fields["closed"] and error_of(detach) == "amqp:illegal-state"
        container.send(DETACH, handle=handle, closed=True, error=described(ERROR, symbol("amqp:not-found"), "no queue q"))
        wait_states(router, {("q", "out"): ("failed", "no queue q")})
        assert router.log().count("Auto Link Activation Failed.") == 2


def test_router_stops_while_the_detach_of_a_refused_autolink_is_due(router):
    with Container(router) as container:
        container.take_attach(target=None)
        # On a slow machine it may be over already.
        wait_until(lambda: states(router)[("q", "out")][0] in ("attaching", "failed"), what="the autoLink")
        assert router.stop() == 0
