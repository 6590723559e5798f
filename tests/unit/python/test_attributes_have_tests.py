"""Every attribute of listeners and connectors that the schema has: the test that fails when it is not carried out, or the refusal of
what this version does not have. A new attribute fails here until one of the two is named."""

import re
from pathlib import Path

import pytest

from trunkline import refusals, schema

SYSTEM = Path(__file__).resolve().parents[2] / "system"
# What an http listener would do; there are none yet, so it says nothing of other listeners.
HTTP_ONLY = ("healthz", "metrics", "websockets")
# With TLS, and with vhost policy: both are refused as a whole.
TLS_ONLY, POLICY_ONLY = ("verifyHostname",), ("policyVhost",)

BOTH = {
    "host": "test_endpoint_attributes.py::test_host_decides_where_a_listener_listens_whatever_the_family_says",
    "port": "test_examples.py::test_failover_works_both_ways",
    "role": "test_edge_router.py::test_edge_producer_and_consumer_reach_the_interior",
    "cost": "test_endpoint_attributes.py::test_cost_above_one_is_told_in_any_role",
    "openProperties": "test_endpoint_attributes.py::test_open_properties_of_a_%s_are_told_and_shown",
    "name": "test_management.py",
}
TESTS = {
    "listener": {
        **BOTH,
        "socketAddressFamily": BOTH["host"],
        "saslMechanisms": "test_sasl.py::test_sasl_mechanisms_that_are_not_offered_are_told",
        "authenticatePeer": "test_misbehaving.py::test_no_sasl_where_it_is_required_is_refused",
        "maxFrameSize": "test_limits.py::test_limit_of_frames_is_told",
        "maxSessions": "test_limits.py::test_limit_of_sessions_is_told",
        "maxSessionFrames": "test_limits.py::test_limit_of_session_frames_holds_back_a_large_message",
        "idleTimeoutSeconds": "test_misbehaving.py::test_silent_client_is_thrown_out_after_the_idle_time",
        "initialHandshakeTimeoutSeconds": "test_misbehaving.py::test_silence_instead_of_a_header_ends_after_the_handshake_time",
        "stripAnnotations": "test_annotations.py::test_annotations_of_routers_do_not_reach_a_client",
        "linkCapacity": "test_credit.py::test_link_capacity_is_the_credit",
        "multiTenant": "test_tenants.py::test_address_stands_below_the_vhost",
        "policyVhost": "test_tenants.py::test_policy_vhost_of_the_listener_counts_before_the_hostname",
        "failoverUrls": "test_endpoint_attributes.py::test_failover_urls_of_a_listener_are_told",
        "messageLoggingComponents": "test_message_logging.py::test_all_components_of_messages_received_and_sent",
    },
    "connector": {
        **BOTH,
        "host": "test_connector.py::test_connector_opens_as_the_old_router_does",
        "protocolFamily": "test_endpoint_attributes.py::test_connector_goes_to_its_host_whatever_is_said_of_redirection_and_family",
        "allowRedirect": "test_endpoint_attributes.py::test_connector_goes_to_its_host_whatever_is_said_of_redirection_and_family",
        "saslMechanisms": "test_connector.py::test_connector_without_mechanisms_speaks_sasl_with_what_it_can",
        "saslUsername": "test_connector.py::test_connector_sends_user_and_password",
        "saslPassword": "test_connector.py::test_connector_sends_user_and_password",
        "maxFrameSize": "test_connector.py::test_connector_opens_as_the_old_router_does",
        "maxSessions": "test_connector.py::test_connector_opens_as_the_old_router_does",
        "maxSessionFrames": "test_endpoint_attributes.py::test_session_frames_of_a_connector_are_the_window",
        "idleTimeoutSeconds": "test_connector.py::test_connector_has_a_silent_peer_given_up",
        "stripAnnotations": "test_endpoint_attributes.py::test_annotations_are_stripped_as_the_connector_says",
        "linkCapacity": "test_endpoint_attributes.py::test_link_capacity_of_a_connector_is_the_credit",
        "messageLoggingComponents": "test_message_logging.py::test_connector_has_components_of_its_own",
        "failoverUrls": "test_endpoint_attributes.py::test_failover_list_is_never_told_by_the_side_that_connects",
        "connectionStatus": "test_connector.py::test_connector_tells_how_it_stands",
        "connectionMsg": "test_endpoint_attributes.py::test_connection_message_says_what_ended_the_connection",
    },
}
UNTESTED = {"listener": HTTP_ONLY, "connector": TLS_ONLY + POLICY_ONLY}


def attributes():
    return [
        (short, name)
        for short in ("listener", "connector")
        for name in schema.find(short).attributes
        if name not in ("identity", "type")
    ]


@pytest.mark.parametrize("short, name", attributes())
def test_attribute_is_tested_refused_or_said_to_have_no_effect(short, name):
    refused = {attribute for kind, attribute, *_ in refusals.ATTRIBUTES + refusals.NO_EFFECT if kind == short}
    test = TESTS[short].get(name)
    assert test or name in refused or name in UNTESTED[short]
    if test:
        file, _, function = test.partition("::")
        text = (SYSTEM / file).read_text()
        assert not function or re.search(r"^def %s\(" % (function % short if "%s" in function else function), text, re.M), test


def test_no_test_is_named_for_what_there_is_not():
    known = set(attributes())
    assert {(short, name) for short, tests in TESTS.items() for name in tests} <= known
