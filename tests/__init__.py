"""Tests mirror the packages; scenarios/, conformance/, servers/, acceptance/ and bench/ stand beside them."""
