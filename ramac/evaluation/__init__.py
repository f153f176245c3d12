"""Rollouts, calibration of critics, and off-policy evaluation."""
