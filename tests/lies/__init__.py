"""Machines that answer what a test lets them: see world.py."""
