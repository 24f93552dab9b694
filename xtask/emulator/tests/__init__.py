"""Tests of the overlay that need neither Docker nor a network."""
