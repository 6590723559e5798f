#!/usr/bin/python3
"""Scenarios on python3-uamqp (the C library azure-uamqp-c, a codec of its own).

It connects by TLS alone, so PORT is one of a TLS relay.

usage: uamqp_client.py SCENARIO HOST PORT CERTIFICATE ADDRESS [COUNT]; prints one line of JSON.
"""
import json
import sys
import threading

import uamqp
from uamqp import authentication, constants


def send(client, bodies, last=True):
    """How many of them were accepted."""
    client.queue_message(*[uamqp.Message(body) for body in bodies])
    states = client.send_all_messages(close_on_done=last)
    return sum(state == constants.MessageState.SendComplete for state in states)


def attached(receiver):
    """Wait until the receiver is there."""
    receiver.open()
    while not receiver.client_ready():
        pass
    return receiver


def exchange(url, auth, count):
    """Send COUNT messages to ourselves; the receiver has a connection and a thread of its own."""
    return receive_all(url, auth, count, uamqp.SendClient(url, auth=auth()))


def unawaited(url, auth, count):
    """Send while there is no receiver, without credit as the library does it; the same link sends on once there is."""
    sender = uamqp.SendClient(url, auth=auth())
    early = send(sender, [b"early"] * 20, last=False)
    return {"early": early, **receive_all(url, auth, count, sender)}


def receive_all(url, auth, count, sender):
    received = []
    receiver = attached(uamqp.ReceiveClient(url, auth=auth(), timeout=30000, prefetch=100))

    def receive():
        while len(received) < count:
            for message in receiver.receive_message_batch(max_batch_size=100, timeout=5000):
                received.append(int(b"".join(message.get_data())))
                message.accept()
        receiver.close()

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    sent = send(sender, [b"%d" % number for number in range(count)])
    thread.join(50)
    return {"sent": sent, "received": len(received), "ordered": received == sorted(received)}


def large(url, auth, count):
    got = []
    receiver = attached(uamqp.ReceiveClient(url, auth=auth(), timeout=30000, prefetch=1))

    def receive():
        for message in receiver.receive_message_batch(max_batch_size=1, timeout=30000):
            got.append(b"".join(message.get_data()))
            message.accept()
        receiver.close()

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    body = b"abcdefg" * (count // 7)
    sent = send(uamqp.SendClient(url, auth=auth()), [body])
    thread.join(50)
    return {"sent": sent, "same": got == [body]}


def main():
    scenario, host, port, certificate, address = sys.argv[1:6]
    count = int(sys.argv[6]) if len(sys.argv) > 6 else 1

    def auth():
        return authentication.SASLAnonymous(host, port=int(port), verify=certificate)

    url = "amqps://%s:%s/%s" % (host, port, address)
    print(json.dumps({"exchange": exchange, "unawaited": unawaited, "large": large}[scenario](url, auth, count)), flush=True)


if __name__ == "__main__":
    main()
