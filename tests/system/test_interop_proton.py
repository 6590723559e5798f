"""Proton's own example programs in C and C++, as they are."""
import re

import pytest

from support.peers import Peers
from support.programs import proton_example


def test_cpp_send_and_receive(router, start_program):
    url = router.address + "/closest/cpp"
    receiver = start_program(proton_example("cpp/simple_recv"), "-a", url, "-m", 500)
    sender = start_program(proton_example("cpp/simple_send"), "-a", url, "-m", 500)
    assert "all messages confirmed" in sender.wait()
    bodies = [line for line in receiver.wait() if "sequence" in line]
    assert [int(re.search(r"sequence\W+(\d+)", body)[1]) for body in bodies] == list(range(1, 501))


def test_c_send_and_receive(router, start_program):
    receiver = start_program(proton_example("c/receive"), router.host, router.port, "closest/c", 300)
    sender = start_program(proton_example("c/send"), router.host, router.port, "closest/c", 300)
    assert "300 messages sent and acknowledged" in sender.wait()
    assert "300 messages received" in receiver.wait()


def test_c_aborted_messages_are_aborted_for_the_receiver(router, start_program):
    """It sends each message in two halves with a wait between, and aborts; then a good sender finishes the receiver."""
    receiver = start_program(proton_example("c/receive"), router.host, router.port, "closest/abort", 10)
    aborter = start_program(proton_example("c/send-abort"), router.host, router.port, "closest/abort", 10)
    assert "10 messages started and aborted" in aborter.wait()
    sender = start_program(proton_example("c/send"), router.host, router.port, "closest/abort", 10)
    sender.wait()
    lines = receiver.wait()
    assert "10 messages received" in lines
    assert lines.count("Message aborted") <= 10


def test_cpp_requests_are_answered(router, start_program):
    start_program(proton_example("cpp/server"), router.url, "closest/cpp-service").wait_output("Server connected")
    client = start_program(proton_example("cpp/client"), "-a", router.address + "/closest/cpp-service")
    lines = client.wait()
    assert "Twas brillig, and the slithy toves => TWAS BRILLIG, AND THE SLITHY TOVES" in lines
    assert len([line for line in lines if "=>" in line]) == 4


def test_cpp_hello_world_sends_to_itself(router, start_program):
    assert start_program(proton_example("cpp/helloworld"), router.url, "closest/hello").wait() == ["Hello World!"]


@pytest.mark.parametrize("copies", [3])
def test_cpp_multicast_reaches_every_receiver(router, start_program, copies):
    url = router.address + "/multicast/cpp"
    receivers = [start_program(proton_example("cpp/simple_recv"), "-a", url, "-m", 50) for _ in range(copies)]
    router.wait_receivers("multicast/cpp", copies)
    start_program(proton_example("cpp/simple_send"), "-a", url, "-m", 50).wait()
    for receiver in receivers:
        assert len([line for line in receiver.wait() if "sequence" in line]) == 50


def test_cpp_many_threads_share_a_connection(router, start_program):
    client = start_program(proton_example("cpp/multithreaded_client"), router.url, "closest/threads", 200)
    assert "200 messages sent and received" in client.wait()


def test_cpp_flow_control_by_hand(router, start_program):
    """The receiver grants credit for what its buffer holds, and no more."""
    client = start_program(proton_example("cpp/multithreaded_client_flow_control"), router.url, "closest/by-hand", 100, 4)
    client.wait_output("messages sent and received")


def test_cpp_client_fails_over_to_another_router(start_router, start_program):
    first, second = start_router(), start_router()
    count = 20000
    client = start_program(proton_example("cpp/reconnect_client"), first.url, "closest/failover", count, second.url)
    client.wait_output("Sending: 100$")
    first.kill()
    client.wait_output("Sending: 2000$", 30)  # over the other one
    assert second.log().count("Link attached") >= 2


def test_example_sender_to_another_codec(router, start_program):
    """C++ to C to Python: who sends and who receives does not matter."""
    with Peers() as peers:
        inbox = peers.connect(router).receiver("closest/any", credit=100)
        start_program(proton_example("c/send"), router.host, router.port, "closest/any", 10)
        start_program(proton_example("cpp/simple_send"), "-a", router.address + "/closest/any", "-m", 10)
        inbox.wait_count(20)
        assert all("sequence" in received.body for received in inbox.messages)
