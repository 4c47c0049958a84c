"""Calendars, policies, timelines, clocks, journeys: pure functions, no clock, environment, file, socket or log."""
