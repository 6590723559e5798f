"""What a 1.19 router said to another as they met, said to ours: it answers as that one did."""
from support.recording import Playing, Recording
from support.router import Config

# Left open by the old router or a matter of taste: the version, a property that old routers ignore, windows.
KNOWN = [("open", "properties"), ("begin", "incoming_window"), ("begin", "handle_max")]


def matters(difference):
    """When a terminus expires means nothing between routers; and the recording's pace is not kept, so that more control
    messages, settled all of them, may have come by its end."""
    what, said = difference.split(": recorded ", 1)
    recorded, live = said.split(", live ", 1)
    if "('transfer', 0, " in what and recorded == "[]":
        return live != "[{'settled': ('bool', True)}]"
    return recorded != live.replace("('symbol', symbol('link-detach'))", "None")


def test_recorded_router_meets_ours_and_hears_the_same(start_router):
    """Open, eleven sessions, the links of both sides with their capabilities and credit, the first control messages."""
    config = Config(mode="interior", id="A").listener("mesh", role="inter-router")
    live = start_router(config)
    playing = Playing([Recording("01-interior-pair")], live.ports["mesh"], allowed=KNOWN, messages=False)
    assert [difference for difference in playing.run() if matters(difference)] == []
    live.wait_log("neighbour-found router=B ")
